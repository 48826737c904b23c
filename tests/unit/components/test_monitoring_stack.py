"""MonitoringStack: its parts, alone and together."""

import base64
import itertools
import json
import re
from typing import Any

import pulumi
import pytest
import yaml
from cryptography import x509

from modelops import UPSTREAM_IMAGES, ArgumentsError, MonitoringStack
from modelops.core.assets import asset, assets
from modelops.monitoring import dashboards, rules
from modelops.monitoring.logs.shared import derive
from tests.certificates import stored_authority
from tests.unit.components.harness import (
    Program,
    Resource,
    Secret,
    breaks_restricted,
    container,
    environment,
    ignored_provider,
    on,
    pod,
    provider,
    run,
)

ARGS: dict[str, Any] = {"namespace": "watch"}
GRAFANA = {"enabled": True, "admin_password": "long enough"}
ELK = {"enabled": True, "password": "long enough"}
ALL: dict[str, Any] = {**ARGS, "grafana": GRAFANA, "elk": ELK}
URLS = ("prometheus_url", "alertmanager_url", "grafana_url", "kibana_url", "elasticsearch_url")


def watch(args: Any, **how: Any) -> Program:
    return run(lambda: MonitoringStack("m", args), **how)


@pytest.fixture(scope="module")
def everything() -> Program:
    """The stack with all parts, for tests that look at it without a change."""
    return watch(ALL)


def workloads(program: Program) -> dict[str, Resource]:
    kinds = ("Deployment", "DaemonSet", "StatefulSet")
    return {found.name.removeprefix("m-"): found for kind in kinds for found in program.of(kind)}


def scrape_config(program: Program) -> dict[str, Any]:
    text = program.one("ConfigMap", "m-prometheus").inputs["data"]["prometheus.yml"]
    return dict(yaml.safe_load(text))


def volume(resource: Resource, name: str) -> dict[str, Any]:
    return next(dict(found) for found in pod(resource)["volumes"] if found["name"] == name)


def flags(resource: Resource, name: str) -> dict[str, str]:
    return dict(argument.lstrip("-").partition("=")[::2] for argument in container(resource, name)["args"])


def test_defaults() -> None:
    program = watch(ARGS)
    assert set(workloads(program)) == {"prometheus", "alertmanager", "node-exporter", "kube-state-metrics"}
    assert flags(workloads(program)["prometheus"], "prometheus")["storage.tsdb.retention.time"] == "15d"
    assert (
        program.one("PersistentVolumeClaim", "m-prometheus").inputs["spec"]["resources"]["requests"]["storage"]
        == "10Gi"
    )
    assert {found.inputs["spec"]["type"] for found in program.of("core/v1:Service")} == {"ClusterIP"}
    assert set(program.outputs) & set(URLS) == {"prometheus_url", "alertmanager_url"}
    assert program.outputs["prometheus_url"].value == "http://m-prometheus.watch.svc:9090"


def test_every_part_runs_its_upstream_image(everything: Program) -> None:
    found = {each["image"] for resource in workloads(everything).values() for each in pod(resource)["containers"]}
    others = {"python", "mlflow", "mlflow_full", "postgres"}
    assert found == {image for name, image in UPSTREAM_IMAGES.items() if name not in others}


def test_everything_set_is_kept() -> None:
    part = {"image": "other:1", "resources": {"cpu": "1", "memory": "3Gi"}}
    args = {
        **ARGS,
        "watched_namespaces": ["ml"],
        "external_labels": {"stack": "prod"},
        "expose": "LoadBalancer",
        "prometheus": {**part, "storage_size": "100Gi", "storage_class": "fast", "retention_days": 30},
        "alertmanager": {**part, "config": "route: {receiver: us}\nreceivers: [{name: us}]"},
        "node_exporter": part,
        "kube_state_metrics": part,
        "grafana": {**GRAFANA, **part},
        "elk": {
            **ELK,
            "elasticsearch": {**part, "storage_size": "1Ti", "storage_class": "slow", "retention_days": 90},
            "logstash": part,
            "kibana": part,
            "filebeat": {**part, "queue_size": "2Gi"},
        },
    }
    program = watch(args)
    for resource in workloads(program).values():
        own = pod(resource)["containers"][0]
        assert own["image"] == "other:1"
        assert own["resources"]["requests"] == {"cpu": "1", "memory": "3Gi"}
    options = flags(workloads(program)["prometheus"], "prometheus")
    assert options["storage.tsdb.retention.time"] == "30d"
    assert options["storage.tsdb.retention.size"] == f"{100 * 1024 * 4 // 5}MB"
    claims = {claim.name: claim.inputs["spec"] for claim in program.of("PersistentVolumeClaim")}
    assert claims["m-prometheus"]["storageClassName"] == "fast"
    assert "receiver: us" in program.one("Secret", "m-alertmanager").inputs["stringData"].value["alertmanager.yml"]
    assert scrape_config(program)["global"]["external_labels"] == {"stack": "prod"}
    exposed = {found.name: found.inputs["spec"]["type"] for found in program.of("core/v1:Service")}
    assert {name for name, kind in exposed.items() if kind == "LoadBalancer"} == {
        "m-prometheus",
        "m-alertmanager",
        "m-grafana",
        "m-kibana",
    }


@pytest.mark.parametrize(
    "on_or_off", list(itertools.product([True, False], repeat=5)), ids=lambda chosen: "".join("01"[on] for on in chosen)
)
def test_any_combination_of_parts_stays_valid(on_or_off: tuple[bool, ...]) -> None:
    names = ("prometheus", "alertmanager", "node_exporter", "kube_state_metrics", "elk")
    args: dict[str, Any] = {**ARGS, "grafana": {**GRAFANA, "enabled": on_or_off[0]}}
    for name, enabled in zip(names, on_or_off, strict=True):
        args[name] = {**(ELK if name == "elk" else {}), "enabled": enabled}
    program = watch(args)
    there = {name.replace("_", "-") for name, enabled in zip(names[:4], on_or_off[:4], strict=True) if enabled}
    there |= {"grafana"} if on_or_off[0] else set()
    there |= {"elasticsearch", "logstash", "kibana", "filebeat"} if on_or_off[4] else set()
    assert set(workloads(program)) == there
    expected = {f"{name}_url" for name in there} & set(URLS)
    assert set(program.outputs) & set(URLS) == expected


@pytest.mark.parametrize("on_or_off", list(itertools.product([True, False], repeat=3)))
def test_any_combination_around_elasticsearch_stays_valid(on_or_off: tuple[bool, bool, bool]) -> None:
    logstash, kibana, filebeat = on_or_off
    parts = {"logstash": logstash, "kibana": kibana, "filebeat": filebeat}
    elk = {**ELK, **{name: {"enabled": enabled} for name, enabled in parts.items()}}
    program = watch({**ARGS, "elk": elk})
    names = {"elasticsearch", "logstash", "kibana", "filebeat"}
    assert set(workloads(program)) & names == {"elasticsearch", *(name for name, there in parts.items() if there)}
    assert ("kibana_url" in program.outputs) is kibana


def test_exposed_parts_are_reached_under_the_given_name() -> None:
    outputs = watch({**ALL, "expose": "NodePort", "host": "node.example.com"}).outputs
    assert outputs["prometheus_url"].value == "http://node.example.com:30080"
    assert outputs["elasticsearch_url"].value == "https://m-elasticsearch.watch.svc:9200"


def test_without_alertmanager_prometheus_alerts_nobody() -> None:
    assert "alerting" not in scrape_config(watch({**ARGS, "alertmanager": {"enabled": False}}))
    targets = scrape_config(watch(ARGS))["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert targets == ["m-alertmanager.watch.svc:9093"]


def test_receivers_become_alertmanagers_configuration_in_a_secret() -> None:
    receivers = {
        "email": {"to": "a@x", "sender": "b@x", "server": "smtp:587", "username": "u", "password": "p"},
        "slack": {"url": "https://slack/x", "channel": "#ml"},
        "webhook": {"url": "http://hook", "token": pulumi.Output.secret("t")},
        "pagerduty": {"routing_key": "k"},
    }
    program = watch({**ARGS, "alertmanager": {"receivers": receivers}})
    text = program.one("Secret", "m-alertmanager").inputs["stringData"].value["alertmanager.yml"]
    config = yaml.safe_load(text)
    assert config["route"]["receiver"] == "team"
    assert config["route"]["routes"] == [{"receiver": "nobody", "matchers": ['severity = "none"']}]
    team = next(found for found in config["receivers"] if found["name"] == "team")
    assert {key: value[0] for key, value in team.items() if key != "name"} == {
        "email_configs": {
            "send_resolved": True,
            "to": "a@x",
            "from": "b@x",
            "smarthost": "smtp:587",
            "require_tls": True,
            "auth_username": "u",
            "auth_password": "p",
        },
        "slack_configs": {"send_resolved": True, "api_url": "https://slack/x", "channel": "#ml"},
        "webhook_configs": {
            "send_resolved": True,
            "url": "http://hook",
            "http_config": {"authorization": {"type": "Bearer", "credentials": "t"}},
        },
        "pagerduty_configs": {"send_resolved": True, "routing_key": "k"},
    }


def alertmanager_config(**part: Any) -> dict[str, Any]:
    text = watch({**ARGS, "alertmanager": part}).one("Secret", "m-alertmanager").inputs["stringData"].value
    return dict(yaml.safe_load(text["alertmanager.yml"]))


@pytest.mark.parametrize(
    "receivers", [{}, {"receivers": {"slack": {"url": "https://slack/x"}}}], ids=["nobody", "a team"]
)
def test_the_watchdog_goes_to_the_heartbeat_every_minute(receivers: dict[str, Any]) -> None:
    config = alertmanager_config(heartbeat_url=pulumi.Output.secret("https://beats/x"), **receivers)
    assert config["receivers"][-1] == {
        "name": "heartbeat",
        "webhook_configs": [{"url": "https://beats/x", "send_resolved": False}],
    }
    first, *others = config["route"]["routes"]
    assert (first["receiver"], first["matchers"]) == ("heartbeat", ['alertname = "Watchdog"'])
    assert (first["group_wait"], first["group_interval"], first["repeat_interval"]) == ("0s", "1m", "50s")
    assert others == alertmanager_config(**receivers)["route"]["routes"]
    assert config["route"]["receiver"] == ("team" if receivers else "nobody")


def rule_annotations(program: Program) -> list[dict[str, str]]:
    files = program.one("ConfigMap", "m-prometheus").inputs["data"]
    groups = [group for file in assets("monitoring/assets/rules") for group in yaml.safe_load(files[file])["groups"]]
    return [rule["annotations"] for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("make", [str, pulumi.Output.from_input], ids=["plain", "an output"])
def test_each_alert_leads_to_its_section_of_the_teams_runbook(make: Any) -> None:
    found = rule_annotations(watch({**ARGS, "runbook_url": make("https://docs.example.com/runbook.html")}))
    links = {annotations["runbook_url"] for annotations in found}
    assert "https://docs.example.com/runbook.html#modelservicedown" in links
    assert all(link.startswith("https://docs.example.com/runbook.html#") for link in links)
    assert not any("runbook" in annotations for annotations in found)


def test_without_its_address_no_alert_has_a_link_that_leads_nowhere() -> None:
    found = rule_annotations(watch(ARGS))
    assert not any("runbook_url" in annotations for annotations in found)
    assert all(annotations["runbook"].startswith("docs/runbook.md#") for annotations in found)


def test_web_ends_speak_tls_under_an_authority_of_their_own() -> None:
    program = watch({**ALL, "web": {"tls": True}, "host": "watch.example.com"})
    files = {
        key: base64.b64decode(value)
        for key, value in program.one("Secret", "m-prometheus-tls").inputs["data"].value.items()
    }
    assert program.one("Secret", "m-web-ca-1").options["ignore_changes"] == ["data"]
    certificate = x509.load_pem_x509_certificate(files["tls.crt"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"m-prometheus.watch.svc", "localhost", "watch.example.com"} <= set(names.get_values_for_type(x509.DNSName))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(files["ca.crt"]))
    for kind, name in (("ConfigMap", "m-prometheus"), ("Secret", "m-alertmanager")):
        own = program.one(f"core/v1:{kind}", name).inputs
        web = own["data"]["web.yml"] if kind == "ConfigMap" else own["stringData"].value["web.yml"]
        assert yaml.safe_load(web)["tls_server_config"]["cert_file"] == "/etc/modelops/web/tls.crt"
    assert program.outputs["web_ca_certificate"].value == files["ca.crt"].decode()
    assert not program.outputs["web_ca_certificate"].secret
    assert (
        watch({**ARGS, "web": {"tls": True}}).outputs["prometheus_url"].value == "https://m-prometheus.watch.svc:9090"
    )
    for name in ("prometheus", "alertmanager"):
        own = container(workloads(program)[name], name)
        assert f"--web.config.file=/etc/{name}/web.yml" in own["args"]
        probes = [own[key]["httpGet"]["scheme"] for key in own if key.endswith("Probe")]
        assert probes == ["HTTPS"] * 3
    keys = [item["key"] for item in volume(workloads(program)["grafana"], "web")["secret"]["items"]]
    assert keys == ["ca.crt"]
    assert volume(workloads(program)["alertmanager"], "web")["secret"]["secretName"] == "m-alertmanager-tls"


def test_prices_are_where_costs_are_reckoned_and_nothing_else_changes() -> None:
    plain = watch(ALL).one("ConfigMap", "m-grafana-dashboards").inputs["data"]
    prices = {"cpu": 0.06, "memory": pulumi.Output.from_input(0.01), "gpu": 12}
    priced = watch({**ALL, "grafana": {**GRAFANA, "prices": prices}})
    found = priced.one("ConfigMap", "m-grafana-dashboards").inputs["data"]
    assert {file for file in plain if found[file] != plain[file]} == {"cost.json", "large-model.json"}
    for file in ("cost.json", "large-model.json"):
        variables = {each["name"]: each for each in json.loads(found[file])["templating"]["list"]}
        assert (variables["cpu_price"]["query"], variables["memory_price"]["current"]["value"]) == ("0.06", "0.01")
        there = json.loads(plain[file])
        assert json.loads(found[file])["panels"] == there["panels"]
    assert (
        watch({**ALL, "grafana": {**GRAFANA, "prices": {}}}).one("ConfigMap", "m-grafana-dashboards").inputs["data"]
        == plain
    )


def test_wrong_prices_are_refused() -> None:
    with pytest.raises(ArgumentsError) as refused:
        watch({**ALL, "grafana": {**GRAFANA, "prices": {"cpu": -1, "currency": "euro", "tpu": 1}}})
    for problem in (
        "grafana.prices.cpu is -1, must be at least 0",
        "grafana.prices.currency is 'euro', must be a currency's three letters, such as EUR",
        "grafana.prices.tpu is not an argument",
    ):
        assert problem in str(refused.value)


def test_behind_a_proxy_grafana_believes_it_and_lets_in_nobody_else() -> None:
    program = watch({**ALL, "grafana": {**GRAFANA, "sign_on_header": "X-Forwarded-Email"}})
    variables = environment(workloads(program)["grafana"], "grafana")
    assert (variables["GF_AUTH_PROXY_ENABLED"], variables["GF_AUTH_PROXY_HEADER_NAME"]) == ("true", "X-Forwarded-Email")
    [rule] = program.one("NetworkPolicy", "m-grafana").inputs["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "m"}}}]
    alone = watch(ALL)
    assert "GF_AUTH_PROXY_ENABLED" not in environment(workloads(alone)["grafana"], "grafana")
    assert "from" not in alone.one("NetworkPolicy", "m-grafana").inputs["spec"]["ingress"][0]


def test_with_tls_whoever_asks_trusts_that_authority(everything: Program) -> None:
    program = watch({**ALL, "web": {"tls": True}})
    config = scrape_config(program)
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    trusted = {"ca_file": "/etc/modelops/web/ca.crt"}
    assert (jobs["prometheus"]["scheme"], jobs["prometheus"]["tls_config"]) == ("https", trusted)
    assert jobs["modelops"]["tls_config"] == {**trusted, "server_name": "m-alertmanager"}
    (alerting,) = config["alerting"]["alertmanagers"]
    assert (alerting["scheme"], alerting["tls_config"]) == ("https", {**trusted, "server_name": "m-alertmanager"})
    template = workloads(program)["alertmanager"].inputs["spec"]["template"]["metadata"]
    assert template["annotations"]["prometheus.io/scheme"] == "https"
    sources = yaml.safe_load(program.one("ConfigMap", "m-grafana-provisioning").inputs["data"]["datasources.yaml"])
    assert sources["datasources"][0]["jsonData"]["tlsAuthWithCACert"] is True
    assert environment(workloads(program)["grafana"], "grafana")["PROMETHEUS_URL"].startswith("https://")
    assert "web_ca_certificate" not in everything.outputs


@pytest.mark.parametrize("keep", [True, False])
def test_volumes_stay_unless_the_arguments_say_otherwise(keep: bool) -> None:
    parts = {} if keep else {key: {"retain_volume": False} for key in ("prometheus", "alertmanager")}
    claims = watch({**ARGS, **parts}).of("PersistentVolumeClaim")
    assert {claim.name: claim.options["retain_on_delete"] for claim in claims} == {
        "m-prometheus": keep,
        "m-alertmanager": keep,
    }


def test_watched_namespaces_limit_what_prometheus_sees() -> None:
    jobs = {
        job["job_name"]: job for job in scrape_config(watch({**ARGS, "watched_namespaces": ["ml"]}))["scrape_configs"]
    }
    assert jobs["modelops"]["kubernetes_sd_configs"][0]["namespaces"] == {"names": ["ml", "watch"]}
    assert jobs["probes"]["metric_relabel_configs"][-1] == {
        "source_labels": ["namespace"],
        "action": "keep",
        "regex": "|ml|watch",
    }
    assert jobs["apiserver"]["kubernetes_sd_configs"][0]["namespaces"] == {"names": ["default"]}
    everywhere = {job["job_name"]: job for job in scrape_config(watch(ARGS))["scrape_configs"]}
    assert "namespaces" not in everywhere["modelops"]["kubernetes_sd_configs"][0]


def reported(program: Program) -> tuple[dict[str, str], set[str]]:
    """kube-state-metrics' flags, and the kinds that it may list."""
    [role] = [found for found in program.of("ClusterRole") if "kube-state-metrics" in found.name]
    allowed = {kind for rule in role.inputs["rules"] for kind in rule["resources"]}
    return flags(workloads(program)["kube-state-metrics"], "kube-state-metrics"), allowed


def test_a_node_that_is_down_fails_no_update(everything: Program) -> None:
    agents = everything.of("DaemonSet")
    assert {agent.name for agent in agents} == {"m-node-exporter", "m-filebeat"}
    for agent in agents:
        assert agent.inputs["metadata"]["annotations"]["pulumi.com/waitFor"] == "jsonpath={.metadata.uid}"


def test_kube_state_metrics_watches_the_namespaces_that_it_is_told() -> None:
    options, allowed = reported(watch({**ARGS, "watched_namespaces": ["ml", "watch", pulumi.Output.from_input("a")]}))
    assert options["namespaces"] == "a,ml,watch"
    # Limited to several namespaces, it reports what is in none once for each of them.
    assert set(options["resources"].split(",")) == allowed and not allowed & {"nodes", "namespaces"}
    everywhere, all_kinds = reported(watch(ARGS))
    assert "namespaces" not in everywhere
    assert set(everywhere["resources"].split(",")) == all_kinds == allowed | {"nodes", "namespaces"}


def test_kube_state_metrics_reports_every_label_that_rules_ask_for() -> None:
    options, _ = reported(watch(ARGS))
    there = {
        f"kube_{kind.removesuffix('s')}_labels": {f"label_{re.sub('[^a-z]', '_', name)}" for name in names.split(",")}
        for kind, names in re.findall(r"(\w+)=\[([^]]*)\]", options["metric-labels-allowlist"])
    }
    asked: dict[str, set[str]] = {}
    for text in assets("monitoring/assets/rules").values():
        for metric, labels in re.findall(r"(kube_\w+_labels)\{([^}]*)\}", text):
            asked.setdefault(metric, set()).update(re.findall(r"label_\w+", labels))
    assert asked.keys() == there.keys()
    assert all(names <= there[metric] for metric, names in asked.items())


def test_changed_configuration_gets_a_new_name_so_that_pods_roll() -> None:
    config = watch(ARGS).one("ConfigMap", "m-prometheus")
    assert "name" not in config.inputs["metadata"]
    assert config.inputs["immutable"] is True
    assert config.options["replace_on_changes"] == ["data", "stringData"]
    volumes = {volume["name"]: volume for volume in pod(workloads(watch(ARGS))["prometheus"])["volumes"]}
    assert volumes["files"]["configMap"]["name"] == "m-prometheus-1a2b3c4d"


AUTHORITY = stored_authority()
"""A CA of the stack's own would be another one at each run here; on a cluster the first one stays."""


def templates(args: Any) -> dict[str, Any]:
    """What each program's pods are made from, where a new object has a new name."""
    program = watch({**args, "certificates": AUTHORITY}, content_names=True)
    found = {**workloads(program), **{job.name.removeprefix("m-"): job for job in program.of("Job")}}
    return {name: resource.inputs["spec"]["template"] for name, resource in found.items()}


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    """The templates of the stack with all parts."""
    return templates(ALL)


def rolled(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The programs whose pods are replaced."""
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("change", "programs"),
    [
        ({}, set()),
        ({"grafana": {**GRAFANA, "admin_password": "another one"}}, {"grafana"}),
        # Filebeat hands its lines to Logstash, by certificate.
        (
            {"elk": {**ELK, "password": "another one"}},
            {"elasticsearch", "grafana", "kibana", "logstash", "log-setup", "log-setup-watch"},
        ),
        ({"alertmanager": {"receivers": {"webhook": {"url": "http://x", "token": "t"}}}}, {"alertmanager"}),
        ({"alertmanager": {"config": "route: {receiver: us}\nreceivers: [{name: us}]"}}, {"alertmanager"}),
        ({"external_labels": {"stack": "other"}}, {"prometheus"}),
        ({"elk": {**ELK, "elasticsearch": {"retention_days": 3}}}, {"log-setup", "log-setup-watch"}),
    ],
    ids=lambda value: "" if isinstance(value, set) else json.dumps(value),
)
def test_a_change_replaces_the_pods_that_it_is_for_and_no_others(
    before: dict[str, Any], change: Any, programs: set[str]
) -> None:
    assert rolled(before, templates({**ALL, **change})) == programs


def test_without_logstash_filebeat_needs_the_changed_password() -> None:
    elk = {**ELK, "logstash": {"enabled": False}}
    found = rolled(templates({**ALL, "elk": elk}), templates({**ALL, "elk": {**elk, "password": "another one"}}))
    assert found == {"elasticsearch", "filebeat", "grafana", "kibana", "log-setup", "log-setup-watch"}


@pytest.mark.parametrize(
    ("folder", "module", "programs"),
    [("monitoring/assets/dashboards", dashboards, {"grafana"}), ("monitoring/assets/rules", rules, {"prometheus"})],
    ids=["dashboards", "rules"],
)
def test_another_release_s_files_reach_the_running_part(
    before: dict[str, Any], folder: str, module: Any, programs: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = assets(folder)
    changed = {**shipped, (first := next(iter(shipped))): f"{shipped[first]}\n"}
    monkeypatch.setattr(module, "assets", lambda asked: changed if asked == folder else assets(asked))
    assert rolled(before, templates(ALL)) == programs


def test_credentials_stay_secret_and_out_of_pods(everything: Program) -> None:
    for found in everything.of("core/v1:Secret"):
        assert isinstance(found.inputs.get("stringData", found.inputs.get("data")), Secret)
    text = json.dumps([dict(pod(resource)) for resource in workloads(everything).values()], default=str)
    assert "long enough" not in text
    assert derive("kibana", "long enough") not in text


def test_derived_passwords_differ_from_each_other_and_do_not_change() -> None:
    found = {derive(purpose, "long enough") for purpose in ("kibana", "logstash", "kibana encryption")}
    assert len(found) == 3
    assert derive("kibana", "long enough") == derive("kibana", "long enough")


def test_only_node_agents_leave_the_restricted_profile(everything: Program) -> None:
    found = {name: breaks_restricted(resource) for name, resource in workloads(everything).items()}
    assert found.pop("node-exporter") == ["volume root is a host path"]
    assert found.pop("filebeat") == [
        "pod security context",
        "volume data is a host path",
        "volume logs is a host path",
    ]
    assert {name: problems for name, problems in found.items() if problems} == {}


def placed(program: Program) -> dict[str, set[str]]:
    """Namespace → its objects, as kind and name."""
    found: dict[str, set[str]] = {}
    for each in program.resources:
        if each.is_kubernetes and "namespace" in each.inputs.get("metadata", {}):
            found.setdefault(each.inputs["metadata"]["namespace"], set()).add(f"{each.inputs['kind']} {each.name}")
    return found


def test_agents_move_to_a_namespace_of_their_own_with_all_that_they_need() -> None:
    args = {**ALL, "elk": {**ELK, "logstash": {"enabled": False}}, "web": {"tls": True}}
    before, after = watch(args), watch({**args, "agents_namespace": "agents"})
    assert placed(after)["agents"] == {
        f"{kind} m-{name}"
        for kind, names in {
            "ServiceAccount": ("node-exporter", "filebeat"),
            "NetworkPolicy": ("node-exporter", "filebeat"),
            "DaemonSet": ("node-exporter", "filebeat"),
            "ConfigMap": ("certificate-expiry", "filebeat"),
            "Secret": ("filebeat", "filebeat-tls"),
        }.items()
        for name in names
    }
    assert placed(after)["agents"] | placed(after)["watch"] == placed(before)["watch"]
    binding = after.one("ClusterRoleBinding", "m-filebeat").inputs["subjects"]
    assert [subject["namespace"] for subject in binding] == ["agents"]


def test_agents_that_move_go_on_with_the_queue_and_the_positions_on_the_nodes() -> None:
    def queue(args: dict[str, Any]) -> Any:
        agent = watch(args).one("DaemonSet", "m-filebeat")
        assert agent.options["delete_before_replace"], "two would use one folder"
        return [volume for volume in pod(agent)["volumes"] if volume["name"] == "data"]

    assert queue(ALL) == queue({**ALL, "agents_namespace": "agents"})


def test_agents_elsewhere_are_watched_like_the_stack_and_let_in_where_its_pods_are() -> None:
    program = watch({**ALL, "agents_namespace": "agents", "watched_namespaces": ["ml"]})
    assert state_argument(program, "--namespaces=") == "agents,ml,watch"
    config = yaml.safe_load(program.one("ConfigMap", "m-prometheus").inputs["data"]["prometheus.yml"])
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert jobs["modelops"]["kubernetes_sd_configs"][0]["namespaces"]["names"] == ["agents", "ml", "watch"]
    stack = {"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "m"}}}
    there = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "agents"}}}
    for name in ("m-logstash", "m-elasticsearch"):
        first = program.one("NetworkPolicy", name).inputs["spec"]["ingress"][0]
        assert first["from"] == [stack, {**stack, **there}]


def state_argument(program: Program, prefix: str) -> str:
    """The rest of kube-state-metrics' argument that begins so."""
    arguments = container(program.one("Deployment", "m-kube-state-metrics"), "kube-state-metrics")["args"]
    [found] = [each for each in arguments if each.startswith(prefix)]
    return str(found.removeprefix(prefix))


def test_probes_ask_ports_that_there_are(everything: Program) -> None:
    for resource in workloads(everything).values():
        for each in pod(resource)["containers"]:
            names = {port["name"] for port in each.get("ports", [])}
            probes = [each[key]["httpGet"]["port"] for key in each if key.endswith("Probe") and "httpGet" in each[key]]
            assert set(probes) <= names, each["name"]


def test_only_programs_that_ask_the_api_server_have_a_token(everything: Program) -> None:
    found = {name for name, resource in workloads(everything).items() if pod(resource)["automountServiceAccountToken"]}
    assert found == {"prometheus", "kube-state-metrics", "filebeat"}


def test_two_stacks_can_share_a_node() -> None:
    agent = pod(workloads(watch(ARGS))["node-exporter"])
    assert not agent.get("hostNetwork")
    assert all("hostPort" not in port for each in agent["containers"] for port in each["ports"])


def test_cluster_wide_objects_have_no_fixed_name(everything: Program) -> None:
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        assert len(everything.of(kind)) == 3
        assert all("name" not in found.inputs["metadata"] for found in everything.of(kind))


def test_nobody_may_read_secrets(everything: Program) -> None:
    for role in everything.of("ClusterRole"):
        for rule in role.inputs["rules"]:
            assert "secrets" not in rule.get("resources", [])
            assert "*" not in [*rule.get("resources", []), *rule["verbs"]]


def test_programs_with_a_volume_are_replaced_not_rolled(everything: Program) -> None:
    for found in everything.of("Deployment"):
        assert found.inputs["spec"]["strategy"] == {"type": "Recreate"}


def test_elasticsearch_is_open_to_its_own_stack_only(everything: Program) -> None:
    rules = everything.one("NetworkPolicy", "m-elasticsearch").inputs["spec"]["ingress"]
    assert rules[0]["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "m"}}}]


def test_grafana_reads_prometheus_and_gets_the_dashboards(everything: Program) -> None:
    assert (
        environment(workloads(everything)["grafana"], "grafana")["PROMETHEUS_URL"]
        == "http://m-prometheus.watch.svc:9090"
    )
    assert "model-service.json" in everything.one("ConfigMap", "m-grafana-dashboards").inputs["data"]


def test_with_logs_grafana_reads_them_as_one_who_may_do_no_more(everything: Program) -> None:
    files = everything.one("ConfigMap", "m-grafana-provisioning").inputs["data"]
    [source] = yaml.safe_load(files["logs.yaml"])["datasources"]
    grafana = workloads(everything)["grafana"]
    assert (
        environment(grafana, "grafana")["LOGS_URL"] == "https://m-elasticsearch:9200" and source["url"] == "${LOGS_URL}"
    )
    password = {"name": "m-elk-1a2b3c4d", "key": "READER_PASSWORD"}
    [given] = [entry for entry in container(grafana, "grafana")["env"] if entry["name"] == "LOGS_PASSWORD"]
    assert given["valueFrom"] == {"secretKeyRef": password}
    assert source["secureJsonData"]["basicAuthPassword"] == "${LOGS_PASSWORD}"
    assert f"useradd {source['basicAuthUser']} " in asset("monitoring/logs/assets/elasticsearch/prepare.sh")
    assert source["jsonData"]["index"] in asset("monitoring/logs/assets/elasticsearch/roles.yml")
    mounts = {each["name"]: each["mountPath"] for each in container(grafana, "grafana")["volumeMounts"]}
    assert source["secureJsonData"]["tlsCACert"] == f"$__file{{{mounts['certificates']}/ca.crt}}"
    # Of the certificates it gets the authority's alone, and no key.
    assert volume(grafana, "certificates")["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    assert "logs.json" in everything.one("ConfigMap", "m-grafana-dashboards").inputs["data"]


@pytest.mark.parametrize("elk", [None, {**ELK, "existing": {"url": "https://es:9200", "username": "writer"}}])
def test_without_logs_of_its_own_grafana_has_no_page_of_them(elk: Any) -> None:
    program = watch({**ARGS, "grafana": GRAFANA, **({"elk": elk} if elk else {})})
    assert "logs.yaml" not in program.one("ConfigMap", "m-grafana-provisioning").inputs["data"]
    assert "logs.json" not in program.one("ConfigMap", "m-grafana-dashboards").inputs["data"]


def test_provider_is_respected() -> None:
    assert ignored_provider(run(lambda: MonitoringStack("m", ALL, on(provider())))) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"namespace": "A"}, "namespace is 'A'"),
        ({"expose": "x"}, "expose is 'x', must be one of"),
        ({"host": ""}, "host is '', must not be empty"),
        ({"prometheus": {"retention_days": 0}}, "prometheus.retention_days is 0, must be 1 to 3650"),
        ({"prometheus": {"storage_size": "x"}}, "prometheus.storage_size is 'x', must be a Kubernetes quantity"),
        ({"prometheus": {"enabled": "yes"}}, "prometheus.enabled is 'yes', must be true or false"),
        ({"alertmanager": {"image": ""}}, "alertmanager.image is '', must not be empty"),
        ({"node_exporter": {"resources": {"cpu": "x"}}}, "node_exporter.resources.cpu is 'x'"),
        ({"grafana": {"enabled": True}}, "grafana.admin_password is missing, it is required when grafana is on"),
        ({"elk": {"enabled": True, "password": "short"}}, "must be at least 8 characters"),
        ({"elk": {**ELK, "elasticsearch": {"retention_days": 0}}}, "elk.elasticsearch.retention_days is 0"),
        ({"prometheus": {"enabled": False}, "grafana": GRAFANA}, "must be false when prometheus is off"),
        ({"alertmanager": {"receivers": {}}}, "alertmanager.receivers is 'empty', must name email, slack, webhook"),
        ({"alertmanager": {"receivers": {"slack": {}}}}, "alertmanager.receivers.slack.url is missing"),
        ({"alertmanager": {"receivers": {"slack": {"url": "x"}}}}, "alertmanager.receivers.slack.url is 'not shown'"),
        (
            {"alertmanager": {"receivers": {"fax": {}}}},
            "alertmanager.receivers.fax is not an argument; valid names are email, pagerduty",
        ),
        ({"alertmanager": {"config": "x", "receivers": {"webhook": {"url": "http://x"}}}}, "together with receivers"),
        ({"alertmanager": {"config": "x", "heartbeat_url": "http://x"}}, "together with heartbeat_url"),
        ({"alertmanager": {"heartbeat_url": "x"}}, "alertmanager.heartbeat_url is 'not shown', must be an http:// or"),
        (
            {"runbook_url": "docs/runbook.md"},
            "runbook_url is 'docs/runbook.md', must be an http:// or https:// address",
        ),
        ({"loki": {}}, "loki is not an argument; docs/components/monitoring_stack.md lists them"),
    ],
)
def test_each_error(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        watch({**ARGS, **change})
    assert problem in str(caught.value)


def test_an_error_never_shows_a_password() -> None:
    with pytest.raises(ArgumentsError) as caught:
        watch({**ARGS, "grafana": {"enabled": True, "admin_password": "hunter2"}})
    assert "hunter2" not in str(caught.value)
