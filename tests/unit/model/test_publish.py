"""Publishing to a real MLflow server, and fetching back from it."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from modelops_runtime.artifacts.manifest import Manifest
from modelops_runtime.contract import Environment, Exit, FetchContract, PublishContract
from modelops_runtime.registry.fetch import fetch
from modelops_runtime.registry.publish import main
from modelops_runtime.registry.publishing import outputs, records, runs
from tests.models import write_model
from tests.runtime import environment, run_module
from tests.unit.model.support import run_here

NOWHERE = "http://127.0.0.1:9"


def get(url: str, path: str, **query: str) -> Any:
    target = f"{url}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(target, timeout=10) as response:
        return json.load(response)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """What a training leaves."""
    folder = tmp_path / "output"
    write_model(folder / "model")
    (folder / "metrics.json").write_text('{"mse": 0.03, "r2": 0.98}')
    history = [{"epoch": epoch, "loss": 1 / epoch, "val_loss": 2 / epoch} for epoch in range(1, 601)]
    (folder / "history.json").write_text(json.dumps(history))
    return folder


Publish = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def publish(output: Path, mlflow_url: str, capsys: pytest.CaptureFixture[str]) -> Publish:
    """Publishes `output`; keyword arguments change its environment."""

    def run(**changes: object) -> "subprocess.CompletedProcess[str]":
        variables: dict[str, object] = {
            "MODELOPS_RUN_ID": "abc",
            "MODELOPS_MODEL_NAME": "line",
            "MODELOPS_PARAMETERS": '{"epochs": 600, "name": "x", "layers": [1, 2]}',
            "MODELOPS_OUTPUT_DIR": output,
            "MODELOPS_GATE": '{"mse": {"max": 0.1}}',
            "MODELOPS_IMAGE": "registry/train@sha256:1",
            "MODELOPS_DATA_VERSION": "v5",
            "MLFLOW_TRACKING_URI": mlflow_url,
            "MLFLOW_EXPERIMENT_NAME": "first",
            "MODELOPS_REGISTRY_WAIT_SECONDS": 0,
        }
        return run_here(main, capsys, **{**variables, **changes})

    return run


def test_a_run_is_published_once_with_all_that_belongs_to_it(
    publish: Publish, output: Path, mlflow_url: str, tmp_path: Path
) -> None:
    finished = publish()
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[0] == "gate met: mse is 0.03, must be at most 0.1"
    assert "published line version 1 as models:/line@run-abc" in finished.stdout
    assert finished.stderr == ""

    version = get(mlflow_url, "registered-models/alias", name="line", alias="run-abc")["model_version"]
    run = get(mlflow_url, "runs/get", run_id=version["run_id"])["run"]
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == "line-abc"
    params = {param["key"]: param["value"] for param in run["data"]["params"]}
    assert params == {"epochs": "600", "name": "x", "layers": "[1, 2]"}
    metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert (metrics["mse"], metrics["r2"]) == (0.03, 0.98)
    expected = {
        "modelops.run_id": "abc",
        "modelops.image": "registry/train@sha256:1",
        "modelops.framework": "tensorflow",
        "modelops.data_version": "v5",
    }
    assert expected.items() <= {tag["key"]: tag["value"] for tag in run["data"]["tags"]}.items()
    assert expected.items() <= {tag["key"]: tag["value"] for tag in version["tags"]}.items()
    history = get(mlflow_url, "metrics/get-history", run_id=version["run_id"], metric_key="val_loss")["metrics"]
    assert {point["step"]: point["value"] for point in history} == {n: 2 / n for n in range(1, 601)}
    assert (
        get(mlflow_url, "experiments/get-by-name", experiment_name="first")["experiment"]["experiment_id"]
        == (run["info"]["experiment_id"])
    )

    again = publish()
    assert again.returncode == 0
    assert "line@run-abc is already published as version 1: nothing to do" in again.stdout
    assert (
        get(mlflow_url, "registered-models/get", name="line")["registered_model"]["latest_versions"][0]["version"]
        == "1"
    )

    for uri in ("models:/line@run-abc", "models:/line/1"):
        target = tmp_path / uri.replace("/", "_")
        assert fetch(FetchContract(uri, mlflow_url, target, None, 0, 2**20)).run_id == "abc123def456"
        assert (target / "model.tflite").read_bytes() == (output / "model" / "model.tflite").read_bytes()


def test_a_publishing_that_was_cut_off_is_finished_not_repeated(publish: Publish, mlflow_url: str) -> None:
    assert publish(MODELOPS_MODEL_NAME="cut").returncode == 0
    MlflowClient(mlflow_url).delete_registered_model_alias("cut", "run-abc")
    assert "published cut version 1 as models:/cut@run-abc" in publish(MODELOPS_MODEL_NAME="cut").stdout
    assert "nothing to do" in publish(MODELOPS_MODEL_NAME="cut").stdout


def test_the_parameters_that_were_used_are_logged(publish: Publish, output: Path, mlflow_url: str) -> None:
    (output / "parameters.json").write_text('{"epochs": 600, "seed": 7}')
    assert publish(MODELOPS_MODEL_NAME="defaults", MODELOPS_PARAMETERS="{}").returncode == 0
    version = get(mlflow_url, "registered-models/alias", name="defaults", alias="run-abc")["model_version"]
    params = get(mlflow_url, "runs/get", run_id=version["run_id"])["run"]["data"]["params"]
    assert {param["key"]: param["value"] for param in params} == {"epochs": "600", "seed": "7"}


def test_the_answers_of_an_evaluation_are_a_table_of_the_run(
    publish: Publish, output: Path, mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (output / "evaluation").mkdir()
    answers = {"columns": ["id", "f1"], "data": [["a", 0.5], ["b", None]]}
    (output / "evaluation" / "answers.json").write_text(json.dumps(answers))
    finished = publish(MODELOPS_MODEL_NAME="answering", MLFLOW_EXPERIMENT_NAME="answering")
    assert finished.returncode == 0, finished.stderr
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    client = MlflowClient(mlflow_url)
    experiment = client.get_experiment_by_name("answering")
    assert experiment
    table = client.load_table(experiment.experiment_id, "evaluation/answers.json")
    assert table["id"].to_list() == ["a", "b"] and table["f1"][0] == 0.5


def test_what_is_not_in_the_registry_is_named(mlflow_url: str, tmp_path: Path) -> None:
    for uri in ("models:/nothing@run-1", "models:/nothing/1"):
        finished = run_module(
            "modelops_runtime fetch",
            MODELOPS_MODEL_URI=uri,
            MLFLOW_TRACKING_URI=mlflow_url,
            MODELOPS_MODEL_DIR=tmp_path / "model",
        )
        assert finished.returncode == Exit.CONFIGURATION
        assert finished.stderr.startswith(f"error: the registry {mlflow_url} refused {uri}: ")
        assert "not found" in finished.stderr
        assert finished.stderr.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_another_run_of_the_model_gets_the_next_version(publish: Publish) -> None:
    finished = [
        publish(MODELOPS_MODEL_NAME="two", MODELOPS_RUN_ID=run_id, MODELOPS_PARAMETERS="{}") for run_id in ("r1", "r2")
    ]
    assert [run.returncode for run in finished] == [0, 0]
    assert "published two version 2 as models:/two@run-r2" in finished[1].stdout


def test_a_gate_that_is_not_met_publishes_nothing(publish: Publish, mlflow_url: str) -> None:
    finished = publish(MODELOPS_MODEL_NAME="bad", MODELOPS_GATE='{"mse": {"max": 0.01}}')
    assert finished.returncode == 3
    assert finished.stderr == "error: gate not met: mse is 0.03, must be at most 0.01\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(mlflow_url, "registered-models/get", name="bad")


def test_a_changed_gate_judges_a_published_run_by_its_exact_figures_in_the_registry(
    publish: Publish, output: Path, mlflow_url: str
) -> None:
    mse = 0.030000000000000001387  # more digits than a message shows
    (output / "metrics.json").write_text(json.dumps({"mse": mse, "f1/class_spam": 0.7}))
    assert publish(MODELOPS_MODEL_NAME="judged").returncode == 0
    shutil.rmtree(output)  # the next Job finds the run in the registry and trains nothing

    def judge(bounds: dict[str, dict[str, float]]) -> "subprocess.CompletedProcess[str]":
        return publish(MODELOPS_MODEL_NAME="judged", MODELOPS_GATE=json.dumps(bounds))

    done = judge({"mse": {"max": mse}, "f1/class_spam": {"min": 0.7}})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "gate met: mse is 0.03, must be at most 0.03",
        "gate met: f1/class_spam is 0.7, must be at least 0.7",
        "judged@run-abc is already published as version 1: nothing to do",
    ]
    assert judge({"mse": {"max": math.nextafter(mse, 0)}}).returncode == 3
    tightened = judge({"mse": {"max": 0.01}, "f1/class_spam": {"min": 0.8}})
    assert (tightened.returncode, tightened.stdout) == (3, "")
    assert tightened.stderr == (
        "error: gate not met: mse is 0.03, must be at most 0.01\n"
        "error: gate not met: f1/class_spam is 0.7, must be at least 0.8\n"
    )
    unknown = judge({"accuracy": {"min": 0}})
    assert unknown.returncode == 2
    assert unknown.stderr == "error: MODELOPS_GATE: accuracy not reported; reported metrics: f1/class_spam, mse\n"
    # What was published stays, and the gate may be loosened again.
    assert len(MlflowClient(mlflow_url).search_model_versions("name = 'judged'")) == 1
    assert judge({"mse": {"max": 0.1}}).returncode == 0


def test_a_run_that_missed_its_gate_is_published_once_the_gate_lets_it(publish: Publish) -> None:
    assert publish(MODELOPS_MODEL_NAME="loosened", MODELOPS_GATE='{"mse": {"max": 0.01}}').returncode == 3
    done = publish(MODELOPS_MODEL_NAME="loosened", MODELOPS_GATE='{"mse": {"max": 0.05}}')
    assert "published loosened version 1 as models:/loosened@run-abc" in done.stdout


def test_a_gate_on_what_is_not_reported(publish: Publish) -> None:
    finished = publish(MLFLOW_TRACKING_URI=NOWHERE, MODELOPS_GATE='{"accuracy": {"min": 1}}')
    assert finished.returncode == 2
    assert finished.stderr == "error: MODELOPS_GATE: accuracy not reported; reported metrics: mse, r2\n"


def test_a_registry_that_is_not_there(publish: Publish) -> None:
    finished = publish(MLFLOW_TRACKING_URI=NOWHERE, MODELOPS_REGISTRY_WAIT_SECONDS=1)
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: the registry http://127.0.0.1:9 is not reachable after 1 s: ")
    assert "waiting up to 1 s for the registry http://127.0.0.1:9" in finished.stdout


def test_an_experiment_that_was_deleted_is_named(publish: Publish, mlflow_url: str) -> None:
    def post(path: str, content: dict[str, str]) -> Any:
        request = urllib.request.Request(
            f"{mlflow_url}/api/2.0/mlflow/{path}", json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    made = post("experiments/create", {"name": "gone"})
    post("experiments/delete", {"experiment_id": made["experiment_id"]})
    finished = publish(MODELOPS_MODEL_NAME="gone", MLFLOW_EXPERIMENT_NAME="gone")
    assert finished.returncode == 2
    assert "the MLflow experiment 'gone' is deleted" in finished.stderr


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.json", None, "the training left no {}/metrics.json"),
        ("metrics.json", "{", "metrics.json is not JSON"),
        ("metrics.json", "[1]", "metrics.json must be a JSON object of numbers by name"),
        ("model", None, "the training left no model in {}/model"),
    ],
)
def test_a_training_that_broke_its_contract(
    publish: Publish, output: Path, file: str, content: str | None, message: str
) -> None:
    if content is not None:
        (output / file).write_text(content)
    elif file == "model":
        shutil.rmtree(output / file)
    else:
        (output / file).unlink()
    finished = publish(MLFLOW_TRACKING_URI=NOWHERE)
    assert finished.returncode == 2
    assert message.format(output) in finished.stderr
    assert "Traceback" not in finished.stderr


def published(client: MlflowClient, name: str) -> Run:
    version = client.get_model_version_by_alias(name, "run-abc")
    return client.get_run(version.run_id)


def test_results_that_are_no_metrics_are_told_and_left_out_and_the_rest_is_published(
    publish: Publish, output: Path, mlflow_url: str
) -> None:
    metrics = {"mse": 0.03, "f1[spam]": 1, "f1": {"spam": 0.5, "ham": 0.9}}
    wrong = {"auc": math.nan, "r2": "high", "rows": [1], "best": None, "last": True, "huge": 10**400}
    (output / "metrics.json").write_text(json.dumps({**metrics, **wrong}))
    history = [{"epoch": 1, "loss": 0.5, "note": "x"}, {"epoch": "2"}, 3, {"epoch": 1e300}]
    (output / "history.json").write_text(json.dumps(history))
    (output / "parameters.json").write_text("[1, 2]")
    finished = publish(MODELOPS_MODEL_NAME="partial", MODELOPS_GATE='{"f1[ham]": {"min": 0.9}}')
    assert finished.returncode == 0, finished.stderr
    told = [line for line in finished.stdout.splitlines() if line.startswith("left out")]
    assert told[:-2] == [
        "left out: f1[spam] in metrics.json is there twice, by itself and in an object",
        "left out: auc in metrics.json is NaN, must be a finite number",
        'left out: r2 in metrics.json is "high", must be a finite number',
        "left out: rows in metrics.json is [1], must be a finite number",
        "left out: best in metrics.json is null, must be a finite number",
        "left out: last in metrics.json is true, must be a finite number",
        f"left out: huge in metrics.json is 1{'0' * 99}, must be a finite number",
    ]
    assert told[-2:] == [
        "left out: history.json has 3 rows that are no objects with a number `epoch`",
        "left out: parameters.json must be a JSON object",
    ]
    run = published(MlflowClient(mlflow_url), "partial")
    assert runs.final_metrics(run) == {"mse": 0.03, "f1[ham]": 0.9}
    assert records.read(run.data.tags, records.PARAMETERS) == {"epochs": 600, "name": "x", "layers": [1, 2]}


def test_a_gate_on_a_metric_that_is_no_number_is_not_met(publish: Publish, output: Path) -> None:
    (output / "metrics.json").write_text('{"mse": NaN, "r2": 1}')
    finished = publish(MLFLOW_TRACKING_URI=NOWHERE)
    assert finished.returncode == 2
    assert "left out: mse in metrics.json is NaN, must be a finite number" in finished.stdout
    assert finished.stderr == "error: MODELOPS_GATE: mse not reported; reported metrics: r2\n"


REFUSED = {"MAP@10": 0.4, "f1 (macro)": 0.7, "f1": {"class=spam": 0.9, "größe=L": 0.8}, "": 0.1, "x" * 300: 0.2}


def test_names_that_mlflow_refuses_are_mapped_shown_and_judged_by_their_own(
    publish: Publish, output: Path, mlflow_url: str
) -> None:
    (output / "metrics.json").write_text(json.dumps(REFUSED))
    epochs = [{"epoch": epoch, "loss": 1 / epoch, "MAP@10": epoch / 10} for epoch in (1, 2)]
    (output / "history.json").write_text(json.dumps(epochs))
    finished = publish(
        MODELOPS_MODEL_NAME="refused",
        MODELOPS_GATE='{"f1[class=spam]": {"min": 0.9}, "MAP@10": {"min": 0.4}}',
        MODELOPS_PARAMETERS='{"optimizer[lr]": 0.1, "+trainer.max_epochs": 3}',
    )
    assert finished.returncode == 0, finished.stderr
    assert "gate met: f1[class=spam] is 0.9, must be at least 0.9" in finished.stdout
    assert "MLflow takes no 'MAP@10': there it is MAP_x0040_10" in finished.stdout
    assert "MLflow takes no '+trainer.max_epochs': there it is _x002B_trainer.max_epochs" in finished.stdout
    client = MlflowClient(mlflow_url)
    run = published(client, "refused")
    assert runs.final_metrics(run) == {
        "MAP@10": 0.4,
        "f1 (macro)": 0.7,
        "f1[class=spam]": 0.9,
        "f1[größe=L]": 0.8,
        "": 0.1,
        "x" * 300: 0.2,
    }
    assert len(run.data.metrics) == 7  # `loss` too
    assert run.data.metrics["f1_x005B_größe_x003D_L_x005D_"] == 0.8
    assert run.data.params == {"optimizer_x005B_lr_x005D_": "0.1", "_x002B_trainer.max_epochs": "3"}
    history = client.get_metric_history(run.info.run_id, "MAP_x0040_10")
    assert [(point.step, point.value) for point in history] == [(1, 0.1), (2, 0.2), (2, 0.4)]


def test_hundreds_of_metrics_and_long_parameters_come_back_exactly(
    publish: Publish, output: Path, mlflow_url: str
) -> None:
    metrics = {f"f1[class={number}]": number / 7 for number in range(400)}
    parameters = {
        "prompt": "äöü€😀" * 4000,
        "surrogate": "\ud800",
        "zero": "a\0b",
        "empty": "",
        "nothing": None,
        "number": "1",
        **{f"parameter {number}": number for number in range(300)},
    }
    (output / "metrics.json").write_text(json.dumps(metrics))
    (output / "parameters.json").write_text(json.dumps(parameters))
    for words in ("published long version 1", "long@run-abc is already published as version 1"):
        finished = publish(MODELOPS_MODEL_NAME="long", MODELOPS_GATE="{}")
        assert finished.returncode == 0, finished.stderr
        assert words in finished.stdout
    run = published(MlflowClient(mlflow_url), "long")
    assert runs.final_metrics(run) == metrics
    assert records.read(run.data.tags, records.PARAMETERS) == parameters
    assert len(run.data.params) == len(parameters)
    assert run.data.params["prompt"] == parameters["prompt"][:5999] + "…"
    assert (run.data.params["surrogate"], run.data.params["zero"]) == ('"\\ud800"', '"a\\u0000b"')


def test_a_version_whose_record_was_cut_by_an_earlier_release_is_still_read(publish: Publish, mlflow_url: str) -> None:
    assert publish(MODELOPS_MODEL_NAME="before").returncode == 0
    client = MlflowClient(mlflow_url)
    client.set_tag(published(client, "before").info.run_id, records.METRICS, '{"mse": 0.03, "r')
    assert "before@run-abc is already published" in publish(MODELOPS_MODEL_NAME="before").stdout
    assert runs.final_metrics(published(client, "before"))["r2"] == 0.98


def test_a_parameter_that_the_training_changed_is_told_and_costs_nothing(
    publish: Publish, output: Path, mlflow_url: str
) -> None:
    variables = environment(MODELOPS_RUN_ID="abc", MODELOPS_MODEL_NAME="changed", MLFLOW_TRACKING_URI=mlflow_url)
    settings = PublishContract.read(Environment(variables))
    client = MlflowClient(mlflow_url)
    # What the watcher logs while the training goes on.
    begun = runs.find_or_create(client, settings)
    runs.log_parameters(client, begun.info.run_id, {"rate": "auto"})
    (output / "parameters.json").write_text('{"rate": 0.01}')
    finished = publish(MODELOPS_MODEL_NAME="changed", MLFLOW_EXPERIMENT_NAME="changed")
    assert finished.returncode == 0, finished.stderr
    assert "MLflow keeps rate as 'auto'; the training used '0.01'" in finished.stdout
    run = published(client, "changed")
    assert (run.info.run_id, run.data.params["rate"]) == (begun.info.run_id, "auto")
    assert records.read(run.data.tags, records.PARAMETERS) == {"rate": 0.01}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda model: (model / "model.json").unlink(), "the training left no model.json in its folder model"),
        (lambda model: (model / "model.json").write_text("{"), "the model can't be served: model.json is not JSON"),
        (lambda model: (model / "model.json").write_text("{}"), "model.json: golden must have non-empty lists"),
        (lambda model: (model / "model.tflite").unlink(), "model.tflite, which model.json names, can't be read"),
        (lambda model: (model / "model.tflite").write_bytes(b"x"), "model.tflite is damaged"),
        (lambda model: write_model(model, golden_error=0.01), "the golden prediction of line is wrong: 0.01 away"),
    ],
)
def test_a_model_that_could_not_be_served_is_not_registered(
    publish: Publish, output: Path, mlflow_url: str, damage: Callable[[Path], object], message: str
) -> None:
    damage(output / "model")
    for changes in ({}, {"MODELOPS_SWEEP_METRIC": "mse"}):
        finished = publish(MODELOPS_MODEL_NAME="broken", MLFLOW_EXPERIMENT_NAME="broken", **changes)
        assert finished.returncode == 2
        assert message in finished.stderr
        assert str(output) not in finished.stderr
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(mlflow_url, "registered-models/get", name="broken")
    assert MlflowClient(mlflow_url).get_experiment_by_name("broken") is None


def test_a_folder_for_another_server_is_registered_and_fetched_whole(
    publish: Publish, output: Path, mlflow_url: str, tmp_path: Path
) -> None:
    (output / "model" / "model.json").rename(output / "model" / "adapter_config.json")
    (output / "model" / "tokenizer").mkdir()
    (output / "model" / "tokenizer" / "words.txt").write_text("words")
    finished = publish(MODELOPS_MODEL_NAME="adapter")
    assert finished.returncode == 0, finished.stderr
    assert "has no model.json and is an adapter (adapter_config.json): it is fetched whole" in finished.stdout
    folder = tmp_path / "fetched"
    variables = environment(
        MODELOPS_MODEL_URI="models:/adapter@run-abc", MLFLOW_TRACKING_URI=mlflow_url, MODELOPS_MODEL_DIR=str(folder)
    )
    assert fetch(FetchContract.read(Environment(variables))).name == "an adapter"
    kept, came = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (output / "model", folder)
    )
    assert came == kept


@pytest.mark.parametrize(
    ("runtime", "why"),
    [
        ("own", "a model of the runtime own may run code, and this container has an account"),
        ("framework", "a model of the runtime framework may run code, and this container has an account"),
        ("litert", "this image has no runtime litert"),
    ],
)
def test_what_the_publisher_cannot_load_is_left_to_the_server_and_that_is_said(
    publish: Publish, output: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, why: str
) -> None:
    manifest = write_model(output / "model", golden_error=1)
    dataclasses.replace(manifest, runtime=runtime).write(output / "model")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    finished = publish(MODELOPS_MODEL_NAME="unloaded", MODELOPS_RUN_ID=runtime)
    assert finished.returncode == 0, finished.stderr
    assert f"the golden prediction is left to who wrote the model, and to the server: {why}" in finished.stdout


def test_a_model_too_large_for_the_publisher_is_not_loaded(
    publish: Publish, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "LOADED_BYTES", 2**20 - 1)
    with (output / "model" / "model.tflite").open("ab") as file:
        file.truncate(2**20)
    manifest = dataclasses.replace(Manifest.read(output / "model"), sha256={})
    manifest.write(output / "model")
    assert "the model has more than 0 MiB" in publish(MODELOPS_MODEL_NAME="large").stdout


def test_no_history_is_no_problem(publish: Publish, output: Path) -> None:
    (output / "history.json").unlink()
    finished = publish(MLFLOW_TRACKING_URI=NOWHERE)
    assert "is not reachable" in finished.stderr  # everything before was well
