"""Every Job that an update waits for fails early, with the reason, if its pods can't start."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from modelops import UPSTREAM_IMAGES, ArgumentsError, DataPipeline, ModelPromotion, MonitoringStack, TrainingJob
from tests.unit.components.harness import Program, breaks_restricted, container, environment, pod, run
from tests.unit.components.service import ARGS as SERVICE
from tests.unit.components.service import serve
from tests.unit.components.test_data_pipeline import ARGS as PIPELINE
from tests.unit.components.test_elk import ARGS as MONITORING
from tests.unit.components.test_model_promotion import ARGS as PROMOTION
from tests.unit.components.test_model_promotion import IMAGE as COPY
from tests.unit.components.test_training_job import ARGS as TRAINING


def prepare(**changes: Any) -> Program:
    return run(lambda: DataPipeline("demo", {**PIPELINE, **changes}))  # type: ignore[typeddict-item]


def promote(**changes: Any) -> Program:
    return run(lambda: ModelPromotion("demo", {**PROMOTION, **changes}))  # type: ignore[typeddict-item]


def logs(**changes: Any) -> Program:
    elk = {"enabled": True, **changes}
    return run(lambda: MonitoringStack("m", {**MONITORING, "elk": elk}))  # type: ignore[typeddict-item]


SWEEP = {"sweep": {"learning_rate": [0.1, 0.01]}, "sweep_metric": "loss"}
PROGRAMS: dict[str, tuple[Callable[[], Program], str]] = {
    "training": (lambda: run(lambda: TrainingJob("demo", TRAINING)), "demo"),  # type: ignore[arg-type]
    "best run of a sweep": (
        lambda: run(lambda: TrainingJob("demo", {**TRAINING, **SWEEP})),  # type: ignore[typeddict-item]
        "demo-select",
    ),
    "data": (prepare, "demo"),
    "promotion": (promote, "demo"),
    "promotion of an image": (lambda: run(lambda: ModelPromotion("demo", COPY)), "demo"),  # type: ignore[arg-type]
    "alias": (lambda: serve({**SERVICE, "serving_alias": "serving"}), "demo-alias"),
    "log setup": (logs, "m-log-setup"),
}


def settings_of(program: Program, watch: str) -> Any:
    return json.loads(environment(program.one("Job", watch), "watch")["MODELOPS_WATCH"])


@pytest.mark.parametrize(("make", "name"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_job_that_an_update_waits_for_is_watched_from_its_start(make: Callable[[], Program], name: str) -> None:
    program = make()
    job, watch = program.one("Job", name), program.one("Job", f"{name}-watch")
    assert "pulumi.com/waitFor" not in (job.inputs["metadata"].get("annotations") or {})
    assert f"{name}-watch" in job.options["dependencies"], "it looks for a Job that is younger than itself"
    selected = dict(pair.split("=") for pair in settings_of(program, f"{name}-watch")["labels"].split(","))
    labels = [found.inputs["metadata"]["labels"] for found in (job, watch)]
    assert selected.items() <= labels[0].items() and not selected.items() <= labels[1].items()
    assert settings_of(program, f"{name}-watch")["namespace"] == job.inputs["metadata"]["namespace"]
    assert breaks_restricted(watch) == []


@pytest.mark.parametrize(("make", "name"), PROGRAMS.values(), ids=PROGRAMS)
def test_nobody_waits_for_a_watch_and_it_ends_no_later_than_the_job(make: Callable[[], Program], name: str) -> None:
    program = make()
    job, watch = program.one("Job", name).inputs, program.one("Job", f"{name}-watch").inputs
    assert watch["metadata"]["annotations"]["pulumi.com/waitFor"] == "jsonpath={.metadata.uid}"
    assert watch["spec"]["activeDeadlineSeconds"] >= job["spec"]["activeDeadlineSeconds"]


def test_the_watch_of_a_sweeps_best_run_starts_once_the_runs_are_done_and_takes_none_of_their_jobs_for_it() -> None:
    program = run(lambda: TrainingJob("demo", {**TRAINING, **SWEEP}))  # type: ignore[typeddict-item]
    assert "demo" in program.one("Job", "demo-select-watch").options["dependencies"]
    selected = dict(pair.split("=") for pair in settings_of(program, "demo-select-watch")["labels"].split(","))
    assert not selected.items() <= program.one("Job", "demo").inputs["metadata"]["labels"].items()


def test_both_watches_of_a_sweep_may_have_a_network_of_their_own() -> None:
    network = {"network": {"api_server_ports": [7443]}}
    program = run(lambda: TrainingJob("demo", {**TRAINING, **SWEEP, **network}))  # type: ignore[typeddict-item]
    for name in ("demo", "demo-select"):
        policy = program.one("NetworkPolicy", f"{name}-watch").inputs["spec"]["podSelector"]["matchLabels"]
        labels = program.one("Job", f"{name}-watch").inputs["spec"]["template"]["metadata"]["labels"]
        assert policy.items() <= labels.items()


def test_without_the_watch_a_sweeps_best_run_has_none_either() -> None:
    program = run(lambda: TrainingJob("demo", {**TRAINING, **SWEEP, "watch": False}))  # type: ignore[typeddict-item]
    assert not [found.name for found in program.of("Job") if "watch" in found.name]


@pytest.mark.parametrize(("deadline", "patience"), [(3600, 600), (1200, 600), (600, 300), (60, 30)])
def test_a_pod_without_a_node_is_given_up_before_the_deadline_which_has_no_words(deadline: int, patience: int) -> None:
    for program in (prepare(timeout_seconds=deadline), promote(timeout_seconds=deadline)):
        assert settings_of(program, "demo-watch")["unscheduled_seconds"] == patience


def test_a_pipelines_time_without_a_node_is_an_argument() -> None:
    assert settings_of(prepare(scheduling_timeout_seconds=0), "demo-watch")["unscheduled_seconds"] == 0
    with pytest.raises(ArgumentsError, match="scheduling_timeout_seconds"):
        prepare(scheduling_timeout_seconds=-1)


def test_a_pipeline_is_watched_by_another_image_than_its_own_which_may_be_what_is_missing() -> None:
    def image(**changes: Any) -> str:
        return str(container(prepare(**changes).one("Job", "demo-watch"), "watch")["image"])

    assert image() == UPSTREAM_IMAGES["python"]
    assert image(runtime_image="mirror.example.com/python:3") == "mirror.example.com/python:3"


def test_the_log_setup_is_watched_by_an_image_with_python() -> None:
    def image(**changes: Any) -> str:
        return str(container(logs(**changes).one("Job", "m-log-setup-watch"), "watch")["image"])

    assert image() == UPSTREAM_IMAGES["python"]
    assert image(runtime_image="mine:1") == "mine:1"


def test_another_pod_is_watched_again_and_the_same_one_is_not() -> None:
    before, after = (settings_of(prepare(**change), "demo-watch") for change in ({}, {"target": "y"}))
    assert before == settings_of(prepare(), "demo-watch") and before["pod"] != after["pod"]


@pytest.mark.parametrize("change", [{"schedule": "0 3 * * *"}, {"watch": False}])
def test_a_pipeline_may_have_no_watch(change: dict[str, Any]) -> None:
    assert not [found.name for found in prepare(**change).resources if "watch" in found.name]


def test_a_pipeline_may_have_to_wait_for_a_node_elsewhere() -> None:
    program = prepare(node_selector={"disk": "fast"}, image_pull_secret="key")
    spec = pod(program.one("Job", "demo-watch"))
    assert "nodeSelector" not in spec and spec["imagePullSecrets"] == [{"name": "key"}]


def test_components_of_all_kinds_share_the_account_of_their_namespace() -> None:
    def program() -> None:
        TrainingJob("trained", TRAINING)  # type: ignore[arg-type]
        DataPipeline("prepared", PIPELINE)  # type: ignore[arg-type]
        ModelPromotion("promoted", PROMOTION)  # type: ignore[arg-type]

    made = run(program)
    names = ("trained", "prepared", "promoted")
    accounts = {pod(made.one("Job", f"{name}-watch"))["serviceAccountName"] for name in names}
    assert len(accounts) == 1
