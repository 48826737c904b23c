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
from tests.cluster.monitoring.log_support import NAME, PASSWORDS, PREFIX, URL, Elasticsearch, Images, log_images
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
class LogPipeline:
    """Filebeat and a test Elasticsearch in a namespace of their own."""

    namespace: str
    elasticsearch: Elasticsearch
    stack: Stack
    program: Callable[..., Callable[[k8s.Provider], Mapping[str, Any]]]
    """The program, with other passwords where they are given by the user's name."""
    image: str
    """An image with Python."""


def program(images: Images, namespace: str, authority: str, **passwords: str) -> Callable[..., Any]:
    """One component that sets Elasticsearch up as its administrator, and one that ships lines with fewer rights."""

    def elk(user: str, **more: Any) -> dict[str, Any]:
        url = URL.replace(NAME, f"{NAME}.{namespace}.svc")  # for agents in another namespace
        existing = {"url": url, "username": user, "ca_certificate": authority, "setup": user == "admin"}
        password = passwords.get(user, PASSWORDS[user])
        given = {"enabled": True, "existing": existing, "password": password, "logstash": {"enabled": False}}
        return {"namespace": namespace, **OFF, "elk": {**given, **more}}

    def build(provider: k8s.Provider) -> dict[str, Any]:
        on = pulumi.ResourceOptions(provider=provider)
        setup = MonitoringStack(
            "setup",
            elk("admin", filebeat={"enabled": False}, elasticsearch={"image": images.elasticsearch}),  # type: ignore[arg-type]
            on,
        )
        filebeat = {"image": images.filebeat, "queue_size": QUEUE, "resources": TINY}
        after = pulumi.ResourceOptions(provider=provider, depends_on=[setup])
        prometheus = {"image": images.prometheus, "storage_size": "1Gi", "retain_volume": False}
        args = {**elk("writer", filebeat=filebeat), "prometheus": prometheus, "expose": images.expose}
        args["agents_namespace"] = agents_of(namespace)
        return {"prometheus_url": MonitoringStack("ship", args, after).prometheus_url}  # type: ignore[arg-type]

    return build


@pytest.fixture(scope="module")
def pipeline(
    platform_env: dict[str, str], test_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LogPipeline]:
    found = log_images(platform_env)
    namespace = f"mon-logs-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=baseline")
    # Filebeat reads the node's files.
    kubectl("create", "namespace", agents_of(namespace))
    kubectl("label", "namespace", agents_of(namespace), "pod-security.kubernetes.io/enforce=privileged")
    stack = Stack(tmp_path_factory.mktemp("logs") / "stack", namespace=namespace)
    try:
        elasticsearch = Elasticsearch(namespace, found.elasticsearch)
        built = partial(program, found, namespace, elasticsearch.authority)
        stack.up(built())
        yield LogPipeline(namespace, elasticsearch, stack, built, test_image)
    finally:
        stack.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, agents_of(namespace), "--wait=false", check=False)


def agents_of(namespace: str) -> str:
    """Where Filebeat is."""
    return f"{namespace}-agents"


def start_pod(pipeline: LogPipeline, name: str, script: str, *arguments: str, restart: str = "Always") -> None:
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
        "image": pipeline.image,
        "command": ["python3", "-u", "-c", script, *arguments],
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
    }
    spec = {"containers": [container], "restartPolicy": restart, "terminationGracePeriodSeconds": 1}
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": pipeline.namespace, "labels": labels},
        "spec": spec,
    }
    subprocess.run(["kubectl", "apply", "-f", "-"], input=json.dumps(document), text=True, check=True)


def lines_of(name: str) -> dict[str, Any]:
    """A query for the lines of a pod."""
    return {"term": {"service.name": name}}


def test_setup_puts_template_lifecycle_and_pipeline(pipeline: LogPipeline) -> None:
    assert "modelops-logs" in pipeline.elasticsearch.ask("/_ingest/pipeline")
    templates = pipeline.elasticsearch.ask("/_index_template/modelops-logs")["index_templates"]
    assert templates[0]["index_template"]["index_patterns"] == ["modelops-logs-*"]
    asked = [entry for entry in pipeline.elasticsearch.control("record") if entry["path"].startswith("/_ilm/")]
    assert json.loads(asked[-1]["body"])["policy"]["phases"]["delete"]["min_age"] == "14d"


def test_an_unchanged_program_changes_nothing(pipeline: LogPipeline) -> None:
    pipeline.stack.unchanged(pipeline.program())


def test_json_lines_arrive_with_their_fields_and_where_they_come_from(pipeline: LogPipeline) -> None:
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
    start_pod(pipeline, "one-line", f"import time; print({json.dumps(json.dumps(line))}, flush=True); time.sleep(600)")
    found = eventually(lambda: pipeline.elasticsearch.lines(lines_of("one-line")), 120)
    assert len(found) == 1
    document = found[0]
    assert document["_index"] == "modelops-logs-model-service"
    assert document["@timestamp"] == "2026-01-02T03:04:05.678Z"
    assert document["log"]["level"] == "info"
    fields = {key: line[key] for key in line if key not in ("ts", "level", "extra")}
    assert document["modelops"] == fields
    assert json.loads(document["message"]) == line
    assert document["service"] == {"name": "one-line", "type": "model-service", "version": "v7", "track": "canary"}
    assert document["kubernetes"]["namespace"] == pipeline.namespace
    assert document["kubernetes"]["pod"]["name"] == "one-line"
    assert document["kubernetes"]["container"]["name"] == "speak"
    node = json.loads(kubectl("-n", pipeline.namespace, "get", "pod", "one-line", "-o", "json"))["spec"]["nodeName"]
    assert document["kubernetes"]["node"]["name"] == node


TIMES: dict[str, Any] = {
    "seconds": 1796000000,
    "fractions of a second": 1796000000.678,
    "milliseconds": 1796000000678,
    "microseconds": 1796000000678901,
    "nanoseconds": 1796000000678901234,
    "a number as text": "1796000000678",
    "ISO 8601": "2026-11-30T00:53:20.678Z",
    "another time zone": "2026-11-30T01:53:20.678+01:00",
    "Python's logging": "2026-11-30 00:53:20,678",
}
NO_TIMES: dict[str, Any] = {
    "words": "yesterday",
    "seconds since the start": 12.5,
    "a year": 2026,
    "a date that was never set": "0001-01-01T00:00:00Z",
    "a list": [1796000000],
    "far too much": 1e300,
}


def test_a_line_keeps_its_programs_time_whatever_its_unit(pipeline: LogPipeline) -> None:
    lines = [json.dumps({"request_id": name, "ts": ts}) for name, ts in {**TIMES, **NO_TIMES}.items()]
    start_pod(pipeline, "times", f"import time\nfor line in {lines!r}: print(line, flush=True)\ntime.sleep(600)")
    eventually(lambda: pipeline.elasticsearch.count(lines_of("times")) == len(lines), 120)
    found = {each["modelops"]["request_id"]: each for each in pipeline.elasticsearch.lines(lines_of("times"))}
    assert {name: found[name]["@timestamp"][:19] for name in TIMES} == dict.fromkeys(TIMES, "2026-11-30T00:53:20")
    assert not any("tags" in found[name] for name in TIMES)
    for name in NO_TIMES:
        assert found[name]["@timestamp"] == found[name]["event"]["created"]
    unreadable = {"bool": {"filter": [lines_of("times"), {"term": {"tags": "_dateparsefailure"}}]}}
    assert pipeline.elasticsearch.count(unreadable) == len(NO_TIMES)


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


def test_no_line_is_refused_however_awkward(pipeline: LogPipeline) -> None:
    start_pod(pipeline, "awkward", f"import time\nfor line in {AWKWARD!r}: print(line, flush=True)\ntime.sleep(600)")
    eventually(lambda: pipeline.elasticsearch.count(lines_of("awkward")) == len(AWKWARD), 120)
    found = {document["message"]: document for document in pipeline.elasticsearch.lines(lines_of("awkward"))}
    assert set(found) == set(AWKWARD)
    assert found["ERROR: something broke"]["log"]["level"] == "error"
    assert found[AWKWARD[2]]["log"]["level"] == "warn"
    assert found[AWKWARD[4]]["modelops"] == {"model": "{a=1}"}


def test_the_lines_of_a_pod_that_is_gone_at_once_arrive_too(pipeline: LogPipeline) -> None:
    start_pod(pipeline, "short", "for number in range(200): print('line', number)", restart="Never")
    eventually(lambda: pipeline.elasticsearch.count(lines_of("short")) == 200, 120)


def test_what_ships_asks_only_for_what_its_role_allows(pipeline: LogPipeline) -> None:
    start_pod(pipeline, "allowed", "import time; print('a line', flush=True); time.sleep(600)")
    eventually(lambda: pipeline.elasticsearch.count(lines_of("allowed")), 120)
    asked = [entry for entry in pipeline.elasticsearch.control("record") if entry["user"] == "writer"]
    assert all(entry["allowed"] for entry in asked), [entry for entry in asked if not entry["allowed"]]
    requests = {(entry["method"], entry["path"].partition("?")[0]) for entry in asked}
    assert requests == {("GET", "/"), ("GET", "/_license"), ("POST", "/_bulk")}


def start_writer(pipeline: LogPipeline, name: str, *, pause: float, more: int = 0) -> None:
    """Starts a pod that writes numbered lines, `more` characters longer than they need be, until it is stopped."""
    start_pod(pipeline, name, WRITER, name, str(pause), str(more))
    eventually(lambda: pipeline.elasticsearch.count(lines_of(name)) > 0, 120)


def arrived_numbers(pipeline: LogPipeline, name: str, most: int) -> set[int]:
    """The numbers, below `most`, of a writer's lines that are there."""
    numbers: set[int] = set()
    for first in range(0, most, 5000):
        ids = {"terms": {"modelops.request_id": [str(number) for number in range(first, first + 5000)]}}
        part = {"bool": {"filter": [lines_of(name), ids]}}
        found = pipeline.elasticsearch.lines(part, 10_000, only=["modelops.request_id"])
        numbers |= {int(document["modelops"]["request_id"]) for document in found}
    return numbers


def queued_mebibytes(pipeline: LogPipeline) -> float:
    """How many mebibytes wait on the node."""
    peak = PeakUsage()
    peak.sample(pipeline)
    return peak.queue_mebibytes


def stop_writer(pipeline: LogPipeline, name: str) -> int:
    """Stops a writer; returns how many lines it wrote."""

    def inside(*command: str) -> str:
        return kubectl("-n", pipeline.namespace, "exec", name, "--", *command, check=False)

    inside("touch", "/tmp/stop")
    return int(eventually(lambda: inside("sh", "-c", "cat /tmp/written 2>/dev/null"), 60))


def everything_arrives_once(pipeline: LogPipeline, name: str, timeout_seconds: float = 240) -> int:
    """Stops a writer and compares what it wrote with what arrived; how many lines that are."""
    written = stop_writer(pipeline, name)
    with suppress(AssertionError):  # what is missing is told below
        eventually(lambda: pipeline.elasticsearch.count(lines_of(name)) >= written, timeout_seconds, 3)
    kubectl("-n", pipeline.namespace, "delete", "pod", name, "--wait=true")
    missing = sorted(set(range(written)) - arrived_numbers(pipeline, name, written))
    assert not missing, f"{len(missing)} of {written} lines are missing: {missing[:5]} … {missing[-5:]}"
    assert pipeline.elasticsearch.count(lines_of(name)) == written, "lines came twice"
    return written


def test_a_restarted_filebeat_goes_on_where_it_was(pipeline: LogPipeline) -> None:
    start_writer(pipeline, "through", pause=0.05)
    kubectl("-n", agents_of(pipeline.namespace), "rollout", "restart", "daemonset/ship-filebeat")
    kubectl("-n", agents_of(pipeline.namespace), "rollout", "status", "daemonset/ship-filebeat", "--timeout=240s")
    everything_arrives_once(pipeline, "through")


@dataclass
class PeakUsage:
    """The largest queue on the node, and the most memory that Filebeat used."""

    queue_mebibytes: float = 0
    memory_mebibytes: float = 0
    """The most that was resident at any time since Filebeat's start."""

    def sample(self, pipeline: LogPipeline) -> None:
        """Measures both, and keeps the larger values."""
        ask = "du -sk /data/diskqueue 2>/dev/null || echo 0; grep VmHWM /proc/1/status"
        found = kubectl("-n", agents_of(pipeline.namespace), "exec", "daemonset/ship-filebeat", "--", "sh", "-c", ask)
        queue, memory = (int(number) / 1024 for number in re.findall(r"^\D*(\d+)", found, re.MULTILINE))
        self.queue_mebibytes = max(self.queue_mebibytes, queue)
        self.memory_mebibytes = max(self.memory_mebibytes, memory)


@contextmanager
def outage(pipeline: LogPipeline, seconds: float) -> Iterator[PeakUsage]:
    """Stops Elasticsearch for that long before the block runs; yields Filebeat's peak usage."""
    peak, end = PeakUsage(), time.monotonic() + seconds
    pipeline.elasticsearch.control("stop")
    try:
        while time.monotonic() < end:
            time.sleep(5)
            peak.sample(pipeline)
    finally:
        pipeline.elasticsearch.control("start")
    yield peak
    peak.sample(pipeline)


def within_bounds(peak: PeakUsage) -> None:
    # One segment, a tenth of the queue, may be begun and one not yet be deleted.
    assert peak.queue_mebibytes <= bytes_of(QUEUE) / 2**20 * 1.25
    assert peak.memory_mebibytes <= bytes_of(TINY["memory_limit"]) / 2**20 / 2


def filebeat_ready(pipeline: LogPipeline) -> bool:
    status = json.loads(
        kubectl("-n", agents_of(pipeline.namespace), "get", "daemonset", "ship-filebeat", "-o", "json")
    )["status"]
    return int(status.get("numberReady", 0)) == int(status["desiredNumberScheduled"])


def test_an_outage_of_a_minute_loses_nothing(pipeline: LogPipeline, figure: Callable[[str], None]) -> None:
    start_writer(pipeline, "minute", pause=0.02)
    with outage(pipeline, 60):
        lines = everything_arrives_once(pipeline, "minute")
    figure(f"logs: Elasticsearch away for 60 s, {lines} lines of one pod all there, each once")


def test_what_fits_into_the_queue_outlives_its_file(pipeline: LogPipeline, figure: Callable[[str], None]) -> None:
    """The kubelet rotates the container's file meanwhile, and keeps little of it."""
    start_writer(pipeline, "rotated-away", pause=0.01, more=10_000)
    with outage(pipeline, 30) as peak:
        lines = everything_arrives_once(pipeline, "rotated-away", 400)
    assert peak.queue_mebibytes < 0.9 * bytes_of(QUEUE) / 2**20, "the queue was full: another test's matter"
    figure(f"logs: {lines * 10_000 / 2**20:.0f} MiB written around 30 s without Elasticsearch, all there, each once")


def test_a_full_queue_stays_within_its_bounds_and_goes_on(pipeline: LogPipeline, figure: Callable[[str], None]) -> None:
    """More than the queue holds may be lost; what it holds and what comes later may not."""
    start_writer(pipeline, "much", pause=0.005, more=10_000)
    with outage(pipeline, 60) as peak:
        written = stop_writer(pipeline, "much")
        # All but the segments at work.
        eventually(lambda: queued_mebibytes(pipeline) < 16, 480, 5)
    assert peak.queue_mebibytes > 0.9 * bytes_of(QUEUE) / 2**20, "the queue was never full"
    within_bounds(peak)
    start_writer(pipeline, "after", pause=0.1)
    everything_arrives_once(pipeline, "after")
    kubectl("-n", pipeline.namespace, "delete", "pod", "much", "--wait=true")
    found = arrived_numbers(pipeline, "much", written)
    fitted = next(number for number in range(written + 1) if number not in found)
    figure(
        f"logs: {written * 10_000 / 2**20:.0f} MiB written around 60 s without Elasticsearch: queue of {QUEUE} held "
        f"{peak.queue_mebibytes:.0f} MiB, Filebeat {peak.memory_mebibytes:.0f} MiB of memory; "
        f"the first {fitted * 10_000 / 2**20:.0f} MiB are there, of {written} lines {written - len(found)} are lost"
    )
    # The queue is the node's: other pods' lines are in it as well.
    assert fitted * 10_000 > bytes_of(QUEUE) / 2


def test_a_changed_password_reaches_what_ships_and_no_line_is_lost(pipeline: LogPipeline) -> None:
    start_writer(pipeline, "rotated", pause=0.05)
    changed = pipeline.program(writer="anothers")
    pipeline.elasticsearch.control("password/writer/anothers")
    outcome = pipeline.stack.up(changed)
    assert outcome.changed().keys() == {"ship-elk", "ship-filebeat"}
    everything_arrives_once(pipeline, "rotated")
    refused = [entry for entry in pipeline.elasticsearch.control("record") if entry["user"] is None]
    assert refused, "Filebeat's old password was good until the end: nothing was shown"
    pipeline.stack.unchanged(changed)
    pipeline.elasticsearch.control(f"password/writer/{quote(PASSWORDS['writer'])}")
    pipeline.stack.up(pipeline.program())


def test_filebeat_is_unready_while_nothing_takes_its_lines(pipeline: LogPipeline) -> None:
    start_writer(pipeline, "stalled", pause=0.2)
    pipeline.elasticsearch.control("stop")
    try:
        eventually(lambda: not filebeat_ready(pipeline), 240)
    finally:
        pipeline.elasticsearch.control("start")
    eventually(lambda: filebeat_ready(pipeline), 240)
    everything_arrives_once(pipeline, "stalled")


def test_an_outage_of_ten_minutes_loses_nothing(pipeline: LogPipeline, figure: Callable[[str], None]) -> None:
    start_writer(pipeline, "outage", pause=0.01)
    with outage(pipeline, 600) as peak:
        start = time.monotonic()
        lines = everything_arrives_once(pipeline, "outage", 480)
        took = time.monotonic() - start
    within_bounds(peak)
    figure(
        f"logs: Elasticsearch away for 10 min, {lines} lines all there, each once, {took:.0f} s after its return; "
        f"queue of {QUEUE} held {peak.queue_mebibytes:.1f} MiB, Filebeat {peak.memory_mebibytes:.0f} MiB of memory"
    )


def test_the_requests_of_a_real_service_arrive(pipeline: LogPipeline, serving: Any) -> None:
    stack = serving.new_stack()
    stack.up(serving.program("logged", replicas=1, exposed=True))
    url = stack.outputs()["predict_url"]
    for _ in range(5):
        assert post(url, {"inputs": [[0.5]]})[0] == 200
    assert post(url, {"inputs": "wrong"})[0] == 422
    asked = {
        "bool": {
            "filter": [
                lines_of("logged"),
                {"term": {"modelops.event": "request"}},
                {"term": {"modelops.method": "POST"}},
            ]
        }
    }
    eventually(lambda: pipeline.elasticsearch.count(asked) == 6, 120)
    found = pipeline.elasticsearch.lines(asked)
    assert sorted(document["modelops"]["status"] for document in found) == [200] * 5 + [422]
    assert {document["modelops"]["path"] for document in found} == {"/api/predict"}
    assert {document["service"]["version"] for document in found} == {"run-double"}
    assert {document["kubernetes"]["namespace"] for document in found} == {serving.namespace}
    assert all(document["modelops"]["latency_ms"] > 0 for document in found)
    per_status = {"size": 0, "query": asked, "aggs": {"statuses": {"terms": {"field": "modelops.status"}}}}
    answer = pipeline.elasticsearch.ask("/modelops-logs-*/_search", per_status)
    assert {bucket["key"]: bucket["doc_count"] for bucket in answer["aggregations"]["statuses"]["buckets"]} == {
        200: 5,
        422: 1,
    }


def test_every_panel_of_lines_has_data_beside_those_of_metrics(
    pipeline: LogPipeline, serving: Any, figure: Callable[[str], None]
) -> None:
    """The dashboard of lines beside metrics: each query is asked of the real Elasticsearch, or the real Prometheus."""
    since, prometheus = time.time(), pipeline.stack.outputs()["prometheus_url"]
    stack = serving.new_stack()
    stack.up(serving.program("beside", replicas=1, exposed=True))
    url = stack.outputs()["predict_url"]
    start_pod(pipeline, "complains", COMPLAINS)
    in_lines, in_metrics = (
        [query for query in queries(".*", source) if query.dashboard == "logs"]
        for source in ("elasticsearch", "prometheus")
    )
    find = partial(pipeline.elasticsearch.ask, f"/{PREFIX}*/_search")

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
