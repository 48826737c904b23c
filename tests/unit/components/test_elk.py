"""The log pipeline of MonitoringStack: credentials, certificates, sizes, order."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
import yaml
from cryptography import x509

from modelops import ArgumentsError, MonitoringStack
from modelops.core import x509 as x509_files
from modelops.monitoring.logs.setup_job import index_template, lifecycle
from tests.certificates import stored_authority
from tests.unit.components.harness import Program, Resource, Secret, container, environment, pod, run

ARGS: dict[str, Any] = {
    "namespace": "watch",
    "prometheus": {"enabled": False},
    "alertmanager": {"enabled": False},
    "node_exporter": {"enabled": False},
    "kube_state_metrics": {"enabled": False},
}
EXISTING = {"url": "https://logs.example.com:9200", "username": "shipper", "ca_certificate": "PEM"}


def watch(elk: dict[str, Any], **how: Any) -> Program:
    return run(lambda: MonitoringStack("m", {**ARGS, "elk": {"enabled": True, **elk}}), **how)  # type: ignore[typeddict-item]


def nodes(program: Program) -> Resource:
    return program.one("StatefulSet")


def setup_files(program: Program) -> dict[str, str]:
    return dict(program.one("ConfigMap", "m-log-setup").inputs["data"])


def test_credentials_are_generated_once_where_none_were_given() -> None:
    program = watch({})
    kept = program.one("core/v1:Secret", "m-elk-password")
    assert isinstance(kept.inputs["data"], Secret)
    assert kept.options["ignore_changes"] == ["data"]
    password = base64.b64decode(kept.inputs["data"].value["password"]).decode()
    given = program.one("core/v1:Secret", "m-elk").inputs["stringData"].value
    assert given["ADMIN_PASSWORD"] == password
    assert len(set(given.values())) == len(given) == 6


def test_a_given_password_is_the_one_that_counts() -> None:
    program = watch({"password": "long enough"})
    assert not [found for found in program.of("core/v1:Secret") if found.name == "m-elk-password"]
    assert program.one("core/v1:Secret", "m-elk").inputs["stringData"].value["ADMIN_PASSWORD"] == "long enough"


def test_the_authority_of_the_first_up_stays_and_no_pod_has_its_key() -> None:
    program = watch({})
    kept = program.one("core/v1:Secret", "m-elk-ca-1")
    assert kept.options["ignore_changes"] == ["data"]
    assert isinstance(kept.inputs["data"], Secret)
    pods = [*program.of("Deployment"), *program.of("DaemonSet"), nodes(program), program.one("Job")]
    assert not any("m-elk-ca" in json.dumps(found.inputs, default=str) for found in pods)
    assert watch({"certificate_generation": 2}).one("core/v1:Secret", "m-elk-ca-2")


def test_certificates_name_every_address_that_clients_use() -> None:
    def names(program: str, **stack: Any) -> list[str]:
        args: Any = {**ARGS, "elk": {"enabled": True}, **stack}
        data = run(lambda: MonitoringStack("m", args)).one("core/v1:Secret", f"m-{program}-tls").inputs["data"].value
        certificate = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return found.get_values_for_type(x509.DNSName)

    inside = ["m-kibana", "m-kibana.watch", "m-kibana.watch.svc", "m-kibana.watch.svc.cluster.local", "localhost"]
    assert names("kibana") == inside
    assert names("kibana", host="logs.example.com") == [*inside, "logs.example.com"]
    assert {"m-elasticsearch.watch.svc", "*.m-elasticsearch-nodes"} < {*names("elasticsearch")}
    assert "m-logstash.watch.svc" in names("logstash")


def test_the_address_of_elasticsearch_is_good_in_every_namespace() -> None:
    assert watch({}).outputs["elasticsearch_url"].value == "https://m-elasticsearch.watch.svc:9200"


def test_nobody_has_another_programs_key() -> None:
    program = watch({})
    for found in [*program.of("Deployment"), *program.of("DaemonSet"), nodes(program), program.one("Job")]:
        name = found.name.removeprefix("m-")
        volumes = {volume["name"]: volume for volume in pod(found)["volumes"]}
        secret = volumes["certificates"]["secret"]
        keys = {item["key"] for item in secret["items"]}
        if name == "log-setup":
            assert keys == {"ca.crt"}
        else:
            assert (secret["secretName"], keys) == (f"m-{name}-tls", {"ca.crt", "tls.crt", "tls.key"})


def test_who_reads_its_certificate_at_its_start_alone_starts_again_for_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    args = {"certificates": stored_authority()}

    def pods() -> dict[str, Any]:
        program = run(lambda: MonitoringStack("m", {**ARGS, **args, "elk": {"enabled": True}}))  # type: ignore[typeddict-item]
        kinds = [*program.of("Deployment"), *program.of("DaemonSet"), nodes(program), program.one("Job")]
        return {found.name: found.inputs["spec"]["template"] for found in kinds}

    before = pods()
    assert pods() == before
    later = x509_files.now() + timedelta(days=x509_files.RENEWAL_DAYS)
    monkeypatch.setattr(x509_files, "now", lambda: later)
    after = pods()
    restarted = {name for name in before if before[name] != after[name]}
    assert restarted == {"m-kibana", "m-logstash", "m-filebeat"}


def test_one_node_by_default_three_in_three_zones_when_asked() -> None:
    one = nodes(watch({})).inputs["spec"]
    assert one["replicas"] == 1
    assert "affinity" not in one["template"]["spec"]
    three = nodes(watch({"elasticsearch": {"nodes": 3, "zones": ["a", "b", "c"]}})).inputs["spec"]
    spec = three["template"]["spec"]
    assert three["replicas"] == 3
    assert spec["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule"
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["a", "b", "c"]
    anywhere = nodes(watch({"elasticsearch": {"nodes": 3}})).inputs["spec"]["template"]["spec"]
    assert anywhere["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway"


def test_a_rollout_restarts_no_node_before_the_cluster_has_its_shards_again() -> None:
    server = container(nodes(watch({})), "elasticsearch")
    probes = {kind: server[kind]["exec"]["command"][-1] for kind in ("startupProbe", "readinessProbe")}
    assert probes == {"startupProbe": "joined", "readinessProbe": "recovered"}


def test_three_nodes_keep_each_line_twice() -> None:
    assert json.loads(index_template(3))["template"]["settings"]["index.number_of_replicas"] == 1
    assert json.loads(index_template(1))["template"]["settings"]["index.number_of_replicas"] == 0


@pytest.mark.parametrize(
    ("resources", "options"),
    [
        ({}, "-Xms1024m -Xmx1024m"),
        ({"memory": "3Gi"}, "-Xms1536m -Xmx1536m"),
        ({"memory": "2Gi", "memory_limit": "4Gi"}, "-Xms2048m -Xmx2048m"),
        ({"memory": "100Gi"}, "-Xms31744m -Xmx31744m"),
    ],
)
def test_the_heap_is_half_of_the_memory(resources: dict[str, str], options: str) -> None:
    program = watch({"elasticsearch": {"resources": resources}, "logstash": {"resources": resources}})
    assert environment(nodes(program), "elasticsearch")["ES_JAVA_OPTS"] == options
    if resources:
        assert environment(program.one("Deployment", "m-logstash"), "logstash")["LS_JAVA_OPTS"] == options


def test_old_lines_are_deleted_and_indices_are_small_beside_the_volume() -> None:
    phases = json.loads(lifecycle(14, "20Gi"))["policy"]["phases"]
    assert phases["delete"] == {"min_age": "14d", "actions": {"delete": {}}}
    assert phases["hot"]["actions"]["rollover"] == {"max_age": "1d", "max_primary_shard_size": "512mb"}
    # Years of daily indices would be more shards than a node takes.
    year = json.loads(lifecycle(365, "10Ti"))["policy"]["phases"]["hot"]["actions"]["rollover"]
    assert year == {"max_age": "12d", "max_primary_shard_size": "51200mb"}


def test_volumes_outlive_the_stack_unless_it_says_otherwise() -> None:
    def policy(elk: dict[str, Any]) -> dict[str, str]:
        return dict(nodes(watch(elk)).inputs["spec"]["persistentVolumeClaimRetentionPolicy"])

    assert policy({})["whenDeleted"] == "Retain"
    assert policy({"elasticsearch": {"retain_volume": False}})["whenDeleted"] == "Delete"
    for given, kept in (({}, True), ({"retain_volume": False}, False)):
        claim = watch({"logstash": given}).one("PersistentVolumeClaim", "m-logstash")
        assert claim.options["retain_on_delete"] is kept


def test_the_template_is_there_before_the_first_line() -> None:
    program = watch({})
    for kind, name in (("Deployment", "m-logstash"), ("DaemonSet", "m-filebeat")):
        assert "m-log-setup" in program.one(kind, name).options["dependencies"]
    assert {"m-elasticsearch", "m-kibana"} <= set(program.one("Job").options["dependencies"])


def test_a_changed_file_runs_the_setup_again() -> None:
    one, other = watch({}), watch({"elasticsearch": {"retention_days": 3}})
    assert setup_files(one)["lifecycle.json"] != setup_files(other)["lifecycle.json"]
    # The files' ConfigMap has another name then, and with it the Job another specification.
    job = one.one("Job")
    assert "name" not in job.inputs["metadata"]
    assert "spec" in job.options["replace_on_changes"]


def test_without_logstash_filebeat_writes_to_elasticsearch_itself() -> None:
    program = watch({"logstash": {"enabled": False}})
    agent = program.one("DaemonSet")
    assert "/etc/filebeat/output-elasticsearch.yml" in container(agent, "filebeat")["args"]
    variables = environment(agent, "filebeat")
    assert variables["ELASTICSEARCH_URL"] == "https://m-elasticsearch.watch.svc:9200"
    assert variables["WRITER_USERNAME"] == "modelops_writer"
    through = watch({}).one("DaemonSet")
    assert environment(through, "filebeat")["LOGSTASH_HOST"] == "m-logstash.watch.svc:5044"
    names = {entry["name"] for entry in container(through, "filebeat")["env"]}
    assert "WRITER_PASSWORD" not in names


@pytest.mark.parametrize(
    ("elk", "entries"),
    [
        ({}, {"WRITER_PASSWORD"}),
        ({"existing": EXISTING, "password": "long enough"}, {"ADMIN_PASSWORD", "EXISTING_AUTHORITY"}),
    ],
    ids=["the stack's own", "an existing one"],
)
def test_filebeat_has_no_other_password_than_its_own(elk: dict[str, Any], entries: set[str]) -> None:
    program = watch({**elk, "logstash": {"enabled": False}})
    own = program.one("core/v1:Secret", "m-filebeat").inputs["stringData"].value
    assert set(own) == entries
    assert own.items() <= program.one("core/v1:Secret", "m-elk").inputs["stringData"].value.items()
    assert not [found for found in watch({}).of("core/v1:Secret") if found.name == "m-filebeat"]


def test_what_ships_lines_can_only_add_them() -> None:
    roles = yaml.safe_load(watch({}).one("ConfigMap", "m-elasticsearch").inputs["data"]["roles.yml"])
    writer = roles["modelops_logs_writer"]
    assert writer["cluster"] == ["monitor"]
    assert [(entry["names"], entry["privileges"]) for entry in writer["indices"]] == [
        (["modelops-logs-*"], ["auto_configure", "create_doc"])
    ]


def test_an_existing_elasticsearch_is_used_and_none_made() -> None:
    program = watch({"existing": EXISTING, "password": "long enough", "logstash": {"enabled": False}})
    assert not program.of("StatefulSet")
    assert not program.of("Deployment")
    agent = program.one("DaemonSet")
    variables = environment(agent, "filebeat")
    assert variables["ELASTICSEARCH_URL"] == EXISTING["url"]
    assert variables["CERTIFICATE_AUTHORITIES"] == '["/etc/modelops/authority/ca.crt"]'
    assert environment(program.one("Job"), "setup")["USERNAME"] == "shipper"
    assert program.outputs["elasticsearch_url"].value == EXISTING["url"]
    assert "kibana_url" not in program.outputs
    untouched = watch({"existing": {**EXISTING, "setup": False}, "password": "long enough"})
    assert not untouched.of("Job")


def test_snapshots_have_a_repository_and_their_keys_in_the_secret() -> None:
    snapshots = {"bucket": "logs", "endpoint": "https://s3.example.com", "access_key": "a", "secret_key": "s"}
    program = watch({"elasticsearch": {"snapshots": snapshots}})
    assert json.loads(setup_files(program)["repository.json"])["settings"]["bucket"] == "logs"
    assert json.loads(setup_files(program)["snapshots.json"])["retention"]["expire_after"] == "30d"
    given = program.one("core/v1:Secret", "m-elk").inputs["stringData"].value
    assert (given["S3_ACCESS_KEY"], given["S3_SECRET_KEY"]) == ("a", "s")
    assert environment(nodes(program), "elasticsearch")["s3.client.default.endpoint"] == "https://s3.example.com"
    assert "repository.json" not in setup_files(watch({}))


@pytest.mark.parametrize(
    ("elk", "problem"),
    [
        ({"elasticsearch": {"nodes": 2}}, "elk.elasticsearch.nodes is 2, must be 1 or 3"),
        ({"elasticsearch": {"zones": ["a"]}}, "elk.elasticsearch.zones is ['a'], must be three zones"),
        (
            {"elasticsearch": {"storage_size": "10Gi", "daily_size": "1Gi", "retention_days": 14}},
            "elk.elasticsearch.storage_size is '10Gi', must be at least 19Gi for 14 days of 1Gi",
        ),
        ({"existing": EXISTING}, "elk.password is missing, it is required with elk.existing"),
        ({"existing": {**EXISTING, "url": "logs"}, "password": "long enough"}, "elk.existing.url is 'logs'"),
        (
            {"existing": EXISTING, "password": "long enough", "kibana": {"enabled": True}},
            "elk.kibana.enabled is True, must be false with elk.existing",
        ),
        ({"filebeat": {"queue_size": "1Mi"}}, "elk.filebeat.queue_size is '1Mi', must be at least 64Mi"),
        ({"logstash": {"queue_size": "x"}}, "elk.logstash.queue_size is 'x', must be a Kubernetes quantity"),
        ({"certificate_generation": 0}, "elk.certificate_generation is 0, must be at least 1"),
    ],
)
def test_each_error(elk: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        watch(elk)
    assert problem.replace("True", "'true'") in str(caught.value).replace("True", "'true'")
