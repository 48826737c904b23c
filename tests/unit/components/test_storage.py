"""Volumes: what they are called, which stay, and how one that stayed is taken up again."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops import ArgumentsError, DataPipeline, ModelRegistry, ModelService, MonitoringStack, TrainingJob
from modelops.core.quantities import number_of
from modelops.kubernetes.volume_sizes import tell
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
    elif part == "elk":
        args["elk"] = settings
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
def test_a_volume_has_no_fixed_name_that_one_that_stayed_could_have_and_leaves_its_name_to_the_provider(
    make: Callable[[], pulumi.Resource],
) -> None:
    claims = run(make).of("PersistentVolumeClaim")
    assert claims
    for claim in claims:
        assert "name" not in claim.inputs["metadata"]
        # Ignored, the annotation of generated names would go through the program, and the provider warns of that.
        assert not [path for path in claim.options["ignore_changes"] if path.startswith("metadata")]


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_another_storage_class_leaves_a_volume_as_it_is_instead_of_making_an_empty_one(
    make: Callable[[], pulumi.Resource],
) -> None:
    for claim in run(make).of("PersistentVolumeClaim"):
        assert {*claim.options["ignore_changes"]} == {"spec.storageClassName", "spec.accessModes"}


PRODUCTION = {"database": {"storage_size": "2Gi"}, "auth": {"admin_password": "long-enough-secret"}, "backup": {}}
NODES = {
    "the registry's database": (lambda: registry(**PRODUCTION), "r-postgres", ["data-r-postgres-0"], "2Gi"),
    "Elasticsearch": (
        lambda: monitoring("logstash", enabled=False),
        "m-elasticsearch",
        ["data-m-elasticsearch-0"],
        "20Gi",
    ),
    "three nodes of Elasticsearch": (
        lambda: elasticsearch(nodes=3, storage_size="30Gi"),
        "m-elasticsearch",
        [f"data-m-elasticsearch-{node}" for node in range(3)],
        "30Gi",
    ),
}


def elasticsearch(**settings: Any) -> MonitoringStack:
    return monitoring("elk", enabled=True, elasticsearch=settings)


@pytest.mark.parametrize(("make", "nodes", "claims", "size"), NODES.values(), ids=NODES)
def test_the_volumes_of_a_statefulset_grow_in_place(
    make: Callable[[], pulumi.Resource], nodes: str, claims: list[str], size: str
) -> None:
    program = run(make)
    assert program.one("StatefulSet", nodes).options["ignore_changes"] == ["spec.volumeClaimTemplates"]
    patches = program.of("PersistentVolumeClaimPatch")
    assert [patch.inputs["metadata"]["name"] for patch in patches] == claims
    for patch in patches:
        assert patch.inputs["metadata"]["namespace"] == "ml"
        assert patch.inputs["metadata"]["annotations"]["pulumi.com/patchForce"] == "true"
        assert patch.inputs["spec"] == {"resources": {"requests": {"storage": size}}}
        assert patch.options["retain_on_delete"] and nodes in patch.options["dependencies"]


TAKEN = {
    "the registry's database": (lambda: registry(database={"claim": "left"}), "r-postgres"),
    "Elasticsearch": (lambda: elasticsearch(claim="left"), "m-elasticsearch"),
}


@pytest.mark.parametrize(("make", "nodes"), TAKEN.values(), ids=TAKEN)
def test_a_statefulset_takes_up_a_claim_by_its_name(make: Callable[[], pulumi.Resource], nodes: str) -> None:
    program = run(make)
    spec = program.one("StatefulSet", nodes).inputs["spec"]
    assert "volumeClaimTemplates" not in spec and not program.of("PersistentVolumeClaimPatch")
    volumes = {volume["name"]: volume for volume in spec["template"]["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == "left"


def test_three_nodes_can_t_share_a_claim() -> None:
    with pytest.raises(ArgumentsError, match=r"elasticsearch\.claim is 'left', must not be given with three nodes"):
        run(lambda: elasticsearch(claim="left", nodes=3))


def test_the_registry_s_volume_stays_unless_it_is_told_not_to() -> None:
    for volume, stays in (({}, True), ({"retain_volume": True}, True), ({"retain_volume": False}, False)):
        [claim] = run(partial(registry, **volume)).of("PersistentVolumeClaim")
        assert claim.options["retain_on_delete"] is stays
    assert not run(partial(registry, claim="left")).of("PersistentVolumeClaim")


PROTECTED: dict[str, Callable[[pulumi.ResourceOptions], pulumi.Resource]] = {
    "registry": lambda opts: ModelRegistry("r", {"namespace": "ml", **PRODUCTION}, opts),  # type: ignore[typeddict-item]
    "monitoring": lambda opts: MonitoringStack(
        "m", {"namespace": "ml", "elk": {"enabled": True, "password": "long-enough"}}, opts
    ),
    "training": lambda opts: TrainingJob(
        "t",
        {**TRACKING, "model_name": "m", "framework": "tensorflow", "checkpoints": {"storage_size": "1Gi"}},  # type: ignore[typeddict-item]
        opts,
    ),
}
HOLDS_DATA = {"PersistentVolumeClaim", "StatefulSet"}


@pytest.mark.parametrize("make", PROTECTED.values(), ids=PROTECTED)
def test_protection_is_for_what_holds_data_and_lets_everything_else_be_replaced(
    make: Callable[[pulumi.ResourceOptions], pulumi.Resource],
) -> None:
    for protect in (True, False):
        program = run(lambda protect=protect: make(pulumi.ResourceOptions(protect=protect)))
        kinds: dict[bool, set[str]] = {True: set(), False: set()}
        for resource in program.resources:
            if resource.is_kubernetes:
                kinds[resource.options["protect"]].add(resource.type.rpartition(":")[2])
        assert kinds[protect] >= {*HOLDS_DATA} & (kinds[True] | kinds[False])
        assert "PersistentVolumeClaim" in kinds[protect]
        assert kinds[True] <= HOLDS_DATA
        assert {"Secret", "ConfigMap", "Job", "Deployment"} & kinds[False]


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


def told(before: str, after: str, **outputs: Any) -> None:
    """What is said when a claim that the provider named changes its size."""
    live = {"metadata": {"name": "r-1a2b"}, "spec": {"storageClassName": "fast"}, **outputs}

    def inputs(size: Any) -> dict[str, Any]:
        return {"spec": {"resources": {"requests": {"storage": size}}}}

    tell(
        pulumi.ResourceHookArgs(
            "urn", "ml/r-1a2b", "r", "PersistentVolumeClaim", inputs(after), inputs(before), None, live
        )
    )


def test_a_smaller_volume_is_refused_with_its_claim_its_class_both_sizes_and_the_way_out() -> None:
    with pytest.raises(ValueError, match="shrinks no volume") as refused:
        told("2Gi", "512Mi")
    assert str(refused.value) == (
        'the volume of the claim "r-1a2b" (storage class fast) has 2Gi and can\'t be made smaller, 512Mi: Kubernetes '
        "shrinks no volume. Set 2Gi or more, or move the data to a claim of your own and give that as `claim`"
    )


def test_a_larger_volume_is_told_with_what_to_do_if_its_class_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", said.append)
    told("1Gi", "2Gi")
    [text] = said
    assert text.startswith('the volume of the claim "r-1a2b" (storage class fast) grows from 1Gi to 2Gi. ')
    assert "kubectl patch storageclass fast" in text and "then set 1Gi again" in text
    told("1Gi", "2Gi", spec={})
    assert "(storage class unknown)" in said[1] and "kubectl patch storageclass NAME" in said[1]


def test_a_size_that_was_refused_can_be_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulumi has it as the old input then, though the volume is as it was."""
    monkeypatch.setattr(pulumi.log, "info", lambda text: pytest.fail(text))
    told("2Gi", "1Gi", status={"capacity": {"storage": "1Gi"}})
    told("2Gi", "1Gi", spec={"resources": {"requests": {"storage": "1Gi"}}})
    with pytest.raises(ValueError, match="has 1Gi and can't be made smaller, 512Mi"):
        told("2Gi", "512Mi", status={"capacity": {"storage": "1Gi"}})


@given(before=st.integers(1, 2**40), after=st.integers(1, 2**40), unit=st.sampled_from(["", "Ki", "Mi", "Gi", "k"]))
def test_only_a_smaller_size_is_refused_whatever_its_unit(before: int, after: int, unit: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr(pulumi.log, "info", said.append)
        smaller = number_of(f"{after}{unit}") < number_of(f"{before}")
        with pytest.raises(ValueError, match="shrinks") if smaller else nullcontext():
            told(f"{before}", f"{after}{unit}")
        assert bool(said) is (number_of(f"{after}{unit}") > before)


@pytest.mark.parametrize(("before", "after"), [("1Gi", "1024Mi"), ("1Gi", None), (None, "1Gi"), ("1Gi", "many")])
def test_nothing_is_said_of_a_size_that_is_the_same_or_not_known_yet(
    before: Any, after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulumi.log, "info", lambda text: pytest.fail(text))
    told(before, after)
