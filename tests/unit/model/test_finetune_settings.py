"""Fine-tuning, as far as it needs no PyTorch: parameters, the base model and its digest, the model's folder."""

import hashlib
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modelops_runtime.artifacts import language_model
from modelops_runtime.contract import ConfigurationError, ContractError, Environment, TrainingContract
from modelops_runtime.language_models import base
from modelops_runtime.language_models.finetune import data
from modelops_runtime.language_models.finetune.checkpoints import Checkpoints
from modelops_runtime.language_models.finetune.parameters import Parameters
from modelops_runtime.language_models.finetune.train import read_settings
from modelops_runtime.training.progress import Reporter

COMMIT = "0" * 40
DIGEST = f"sha256:{'a' * 64}"
HUB = f"hf://owner/model@{COMMIT}"


def safetensors(*names: str) -> bytes:
    header = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * at, 4 * at + 4]} for at, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4 * len(names))


def adapter(place: Path) -> Path:
    place.mkdir(parents=True)
    (place / "adapter_config.json").write_text("{}")
    (place / "adapter_model.safetensors").write_bytes(safetensors("lora_A"))
    return place


def whole_model(place: Path) -> Path:
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "model.safetensors").write_bytes(safetensors("embedding"))
    (place / "README.md").write_text("---\nlicense: apache-2.0\ntags: []\n---\nlicense: none of these\n")
    return place


def test_every_wrong_parameter_is_named() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Parameters.parse({"base_model": HUB, "rank": 0, "method": "qlora", "lora": 3, "epochs": "2"})
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "parameter method",
        "parameter rank",
        "parameter epochs",
        "parameter lora",
    ]


@pytest.mark.parametrize(
    "uri",
    [HUB, "models:/chat/3", "models:/chat@run-0123456789ab", f"models:/m-{'0' * 32}", f"oci://reg.io/team/m@{DIGEST}"],
)
def test_a_base_is_named_by_what_never_moves(uri: str) -> None:
    assert Parameters.parse({"base_model": uri}).base_model == uri


@pytest.mark.parametrize(
    "uri", ["s3://bucket/model/1", "gs://bucket/m", "az://container/m", "pvc://weights/m", "file:///m"]
)
def test_a_base_at_a_place_needs_its_digest(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="base_digest must be given"):
        Parameters.parse({"base_model": uri})
    assert Parameters.parse({"base_model": uri, "base_digest": DIGEST}).base_digest == DIGEST


@pytest.mark.parametrize(
    "uri",
    [
        "hf://owner/model",
        "hf://owner/model@main",
        "models:/chat@champion",
        "oci://reg.io/m:1",
        "owner/model",
        "tiny",
        "",
    ],
)
def test_a_base_that_could_become_another_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="base_model"):
        Parameters.parse({"base_model": uri, "base_digest": DIGEST})


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"objective": "dpo", "packing": True}, "packing is for the objective sft"),
        ({"objective": "dpo", "dropout": 0.1}, "dropout is for the objective sft"),
        ({"objective": "dpo", "assistant_only": True}, "assistant_only is for the objective sft"),
        ({"steps": 5, "epochs": 2}, "steps and epochs exclude each other"),
        ({"method": "full", "rank": 8, "dropout": 0.0}, "rank, dropout: for the method lora, full has no adapter"),
        ({"method": "full", "target_modules": "all-linear"}, "target_modules: for the method lora"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Parameters.parse({"base_model": HUB, **values})


@pytest.mark.parametrize("name", ["learning_rate", "alpha", "weight_decay"])
def test_a_parameter_is_a_finite_number(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"parameter {name}: Input should be a finite number"):
        Parameters.parse({"base_model": HUB, name: float("inf")})


def test_layers_that_are_no_regular_expression_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="target_modules is no regular expression: missing"):
        Parameters.parse({"base_model": HUB, "target_modules": "(q_proj"})


def test_a_login_in_an_address_is_refused_without_being_said() -> None:
    with pytest.raises(ConfigurationError, match="has a login in its address") as refused:
        Parameters.parse({"base_model": "s3://user:hidden@host/m", "base_digest": DIGEST})
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "cells", "problem"),
    [
        ("text", pa.array(["a", None]), "text is empty in some rows"),
        ("text", pa.array([1, 2]), "text must have texts or messages with role and content"),
        ("messages", pa.array(["[]"]), "messages must have messages with role and content"),
        ("messages", pa.array([[{"from": "human", "value": "a"}]]), "messages must have messages with role"),
        ("messages", pa.array([[{"role": "user", "content": "a"}], []]), "messages is empty in some rows"),
        ("text", pa.Array.from_buffers(pa.utf8(), 1, pa.array([b"\xff"]).buffers()), "text has text that is not UTF-8"),
        ("prompt", pa.array(["a"]), None),
        ("prompt", pa.array([[{"role": "user", "content": "a"}]]), None),
    ],
)
def test_a_column_that_no_training_learns_from_is_refused(name: str, cells: Any, problem: str | None) -> None:
    found = data._problem(pa.chunked_array([cells]), name)
    assert (found or "").startswith(problem or "") and (found is None) == (problem is None)


def test_layers_are_names_or_a_regular_expression() -> None:
    def layers(text: str) -> Any:
        return Parameters.parse({"base_model": HUB, "target_modules": text}).layers

    assert layers("q_proj, v_proj") == ["q_proj", "v_proj"]
    assert layers("all-linear") == "all-linear"
    assert layers(r".*\.[qv]_proj") == r".*\.[qv]_proj"


def test_the_environment_and_the_parameters_are_refused_together() -> None:
    values = {
        "MODELOPS_MODEL_NAME": "chat",
        "MODELOPS_TENSOR_PARALLEL": "2",
        "MODELOPS_PARAMETERS": '{"base_model": "x"}',
    }
    with pytest.raises(ConfigurationError) as refused:
        read_settings(Environment(values))
    assert [problem.partition(" ")[0] for problem in refused.value.problems] == [
        "MODELOPS_RUN_ID",
        "tensor_parallel",
        "parameter",
    ]


def test_what_pods_mount_is_not_fetched() -> None:
    env = Environment({})
    base.Settings.read(env, f"oci://reg.io/team/m@{DIGEST}", None)
    assert "give it as TrainingJob's base_model" in env.problems[0]


def settings(uri: str, digest: str | None = None, **fields: Any) -> base.Settings:
    return base.Settings(
        uri, digest, **{"mounted": None, "cache": None, "tracking_uri": "", "wait_seconds": 1, **fields}
    )


def test_a_base_is_known_by_the_digest_that_sha256sum_shows(tmp_path: Path) -> None:
    place = whole_model(tmp_path / "base")
    command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(["sh", "-c", command], cwd=place, capture_output=True, text=True, check=True).stdout
    digest = f"sha256:{printed.split()[0]}"
    source = settings(place.as_uri(), digest)
    assert base.fetched(source) == place
    assert base.described(source, place) == language_model.Base(place.as_uri(), digest, "apache-2.0")
    (place / "config.json").write_text('{"vocab_size": 3}')
    with pytest.raises(ConfigurationError, match=r"base_digest is .* have sha256:"):
        base.described(source, place)


def test_a_commit_needs_no_digest(tmp_path: Path) -> None:
    place = whole_model(tmp_path / "base")
    assert base.described(settings(HUB, mounted=place), place).digest is None


def test_a_base_in_a_registrys_model_is_found_below_it(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("{}")
    inside = whole_model(tmp_path / "model")
    assert base.model_in(tmp_path, "models:/chat/1") == inside


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (["adapter_config.json"], "is an adapter; name the model that it was made for"),
        (["README.md"], "has no config.json"),
        (
            ["config.json", "pytorch_model.bin"],
            r"no weights in .safetensors; it has pytorch_model.bin, which can run code",
        ),
    ],
)
def test_a_base_that_can_not_be_tuned_is_refused(tmp_path: Path, files: list[str], problem: str) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigurationError, match=problem):
        base.model_in(tmp_path, "models:/chat/1")


def test_a_cached_base_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def fetch(_settings: base.Settings, place: Path) -> None:
        fetched.append(place)
        whole_model(place)

    monkeypatch.setattr(base, "_fetch", fetch)
    source = settings(HUB, cache=tmp_path)
    assert base.fetched(source) == base.fetched(source) == fetched[0]
    assert len(fetched) == 1 and fetched[0].parent == tmp_path


def test_a_folder_says_what_it_was_made_from(tmp_path: Path) -> None:
    model = language_model.LanguageModel("adapter", language_model.Base(HUB, None, "mit"), 2048)
    model.write(adapter(tmp_path / "model"))
    assert language_model.LanguageModel.read(tmp_path / "model") == model


@pytest.mark.parametrize("kind", ["adapter", "model"])
@pytest.mark.parametrize("name", ["training_args.bin", "optimizer.pt", "inner/weights.pkl"])
def test_a_folder_with_pickled_files_is_refused(tmp_path: Path, kind: language_model.Kind, name: str) -> None:
    place = adapter(tmp_path / "model") if kind == "adapter" else whole_model(tmp_path / "model")
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_bytes(b"")
    with pytest.raises(ContractError, match=f"has {name}: weights must be .safetensors"):
        language_model.LanguageModel(kind, language_model.Base(HUB, None, None), 8).write(place)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(safetensors(), "has no weights"), (b"\x80\x04K\x01.", "not in the format"), (b"\xff" * 20, "header is too long")],
)
def test_a_file_that_is_safetensors_in_name_alone_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    place = adapter(tmp_path / "model")
    (place / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(ContractError, match=problem):
        language_model.LanguageModel("adapter", language_model.Base(HUB, None, None), 8).write(place)


def test_the_digest_covers_names_and_contents(tmp_path: Path) -> None:
    place = whole_model(tmp_path / "a")
    first = language_model.digest(place)
    (place / ".cache").mkdir()
    (place / ".cache" / "note").write_text("hidden")
    assert language_model.digest(place) == first == language_model.digest(Path(shutil.copytree(place, tmp_path / "b")))
    (place / "config.json").rename(place / "other.json")
    assert language_model.digest(place) != first and len(hashlib.sha256().hexdigest()) + len("sha256:") == len(first)


def contract(folder: Path, uri: str = "", run_id: str = "r1") -> TrainingContract:
    return TrainingContract(
        run_id, "chat", "pytorch", {}, "", "", folder / "output", folder / "ckpt", checkpoint_uri=uri
    )


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> TrainingContract:
    return contract(tmp_path, (tmp_path / "store").as_uri() if request.param == "store" else "")


def write(checkpoints: Checkpoints, name: str, content: str) -> None:
    for part in ("weights", "inner/random"):
        path = checkpoints.writing / name / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_the_newest_whole_checkpoint_counts_and_the_others_go(place: TrainingContract) -> None:
    checkpoints = Checkpoints(place, {"rank": 1}, processes=1)
    assert checkpoints.last() == ""
    for step in (5, 10):
        write(checkpoints, f"checkpoint-{step}", str(step))
        checkpoints.bring(f"checkpoint-{step}")
        checkpoints.point(f"checkpoint-{step}")
    write(checkpoints, "checkpoint-15", "15")
    checkpoints.bring("checkpoint-15")  # and killed before it counts
    again = Checkpoints(place, {"rank": 1}, processes=1)
    assert again.last() == "checkpoint-10"
    found = again.folder("checkpoint-10")
    assert [(found / part).read_text() for part in ("weights", "inner/random")] == ["10", "10"]
    again.point("checkpoint-10")
    if not place.checkpoint_uri:
        assert sorted(path.name for path in place.checkpoint_dir.glob("checkpoint-*")) == ["checkpoint-10"]


@pytest.mark.parametrize(("parameters", "processes"), [({"rank": 2}, 1), ({"rank": 1}, 2)])
def test_another_runs_checkpoint_is_not_resumed(
    place: TrainingContract, parameters: dict[str, int], processes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(place, {"rank": 1}, processes=1)
    write(checkpoints, "checkpoint-5", "5")
    checkpoints.bring("checkpoint-5")
    checkpoints.point("checkpoint-5")
    assert Checkpoints(place, parameters, processes).last() == ""
    assert "another run's" in capsys.readouterr().out


def test_a_worker_that_does_not_see_the_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="on a volume that they share"):
        Checkpoints(contract(tmp_path), {}, 2).folder("checkpoint-5")


def test_progress_counts_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Reporter(10, 0, tmp_path, "step").report({"epoch": 10.0, "loss": 0.5})
    progress = json.loads((tmp_path / "progress.json").read_text())
    assert (progress["epoch"], progress["epochs"], progress["unit"]) == (10, 10, "step")
    assert capsys.readouterr().out.startswith("step 10/10  loss 0.50000")


def test_an_evaluation_is_recorded_as_it_was_given() -> None:
    """MLflow has it from the start of the run, and keeps the first value of a parameter."""
    given = {"limit": 16, "schema": {"type": "object"}}
    recorded = Parameters.parse({"base_model": f"hf://owner/model@{'0' * 40}", "evaluation": given}).recorded
    assert (recorded["evaluation"], recorded["rank"]) == (given, 16)
    assert Parameters.parse({"base_model": f"hf://owner/model@{'0' * 40}"}).recorded["evaluation"] is None
