"""Container lines on their way to Elasticsearch: what arrives, under which name, what is lost when nothing takes it.

Filebeat, the setup Job and Elasticsearch's parse are the real ones; Logstash and Kibana can't be had where this runs.
"""

import itertools
import json
import os
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import MonitoringStack
from modelops.core.quantities import bytes_of
from tests.cluster.monitoring.log_support import PASSWORDS, PREFIX, URL, Elasticsearch, Images, log_images
from tests.cluster.monitoring.panels import ask, over_time, queries, search, series
from tests.cluster.provider.harness import Stack
from tests.cluster.support import eventually, kubectl, post

pytestmark = [pytest.mark.monitoring, pytest.mark.long]

OFF = {part: {"enabled": False} for part in ("prometheus", "alertmanager", "node_exporter", "kube_state_metrics")}
TINY = {"cpu": "20m", "memory": "96Mi", "memory_limit": "400Mi"}
QUEUE = "64Mi"
WRITER = """
import itertools, json, os, sys, time
name, pause, more = sys.argv[1], float(sys.argv[2]), "x" * int(sys.argv[3])
for number in itertools.count():
    if os.path.exists("/tmp/stop"):
        break
    print(json.dumps({"event": "beat", "run_id": name, "request_id": str(number), "more": more}), flush=True)
    time.sleep(pause)
with open("/tmp/written", "w") as file:
    file.write(str(number))
time.sleep(3600)
"""

COMPLAINS = """
import itertools, json, time
for number in itertools.count():
    level = "warning" if number % 3 else "error"
    print(json.dumps({"level": level, "event": "complaint", "request_id": str(number)}), flush=True)
    time.sleep(1)
"""


@dataclass
class World:
    """Where the tests run."""

    namespace: str
    elasticsearch: Elasticsearch
    stack: Stack
    program: Callable[..., Callable[[k8s.Provider], Mapping[str, Any]]]
    """The program, with other passwords where they are given by the user's name."""
    image: str
    """An image with Python."""


def program(world_images: Images, namespace: str, authority: str, **passwords: str) -> Callable[..., Any]:
    """One component that sets Elasticsearch up as its administrator, and one that ships lines with fewer rights."""

    def elk(user: str, **more: Any) -> dict[str, Any]:
        existing = {"url": URL, "username": user, "ca_certificate": authority, "setup": user == "admin"}
        password = passwords.get(user, PASSWORDS[user])
        given = {"enabled": True, "existing": existing, "password": password, "logstash": {"enabled": False}}
        return {"namespace": namespace, **OFF, "elk": {**given, **more}}

    def build(provider: k8s.Provider) -> dict[str, Any]:
        on = pulumi.ResourceOptions(provider=provider)
        setup = MonitoringStack(
            "setup",
            elk("admin", filebeat={"enabled": False}, elasticsearch={"image": world_images.elasticsearch}),  # type: ignore[arg-type]
            on,
        )
        filebeat = {"image": world_images.filebeat, "queue_size": QUEUE, "resources": TINY}
        after = pulumi.ResourceOptions(provider=provider, depends_on=[setup])
        prometheus = {"image": world_images.prometheus, "storage_size": "1Gi", "retain_volume": False}
        args = {**elk("writer", filebeat=filebeat), "prometheus": prometheus, "expose": world_images.expose}
        return {"prometheus_url": MonitoringStack("ship", args, after).prometheus_url}  # type: ignore[arg-type]

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
        built = partial(program, found, namespace, elasticsearch.authority)
        stack.up(built())
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
    world.stack.unchanged(world.program())


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
    speak(world, "allowed", "import time; print('a line', flush=True); time.sleep(600)")
    eventually(lambda: world.elasticsearch.count(said("allowed")), 120)
    asked = [entry for entry in world.elasticsearch.control("record") if entry["user"] == "writer"]
    assert all(entry["allowed"] for entry in asked), [entry for entry in asked if not entry["allowed"]]
    requests = {(entry["method"], entry["path"].partition("?")[0]) for entry in asked}
    assert requests == {("GET", "/"), ("GET", "/_license"), ("POST", "/_bulk")}


def write(world: World, name: str, *, pause: float, more: int = 0) -> None:
    """Starts a pod that writes numbered lines, `more` characters longer than they need be, until it is told to stop."""
    speak(world, name, WRITER, name, str(pause), str(more))
    eventually(lambda: world.elasticsearch.count(said(name)) > 0, 120)


def arrived(world: World, name: str, most: int) -> set[int]:
    """The numbers, below `most`, of a writer's lines that are there."""
    numbers: set[int] = set()
    for first in range(0, most, 5000):
        ids = {"terms": {"modelops.request_id": [str(number) for number in range(first, first + 5000)]}}
        part = {"bool": {"filter": [said(name), ids]}}
        found = world.elasticsearch.lines(part, 10_000, only=["modelops.request_id"])
        numbers |= {int(document["modelops"]["request_id"]) for document in found}
    return numbers


def queued(world: World) -> float:
    """How many mebibytes wait on the node."""
    held = Held()
    held.look(world)
    return held.queue_mebibytes


def stop(world: World, name: str) -> int:
    """Has a writer write no more; how many lines it wrote."""

    def inside(*command: str) -> str:
        return kubectl("-n", world.namespace, "exec", name, "--", *command, check=False)

    inside("touch", "/tmp/stop")
    return int(eventually(lambda: inside("sh", "-c", "cat /tmp/written 2>/dev/null"), 60))


def everything_arrives_once(world: World, name: str, timeout_seconds: float = 240) -> int:
    """Stops a writer and compares what it wrote with what arrived; how many lines that are."""
    written = stop(world, name)
    with suppress(AssertionError):  # what is missing is told below
        eventually(lambda: world.elasticsearch.count(said(name)) >= written, timeout_seconds, 3)
    kubectl("-n", world.namespace, "delete", "pod", name, "--wait=true")
    missing = sorted(set(range(written)) - arrived(world, name, written))
    assert not missing, f"{len(missing)} of {written} lines are missing: {missing[:5]} … {missing[-5:]}"
    assert world.elasticsearch.count(said(name)) == written, "lines came twice"
    return written


def test_a_restarted_filebeat_goes_on_where_it_was(world: World) -> None:
    write(world, "through", pause=0.05)
    kubectl("-n", world.namespace, "rollout", "restart", "daemonset/ship-filebeat")
    kubectl("-n", world.namespace, "rollout", "status", "daemonset/ship-filebeat", "--timeout=240s")
    everything_arrives_once(world, "through")


@dataclass
class Held:
    """What waited on the node, and what Filebeat took for it."""

    queue_mebibytes: float = 0
    memory_mebibytes: float = 0
    """The most that was resident at any time since Filebeat's start."""

    def look(self, world: World) -> None:
        """Notes the largest so far."""
        ask = "du -sk /data/diskqueue 2>/dev/null || echo 0; grep VmHWM /proc/1/status"
        found = kubectl("-n", world.namespace, "exec", "daemonset/ship-filebeat", "--", "sh", "-c", ask)
        queue, memory = (int(number) / 1024 for number in re.findall(r"^\D*(\d+)", found, re.MULTILINE))
        self.queue_mebibytes = max(self.queue_mebibytes, queue)
        self.memory_mebibytes = max(self.memory_mebibytes, memory)


@contextmanager
def outage(world: World, seconds: float) -> Iterator[Held]:
    """Elasticsearch is away for that long, before what is in the block; what Filebeat holds meanwhile."""
    held, end = Held(), time.monotonic() + seconds
    world.elasticsearch.control("stop")
    try:
        while time.monotonic() < end:
            time.sleep(5)
            held.look(world)
    finally:
        world.elasticsearch.control("start")
    yield held
    held.look(world)


def within_bounds(held: Held) -> None:
    # One segment, a tenth of the queue, may be begun and one not yet be deleted.
    assert held.queue_mebibytes <= bytes_of(QUEUE) / 2**20 * 1.25
    assert held.memory_mebibytes <= bytes_of(TINY["memory_limit"]) / 2**20 / 2


def filebeat_ready(world: World) -> bool:
    status = json.loads(kubectl("-n", world.namespace, "get", "daemonset", "ship-filebeat", "-o", "json"))["status"]
    return int(status.get("numberReady", 0)) == int(status["desiredNumberScheduled"])


def test_an_outage_of_a_minute_loses_nothing(world: World, figure: Callable[[str], None]) -> None:
    write(world, "minute", pause=0.02)
    with outage(world, 60):
        lines = everything_arrives_once(world, "minute")
    figure(f"logs: Elasticsearch away for 60 s, {lines} lines of one pod all there, each once")


def test_what_fits_into_the_queue_outlives_its_file(world: World, figure: Callable[[str], None]) -> None:
    """The kubelet rotates the container's file meanwhile, and keeps little of it."""
    write(world, "rotated-away", pause=0.01, more=10_000)
    with outage(world, 30) as held:
        lines = everything_arrives_once(world, "rotated-away", 400)
    assert held.queue_mebibytes < 0.9 * bytes_of(QUEUE) / 2**20, "the queue was full: another test's matter"
    figure(f"logs: {lines * 10_000 / 2**20:.0f} MiB written around 30 s without Elasticsearch, all there, each once")


def test_a_full_queue_stays_within_its_bounds_and_goes_on(world: World, figure: Callable[[str], None]) -> None:
    """More than the queue holds may be lost; what it holds and what comes later may not."""
    write(world, "much", pause=0.005, more=10_000)
    with outage(world, 60) as held:
        written = stop(world, "much")
        # All but the segments at work.
        eventually(lambda: queued(world) < 16, 480, 5)
    assert held.queue_mebibytes > 0.9 * bytes_of(QUEUE) / 2**20, "the queue was never full"
    within_bounds(held)
    write(world, "after", pause=0.1)
    everything_arrives_once(world, "after")
    kubectl("-n", world.namespace, "delete", "pod", "much", "--wait=true")
    found = arrived(world, "much", written)
    fitted = next(number for number in range(written + 1) if number not in found)
    figure(
        f"logs: {written * 10_000 / 2**20:.0f} MiB written around 60 s without Elasticsearch: queue of {QUEUE} held "
        f"{held.queue_mebibytes:.0f} MiB, Filebeat {held.memory_mebibytes:.0f} MiB of memory; "
        f"the first {fitted * 10_000 / 2**20:.0f} MiB are there, of {written} lines {written - len(found)} are lost"
    )
    # The queue is the node's: other pods' lines are in it as well.
    assert fitted * 10_000 > bytes_of(QUEUE) / 2


def test_a_changed_password_reaches_what_ships_and_no_line_is_lost(world: World) -> None:
    write(world, "rotated", pause=0.05)
    changed = world.program(writer="anothers")
    world.elasticsearch.control("password/writer/anothers")
    outcome = world.stack.up(changed)
    assert outcome.changed().keys() == {"ship-elk", "ship-filebeat"}
    everything_arrives_once(world, "rotated")
    refused = [entry for entry in world.elasticsearch.control("record") if entry["user"] is None]
    assert refused, "Filebeat's old password was good until the end: nothing was shown"
    world.stack.unchanged(changed)
    world.elasticsearch.control(f"password/writer/{quote(PASSWORDS['writer'])}")
    world.stack.up(world.program())


def test_filebeat_is_unready_while_nothing_takes_its_lines(world: World) -> None:
    write(world, "stalled", pause=0.2)
    world.elasticsearch.control("stop")
    try:
        eventually(lambda: not filebeat_ready(world), 240)
    finally:
        world.elasticsearch.control("start")
    eventually(lambda: filebeat_ready(world), 240)
    everything_arrives_once(world, "stalled")


def test_an_outage_of_ten_minutes_loses_nothing(world: World, figure: Callable[[str], None]) -> None:
    write(world, "outage", pause=0.01)
    with outage(world, 600) as held:
        start = time.monotonic()
        lines = everything_arrives_once(world, "outage", 480)
        took = time.monotonic() - start
    within_bounds(held)
    figure(
        f"logs: Elasticsearch away for 10 min, {lines} lines all there, each once, {took:.0f} s after its return; "
        f"queue of {QUEUE} held {held.queue_mebibytes:.1f} MiB, Filebeat {held.memory_mebibytes:.0f} MiB of memory"
    )


def test_the_requests_of_a_real_service_arrive(world: World, serving: Any) -> None:
    stack = serving.new_stack()
    stack.up(serving.program("logged", replicas=1, exposed=True))
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


def test_every_panel_of_lines_has_data_beside_those_of_metrics(
    world: World, serving: Any, figure: Callable[[str], None]
) -> None:
    """The dashboard of lines beside metrics: each query is asked of the real Elasticsearch, or the real Prometheus."""
    since, prometheus = time.time(), world.stack.outputs()["prometheus_url"]
    stack = serving.new_stack()
    stack.up(serving.program("beside", replicas=1, exposed=True))
    url = stack.outputs()["predict_url"]
    speak(world, "complains", COMPLAINS)
    in_lines, in_metrics = (
        [query for query in queries(".*", source) if query.dashboard == "logs"]
        for source in ("elasticsearch", "prometheus")
    )
    find = partial(world.elasticsearch.ask, f"/{PREFIX}*/_search")

    def without_data() -> set[str]:
        now = time.time()
        answers = [(query, find(search(query, since, now))) for query in in_lines]
        empty = {query.panel for query, answer in answers if not (answer["hits"]["hits"] or series(query, answer))}
        return empty | {query.panel for query in in_metrics if not over_time(prometheus, query.expression, since, now)}

    def work(seconds: float) -> None:
        end = time.monotonic() + seconds
        for index in itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()):
            assert post(url, {"inputs": [[0.5]] if index % 10 else "wrong"})[0] in (200, 422)
            time.sleep(0.05)

    end = time.monotonic() + 180
    while (empty := without_data()) and time.monotonic() < end:
        work(5)
    assert empty == set()
    figure(f"dashboard of logs: {len(in_lines)} queries of lines and {len(in_metrics)} of metrics, none empty")
    if folder := os.environ.get("MODELOPS_DRAW_TO"):
        from tests.cluster.monitoring.render import asked_by, draw

        work(300)
        of = '{job="resource", container="filebeat"}'
        [cpus] = ask(prometheus, f"rate(container_cpu_usage_seconds_total{of}[4m])")
        [memory] = ask(prometheus, f"max_over_time(container_memory_working_set_bytes{of}[4m])")
        figure(f"Filebeat: {float(cpus['value'][1]):.3f} CPUs, {int(memory['value'][1]) / 2**20:.0f} MiB of memory")
        draw("logs", prometheus, asked_by("logs", ".*"), (time.time() - since) / 60, Path(folder), find)
