"""What is published is a model of MLflow's: MLflow and MLServer load it without this project and predict the same."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from modelops.kubernetes.runtime import runtime_files
from modelops_runtime.artifacts.language_model import Base
from modelops_runtime.artifacts.manifest import Manifest
from modelops_runtime.artifacts.packages import SERVED_WITH, TUNED_WITH
from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.contract import FetchContract
from modelops_runtime.registry.fetch import fetch
from modelops_runtime.registry.publish import main
from tests.conftest import REPOSITORY
from tests.environments import environment_of
from tests.models import write_keras_model, write_model, write_onnx_model
from tests.runtime import environment
from tests.tuned import write_folder
from tests.unit.model.conftest import Mlflow, answering, mlflow_server
from tests.unit.model.support import run_here, start_server
from tests.unit.model.test_preprocessing import SIMPLE, WORDS, with_preprocessing

Publish = Callable[..., "subprocess.CompletedProcess[str]"]
CITIES = {"column": "city", "kind": "one_hot", "categories": ["Lima ü", "Rome"], "unknown": "zeros"}
TEXTS = Preprocessing(("age", "city", "kind"), ("age", "city=Rome", "kind_0", "kind_1"), (CITIES, WORDS))


@dataclass
class Case:
    """A model, and rows to ask it with: of a data frame where they have names."""

    write: Callable[[Path], object]
    rows: list[list[Any]]
    columns: list[str] = field(default_factory=list)

    def question(self, uri: str) -> dict[str, Any]:
        how = {"columns": self.columns} if self.columns else {"dtype": "float32"}
        return {"uri": uri, "rows": self.rows, **how}


CASES = {
    "one-column": Case(write_model, [[0.5], [-2.25]]),
    "a-frame-for-a-tensor": Case(write_model, [[0.5], [-2.25]], ["x"]),
    "two-columns": Case(
        lambda folder: write_model(folder, weights=((1.0, 0.5), (3.0, -1.0)), bias=(0.25, 1.0)), [[0.1, 0.7], [3, 4]]
    ),
    "onnx": Case(write_onnx_model, [[0.1, 0.2, 0.3], [1, 2, 3]]),
    "columns-of-numbers": Case(
        lambda folder: with_preprocessing(folder, SIMPLE, [[40.0, 1.0]]), [[33.5, 2.0], [400.0, 1.0]], ["age", "kind"]
    ),
    "columns-of-text": Case(
        lambda folder: with_preprocessing(folder, TEXTS, [[40, "Rome", "sun"]]),
        [[33.5, "Lima ü", "rain, sun"], [1.5, "elsewhere", ""]],
        ["age", "city", "kind"],
    ),
}
KERAS = Case(write_keras_model, [[0.5], [2.0]])


def alone(**variables: str) -> dict[str, str]:
    """An environment of a process that knows nothing of this project."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "MLFLOW_"))}
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "TF_CPP_MIN_LOG_LEVEL": "3", **variables}


def predicted(url: str, folder: Path, *questions: dict[str, Any], python: str = sys.executable) -> list[Any]:
    """What MLflow predicts, in a process that has MLflow alone."""
    program = shutil.copy(Path(__file__).with_name("mlflow_predict.py"), folder)
    env, asked = alone(MLFLOW_TRACKING_URI=url), json.dumps(questions)
    done = subprocess.run([python, program], input=asked, env=env, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    answers: list[Any] = json.loads(done.stdout)
    return answers


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """What a training leaves."""
    folder = tmp_path / "output"
    (folder / "model").mkdir(parents=True)
    (folder / "metrics.json").write_text('{"mse": 0.03, "f1[spam]": 0.9}')
    return folder


@pytest.fixture
def publish_to(output: Path, capsys: pytest.CaptureFixture[str]) -> Publish:
    """Publishes `output` to the registry of a URL as version 1 of a name."""

    def run(url: str, name: str, **changes: object) -> "subprocess.CompletedProcess[str]":
        variables: dict[str, object] = {
            "MODELOPS_RUN_ID": "abc",
            "MODELOPS_MODEL_NAME": name,
            "MODELOPS_OUTPUT_DIR": output,
            "MLFLOW_TRACKING_URI": url,
            "MODELOPS_REGISTRY_WAIT_SECONDS": 0,
        }
        return run_here(main, capsys, **{**variables, **changes})

    return run


@pytest.fixture
def publish(publish_to: Publish, mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Publishes to the MLflow server that the tests share."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)

    def run(name: str, **changes: object) -> "subprocess.CompletedProcess[str]":
        done = publish_to(mlflow_url, name, **changes)
        assert done.returncode == 0, done.stderr
        return done

    return run


def served(url: str, name: str, folder: Path, case: Case) -> tuple[Any, Any]:
    """What our server answers of the version that was fetched, to the rows and to the golden prediction's."""
    fetch(FetchContract(f"models:/{name}/1", url, folder, None, 0, 2**30))
    with start_server(folder, folder.with_name("log"), start_seconds=120) as server:
        golden = Manifest.read(folder).golden.inputs
        answers = [server.post({"inputs": rows}) for rows in (case.rows, golden)]
        assert [answer.status for answer in answers] == [200, 200], answers[0].body
        return answers[0].json()["outputs"], answers[1].json()["outputs"]


@pytest.mark.parametrize(
    ("name", "case"),
    [*CASES.items(), pytest.param("keras", KERAS, marks=pytest.mark.tensorflow)],
    ids=[*CASES, "keras"],
)
def test_mlflow_predicts_what_the_server_answers(
    publish: Publish, output: Path, mlflow_url: str, tmp_path: Path, name: str, case: Case
) -> None:
    case.write(output / "model")
    publish(name)
    [got] = predicted(mlflow_url, tmp_path, case.question(f"models:/{name}/1"))
    assert (got["outputs"], got["example"]) == served(mlflow_url, name, tmp_path / "fetched", case)


def test_models_of_several_versions_of_the_loader_are_loaded_by_one_process(
    publish: Publish, output: Path, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(output / "model")
    publish("now")
    mlmodel = Model.load(mlflow.artifacts.download_artifacts("models:/now/1", dst_path=str(tmp_path / "now")))
    loader = mlmodel.flavors["python_function"]["loader_module"].partition(".")[0]
    assert (tmp_path / "now" / "code" / loader).is_dir()
    # The same model published by another release: its loader adds one.
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "now", other)
    (other / "code" / loader).rename(other / "code" / "modelops_loader_other")
    for file in [other / "MLmodel", *other.glob("code/**/*.py")]:
        text = file.read_text().replace(loader, "modelops_loader_other")
        file.write_text(text.replace("return outputs[:, 0]", "return 1 + outputs[:, 0]"))
    questions = [CASES["one-column"].question(uri) for uri in ("models:/now/1", str(other), "models:/now/1")]
    answers = predicted(mlflow_url, tmp_path, *questions)
    assert [answer["outputs"] for answer in answers] == [[2.0, -3.5], [3.0, -2.5], [2.0, -3.5]]


def test_the_folder_says_what_the_model_takes_gives_and_needs(
    publish: Publish, output: Path, mlflow_url: str, tmp_path: Path
) -> None:
    manifest = with_preprocessing(output / "model", TEXTS, [[40, "Rome", "sun"]])
    versions = {"python": "3.12.1", "ai-edge-litert": "2.1.0", "numpy": "2.2.2"}
    dataclasses.replace(manifest, versions=versions).write(output / "model")
    publish("described")
    folder = Path(mlflow.artifacts.download_artifacts("models:/described/1", dst_path=str(tmp_path / "folder")))
    for file in (output / "model").iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()
    info = mlflow.models.get_model_info("models:/described/1")
    assert (
        str(info.signature.inputs) == "['age': double (required), 'city': string (required), 'kind': string (required)]"
    )
    assert str(info.signature.outputs) == "[Tensor('float32', (-1,))]"
    version = MlflowClient(mlflow_url).get_model_version("described", "1")
    assert (info.run_id, info.model_id) == (version.run_id, version.source.removeprefix("models:/"))
    assert info.mlflow_version == mlflow.__version__
    model = Model.load(folder)
    assert model.load_input_example(str(folder)).to_dict("list") == {"age": [40.0], "city": ["Rome"], "kind": ["sun"]}
    assert json.loads(model.get_serving_input(str(folder)) or "") == {
        "dataframe_split": {"columns": ["age", "city", "kind"], "data": [[40.0, "Rome", "sun"]]}
    }
    pinned = [f"mlflow=={mlflow.__version__}", "ai-edge-litert==2.1.0", "numpy==2.2.2"]
    assert (folder / "requirements.txt").read_text().splitlines() == pinned
    assert mlflow.pyfunc.get_model_dependencies(str(folder), "pip") == str(folder / "requirements.txt")
    assert "python=3.12.1" in Path(mlflow.pyfunc.get_model_dependencies(str(folder), "conda")).read_text()
    assert "python: 3.12.1" in (folder / "python_env.yaml").read_text()


def test_the_docs_way_to_load_it_works(publish: Publish, output: Path, mlflow_url: str) -> None:
    write_model(output / "model")
    publish("from-the-docs")
    MlflowClient(mlflow_url).set_registered_model_alias("from-the-docs", "serving", "1")
    [snippet] = re.findall(r"```python\n(import mlflow\n.*?)```", (REPOSITORY / "docs/model.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(snippet.replace("models:/line@", "models:/from-the-docs@"), found)
    assert found["predictions"].tolist() == [2.0, 5.0]


def test_an_onnx_model_is_one_for_mlflow_too(publish: Publish, output: Path) -> None:
    write_onnx_model(output / "model")
    publish("graph")
    import mlflow.onnx

    assert mlflow.onnx.load_model("models:/graph/1").graph.name == "dense"


def test_a_version_is_of_a_logged_model_which_is_the_runs_output_and_the_data_its_input(
    publish: Publish, output: Path, mlflow_url: str
) -> None:
    write_model(output / "model")
    parameters = {f"parameter {number}": number for number in range(150)}
    version_of_data = "0123456789abcdef0123456789abcdef01234567"
    variables = {
        "MODELOPS_PARAMETERS": json.dumps(parameters),
        "MODELOPS_DATA_URI": "s3://data/points/v5",
        "MODELOPS_DATA_VERSION": version_of_data,
        "MODELOPS_GIT_COMMIT": "c0ffee",
        "MODELOPS_IMAGE": "registry/train@sha256:1",
    }
    publish("output", **variables)
    client = MlflowClient(mlflow_url)
    version = client.get_model_version("output", "1")
    run = client.get_run(version.run_id)
    [of_run] = run.outputs.model_outputs
    assert version.source == f"models:/{of_run.model_id}"
    model = client.get_logged_model(of_run.model_id)
    assert (model.name, str(model.status), model.source_run_id) == ("model", "READY", version.run_id)
    assert model.params == {name: str(value) for name, value in parameters.items()}
    assert {metric.key: metric.value for metric in model.metrics} == {"mse": 0.03, "f1_x005B_spam_x005D_": 0.9}
    assert model.tags["modelops.run_id"] == "abc"
    assert client.list_artifacts(version.run_id) == []
    [read] = run.inputs.dataset_inputs
    assert [(tag.key, tag.value) for tag in read.tags] == [("mlflow.data.context", "training")]
    assert (read.dataset.name, read.dataset.digest) == ("s3://data/points/v5", version_of_data[:36])
    assert mlflow.data.get_source(read.dataset).uri == "s3://data/points/v5"
    assert run.data.tags["modelops.data_version"] == version_of_data
    assert run.data.tags["mlflow.source.git.commit"] == run.data.tags["modelops.git_commit"] == "c0ffee"
    assert run.data.tags["mlflow.source.name"] == "registry/train@sha256:1"
    assert mlflow.pyfunc.load_model(f"runs:/{version.run_id}/model").metadata.model_id == of_run.model_id


@pytest.mark.parametrize("step", ["log_model_artifacts", "finalize_logged_model", "log_outputs", "set_terminated"])
def test_a_publishing_that_was_cut_off_leaves_one_logged_model_in_the_end(
    publish_to: Publish, output: Path, mlflow_url: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_model(output / "model")
    name = f"cut-{step}"
    variables = {"MODELOPS_DATA_URI": "file:///data", "MODELOPS_PARAMETERS": '{"epochs": 3}'}
    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, step, lambda *_arguments, **_named: os.kill(os.getpid(), signal.SIGTERM))
        assert publish_to(mlflow_url, name, **variables).returncode == 143
    assert publish_to(mlflow_url, name, **variables).returncode == 0
    client = MlflowClient(mlflow_url)
    [version] = client.search_model_versions(f"name = '{name}'")
    run = client.get_run(version.run_id)
    assert len(client.search_logged_models([run.info.experiment_id])) == 1
    assert (len(run.outputs.model_outputs), len(run.inputs.dataset_inputs)) == (1, 1)
    assert run.info.status == "FINISHED"
    assert client.get_logged_model(run.outputs.model_outputs[0].model_id).params == {"epochs": "3"}


def test_what_the_training_wrote_itself_is_left_as_it_is(publish: Publish, output: Path, tmp_path: Path) -> None:
    write_model(output / "model")
    (output / "model" / "requirements.txt").write_text("numpy\n")
    assert "requirements.txt is left as the training wrote it" in publish("partly").stdout
    folder = Path(mlflow.artifacts.download_artifacts("models:/partly/1", dst_path=str(tmp_path / "partly")))
    assert (folder / "requirements.txt").read_text() == "numpy\n" and (folder / "conda.yaml").is_file()
    (output / "model" / "MLmodel").write_text("flavors: {}\n")
    publish("wholly")
    folder = Path(mlflow.artifacts.download_artifacts("models:/wholly/1", dst_path=str(tmp_path / "wholly")))
    assert not (folder / "conda.yaml").exists() and not (folder / "code").exists()
    assert (folder / "MLmodel").read_text() == "flavors: {}\n"


def test_a_model_for_a_server_of_your_own_gets_no_loader_and_that_is_said(publish: Publish, output: Path) -> None:
    dataclasses.replace(write_model(output / "model"), runtime="own").write(output / "model")
    assert "MLflow can't load a model of the runtime own: it gets no MLmodel" in publish("own").stdout


def test_publishing_in_a_pod_writes_it_without_numpy_from_the_librarys_archive(tmp_path: Path) -> None:
    with_preprocessing(tmp_path / "model", TEXTS, [[40, "Rome", "sun"]])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in runtime_files("publish").items():
            archive.writestr(path, text)
    (tmp_path / "runtime.zip").write_bytes(content.getvalue())
    program = (
        "import sys, pathlib; sys.modules['numpy'] = sys.modules['pandas'] = None;"
        "from modelops_runtime.registry.publishing import mlmodel, tracking; here = pathlib.Path.cwd();"
        "assert mlmodel.write(here / 'model', here / 'beside', run_id='1')"
    )
    (tmp_path / "beside").mkdir()
    env = alone(PYTHONPATH=str(tmp_path / "runtime.zip"))
    subprocess.run([sys.executable, "-c", program], env=env, cwd=tmp_path, check=True)
    shutil.copytree(tmp_path / "beside", tmp_path / "model", dirs_exist_ok=True)
    case = CASES["columns-of-text"]
    [got] = predicted("", tmp_path, case.question(str(tmp_path / "model")))
    assert got["outputs"] == pytest.approx([33.5 + 2 + 3, 1.5])


def test_preprocessing_that_is_not_as_agreed_is_told_before_anything_is_uploaded(
    publish_to: Publish, output: Path, mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = with_preprocessing(output / "model", SIMPLE, [[40.0, 1.0]])
    dataclasses.replace(manifest, sha256={}).write(output / "model")
    (output / "model" / "preprocessing.json").write_text('{"inputs": ["age"]}')
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    done = publish_to(mlflow_url, "unprepared")
    assert done.returncode == 2
    assert "error: the model can't be served: preprocessing.json: KeyError: 'operations'" in done.stderr


def test_the_versions_that_a_manifest_without_any_gets_are_those_of_the_images() -> None:
    def locked(*names: str) -> dict[str, str]:
        lines = [line for name in names for line in (REPOSITORY / "model" / name).read_text().splitlines()]
        return dict(re.split(r" ; |#", line)[0].strip().split("==") for line in lines if line and line[0] != "#")

    images = {
        "litert": ("requirements-serve.txt",),
        "onnx": ("requirements-serve.txt", "requirements-serve-onnx.txt"),
        "tensorflow": ("requirements-train.txt",),
        "pytorch": ("requirements-train-pytorch.txt",),
        "mxnet": ("requirements-train-mxnet.txt",),
    }
    assert images.keys() == SERVED_WITH.keys()
    for runtime, packages in SERVED_WITH.items():
        assert packages.items() <= locked(*images[runtime]).items()
    assert TUNED_WITH.items() <= locked("requirements-train-pytorch.txt", "requirements-finetune.txt").items()


@pytest.fixture(scope="module")
def old_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """An MLflow server from before there were logged models."""
    with mlflow_server(tmp_path_factory.mktemp("old"), str(environment_of("mlflow2"))) as server:
        yield server


@pytest.mark.integration
def test_a_language_model_in_a_registry_of_mlflow_2_is_whole(
    publish_to: Publish, output: Path, old_registry: Mlflow, tmp_path: Path
) -> None:
    url = answering(old_registry)
    write_folder(output / "model", Base(f"hf://team/base@{'c' * 40}", None, None))
    done = publish_to(url, "talks")
    assert done.returncode == 0, done.stderr
    assert fetch(FetchContract("models:/talks/1", url, tmp_path / "pod", None, 5, 2**20)).files[-1] == "MLmodel"
    names = {path.relative_to(tmp_path / "pod").as_posix() for path in (tmp_path / "pod").rglob("*")}
    assert {"SHA256SUMS", "model.safetensors", "components/tokenizer/tokenizer.json"} <= names


@pytest.mark.integration
def test_a_registry_of_mlflow_2_gets_the_files_as_artifacts_of_the_run_and_mlflow_2_loads_them(
    publish_to: Publish, output: Path, old_registry: Mlflow, tmp_path: Path
) -> None:
    url = answering(old_registry)
    case = CASES["columns-of-text"]
    case.write(output / "model")
    done = publish_to(url, "old", MODELOPS_DATA_URI="s3://data/points")
    assert done.returncode == 0, done.stderr
    words = "the registry is of MLflow 2, without logged models: the model's files are artifacts of the run"
    assert done.stdout.count(words) == 1
    client = MlflowClient(url)
    version = client.get_model_version("old", "1")
    assert version.source == f"{client.get_run(version.run_id).info.artifact_uri}/model"
    assert len(client.get_run(version.run_id).inputs.dataset_inputs) == 1
    answer = served(url, "old", tmp_path / "fetched", case)
    for python in (sys.executable, str(environment_of("mlflow2"))):
        [got] = predicted(url, tmp_path, case.question("models:/old/1"), python=python)
        assert (got["outputs"], got["example"]) == answer


@pytest.mark.integration
def test_a_publisher_with_mlflow_2_keeps_the_files_as_artifacts_of_the_run_and_says_so(
    output: Path, mlflow_url: str, tmp_path: Path
) -> None:
    case = CASES["one-column"]
    case.write(output / "model")
    variables = {
        "MODELOPS_RUN_ID": "abc",
        "MODELOPS_MODEL_NAME": "old-publisher",
        "MODELOPS_OUTPUT_DIR": output,
        "MODELOPS_DATA_URI": "s3://data/points",
        "MLFLOW_TRACKING_URI": mlflow_url,
    }
    command = [environment_of("mlflow2"), "-m", "modelops_runtime", "publish"]
    done = subprocess.run(command, env=environment(**variables), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "this image has MLflow 2.22.5, without logged models: the model's files are artifacts" in done.stdout
    [got] = predicted(mlflow_url, tmp_path, case.question("models:/old-publisher/1"))
    assert got["outputs"] == [2.0, -3.5]


@contextlib.contextmanager
def mlserver(folder: Path, models: dict[str, str]) -> Iterator[str]:
    """The address of a real MLServer that serves MLflow's models: name → folder."""
    with contextlib.ExitStack() as sockets:
        free = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _number in range(3)]
        http, grpc, metrics = (place.getsockname()[1] for place in free)
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}))
    for name, uri in models.items():
        (folder / name).mkdir()
        model = {"name": name, "implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": uri}}
        (folder / name / "model-settings.json").write_text(json.dumps(model))
    command = [environment_of("mlserver").with_name("mlserver"), "start", folder]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=alone(), cwd=folder, stdout=log, stderr=log)
    try:
        url, deadline = f"http://127.0.0.1:{http}", time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5):
                yield url
                return
            time.sleep(0.2)
        raise AssertionError(f"MLServer did not start: {(folder / 'log').read_text()[-3000:]}")
    finally:
        process.kill()
        process.wait()


def inferred(url: str, name: str, case: Case) -> Any:
    """The answer of a server of the Open Inference Protocol."""
    tensors = [{"name": "input", "shape": [len(case.rows), len(case.rows[0])], "datatype": "FP32", "data": case.rows}]
    if case.columns:
        values = list(zip(*case.rows, strict=True))
        kinds = ["BYTES" if isinstance(column[0], str) else "FP64" for column in values]
        tensors = [
            {"name": column, "shape": [len(data), 1], "datatype": kind, "data": data}
            for column, kind, data in zip(case.columns, kinds, values, strict=True)
        ]
    body = json.dumps({"inputs": tensors}).encode()
    request = urllib.request.Request(
        f"{url}/v2/models/{name}/infer", body, {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            [outputs] = json.load(answer)["outputs"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error
    width = outputs["shape"][-1]
    data = outputs["data"]
    return data if width == 1 else [data[place : place + width] for place in range(0, len(data), width)]


def test_mlserver_s_mlflow_runtime_loads_it_and_answers_what_our_server_answers(
    publish: Publish, output: Path, mlflow_url: str, tmp_path: Path
) -> None:
    names = ["one-column", "two-columns", "onnx", "columns-of-numbers", "columns-of-text"]
    folders, answers = {}, {}
    for name in names:
        shutil.rmtree(output / "model")
        CASES[name].write(output / "model")
        publish(f"open-{name}")
        uri = f"models:/open-{name}/1"
        folders[name] = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "downloaded" / name))
        answers[name] = served(mlflow_url, f"open-{name}", tmp_path / "fetched" / name, CASES[name])[0]
    (tmp_path / "models").mkdir()
    with mlserver(tmp_path / "models", folders) as url:
        assert {name: inferred(url, name, CASES[name]) for name in names} == answers
