"""What MonitoringStack sees of the other components, none of which says a word of it, and where its alerts go.

One stack for all the tests: monitoring, a service that can be made to fail, a training, a data pipeline, beside the
registry that the serving tests have.
"""

import itertools
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import DataPipeline, ModelImage, ModelService, MonitoringStack, TrainingJob
from tests.cluster.monitoring import receiver
from tests.cluster.monitoring.panels import EMPTY, ask, over_time, queries
from tests.cluster.provider.harness import Stack
from tests.cluster.serving.canary_support import faulty_image
from tests.cluster.serving.support import Serving, image_args
from tests.cluster.support import eventually, exposure, kubectl, platform_facts
from tests.cluster.training.registry import platform_image
from tests.load import INPUTS, load
from tests.models import model_archive

pytestmark = [pytest.mark.monitoring, pytest.mark.long]

SMALL = {"cpu": "20m", "memory": "96Mi", "memory_limit": "512Mi"}
PROGRAMS = ("prometheus", "alertmanager", "node_exporter", "kube_state_metrics")
TRAINING = (Path(__file__).parents[1] / "training" / "tiny_training.py").read_text()
# Long enough to be sampled twice.
PREPARING = ["python3", "-c", "import time; end = time.time() + 40\nwhile time.time() < end: sum(range(10**5))"]


@dataclass
class MonitoredStack:
    """Where everything is."""

    serving: Serving
    namespace: str
    """Of the monitoring."""
    model: str
    """A model as a variable takes it."""
    train_image: str
    prometheus_url: str
    predict_url: str
    since: float
    """When all this began, in seconds of Unix time."""

    def ask(self, query: str) -> list[dict[str, Any]]:
        return ask(self.prometheus_url, query)

    def value(self, query: str) -> float:
        """Of a query with one result; OSError where there is none yet."""
        found = self.ask(query)
        if len(found) != 1:
            raise OSError(f"{query}: {found}")
        return float(found[0]["value"][1])


def training(serving: Serving, image: pulumi.Input[str], model: str, **changes: Any) -> dict[str, Any]:
    return {
        "image": image,
        "model_name": "watched",
        "framework": "tensorflow",
        "namespace": serving.namespace,
        "tracking_uri": serving.tracking_uri,
        "command": ["python", "-c", TRAINING],
        "environment": {"TINY_MODEL": model},
        "resources": SMALL,
        "timeout_seconds": 600,
        **changes,
    }


@pytest.fixture(scope="module")
def monitored(
    serving: Serving, platform_env: dict[str, str], test_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MonitoredStack]:
    facts = platform_facts()
    namespace = f"watching-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged")
    model = model_archive(tmp_path_factory.mktemp("model") / "model", "watched")
    hook = receiver.start(namespace, test_image)
    expose = exposure()

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        there: Any = pulumi.ResourceOptions(provider=provider)
        parts: dict[str, Any] = {part: {"image": platform_image(facts, part)} for part in PROGRAMS}
        parts["prometheus"] |= {"storage_size": "1Gi", "retain_volume": False}
        webhook = {"url": hook, "token": pulumi.Output.secret(receiver.TOKEN)}
        parts["alertmanager"] |= {"receivers": {"webhook": webhook}, "heartbeat_url": hook, "retain_volume": False}
        args: Any = {"namespace": namespace, "watched_namespaces": [serving.namespace], "expose": expose, **parts}
        monitoring = MonitoringStack("watch", args, there)
        faulty: Any = serving.args(image=faulty_image(serving.image, facts, "errors"), replicas=1, expose=expose)
        service = ModelService("failing", faulty, there)
        image = ModelImage("train", image_args(facts, "train")).ref  # type: ignore[arg-type]
        run: Any = training(serving, image, model, parameters={"mse": 0.2, "hold": 40})
        TrainingJob("train", run, there)
        pipeline: Any = {
            "image": test_image,
            "namespace": serving.namespace,
            "sources": [{"uri": "/data/raw.csv", "types": {"y": "number"}}],
            "steps": [{"split": {"by": "random"}}],
            "destination": "s3://nowhere/prepared",
            "command": PREPARING,
            "resources": SMALL,
        }
        DataPipeline("prepared", pipeline, there)
        DataPipeline("yearly", {**pipeline, "schedule": "0 3 1 1 *", "time_zone": "Europe/Berlin"}, there)
        return {"prometheus_url": monitoring.prometheus_url, "predict_url": service.predict_url, "image": image}

    stack = Stack(tmp_path_factory.mktemp("watched") / "stack", namespace=serving.namespace)
    try:
        since = time.time()
        stack.up(program)
        found = stack.outputs()
        urls = found["prometheus_url"], found["predict_url"]
        yield MonitoredStack(serving, namespace, model, found["image"], *urls, since)
    finally:
        stack.destroy(succeed=None)
        kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def labels(component: str) -> str:
    return f'label_app_kubernetes_io_part_of="modelops", label_app_kubernetes_io_component="{component}"'


def test_every_component_is_found_without_a_word(monitored: MonitoredStack) -> None:
    here = f'namespace="{monitored.serving.namespace}"'
    wanted = {
        "service": f'up{{component="model-service", service="failing", {here}}} == 1',
        "registry": f'up{{component="model-registry", {here}}} == 1',
        "registry's state": f"modelops_registry_up{{{here}}} == 1",
        "service's size": f'service:modelops_replicas:max{{service="failing", {here}}} == 1',
        "service's address": f'kube_endpointslice_labels{{label_kubernetes_io_service_name="failing", {here}}}',
        "service's pods": f'kube_endpointslice_endpoints{{targetref_name=~"failing-.+", {here}}}',
        "training's Job": f"kube_job_labels{{{labels('training-job')}, {here}}}",
        "training's run": f'modelops_run_info{{model="watched", status="FINISHED", {here}}}',
        "training's container": f'last_over_time(container_cpu_usage_seconds_total{{container="train", {here}}}[1h])',
        "pipeline's Job": f"kube_job_labels{{{labels('data-pipeline')}, {here}}}",
        "pipeline's CronJob": f'kube_cronjob_next_schedule_time{{cronjob=~"yearly.*", {here}}}',
        "pipeline's container": f'last_over_time(container_cpu_usage_seconds_total{{container="prepare", {here}}}[1h])',
        "nodes": "node_load5",
        "Alertmanager": "alertmanager_build_info",
    }
    eventually(lambda: all(monitored.ask(query) for query in wanted.values()), 90, 3)
    assert [name for name, query in wanted.items() if not monitored.ask(query)] == []
    assert monitored.ask("up == 0") == []


def test_objects_of_other_namespaces_are_not_watched(monitored: MonitoredStack) -> None:
    eventually(lambda: monitored.ask("kube_pod_container_info"), 90, 3)
    found = monitored.ask('count by (namespace) ({job="kube-state-metrics", __name__=~"kube_.+"})')
    assert {each["metric"].get("namespace") for each in found} == {monitored.serving.namespace, monitored.namespace}


def test_the_watchdog_reaches_the_heartbeat_every_minute(monitored: MonitoredStack) -> None:
    def beats() -> list[float]:
        found = receiver.alerts(monitored.namespace, "Watchdog")
        assert not any(each["authorization"] for each in found), "it is not for the team's receiver"
        return [each["at"] for each in found]

    eventually(lambda: len(beats()) >= 4, 300, 5)
    assert all(45 <= later - earlier <= 90 for earlier, later in itertools.pairwise(beats()))


def test_what_a_job_measured_is_still_scraped_when_it_is_gone(monitored: MonitoredStack) -> None:
    namespace, measured = monitored.serving.namespace, 'modelops_run_metric{model="watched", metric="mse"}'
    kubectl("delete", "pods", "--namespace", namespace, "--selector", "app.kubernetes.io/instance=train", "--wait=true")
    gone = time.time()
    eventually(lambda: monitored.value(f"timestamp({measured})") > gone, 60)
    assert monitored.value(measured) == pytest.approx(0.2)
    assert monitored.value('modelops_run_duration_seconds{model="watched"}') > 30


def test_every_panel_has_data(monitored: MonitoredStack, figure: Callable[[str], None]) -> None:
    with load(monitored.predict_url, callers=1):
        found = list(queries(monitored.serving.namespace))

        def without_data() -> set[tuple[str, str]]:
            """Panels that would be empty on a page that shows the time since all this began."""
            now = time.time()
            return {
                (each.dashboard, each.panel)
                for each in found
                if not over_time(monitored.prometheus_url, each.expression, monitored.since, now)
            }

        end = time.monotonic() + 120
        while (empty := without_data()) - set(EMPTY) and time.monotonic() < end:
            time.sleep(5)
    figure(
        f"dashboards: {len(found)} queries of {len({(q.dashboard, q.panel) for q in found})} panels, "
        f"empty: {sorted(empty)}"
    )
    assert empty - set(EMPTY) == set()


def test_a_service_that_fails_reaches_the_receiver_within_the_alerts_time(
    monitored: MonitoredStack, figure: Callable[[str], None]
) -> None:
    name = "ModelServiceErrorBudgetBurning"
    assert receiver.alerts(monitored.namespace, name) == []
    start = time.time()
    with load(
        monitored.predict_url, callers=2, pause_seconds=0.05, inputs=INPUTS
    ):  # every fifth request is one that fails
        (found, *_) = eventually(lambda: receiver.alerts(monitored.namespace, name), 300, 3)
    took = found["at"] - start
    figure(f"alert: {name} at the webhook {took:.0f} s after the service began to fail")
    # Two minutes of its own, half a minute in which Alertmanager collects, and a scrape and an evaluation before each.
    assert 120 <= took <= 120 + 30 + 60
    assert found["labels"]["service"] == "failing" and found["labels"]["severity"] == "critical"
    assert found["labels"]["window"] == "1h"
    assert found["authorization"] == f"Bearer {receiver.TOKEN}"


def test_a_model_that_its_gate_refuses_reaches_the_receiver(
    monitored: MonitoredStack, figure: Callable[[str], None]
) -> None:
    refused: Any = training(
        monitored.serving,
        monitored.train_image,
        monitored.model,
        parameters={"mse": 0.3},
        gate={"mse": {"max": 0.1}},
    )

    def program(provider: k8s.Provider) -> Mapping[str, Any]:
        TrainingJob("refused", refused, pulumi.ResourceOptions(provider=provider))
        return {}

    outcome = monitored.serving.new_stack().up(program, succeed=False)
    start = time.time()
    assert "0.1" in outcome.text
    for name in ("TrainingJobFailed", "TrainingGateFailed"):
        (found, *_) = eventually(lambda name=name: receiver.alerts(monitored.namespace, name), 240, 3)
        assert found["labels"]["job_name"].startswith("refused")
        figure(f"alert: {name} at the webhook {found['at'] - start:.0f} s after the update had failed")
