"""The stacks' network policies, as a plugin that enforces them would: every connection that a stack needs is let
through, and no other one than these tables say. The program `nca` holds them against Kubernetes' rules."""

from collections.abc import Mapping

import pytest

from tests.unit.stacks.network import OUTSIDE, Network, network_of
from tests.unit.stacks.rendered import manifests

MODEL, REGISTRY = "deployment/model", "deployment/registry"
ALIAS = "job/model-alias"
PROMETHEUS, ALERTMANAGER = "deployment/monitoring-prometheus", "deployment/monitoring-alertmanager"
GRAFANA, KIBANA = "deployment/monitoring-grafana", "deployment/monitoring-kibana"
STATE_METRICS, NODES = "deployment/monitoring-kube-state-metrics", "daemonset/monitoring-node-exporter"
ELASTICSEARCH, LOGSTASH = "statefulset/monitoring-elasticsearch", "deployment/monitoring-logstash"
FILEBEAT, LOG_SETUP = "daemonset/monitoring-filebeat", "job/monitoring-log-setup"
POSTGRES, BACKUP, RESTORE = "statefulset/registry-postgres", "cronjob/registry-backup", "cronjob/registry-restore"
API_SERVER, HTTPS, DNS = 6443, 443, 53
WATCHES = {f"job/{name}-watch" for name in ("model", "model-alias", "monitoring-log-setup")}
WATCHES_IN = {
    "dev": WATCHES | {"job/data-watch", "job/training-watch"},
    "prod": WATCHES | {"job/promotion-watch"},
}

# Who needs whom, in every stack: source, target, port of the target's pods.
FLOWS = {
    (OUTSIDE, MODEL, 8080),  # clients, through a load balancer or a Gateway
    (OUTSIDE, REGISTRY, 5000),
    (OUTSIDE, GRAFANA, 3000),
    (OUTSIDE, KIBANA, 5601),
    (MODEL, REGISTRY, 5000),  # fetches the model
    (ALIAS, REGISTRY, 5000),
    (PROMETHEUS, MODEL, 8080),
    (PROMETHEUS, REGISTRY, 9105),
    (PROMETHEUS, STATE_METRICS, 8080),
    (PROMETHEUS, NODES, 9100),
    (PROMETHEUS, ALERTMANAGER, 9093),
    (PROMETHEUS, OUTSIDE, API_SERVER),
    (STATE_METRICS, OUTSIDE, API_SERVER),
    (ALERTMANAGER, OUTSIDE, HTTPS),  # receivers
    (GRAFANA, PROMETHEUS, 9090),
    (GRAFANA, ELASTICSEARCH, 9200),
    (KIBANA, ELASTICSEARCH, 9200),
    (FILEBEAT, LOGSTASH, 5044),
    (FILEBEAT, OUTSIDE, API_SERVER),
    (LOGSTASH, ELASTICSEARCH, 9200),
    (LOG_SETUP, ELASTICSEARCH, 9200),
    (LOG_SETUP, KIBANA, 5601),
}
TRAINED = {
    ("job/data", REGISTRY, 5000),
    ("job/training", REGISTRY, 5000),
    ("job/training", OUTSIDE, HTTPS),  # data
}
PRODUCTION = {
    ("job/promotion", REGISTRY, 5000),
    ("job/promotion", OUTSIDE, HTTPS),  # the registry of staging
    (REGISTRY, POSTGRES, 5432),
    (REGISTRY, OUTSIDE, HTTPS),  # the object store
    (BACKUP, POSTGRES, 5432),
    (BACKUP, OUTSIDE, HTTPS),
    (RESTORE, POSTGRES, 5432),
    (RESTORE, OUTSIDE, HTTPS),
}
NEEDED = {
    stack: flows | {(watch, OUTSIDE, API_SERVER) for watch in WATCHES_IN[stack]}
    for stack, flows in {"dev": FLOWS | TRAINED, "prod": FLOWS | PRODUCTION}.items()
}

# What anybody in the cluster may connect to: these servers have accounts, or nothing that is worth one.
OPEN = {
    MODEL: {8080},
    REGISTRY: {5000, 9105},
    PROMETHEUS: {9090},
    ALERTMANAGER: {9093},
    GRAFANA: {3000},
    KIBANA: {5601},
    STATE_METRICS: {8080},
    NODES: {9100},
}
# What only some may connect to. The parts of the log pipeline are told from the other parts by their certificates.
CLOSED = {ELASTICSEARCH: {9200: "monitoring-", 9300: "monitoring-elasticsearch"}, LOGSTASH: {5044: "monitoring-"}}
CLOSED_IN = {"dev": CLOSED, "prod": {**CLOSED, POSTGRES: {5432: "registry"}}}
# What these pods may open at all: ports of pods in their own namespace, where monitoring is not, and ports outside the
# cluster. All others may open anything.
NOTHING: tuple[set[int], set[int]] = (set(), set())
OF_MLFLOW = ({5000, 8080, 9105}, {DNS, 5000})
OF_THE_API = (set[int](), {DNS, HTTPS, API_SERVER})
CONFINED: Mapping[str, Mapping[str, tuple[set[int], set[int]]]] = {
    "dev": {MODEL: OF_MLFLOW, ALIAS: OF_MLFLOW, REGISTRY: NOTHING, **dict.fromkeys(WATCHES_IN["dev"], OF_THE_API)},
    "prod": {
        MODEL: OF_MLFLOW,
        ALIAS: OF_MLFLOW,
        **dict.fromkeys(WATCHES_IN["prod"], OF_THE_API),
        "job/promotion": ({5000, 8080, 9105}, {DNS, HTTPS, 5000, API_SERVER}),
        REGISTRY: ({5432}, {DNS, HTTPS, 5432}),
        BACKUP: ({5432}, {DNS, HTTPS, 5432}),
        RESTORE: ({5432}, {DNS, HTTPS, 5432}),
        POSTGRES: NOTHING,
    },
}
PORTS = (22, DNS, HTTPS, 3000, 5000, 5044, 5432, 5601, API_SERVER, 8080, 9090, 9093, 9100, 9105, 9200, 9300, 9600)


@pytest.fixture(scope="module", params=sorted(NEEDED))
def stack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def network(stack: str, tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("network")
    return network_of(manifests(stack, folder), folder)


def expected(stack: str, source: str, target: str, port: int) -> bool:
    """What the tables say."""
    inside, outside = CONFINED[stack].get(source, (set(PORTS), set(PORTS)))
    if target == OUTSIDE:
        return port in outside
    prefix = CLOSED_IN[stack].get(target, {}).get(port)
    if source in CONFINED[stack] and target.partition("/")[2].startswith("monitoring-"):
        return False
    admitted = port in OPEN.get(target, ()) or (prefix is not None and source.partition("/")[2].startswith(prefix))
    return admitted and (source == OUTSIDE or port in inside)


def test_every_connection_that_the_stack_needs_is_let_through(stack: str, network: Network) -> None:
    assert [flow for flow in sorted(NEEDED[stack]) if not network.allows(*flow)] == []
    for source in (MODEL, ALIAS, "job/training" if stack == "dev" else REGISTRY):
        assert network.allows(source, OUTSIDE, DNS, "UDP"), source


def test_no_other_connection_is(stack: str, network: Network) -> None:
    ends = (*network.pods, OUTSIDE)
    wrong = [
        f"{source} -> {target}:{port} is {'let through' if not wanted else 'refused'}"
        for source in ends
        for target in ends
        for port in PORTS
        if source != target
        and (wanted := expected(stack, source, target, port)) != network.allows(source, target, port)
    ]
    assert wrong == []


def test_the_tables_know_every_pod_and_every_port(stack: str, network: Network) -> None:
    known = {end for flow in NEEDED[stack] for end in flow[:2]} - {OUTSIDE}
    assert set(network.pods) == known
    ports = {port for entries in (OPEN, CLOSED_IN[stack]) for found in entries.values() for port in found}
    assert ports <= set(PORTS)
