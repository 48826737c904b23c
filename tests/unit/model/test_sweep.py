"""Sweeps, progress and the version that serves, against a real MLflow server."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from modelops_runtime.contract import Environment, PublishContract
from modelops_runtime.registry import promote, publish, select, watch
from modelops_runtime.registry.publishing import runs
from tests.models import write_model
from tests.runtime import environment, run_module
from tests.unit.model.support import run_here

Finished = subprocess.CompletedProcess[str]


@pytest.fixture
def client(mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    return MlflowClient(mlflow_url)


def trained(folder: Path, **metrics: float) -> Path:
    """What a training leaves."""
    write_model(folder / "model")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture
def run(mlflow_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runs a program for the model named `name`; a sweep's if `index` is given or `program` selects."""

    def start(program: Callable[[], None], name: str, *, index: int | None = None, **changes: object) -> Finished:
        variables: dict[str, object] = {
            "MODELOPS_RUN_ID": "abc",
            "MODELOPS_MODEL_NAME": name,
            "MLFLOW_TRACKING_URI": mlflow_url,
            "MODELOPS_REGISTRY_WAIT_SECONDS": 0,
            "MODELOPS_GIT_COMMIT": "c0ffee",
        }
        if index is not None or program is select.main:
            variables |= {"MODELOPS_SWEEP_METRIC": "mse", "MODELOPS_SWEEP_RUNS": 3, "MODELOPS_SWEEP_INDEX": index or 0}
        return run_here(program, capsys, **{**variables, **changes})

    return start


def trial(run: Callable[..., Finished], folder: Path, name: str, index: int, **metrics: float) -> None:
    parameters = json.dumps({"rate": index / 10})
    output = trained(folder / str(index), **metrics)
    done = run(publish.main, name, index=index, MODELOPS_OUTPUT_DIR=output, MODELOPS_PARAMETERS=parameters)
    assert done.returncode == 0, done.stderr


def children(client: MlflowClient, name: str) -> tuple[list[str], dict[str, str]]:
    """Ids of the sweep's runs, and parent by trial."""
    home = client.get_experiment_by_name(name).experiment_id
    found = client.search_runs([home])
    above = [each.info.run_id for each in found if each.data.tags[runs.ROLE] == "sweep"]
    trials = {each.data.tags[runs.TRIAL]: each.data.tags[runs.PARENT] for each in found if runs.TRIAL in each.data.tags}
    return above, trials


def test_the_best_trial_of_a_sweep_is_registered(
    run: Callable[..., Finished], client: MlflowClient, tmp_path: Path
) -> None:
    for index, mse in enumerate((0.3, 0.1, 0.2)):
        trial(run, tmp_path, "swept", index, mse=mse)
    above, trials = children(client, "swept")
    assert len(above) == 1
    assert trials == {"0": above[0], "1": above[0], "2": above[0]}
    assert client.search_model_versions("name = 'swept'") == []

    done = run(select.main, "swept", MODELOPS_GATE='{"mse": {"max": 0.15}}')
    assert done.returncode == 0, done.stderr
    assert "the best is trial 1" in done.stdout
    version = client.get_model_version_by_alias("swept", "run-abc")
    best = client.get_run(version.run_id)
    assert (best.data.tags[runs.TRIAL], best.data.params, best.data.metrics["mse"]) == ("1", {"rate": "0.1"}, 0.1)
    assert version.tags["modelops.git_commit"] == "c0ffee"
    parent = client.get_run(above[0])
    assert (parent.info.status, parent.data.tags["modelops.best_trial"]) == ("FINISHED", "1")

    again = run(select.main, "swept")
    assert again.returncode == 0
    assert "swept@run-abc is already published as version 1: nothing to do" in again.stdout


def test_the_greatest_value_wins_where_that_is_the_goal_and_the_first_of_equals(
    run: Callable[..., Finished], tmp_path: Path
) -> None:
    for index, score in enumerate((0.3, 0.7, 0.7)):
        trial(run, tmp_path, "highest", index, mse=score)
    assert "the best is trial 1" in run(select.main, "highest", MODELOPS_SWEEP_GOAL="max").stdout


def test_a_trial_without_a_finished_run_is_passed_over_by_name(
    run: Callable[..., Finished], client: MlflowClient, tmp_path: Path
) -> None:
    trial(run, tmp_path, "gappy", 2, mse=0.5)
    home = client.get_experiment_by_name("gappy").experiment_id
    tags = {runs.MODEL: "gappy", runs.RUN_ID: "abc", runs.ROLE: "trial", runs.TRIAL: "0"}
    client.set_terminated(client.create_run(home, tags=tags).info.run_id, "FAILED")
    done = run(select.main, "gappy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:4] == [
        "trial 0: no finished run",
        "trial 1: no finished run",
        "trial 2: mse is 0.5",
        "the best is trial 2",
    ]


def test_a_sweep_without_a_finished_trial_fails(run: Callable[..., Finished]) -> None:
    done = run(select.main, "empty")
    assert done.returncode == 1
    assert done.stderr == "error: none of the sweep's 3 trials has finished with a value for mse\n"


def test_the_best_trial_must_meet_the_gate(run: Callable[..., Finished], client: MlflowClient, tmp_path: Path) -> None:
    trial(run, tmp_path, "missed", 0, mse=0.5)
    done = run(select.main, "missed", MODELOPS_GATE='{"mse": {"max": 0.1}}')
    assert done.returncode == 3
    assert done.stderr == "error: gate not met: mse is 0.5, must be at most 0.1\n"
    assert client.search_model_versions("name = 'missed'") == []


def test_a_trial_that_does_not_report_the_metric_says_so(run: Callable[..., Finished], tmp_path: Path) -> None:
    output = trained(tmp_path, r2=1)
    done = run(publish.main, "other", index=0, MODELOPS_OUTPUT_DIR=output)
    assert done.returncode == 2
    assert done.stderr == "error: MODELOPS_SWEEP_METRIC: mse not reported; reported metrics: r2\n"


def test_trials_that_start_together_end_under_one_run(
    run: Callable[..., Finished], client: MlflowClient, mlflow_url: str
) -> None:
    ready = threading.Barrier(6)

    def start(index: int) -> str:
        variables = environment(
            MODELOPS_RUN_ID="abc",
            MODELOPS_MODEL_NAME="race",
            MLFLOW_TRACKING_URI=mlflow_url,
            MODELOPS_SWEEP_METRIC="mse",
            MODELOPS_SWEEP_RUNS=6,
            MODELOPS_SWEEP_INDEX=index,
        )
        settings = PublishContract.read(Environment(variables))
        ready.wait()
        opened = runs.find_or_create(client, settings)
        runs.log_final(client, opened.info.run_id, {"mse": index}, 0)
        client.set_terminated(opened.info.run_id, "FINISHED")
        return str(opened.info.run_id)

    with ThreadPoolExecutor(max_workers=6) as pool:
        assert len(set(pool.map(start, range(6)))) == 6
    # Registering needs the model's files, which these trials have none of; the runs are in order before that.
    run(select.main, "race", MODELOPS_SWEEP_RUNS=6)
    above, trials = children(client, "race")
    assert len(above) == 1
    assert set(trials.values()) == set(above)


def test_progress_is_in_the_registry_while_the_training_goes_on(
    run: Callable[..., Finished], client: MlflowClient, mlflow_url: str, tmp_path: Path
) -> None:
    variables = environment(
        MODELOPS_RUN_ID="abc", MODELOPS_MODEL_NAME="live", MLFLOW_TRACKING_URI=mlflow_url, MODELOPS_OUTPUT_DIR=tmp_path
    )
    watcher = watch.Watcher(PublishContract.read(Environment(variables)))
    watcher.look()  # nothing is there yet, and nothing happens
    progress = {"epoch": 2, "epochs": 10, "seconds_left": 41.6, "metrics": {"loss": 0.5, "top@5": 0.1}}
    (tmp_path / "progress.json").write_text(json.dumps(progress))
    watcher.look()
    watcher.look()
    (seen,) = client.search_runs([client.get_experiment_by_name("live").experiment_id])
    assert seen.info.status == "RUNNING"
    assert seen.data.tags["modelops.progress"] == "epoch 2/10, 42 s left"
    assert [(point.step, point.value) for point in client.get_metric_history(seen.info.run_id, "loss")] == [(2, 0.5)]
    assert seen.data.metrics["top_x0040_5"] == 0.1

    trained(tmp_path, mse=0.2)
    (tmp_path / "history.json").write_text(json.dumps([{"epoch": n, "loss": 1 / n} for n in (1, 2, 3)]))
    assert run(publish.main, "live", MODELOPS_OUTPUT_DIR=tmp_path).returncode == 0
    version = client.get_model_version_by_alias("live", "run-abc")
    assert version.run_id == seen.info.run_id
    history = sorted((point.step, point.value) for point in client.get_metric_history(seen.info.run_id, "loss"))
    assert history == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_a_training_that_failed_leaves_a_failed_run(client: MlflowClient, mlflow_url: str, tmp_path: Path) -> None:
    variables = environment(
        MODELOPS_RUN_ID="abc", MODELOPS_MODEL_NAME="broke", MLFLOW_TRACKING_URI=mlflow_url, MODELOPS_OUTPUT_DIR=tmp_path
    )
    (tmp_path / "progress.json").write_text('{"epoch": 1, "metrics": {"loss": 2}}')
    ended = threading.Event()
    ended.set()
    watcher = watch.Watcher(PublishContract.read(Environment(variables)))
    watch.watch(watcher, ended)
    watcher.failed()
    (seen,) = client.search_runs([client.get_experiment_by_name("broke").experiment_id])
    assert seen.info.status == "FAILED"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"epoch": "x"}', '{"epoch": 1, "metrics": 3}'])
def test_what_is_no_progress_is_overlooked(content: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(content)
    assert watch.read_progress(tmp_path / "progress.json") == {}


def test_a_gate_compares_with_the_version_that_serves(
    run: Callable[..., Finished], client: MlflowClient, mlflow_url: str, tmp_path: Path
) -> None:
    gate = '{"mse": {"max_delta": 0.05}}'

    def release(run_id: str, mse: float, **changes: str) -> Finished:
        output = trained(tmp_path / run_id, mse=mse)
        settings = {"MODELOPS_RUN_ID": run_id, "MODELOPS_OUTPUT_DIR": output, "MODELOPS_GATE": gate}
        return run(publish.main, "compared", **{**settings, **changes})

    refused = release("r1", 0.20)
    assert refused.returncode == 2
    assert "no version of compared has the alias serving, which mse.max_delta would compare with" in refused.stderr
    assert client.search_model_versions("name = 'compared'") == []
    first = release("r1", 0.20, MODELOPS_FIRST_VERSION="true")
    assert "gate met: mse is 0.2, max_delta 0.05 has no other version to compare with" in first.stdout
    promoted = run_module(
        "modelops_runtime promote", MODELOPS_MODEL_URI="models:/compared@run-r1", MLFLOW_TRACKING_URI=mlflow_url
    )
    assert promoted.stdout == "compared@serving is version 1 (models:/compared@run-r1)\n", promoted.stderr

    assert release("r2", 0.24).returncode == 0
    worse = release("r3", 0.26)
    assert worse.returncode == 3
    assert worse.stderr == (
        "error: gate not met: mse is 0.26, must be at most 0.25 "
        "(max_delta 0.05; version 1, which serves now, has 0.2)\n"
    )
    assert {version.version for version in client.search_model_versions("name = 'compared'")} == {"1", "2"}
    # r2 was registered, and still it is r1 that serves.
    assert client.get_model_version_by_alias("compared", "serving").version == "1"
    assert promote.parse_model_uri("models:/compared@run-r2") == ("compared", "run-r2", None)


def test_a_changed_relative_gate_judges_a_published_run_and_going_back_to_it_is_never_refused(
    run: Callable[..., Finished], client: MlflowClient, tmp_path: Path
) -> None:
    def release(run_id: str, gate: str, mse: float | None = None) -> Finished:
        output = tmp_path / run_id if mse is None else trained(tmp_path / run_id, mse=mse)
        settings = {"MODELOPS_RUN_ID": run_id, "MODELOPS_GATE": gate, "MODELOPS_OUTPUT_DIR": output}
        done = run(publish.main, "relative", MODELOPS_FIRST_VERSION="true", **settings)
        shutil.rmtree(output, ignore_errors=True)
        return done

    def serve(version: str) -> None:
        client.set_registered_model_alias("relative", "serving", version)

    loose, tight, tighter = ('{"mse": {"max_delta": %s}}' % delta for delta in (0.05, -0.05, -0.2))  # noqa: UP031
    assert release("r1", loose, 0.30).returncode == 0
    serve("1")
    assert release("r2", loose, 0.20).returncode == 0
    serve("2")
    # r2 serves, so what it has to be better than is what served before it.
    assert "version 1, which served before, has 0.3" in release("r2", tight).stdout
    missed = release("r2", tighter)
    assert missed.returncode == 3
    assert "mse is 0.2, must be at most 0.1 (max_delta -0.2; version 1, which served before, has 0.3)" in missed.stderr
    assert client.get_model_version_by_alias("relative", "serving").version == "2"
    # r1 has met the same bounds: back to it, although it is worse. Other bounds compare with what serves.
    assert release("r1", loose).returncode == 0
    assert "version 2, which serves now, has 0.2" in release("r1", tight).stderr
    client.delete_model_version("relative", "1")
    assert release("r2", tighter).returncode == 0


def test_a_gate_without_relative_bounds_does_not_mind_what_serves(
    run: Callable[..., Finished], client: MlflowClient, tmp_path: Path
) -> None:
    client.create_registered_model("by-hand")
    client.create_model_version("by-hand", "s3://bucket/model")
    client.set_registered_model_alias("by-hand", "serving", "1")
    output = trained(tmp_path, mse=0.1)
    gate = '{"mse": {"max": 1}}'
    done = run(publish.main, "by-hand", MODELOPS_OUTPUT_DIR=output, MODELOPS_GATE=gate)
    assert done.returncode == 0, done.stderr


def test_a_published_sweep_is_judged_again_and_no_trial_runs(run: Callable[..., Finished], tmp_path: Path) -> None:
    trial(run, tmp_path, "judged-sweep", 0, mse=0.5)
    assert run(select.main, "judged-sweep").returncode == 0
    assert run(publish.main, "judged-sweep", index=0, MODELOPS_OUTPUT_DIR=tmp_path / "nothing").returncode == 0
    missed = run(select.main, "judged-sweep", MODELOPS_GATE='{"mse": {"max": 0.1}}')
    assert (missed.returncode, missed.stderr) == (3, "error: gate not met: mse is 0.5, must be at most 0.1\n")
    assert run(select.main, "judged-sweep", MODELOPS_GATE='{"mse": {"max": 0.5}}').returncode == 0


def test_a_run_that_is_published_needs_no_training(run: Callable[..., Finished], tmp_path: Path) -> None:
    assert run(publish.main, "again", MODELOPS_OUTPUT_DIR=trained(tmp_path / "first", mse=1)).returncode == 0
    done = run(publish.main, "again", MODELOPS_OUTPUT_DIR=tmp_path / "nothing")
    assert done.returncode == 0, done.stderr
    assert "again@run-abc is already published as version 1: nothing to do" in done.stdout
