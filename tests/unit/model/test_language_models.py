"""Language models in a registry: published, fetched and promoted, by real MLflow servers."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.models import Model

from modelops_runtime.artifacts import language_model
from modelops_runtime.artifacts.language_model import Base
from modelops_runtime.contract import Exit
from modelops_runtime.registry import fetch, publish, transfer
from tests.conftest import REPOSITORY
from tests.environments import environment_of
from tests.runtime import environment
from tests.tuned import WEIGHTS, write_folder
from tests.unit.model.conftest import Mlflow, answering, mlflow_server
from tests.unit.model.support import run_here

HUB = Base(f"hf://team/base@{'c' * 40}", None, "apache-2.0")
ADAPTER = {"adapter_model.safetensors": 100}
SHARDS = {"model-00001-of-00002.safetensors": 6 * 2**20, "model-00002-of-00002.safetensors": 24 * 2**20}
FIRST, SECOND = SHARDS
Program = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """Another registry."""
    with mlflow_server(tmp_path_factory.mktemp("elsewhere")) as server:
        answering(server)
        yield server


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """What a fine-tuning leaves, but for the model."""
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "metrics.json").write_text('{"loss": 1.5}')
    return folder


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A registered model of the test's own."""
    return str(request.node.name).replace("[", "-").strip("]")[:100]


@pytest.fixture
def variables(output: Path, tmp_path: Path, mlflow_url: str, elsewhere: Mlflow, name: str) -> dict[str, dict[str, Any]]:
    """The environment of each program."""
    version = {"MODELOPS_MODEL_NAME": name, "MODELOPS_RUN_ID": "abc", "MODELOPS_REGISTRY_WAIT_SECONDS": 5}
    here = {"MLFLOW_TRACKING_URI": mlflow_url, "MODELOPS_REGISTRY_WAIT_SECONDS": 5}
    return {
        "publish": {**version, **here, "MODELOPS_OUTPUT_DIR": output},
        "fetch": {**here, "MODELOPS_MODEL_URI": f"models:/{name}@run-abc", "MODELOPS_MODEL_DIR": tmp_path / "pod"},
        "transfer": {
            **version,
            "MODELOPS_SOURCE_URI": mlflow_url,
            "MLFLOW_TRACKING_URI": elsewhere.url,
            "MODELOPS_MODEL_DIR": tmp_path / "moved",
        },
    }


@pytest.fixture
def run(variables: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> Program:
    """Runs a program as its container does; keyword arguments change its environment."""
    programs = {"publish": publish.main, "fetch": fetch.main, "transfer": transfer.main}
    return lambda program, **changes: run_here(programs[program], capsys, **{**variables[program], **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_is_published_as_one_of_mlflow_s_with_all_that_a_user_asks_of_it(
    run: Program, output: Path, mlflow_url: str, name: str, tmp_path: Path
) -> None:
    write_folder(output / "model", HUB)
    done = run("publish")
    assert done.returncode == Exit.DONE, done.stderr
    client = MlflowClient(mlflow_url)
    version = client.get_model_version_by_alias(name, "run-abc")
    expected = {
        "modelops.language_model": "model",
        "modelops.base": HUB.uri,
        "modelops.base_license": "apache-2.0",
        "modelops.context_length": "256",
        "modelops.digest": language_model.digest(output / "model"),
    }
    assert expected.items() <= version.tags.items()
    assert expected.items() <= client.get_run(version.run_id).data.tags.items()
    assert run("fetch").returncode == Exit.DONE
    fetched = tmp_path / "pod"
    assert contents(output / "model").items() <= contents(fetched).items()
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", language_model.SUMS], cwd=fetched, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert len(checked.stdout.splitlines()) == len(contents(fetched)) - 1
    described = Model.load(str(fetched))
    assert described.metadata == {
        "task": "llm/v1/chat",
        "kind": "model",
        "base": {"uri": HUB.uri, "digest": None, "license": "apache-2.0"},
        "tokenizer": "TokenizersBackend",
        "chat_template": "chat_template.jinja",
        "context_length": 256,
        "digests": "SHA256SUMS",
    }
    assert described.signature.inputs.input_names() == ["messages", "temperature", "max_tokens", "stop"]
    assert set(described.flavors) == {"transformers", "python_function"}
    requirements = (fetched / "requirements.txt").read_text().split()
    assert {f"mlflow=={mlflow.__version__}", "transformers==5.20.0"} <= set(requirements)
    assert all("==" in line for line in requirements)


def test_an_adapter_is_published_with_its_base_and_no_loader_that_could_not_find_it(
    run: Program, output: Path, tmp_path: Path
) -> None:
    base = Base("s3://models/base", f"sha256:{'d' * 64}", None)
    write_folder(output / "model", base, kind="adapter", weights=ADAPTER)
    done = run("publish")
    assert done.returncode == Exit.DONE, done.stderr
    assert "the licence of s3://models/base is not known" in done.stdout
    assert run("fetch").returncode == Exit.DONE
    described = Model.load(str(tmp_path / "pod"))
    assert set(described.flavors) == {"transformers"}
    assert described.flavors["transformers"]["local_base_model_path"] == base.uri
    assert described.metadata["base"]["digest"] == base.digest
    assert "peft==0.20.0" in (tmp_path / "pod" / "requirements.txt").read_text()


def test_a_model_without_a_chat_template_completes_prompts(run: Program, output: Path, tmp_path: Path) -> None:
    write_folder(output / "model", HUB)
    (output / "model" / "chat_template.jinja").unlink()
    assert run("publish").returncode == run("fetch").returncode == Exit.DONE
    described = Model.load(str(tmp_path / "pod"))
    assert described.signature.inputs.input_names()[0] == "prompt"
    assert described.metadata["task"] == "llm/v1/completions"


def pickle_of(folder: Path) -> None:
    (folder / "weights.dat").write_bytes(b"\x80\x04K\x01.")


def archive_of(folder: Path) -> None:
    (folder / "weights.dat").write_bytes(b"PK\x03\x04archive/data.pkl")


def named(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(b"weights") and None


def cut_short(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 1)


def without_digest(folder: Path) -> None:
    path = folder / language_model.FILE_NAME
    path.write_text(path.read_text().replace(HUB.uri, "s3://models/base"))


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "bin": (named("pytorch_model.bin"), "has pytorch_model.bin: weights must be .safetensors"),
    "pt": (named("optimizer.PT"), "has optimizer.PT: weights must be .safetensors"),
    "pkl": (named("more.pkl"), "has more.pkl: weights must be .safetensors"),
    "pickle-by-content": (pickle_of, "has weights.dat: weights must be .safetensors"),
    "archive-by-content": (archive_of, "has weights.dat: weights must be .safetensors"),
    "no-safetensors": (named("model.safetensors"), "model.safetensors is not in the format safetensors"),
    "cut-short": (cut_short, "model.safetensors is not in the format safetensors: it has"),
    "no-tokenizer": (lambda folder: (folder / "tokenizer_config.json").unlink(), "has no tokenizer_config.json"),
    "no-config": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "base-that-moves": (without_digest, "'s3://models/base' has neither a commit of the Hub nor a digest"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_could_run_code_or_be_served_by_nothing_is_refused(
    run: Program, output: Path, mlflow_url: str, name: str, case: str
) -> None:
    spoil, message = BROKEN[case]
    write_folder(output / "model", HUB)
    spoil(output / "model")
    done = run("publish")
    assert done.returncode == Exit.CONFIGURATION
    assert message in done.stderr
    assert not MlflowClient(mlflow_url).search_registered_models(f"name = '{name}'")


def replace(client: MlflowClient, name: str, file: str, content: bytes, tmp_path: Path) -> None:
    """Overwrites a file of a version in the registry, or adds one."""
    (tmp_path / file).write_bytes(content)
    model = client.get_model_version_by_alias(name, "run-abc").source.removeprefix("models:/")
    client.log_model_artifact(model, str(tmp_path / file))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", b"x" * 190, "model.safetensors is damaged: its SHA-256 is"),
        ("tokenizer.json", b"[]", "tokenizer.json is damaged: its SHA-256 is"),
        ("added.json", b"{}", "has added.json: not in SHA256SUMS"),
        ("added.pt", b"x", "has added.pt: pickles can run code"),
        ("SHA256SUMS", b"", "SHA256SUMS is damaged"),
        ("SHA256SUMS", b"%s  gone.json\n" % (b"a" * 64), "has no gone.json"),
    ],
)
@pytest.mark.parametrize("program", ["fetch", "transfer"])
def test_what_was_changed_in_the_registry_is_not_taken(
    run: Program,
    output: Path,
    mlflow_url: str,
    elsewhere: Mlflow,
    name: str,
    tmp_path: Path,
    program: str,
    file: str,
    content: bytes,
    message: str,
) -> None:
    name = "changed-there"
    write_folder(output / "model", HUB)
    run_id = f"{program}-{file}-{len(content)}".replace(".", "-")
    changes: dict[str, Any] = {"MODELOPS_MODEL_NAME": name, "MODELOPS_RUN_ID": run_id}
    assert run("publish", **changes).returncode == Exit.DONE
    client = MlflowClient(mlflow_url)
    client.set_registered_model_alias(name, "run-abc", client.get_model_version_by_alias(name, f"run-{run_id}").version)
    replace(client, name, file, content, tmp_path)
    done = run(program, **changes, MODELOPS_MODEL_URI=f"models:/{name}@run-{run_id}")
    assert done.returncode == Exit.FAILURE
    assert message in done.stderr
    assert not list((tmp_path / "pod").glob("*"))
    assert not MlflowClient(elsewhere.url).search_model_versions(f"name = '{name}'")


def test_the_cache_s_copy_is_checked_and_fetched_again(run: Program, output: Path, tmp_path: Path) -> None:
    write_folder(output / "model", HUB)
    assert run("publish").returncode == Exit.DONE
    cache = {"MODELOPS_MODEL_CACHE_DIR": tmp_path / "cache"}
    assert run("fetch", **cache).returncode == Exit.DONE
    assert "in the cache already" in run("fetch", **cache).stdout
    [weights] = (tmp_path / "cache").glob("model-*/model.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(b"x" * len(whole))
    assert "model.safetensors is damaged" in run("fetch", **cache).stdout
    assert (tmp_path / "pod" / "model.safetensors").read_bytes() == whole


def test_a_file_over_the_bound_is_refused_with_the_variable(run: Program, output: Path) -> None:
    write_folder(output / "model", HUB, weights={"model.safetensors": 2000})
    assert run("publish").returncode == Exit.DONE
    for program in ("fetch", "transfer"):
        done = run(program, MODELOPS_MODEL_MAX_BYTES=1500)
        assert done.returncode == Exit.FAILURE
        assert "at most 1500 are allowed (MODELOPS_MODEL_MAX_BYTES)" in done.stderr


@dataclass
class Way:
    """A slow way to a server, which counts what passes."""

    url: str
    up: int = 0
    down: int = 0


@contextmanager
def slow_way(url: str, bytes_per_second: int) -> Iterator[Way]:
    host, port = url.removeprefix("http://").split(":")
    listening = socket.create_server(("127.0.0.1", 0))
    way = Way(f"http://127.0.0.1:{listening.getsockname()[1]}")

    def pass_on(source: socket.socket, target: socket.socket, direction: str) -> None:
        try:
            while data := source.recv(2**16):
                target.sendall(data)
                setattr(way, direction, getattr(way, direction) + len(data))
                time.sleep(len(data) / bytes_per_second)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            target.close()

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            server = socket.create_connection((host, int(port)))
            for ends in ((client, server, "up"), (server, client, "down")):
                threading.Thread(target=pass_on, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield way
    finally:
        listening.close()


RATE = 16 * 2**20


def killed_when(program: str, variables: dict[str, Any], reached: Callable[[], bool]) -> None:
    """Starts a program and kills it in the middle."""
    process = subprocess.Popen(
        [sys.executable, "-m", "modelops_runtime", program], env=environment(**variables), cwd=REPOSITORY
    )
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def sent(way: Way, begun: tuple[int, int]) -> tuple[int, int]:
    """Bytes up and down since then."""
    return way.up - begun[0], way.down - begun[1]


@pytest.mark.parametrize("changed", [False, True])
def test_a_publishing_that_was_killed_goes_on_with_the_files_that_are_missing(
    run: Program,
    variables: dict[str, dict[str, Any]],
    output: Path,
    mlflow_url: str,
    tmp_path: Path,
    changed: bool,
) -> None:
    write_folder(output / "model", HUB, weights=SHARDS)
    with slow_way(mlflow_url, RATE) as way:
        through = {"MLFLOW_TRACKING_URI": way.url}
        killed_when(
            "publish", {**variables["publish"], **through}, lambda: way.up > SHARDS[FIRST] + SHARDS[SECOND] // 2
        )
        if changed:  # another training has left weights of the same size
            with (output / "model" / FIRST).open("r+b") as file:
                file.seek(-4, os.SEEK_END)
                file.write(b"0123")
        begun = way.up, way.down
        done = run("publish", **through)
        assert done.returncode == Exit.DONE, done.stderr
        up, _ = sent(way, begun)
    assert (f"{FIRST} is in the registry already" in done.stdout) is not changed
    assert (up > sum(SHARDS.values())) is changed
    assert run("fetch").returncode == Exit.DONE
    assert contents(output / "model").items() <= contents(tmp_path / "pod").items()


@pytest.mark.parametrize("cached", [False, True])
def test_a_fetch_that_was_killed_goes_on_in_the_middle_of_the_file(
    run: Program,
    variables: dict[str, dict[str, Any]],
    output: Path,
    mlflow_url: str,
    tmp_path: Path,
    cached: bool,
) -> None:
    write_folder(output / "model", HUB, weights=SHARDS)
    assert run("publish").returncode == Exit.DONE
    cache = {"MODELOPS_MODEL_CACHE_DIR": tmp_path / "cache"} if cached else {}
    with slow_way(mlflow_url, RATE) as way:
        through = {"MLFLOW_TRACKING_URI": way.url, **cache}
        reached = SHARDS[FIRST] + SHARDS[SECOND] // 2
        killed_when("fetch", {**variables["fetch"], **through}, lambda: way.down > reached)
        assert not (tmp_path / "pod" / "MLmodel").exists()
        begun = way.up, way.down
        done = run("fetch", **through)
        assert done.returncode == Exit.DONE, done.stderr
        _, down = sent(way, begun)
    assert down < SHARDS[SECOND] * 3 // 4
    assert contents(output / "model").items() <= contents(tmp_path / "pod").items()
    assert not [*tmp_path.rglob(".fetch-*"), *tmp_path.rglob(".incoming-*")]


def test_a_promotion_that_was_killed_goes_on_and_the_files_are_the_same(
    run: Program,
    variables: dict[str, dict[str, Any]],
    output: Path,
    mlflow_url: str,
    elsewhere: Mlflow,
    name: str,
    tmp_path: Path,
) -> None:
    write_folder(output / "model", HUB, weights=SHARDS)
    assert run("publish").returncode == Exit.DONE
    with slow_way(mlflow_url, RATE) as way:
        through = {"MODELOPS_SOURCE_URI": way.url}
        reached = SHARDS[FIRST] + SHARDS[SECOND] // 2
        killed_when("transfer", {**variables["transfer"], **through}, lambda: way.down > reached)
        begun = way.up, way.down
        done = run("transfer", **through)
        assert done.returncode == Exit.DONE, done.stderr
        _, down = sent(way, begun)
    assert f"{FIRST} is there already" in done.stdout
    assert down < SHARDS[SECOND] * 3 // 4
    assert list((tmp_path / "moved").iterdir()) == []
    there = MlflowClient(elsewhere.url).get_model_version_by_alias(name, "run-abc")
    assert there.tags["modelops.base"] == HUB.uri
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder, url in zip(folders, (mlflow_url, elsewhere.url), strict=True):
        assert run("fetch", MLFLOW_TRACKING_URI=url, MODELOPS_MODEL_DIR=folder).returncode == Exit.DONE
    assert contents(folders[0]) == contents(folders[1])


def test_an_adapter_is_promoted_after_its_base(run: Program, output: Path, name: str, tmp_path: Path) -> None:
    base_name = {"MODELOPS_MODEL_NAME": f"{name}-base"}
    write_folder(output / "model", HUB)
    assert run("publish", **base_name).returncode == Exit.DONE
    uri = f"models:/{name}-base@run-abc"
    assert run("fetch", MODELOPS_MODEL_URI=uri).returncode == Exit.DONE
    digest = language_model.digest(tmp_path / "pod")
    other = tmp_path / "adapter"
    write_folder(other / "model", Base(uri, digest, "apache-2.0"), kind="adapter", weights=ADAPTER)
    (other / "metrics.json").write_text("{}")
    assert run("publish", MODELOPS_OUTPUT_DIR=other).returncode == Exit.DONE
    refused = run("transfer")
    assert refused.returncode == Exit.CONFIGURATION
    assert f"promote it first, the model {name}-base with the run abc" in refused.stderr
    assert run("transfer", **base_name).returncode == Exit.DONE
    done = run("transfer")
    assert done.returncode == Exit.DONE, done.stderr


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (
            Base("models:/other/3", f"sha256:{'d' * 64}", None),
            "names a model in its own registry alone: fine-tune from",
        ),
        (Base("models:/bases@run-abc", f"sha256:{'d' * 64}", None), f"with sha256:{'d' * 64}; in http"),
    ],
    ids=["number", "other-content"],
)
def test_an_adapter_whose_base_would_be_another_is_not_promoted(
    run: Program, output: Path, elsewhere: Mlflow, name: str, base: Base, message: str
) -> None:
    model = output / "model"
    write_folder(model, HUB)
    there = {"MODELOPS_MODEL_NAME": "bases", "MLFLOW_TRACKING_URI": elsewhere.url}
    assert run("publish", **there).returncode == Exit.DONE
    for file in (*WEIGHTS, "config.json"):
        (model / file).unlink()
    write_folder(model, base, kind="adapter", weights=ADAPTER)
    assert run("publish").returncode == Exit.DONE
    done = run("transfer")
    assert done.returncode == Exit.CONFIGURATION
    assert message in done.stderr
    assert not MlflowClient(elsewhere.url).search_registered_models(f"name = '{name}'")


LOAD = """
import sys
sys.path.append(sys.argv[1])  # MLflow, from the environment of the tests
import mlflow
talk = [{"role": "user", "content": "what is the colour"}]
whole = mlflow.transformers.load_model("models:/loaded/1")
answer = whole(talk, max_new_tokens=5, do_sample=False)[0]["generated_text"][-1]
answered = mlflow.pyfunc.load_model("models:/loaded/1").predict({"messages": talk, "max_tokens": 5})
assert answered[0]["choices"][0]["message"]["role"] == answer["role"] == "assistant", (answer, answered)
tuned = mlflow.transformers.load_model("models:/tuned/1", base_model_path=sys.argv[2])
assert type(tuned.model).__name__ == "PeftModelForCausalLM"
# An adapter that has learned nothing changes nothing.
assert tuned(talk, max_new_tokens=5, do_sample=False)[0]["generated_text"][-1] == answer
"""
MAKE = """
import shutil, sys
from pathlib import Path
import peft, transformers
from modelops_runtime.artifacts.language_model import Base, LanguageModel, digest
from tests.language_models import make
whole, adapter = Path(sys.argv[1]), Path(sys.argv[2])
make(whole, dropout=0.0)
base = Base(f"file://{whole}", digest(whole), "apache-2.0")
tuned = peft.LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(whole), tuned).save_pretrained(adapter)
(adapter / "README.md").unlink()
for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
    shutil.copy(whole / name, adapter / name)
LanguageModel("model", base, 256).write(whole)
LanguageModel("adapter", base, 256).write(adapter)
"""


@pytest.mark.long  # its environment takes 6 GB
def test_mlflow_loads_models_and_adapters(run: Program, mlflow_url: str, tmp_path: Path) -> None:
    python, outputs = environment_of("finetune"), [tmp_path / "whole", tmp_path / "adapter"]

    def done(script: str, *arguments: object) -> None:
        command = [python, "-c", script, *map(str, arguments)]
        env = environment(MLFLOW_TRACKING_URI=mlflow_url, HOME=tmp_path)
        finished = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert finished.returncode == 0, finished.stderr

    done(MAKE, *(folder / "model" for folder in outputs))
    for folder, name in zip(outputs, ("loaded", "tuned"), strict=True):
        (folder / "metrics.json").write_text("{}")
        published = run("publish", MODELOPS_OUTPUT_DIR=folder, MODELOPS_MODEL_NAME=name)
        assert published.returncode == Exit.DONE, published.stderr
    done(LOAD, Path(mlflow.__file__).parents[1], outputs[0] / "model")
