"""Volumes: what they are called, which stay, and how one that stayed is taken up again."""

from collections.abc import Callable
from functools import partial
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


def kept(part: str, **settings: Any) -> pulumi.Resource:
    """What has a volume that stays, with settings of that part."""
    return registry(backup=settings) if part == "backup" else monitoring(part, **settings)


KEPT = {"prometheus": "data", "alertmanager": "data", "logstash": "queue", "backup": "backup"}
"""What the volume is called in the pods."""
ALL: dict[str, Callable[[], pulumi.Resource]] = {
    **{part: partial(kept, part) for part in KEPT},
    "registry": registry,
    "checkpoints": lambda: training(checkpoints={"storage_size": "1Gi"}),
    "model cache of a training": lambda: training(model_cache={"storage_size": "1Gi"}),
    "data": lambda: pipeline({"storage_size": "1Gi"}),
    "models of a service": service,
}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_volume_has_no_fixed_name_that_one_that_stayed_could_have_and_keeps_the_name_that_it_has(
    make: Callable[[], pulumi.Resource],
) -> None:
    claims = run(make).of("PersistentVolumeClaim")
    assert claims
    for claim in claims:
        assert "name" not in claim.inputs["metadata"]
        assert claim.options["ignore_changes"] == ["metadata.name", 'metadata.annotations["pulumi.com/autonamed"]']


def claim_name(program: Program, part: str) -> str:
    """The claim that the part's pods name."""
    if part == "backup":
        volumes = program.one("CronJob", "r-backup").inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"][
            "volumes"
        ]
    else:
        volumes = pod(program.one("Deployment", f"m-{part}"))["volumes"]
    return str(next(each for each in volumes if each["name"] == KEPT[part])["persistentVolumeClaim"]["claimName"])


@pytest.mark.parametrize("part", KEPT)
def test_a_volume_that_an_earlier_stack_left_is_taken_up_by_its_name(part: str) -> None:
    made, taken = run(partial(kept, part)), run(partial(kept, part, claim="left-1a2b"))
    own = {each.name for each in made.of("PersistentVolumeClaim")}
    assert len(own - {each.name for each in taken.of("PersistentVolumeClaim")}) == 1
    assert claim_name(made, part).endswith("-1a2b3c4d")
    assert claim_name(taken, part) == "left-1a2b"


@pytest.mark.parametrize("part", KEPT)
def test_a_volume_that_is_there_has_its_class_already(part: str) -> None:
    with pytest.raises(ArgumentsError, match="storage_class is 'fast', must not be given with claim"):
        run(partial(kept, part, claim="left-1a2b", storage_class="fast"))
