"""Container lines on their way to Elasticsearch: what arrives, under which name, what is lost when nothing takes it.

Filebeat, the setup Job and Elasticsearch's parse are the real ones; Logstash and Kibana can't be had where this runs.
"""

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import MonitoringStack
from tests.cluster.monitoring.log_support import PASSWORDS, URL, Elasticsearch, Images, log_images
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, kubectl, post

pytestmark = [pytest.mark.monitoring, pytest.mark.long]

OFF = {part: {"enabled": False} for part in ("prometheus", "alertmanager", "node_exporter", "kube_state_metrics")}
TINY = {"cpu": "20m", "memory": "96Mi", "memory_limit": "400Mi"}
WRITER = """
import itertools, json, sys, time
name, pause = sys.argv[1], float(sys.argv[2])
for number in itertools.count():
    print(json.dumps({"event": "beat", "run_id": name, "request_id": str(number)}), flush=True)
    time.sleep(pause)
"""


@dataclass
class World:
    """Where the tests run."""

    namespace: str
    elasticsearch: Elasticsearch
    stack: Stack
    program: Callable[[k8s.Provider], Mapping[str, Any]]
    image: str
    """An image with Python."""


def program(world_images: Images, namespace: str, authority: str, queue: str = "64Mi") -> Callable[..., Any]:
    """One component that sets Elasticsearch up as its administrator, and one that ships lines with fewer rights."""

    def elk(user: str, **more: Any) -> dict[str, Any]:
        existing = {"url": URL, "username": user, "ca_certificate": authority, "setup": user == "admin"}
        given = {"enabled": True, "existing": existing, "password": PASSWORDS[user], "logstash": {"enabled": False}}
        return {"namespace": namespace, **OFF, "elk": {**given, **more}}

    def build(provider: k8s.Provider) -> dict[str, Any]:
        on = pulumi.ResourceOptions(provider=provider)
        setup = MonitoringStack(
            "setup",
            elk("admin", filebeat={"enabled": False}, elasticsearch={"image": world_images.elasticsearch}),  # type: ignore[arg-type]
            on,
        )
        filebeat = {"image": world_images.filebeat, "queue_size": queue, "resources": TINY}
        after = pulumi.ResourceOptions(provider=provider, depends_on=[setup])
        MonitoringStack("ship", elk("writer", filebeat=filebeat), after)  # type: ignore[arg-type]
        return {}

    return build


@pytest.fixture(scope="module")
def world(platform_env: dict[str, str], test_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = log_images(platform_env)
    namespace = f"mon-logs-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    # Filebeat reads the node's files; everything else would do with the restricted profile.
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged")
    stack = Stack(tmp_path_factory.mktemp("logs") / "stack", namespace=namespace)
    try:
        elasticsearch = Elasticsearch(namespace, found.elasticsearch)
        built = program(found, namespace, elasticsearch.authority)
        stack.up(built)
        yield World(namespace, elasticsearch, stack, built, test_image)
    finally:
        stack.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def speak(world: World, name: str, script: str, *arguments: str, restart: str = "Always") -> None:
    """Starts a pod of this library's kind that runs a Python script."""
    labels = {
        "app.kubernetes.io/name": "speaker",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "model-service",
        "app.kubernetes.io/part-of": "modelops",
        "app.kubernetes.io/version": "v7",
        "modelops.dev/track": "canary",
    }
    container = {
        "name": "speak",
        "image": world.image,
        "command": ["python3", "-u", "-c", script, *arguments],
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
    }
    spec = {"containers": [container], "restartPolicy": restart, "terminationGracePeriodSeconds": 1}
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": world.namespace, "labels": labels},
        "spec": spec,
    }
    subprocess.run(["kubectl", "apply", "-f", "-"], input=json.dumps(document), text=True, check=True)


def said(name: str) -> dict[str, Any]:
    return {"term": {"service.name": name}}


def test_setup_puts_template_lifecycle_and_pipeline(world: World) -> None:
    assert "modelops-logs" in world.elasticsearch.ask("/_ingest/pipeline")
    templates = world.elasticsearch.ask("/_index_template/modelops-logs")["index_templates"]
    assert templates[0]["index_template"]["index_patterns"] == ["modelops-logs-*"]
    asked = [entry for entry in world.elasticsearch.control("record") if entry["path"].startswith("/_ilm/")]
    assert json.loads(asked[-1]["body"])["policy"]["phases"]["delete"]["min_age"] == "14d"


def test_an_unchanged_program_changes_nothing(world: World) -> None:
    world.stack.unchanged(world.program)


def test_json_lines_arrive_with_their_fields_and_where_they_come_from(world: World) -> None:
    line = {
        "ts": "2026-01-02T03:04:05.678Z",
        "level": "INFO",
        "event": "request",
        "request_id": "r-1",
        "method": "POST",
        "path": "/api/predict",
        "status": 200,
        "latency_ms": 1.25,
        "model": "line",
        "model_version": "run-1",
        "extra": {"anything": [1, "x"]},
    }
    speak(world, "one-line", f"import time; print({json.dumps(json.dumps(line))}, flush=True); time.sleep(600)")
    found = eventually(lambda: world.elasticsearch.lines(said("one-line")), 120)
    assert len(found) == 1
    document = found[0]
    assert document["_index"] == "modelops-logs-model-service"
    assert document["@timestamp"] == "2026-01-02T03:04:05.678Z"
    assert document["log"]["level"] == "info"
    fields = {key: line[key] for key in line if key not in ("ts", "level", "extra")}
    assert document["modelops"] == fields
    assert json.loads(document["message"]) == line
    assert document["service"] == {"name": "one-line", "type": "model-service", "version": "v7", "track": "canary"}
    assert document["kubernetes"]["namespace"] == world.namespace
    assert document["kubernetes"]["pod"]["name"] == "one-line"
    assert document["kubernetes"]["container"]["name"] == "speak"
    node = json.loads(kubectl("-n", world.namespace, "get", "pod", "one-line", "-o", "json"))["spec"]["nodeName"]
    assert document["kubernetes"]["node"]["name"] == node


AWKWARD = [
    "plain words",
    "ERROR: something broke",
    'ts=2026-01-02T03:04:05Z level=warn msg="of a Go program"',
    "{broken json}",
    '{"status": "not a number", "model": {"a": 1}, "latency_ms": [1], "level": 5, "ts": "yesterday"}',
    '{"": 1, ".": 2, "a..b": 3, "status": 99999999999999999999}',
    '{"modelops": 1, "kubernetes": "x", "@timestamp": "y", "service": []}',
    "[1, 2, 3]",
    "Umlaute äöü, emoji 🚀, a tab\t and a null \\u0000",
    "x" * 20_000,
    '{"event": "' + "y" * 40_000 + '"}',
]


def test_no_line_is_refused_however_awkward(world: World) -> None:
    speak(world, "awkward", f"import time\nfor line in {AWKWARD!r}: print(line, flush=True)\ntime.sleep(600)")
    eventually(lambda: world.elasticsearch.count(said("awkward")) == len(AWKWARD), 120)
    found = {document["message"]: document for document in world.elasticsearch.lines(said("awkward"))}
    assert set(found) == set(AWKWARD)
    assert found["ERROR: something broke"]["log"]["level"] == "error"
    assert found[AWKWARD[2]]["log"]["level"] == "warn"
    assert found[AWKWARD[4]]["modelops"] == {"model": "{a=1}"}


def test_the_lines_of_a_pod_that_is_gone_at_once_arrive_too(world: World) -> None:
    speak(world, "short", "for number in range(200): print('line', number)", restart="Never")
    eventually(lambda: world.elasticsearch.count(said("short")) == 200, 120)


def test_what_ships_asks_only_for_what_its_role_allows(world: World) -> None:
    asked = [entry for entry in world.elasticsearch.control("record") if entry["user"] == "writer"]
    assert asked
    assert all(entry["allowed"] for entry in asked), [entry for entry in asked if not entry["allowed"]]
    requests = {(entry["method"], entry["path"].partition("?")[0]) for entry in asked}
    assert requests == {("GET", "/"), ("GET", "/_license"), ("POST", "/_bulk")}


def test_a_restarted_filebeat_goes_on_where_it_was(world: World) -> None:
    speak(world, "through", WRITER, "through", "0.05")
    eventually(lambda: world.elasticsearch.count(said("through")) > 20, 120)
    kubectl("-n", world.namespace, "rollout", "restart", "daemonset/ship-filebeat")
    kubectl("-n", world.namespace, "rollout", "status", "daemonset/ship-filebeat", "--timeout=240s")
    everything_arrives_once(world, "through")


def outage(world: World, name: str, seconds: float, pause: float) -> int:
    """Takes Elasticsearch away for some time while a pod goes on writing; the number of lines that it wrote."""
    speak(world, name, WRITER, name, str(pause))
    eventually(lambda: world.elasticsearch.count(said(name)) > 0, 120)
    world.elasticsearch.control("stop")
    time.sleep(seconds)
    world.elasticsearch.control("start")
    return everything_arrives_once(world, name)


def everything_arrives_once(world: World, name: str) -> int:
    """Stops a writer and compares what it said with what arrived."""
    written = kubectl("-n", world.namespace, "logs", name).count('"beat"')
    kubectl("-n", world.namespace, "delete", "pod", name, "--wait=true")
    eventually(lambda: world.elasticsearch.count(said(name)) >= written, 240)
    numbers: set[int] = set()
    total = world.elasticsearch.count(said(name))
    for first in range(0, total + 1, 5000):
        part = {
            "bool": {
                "filter": [said(name), {"terms": {"modelops.request_id": [str(n) for n in range(first, first + 5000)]}}]
            }
        }
        numbers |= {int(document["modelops"]["request_id"]) for document in world.elasticsearch.lines(part, 10_000)}
    assert numbers == set(range(max(numbers) + 1)), "lines are missing"
    assert total == len(numbers), "lines came twice"
    return total


def filebeat_ready(world: World) -> bool:
    status = json.loads(kubectl("-n", world.namespace, "get", "daemonset", "ship-filebeat", "-o", "json"))["status"]
    return int(status.get("numberReady", 0)) == int(status["desiredNumberScheduled"])


def test_an_outage_of_a_minute_loses_nothing(world: World, figure: Callable[[str], None]) -> None:
    lines = outage(world, "minute", 60, 0.02)
    figure(f"logs: Elasticsearch away for 60 s, {lines} lines of one pod all there, each once")


def test_filebeat_is_unready_while_nothing_takes_its_lines(world: World) -> None:
    speak(world, "stalled", WRITER, "stalled", "0.2")
    eventually(lambda: world.elasticsearch.count(said("stalled")) > 0, 120)
    world.elasticsearch.control("stop")
    try:
        eventually(lambda: not filebeat_ready(world), 240)
    finally:
        world.elasticsearch.control("start")
    eventually(lambda: filebeat_ready(world), 240)
    everything_arrives_once(world, "stalled")


@pytest.mark.long
def test_an_outage_of_ten_minutes_loses_nothing(world: World, figure: Callable[[str], None]) -> None:
    start = time.monotonic()
    lines = outage(world, "outage", 600, 0.01)
    took = time.monotonic() - start - 600
    figure(f"logs: Elasticsearch away for 10 min, {lines} lines of one pod all there, each once; {took:.0f} s beside")


def test_the_requests_of_a_real_service_arrive(world: World, serving: Any) -> None:
    stack = serving.new_stack()
    stack.up(serving.program("logged", replicas=1, expose="LoadBalancer"))
    url = stack.outputs()["predict_url"]
    for _ in range(5):
        assert post(url, {"inputs": [[0.5]]})[0] == 200
    assert post(url, {"inputs": "wrong"})[0] == 422
    asked = {
        "bool": {
            "filter": [said("logged"), {"term": {"modelops.event": "request"}}, {"term": {"modelops.method": "POST"}}]
        }
    }
    eventually(lambda: world.elasticsearch.count(asked) == 6, 120)
    found = world.elasticsearch.lines(asked)
    assert sorted(document["modelops"]["status"] for document in found) == [200] * 5 + [422]
    assert {document["modelops"]["path"] for document in found} == {"/api/predict"}
    assert {document["service"]["version"] for document in found} == {"double"}
    assert {document["kubernetes"]["namespace"] for document in found} == {serving.namespace}
    assert all(document["modelops"]["latency_ms"] > 0 for document in found)
    per_status = {"size": 0, "query": asked, "aggs": {"statuses": {"terms": {"field": "modelops.status"}}}}
    answer = world.elasticsearch.ask("/modelops-logs-*/_search", per_status)
    assert {bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["statuses"]["buckets"]} == {
        200: 5,
        422: 1,
    }
