package local;

import java.util.concurrent.CountDownLatch;
import org.codelibs.elasticsearch.runner.ElasticsearchClusterRunner;

/** One Elasticsearch node on port 9200 that keeps its data in the folder that is the only argument. */
public final class Main {
    private Main() {}

    public static void main(final String[] arguments) throws Exception {
        final ElasticsearchClusterRunner runner = new ElasticsearchClusterRunner();
        runner.onBuild((number, settings) -> {
            settings.put("network.host", "127.0.0.1");
            settings.put("http.port", "9200");
            settings.put("discovery.type", "single-node");
            settings.put("node.store.allow_mmap", false);
            // A test's node shares its disk with everything else.
            settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
        });
        runner.build(ElasticsearchClusterRunner.newConfigs()
                .basePath(arguments[0]).numOfNode(1).baseHttpPort(9199).clusterName("tests").useLogger());
        final CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                runner.close();
            } catch (final Exception error) {
                error.printStackTrace();
            }
            stopped.countDown();
        }));
        stopped.await();
    }
}
