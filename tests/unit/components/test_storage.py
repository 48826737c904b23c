"""Volumes: what they are called, which stay, and how one that stayed is taken up again."""

from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from modelops import ArgumentsError, DataPipeline, ModelRegistry, ModelService, MonitoringStack, TrainingJob
from tests.unit.components.harness import IMAGE, Program, pod, run

TRACKING = {"namespace": "ml", "image": IMAGE, "tracking_uri": "http://registry.ml.svc:5000"}
DATA = {"namespace": "ml", "image": IMAGE, "sources": [{"uri": "s3://raw/x.parquet", "format": "parquet"}]}


def pipeline(volume: Any) -> DataPipeline:
    steps: Any = [{"split": {"by": "random"}}]
    return DataPipeline("d", {**DATA, "steps": steps, "volume": volume})  # type: ignore[typeddict-item]


def training(**volumes: Any) -> TrainingJob:
    args: Any = {**TRACKING, "model_name": "linear", "framework": "tensorflow", **volumes}
    return TrainingJob("t", args)


def registry(**more: Any) -> ModelRegistry:
    args: Any = {"namespace": "ml", **more}
    return ModelRegistry("r", args)


def monitoring(part: str, **settings: Any) -> MonitoringStack:
    """A stack with that one part, or that program of the log pipeline."""
    off = {"enabled": False}
    args: Any = {"namespace": "ml", "prometheus": off, "alertmanager": off, "node_exporter": off}
    args["kube_state_metrics"] = off
    if part == "logstash":
        args["elk"] = {"enabled": True, "logstash": settings}
    else:
        args[part] = settings
    return MonitoringStack("m", args)


def service() -> ModelService:
    args: Any = {**TRACKING, "model_uri": "models:/linear/1", "cache": {}}
    return ModelService("s", args)


ALL: dict[str, Callable[[], pulumi.Resource]] = {
    "prometheus": lambda: monitoring("prometheus"),
    "alertmanager": lambda: monitoring("alertmanager"),
    "logstash": lambda: monitoring("logstash"),
    "registry": registry,
    "backup": lambda: registry(backup={}, artifacts={"uri": "s3://a/b"}, database={}),
    "checkpoints": lambda: training(checkpoints={"size": "1Gi"}),
    "model cache of a training": lambda: training(model_cache={"size": "1Gi"}),
    "data": lambda: pipeline({"size": "1Gi"}),
    "models of a service": service,
}
KEPT: dict[str, tuple[Callable[..., pulumi.Resource], str, str]] = {
    "prometheus": (lambda **given: monitoring("prometheus", **given), "Deployment", "data"),
    "alertmanager": (lambda **given: monitoring("alertmanager", **given), "Deployment", "data"),
    "logstash": (lambda **given: monitoring("logstash", **given), "logstash", "queue"),
    "backup": (lambda **given: registry(backup=given), "CronJob", "backup"),
}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_volume_has_no_fixed_name_that_one_that_stayed_could_have_and_keeps_the_name_that_it_has(
    make: Callable[[], pulumi.Resource],
) -> None:
    [claim] = run(make).of("PersistentVolumeClaim")
    assert "name" not in claim.inputs["metadata"]
    assert claim.options["ignore_changes"] == ["metadata.name", 'metadata.annotations["pulumi.com/autonamed"]']


def volume(program: Program, workload: str, name: str) -> dict[str, Any]:
    """A volume of a workload's pods."""
    if workload == "CronJob":
        found = program.of("CronJob")[0].inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"]
    else:
        found = pod(program.one("Deployment", None if workload == "Deployment" else f"m-{workload}"))["volumes"]
    return next(dict(each) for each in found if each["name"] == name)


@pytest.mark.parametrize(("make", "workload", "name"), KEPT.values(), ids=KEPT)
def test_a_volume_that_an_earlier_stack_left_is_taken_up_by_its_name(
    make: Callable[..., pulumi.Resource], workload: str, name: str
) -> None:
    made, taken = run(make), run(lambda: make(claim="left-1a2b"))
    own = {each.name for each in made.of("PersistentVolumeClaim")}
    assert len(own - {each.name for each in taken.of("PersistentVolumeClaim")}) == 1
    assert volume(made, workload, name)["persistentVolumeClaim"]["claimName"].endswith("-1a2b3c4d")
    assert volume(taken, workload, name)["persistentVolumeClaim"]["claimName"] == "left-1a2b"


@pytest.mark.parametrize(("make", "workload", "name"), KEPT.values(), ids=KEPT)
def test_a_volume_that_is_there_has_its_class_already(
    make: Callable[..., pulumi.Resource], workload: str, name: str
) -> None:
    with pytest.raises(ArgumentsError, match="storage_class is 'fast', must not be given with claim"):
        run(lambda: make(claim="left-1a2b", storage_class="fast"))
