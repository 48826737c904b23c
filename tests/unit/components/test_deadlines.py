"""For how long Kubernetes and Pulumi wait, and for what not at all: images come, nodes come and go, an `up` goes on."""

from typing import Any

import pytest

from devkit.pulumi_plugins.kubernetes_provider.awaiting import awaiter_for
from tests.package.test_consumer import PROMOTION
from tests.unit.components.harness import Program, Resource
from tests.unit.components.test_arguments import RICH, made

PROGRESS_SECONDS = PROVIDER_SECONDS = 600
"""For how long the Kubernetes provider waits where nothing is said."""
CASES = [name for name, (component, _) in RICH.items() if component != "ModelImage"]
IMAGE_COPY = {
    "namespace": "ml",
    "model_uri": f"oci://registry.staging.example.com/team/linear@sha256:{64 * 'a'}",
    "repository": "registry.example.com/team/linear",
}


def program_of(name: str) -> Program:
    return made(*RICH[name])


def is_awaited(found: Resource) -> bool:
    """Whether Pulumi waits for the object by its own rules."""
    annotations = found.inputs["metadata"].get("annotations") or {}
    return not annotations.keys() & {"pulumi.com/waitFor", "pulumi.com/skipAwait"}


def pulumi_seconds(found: Resource) -> int:
    """For how long Pulumi waits."""
    text = found.options["create_timeout"]
    minutes, seconds = (text.removesuffix("m"), "0") if text.endswith("m") else ("0", text.removesuffix("s"))
    return 60 * int(minutes) + int(seconds) if text else PROVIDER_SECONDS


def deadline(found: Resource) -> int | None:
    """The deadline after which Kubernetes gives the object up."""
    seconds = found.inputs["spec"].get("progressDeadlineSeconds", found.inputs["spec"].get("activeDeadlineSeconds"))
    return None if seconds is None else int(seconds)


@pytest.mark.parametrize("name", CASES)
def test_every_rollout_has_600_seconds_without_progress_for_images_and_nodes(name: str) -> None:
    args = RICH[name][1]
    given = args.get("rollout", {}).get("progress_seconds")
    for found in program_of(name).of("Deployment"):
        seconds = deadline(found)
        assert seconds is not None and (seconds >= PROGRESS_SECONDS or seconds == given), found.name


@pytest.mark.parametrize("name", CASES)
def test_pulumi_waits_longer_than_kubernetes_which_knows_the_reason(name: str) -> None:
    program = program_of(name)
    for found in [*program.of("Deployment"), *program.of("Job")]:
        seconds = deadline(found)
        assert seconds is not None, f"{found.name} would be waited for without an end"
        if is_awaited(found):
            assert pulumi_seconds(found) > seconds, found.name


@pytest.mark.parametrize("args", [PROMOTION, IMAGE_COPY], ids=["a version", "an image"])
def test_a_promotion_is_waited_for_as_long_as_it_may_take(args: dict[str, Any]) -> None:
    """More than the provider's ten minutes by default."""
    for more, seconds in (({}, 900), ({"timeout_seconds": 7200}, 7200)):
        job = made("ModelPromotion", {**args, **more}).one("Job", "demo")
        assert pulumi_seconds(job) > seconds == deadline(job)


@pytest.mark.parametrize("job", ["demo-smoke", "demo-alias"])
@pytest.mark.parametrize("watch", [True, False])
def test_a_job_of_a_release_has_time_for_its_image_and_its_node(job: str, watch: bool) -> None:
    args = {**RICH["ModelService"][1], "serving_alias": "live", "rollout": {"watch": watch}}
    found = made("ModelService", args).one("Job", job)
    assert (deadline(found) or 0) >= PROGRESS_SECONDS


def test_a_smoke_test_has_the_time_without_progress_that_is_given() -> None:
    """A pool of nodes that takes long to grow does so for the smoke test, which comes first."""
    args = {**RICH["ModelService"][1], "rollout": {"progress_seconds": 3600}}
    program = made("ModelService", args)
    assert (deadline(program.one("Job", "demo-smoke")) or 0) > 3600
    assert pulumi_seconds(program.one("Job", "demo-smoke-watch")) > (deadline(program.one("Job", "demo-smoke")) or 0)


@pytest.mark.parametrize("name", CASES)
def test_a_route_is_waited_for_by_the_provider_s_own_ten_minutes(name: str) -> None:
    program = program_of(name)
    for kind in ("Ingress", "HTTPRoute", "GRPCRoute", "Gateway"):
        assert all(found.options["create_timeout"] == "" for found in program.of(kind))


@pytest.mark.parametrize("name", CASES)
def test_the_next_up_runs_every_failed_job_again(name: str) -> None:
    """The set-up of logs among them. It is another Job, as Kubernetes changes no Job's pods: so none has a fixed name.

    One that nobody waits for is unready while it runs; a record of its end says whether another one is needed.
    """
    for found in program_of(name).of("Job"):
        metadata = found.inputs["metadata"]
        assert metadata["annotations"]["pulumi.com/replaceUnready"] == "true", found.name
        assert "name" not in metadata, found.name


def test_the_next_up_runs_a_failed_set_up_of_logs_again_though_nothing_has_changed() -> None:
    setup = program_of("MonitoringStack").one("Job", "demo-log-setup")
    assert setup.inputs["metadata"]["annotations"] == {"pulumi.com/replaceUnready": "true"}
    assert "name" not in setup.inputs["metadata"] and setup.options["replace_on_changes"] == ["spec"]
    assert not setup.options["protect"] and not setup.options["retain_on_delete"]


def test_a_node_that_is_not_ready_fails_no_up() -> None:
    """By the verdict of a provider that waits as the official one does."""
    agents = program_of("MonitoringStack").of("DaemonSet")
    assert {found.name for found in agents} == {"demo-node-exporter", "demo-filebeat"}
    status = {
        "observedGeneration": 1,
        "desiredNumberScheduled": 3,
        "currentNumberScheduled": 3,
        "updatedNumberScheduled": 2,
        "numberReady": 2,
        "numberAvailable": 2,
        "numberUnavailable": 1,
    }
    for found in agents:
        live = {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": found.name, "uid": "1", "generation": 1},
            "status": status,
        }
        awaited = awaiter_for({"metadata": found.inputs["metadata"]}, live)
        usual = awaiter_for({"metadata": {}}, live)
        assert awaited is not None and awaited.judge(live, {"pods": []}).ready
        assert usual is not None and not usual.judge(live, {"pods": []}).ready, "without our annotation it would fail"


@pytest.mark.parametrize("name", CASES)
def test_a_node_that_is_not_ready_fails_no_up_by_a_service_of_agents(name: str) -> None:
    """Pulumi waits until no endpoint of a Service is unready: one of a DaemonSet's pods would be, on such a node."""
    program = program_of(name)
    agents = [found.inputs["spec"]["template"]["metadata"]["labels"] for found in program.of("DaemonSet")]
    for service in program.of("core/v1:Service"):
        selector = service.inputs["spec"].get("selector") or {}
        assert not [labels for labels in agents if selector and selector.items() <= labels.items()], service.name
