"""Preparing a language model for vLLM: which files it gets, and how it is told of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelops_runtime.artifacts.language_model import digest
from modelops_runtime.contract import AdapterPart, AssembleContract, ContractError, Environment, FetchContract
from modelops_runtime.language_models import assemble as module
from modelops_runtime.language_models.assemble import Weights, assemble
from modelops_runtime.registry.sources.source import RemoteFile

BASE = "hf://acme/base@" + "a" * 40
OTHER = "hf://acme/other@" + "b" * 40


def weights(content: bytes = b"delta") -> bytes:
    """A file of safetensors with one tensor."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}}).encode()
    return len(header).to_bytes(8, "little") + header + content


def described(folder: Path, kind: str, base: str, digest: str | None = None) -> None:
    content = {"kind": kind, "base": {"uri": base, "digest": digest, "license": None}, "context_length": 512}
    (folder / "language-model.json").write_text(json.dumps(content))


def whole(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(weights(b"whole"))
    return folder


def adapter(folder: Path, base: str | None = BASE, *, digest: str | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, **config}))
    (folder / "adapter_model.safetensors").write_bytes(weights())
    if base:
        described(folder, "adapter", base, digest)
    return folder


class Place:
    """A folder in which a pod prepares; what a URI names is in a folder of this test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.known = folder, dict[str, Path]()
        monkeypatch.setattr(module, "source_of", self.source)

    def source(self, settings: FetchContract, _wait: float) -> "Folder":
        assert settings.model_uri in self.known, settings.model_uri
        return Folder(settings.model_uri, self.known[settings.model_uri])

    def assemble(self, uri: str, base: str = "", cache: Path | None = None, **adapters: str) -> dict[str, Any]:
        fetch = FetchContract(uri, "", self.folder / "model", cache, 0, 2**20)
        parts = tuple(AdapterPart(name, where, f"{name}/1") for name, where in adapters.items())
        return assemble(AssembleContract(fetch, uri, "chat", self.folder / "engine", base, parts))


class Folder:
    def __init__(self, key: str, folder: Path) -> None:
        self.key, self._folder = key, folder
        self.downloaded: list[str] = []

    def files(self) -> list[RemoteFile]:
        paths = [path for path in self._folder.rglob("*") if path.is_file()]
        return [RemoteFile(path.relative_to(self._folder).as_posix(), path.stat().st_size) for path in paths]

    def download(self, file: RemoteFile, target: Path) -> None:
        target.write_bytes((self._folder / file.name).read_bytes())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    found = Place(tmp_path / "pod", monkeypatch)
    found.known[BASE] = whole(tmp_path / "base")
    return found


def modules(arguments: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {each["name"]: each for each in map(json.loads, arguments["lora-modules"])}


def test_a_whole_model_is_served_under_its_name(place: Place) -> None:
    assert place.assemble(BASE) == {"model": str(place.folder / "model"), "served-model-name": ["chat"]}
    assert (place.folder / "model" / "model.safetensors").read_bytes() == weights(b"whole")


def test_the_base_of_an_adapter_is_found_by_itself(place: Place, tmp_path: Path) -> None:
    place.known["models:/chat/3"] = adapter(tmp_path / "tuned")
    arguments = place.assemble("models:/chat/3")
    assert arguments["model"] == str(place.folder / "engine" / "base")
    assert arguments["served-model-name"] == ["acme/base"]
    assert modules(arguments)["chat"]["path"] == str(place.folder / "model")
    assert (arguments["max-lora-rank"], arguments["max-loras"]) == (8, 1)


def test_an_adapter_brings_its_tokenizer_and_its_chat_template(place: Place, tmp_path: Path) -> None:
    tuned = place.known["models:/chat/3"] = adapter(tmp_path / "tuned")
    (tuned / "tokenizer_config.json").write_text("{}")
    (tuned / "chat_template.jinja").write_text("{{ messages }}")
    arguments = place.assemble("models:/chat/3")
    assert arguments["tokenizer"] == str(place.folder / "model")
    assert arguments["chat-template"] == str(place.folder / "model" / "chat_template.jinja")


def test_several_adapters_have_names_and_versions_of_their_own(place: Place, tmp_path: Path) -> None:
    place.known |= {"models:/a/1": adapter(tmp_path / "a"), "models:/b/1": adapter(tmp_path / "b", r=60)}
    arguments = place.assemble(BASE, a="models:/a/1", b="models:/b/1")
    assert modules(arguments).keys() == {"a", "b"}
    assert modules(arguments)["b"]["path"].endswith("engine/adapters/b/1")
    assert (arguments["max-lora-rank"], arguments["max-loras"], arguments["max-cpu-loras"]) == (64, 2, 2)


def test_peft_says_the_base_where_we_do_not(place: Place, tmp_path: Path) -> None:
    named = {"base_model_name_or_path": "acme/base", "revision": "a" * 40}
    place.known["s3://models/chat/1"] = adapter(tmp_path / "tuned", None, **named)
    assert place.assemble("s3://models/chat/1")["served-model-name"] == ["acme/base"]


def test_a_base_can_be_named(place: Place, tmp_path: Path) -> None:
    place.known["s3://models/chat/1"] = adapter(tmp_path / "tuned", None)
    assert place.assemble("s3://models/chat/1", BASE)["served-model-name"] == ["acme/base"]


@pytest.mark.parametrize(
    ("base", "config", "problem"),
    [
        (
            None,
            {"base_model_name_or_path": "acme/base"},
            "whose base is not known for sure: it has no language-model.json",
        ),
        ("pvc://models/base/1", {}, "an adapter of pvc://models/base/1, which a pod can only mount"),
        (BASE, {"r": 1024}, "an adapter has the rank 1024, vLLM takes up to 512"),
    ],
)
def test_an_adapter_that_cant_be_served_says_why(
    place: Place, tmp_path: Path, base: str | None, config: dict[str, Any], problem: str
) -> None:
    place.known["models:/chat/3"] = adapter(tmp_path / "tuned", base, digest=f"sha256:{'0' * 64}", **config)
    with pytest.raises(ContractError, match=problem):
        place.assemble("models:/chat/3")


def test_an_adapter_of_another_base_is_refused(place: Place, tmp_path: Path) -> None:
    place.known["models:/a/1"] = adapter(tmp_path / "a", OTHER)
    with pytest.raises(ContractError, match=f"adapter a was made for {OTHER}, and this engine serves {BASE}"):
        place.assemble(BASE, a="models:/a/1")


def test_a_base_with_the_same_files_is_the_same_base(place: Place, tmp_path: Path) -> None:
    place.known["models:/a/1"] = adapter(tmp_path / "a", OTHER, digest=digest(tmp_path / "base"))
    assert modules(place.assemble(BASE, a="models:/a/1")).keys() == {"a"}


def test_pickled_weights_are_neither_downloaded_nor_served(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    (folder / "pytorch_model.bin").write_bytes(b"code")
    assert {file.name for file in Weights(Folder("", folder)).files()}.isdisjoint({"pytorch_model.bin"})
    place.assemble(BASE)
    (folder / "model.safetensors").unlink()
    place.known["hf://acme/pickled@" + "c" * 40] = folder
    place.folder = tmp_path / "second"
    with pytest.raises(ContractError, match=r"has no weights in \.safetensors, and others can run code"):
        place.assemble("hf://acme/pickled@" + "c" * 40)


def test_what_is_no_language_model_is_refused(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "MLmodel").write_text("{}")
    place.known["models:/other/1"] = folder
    with pytest.raises(ContractError, match="is no language model"):
        place.assemble("models:/other/1")


def test_a_model_within_an_mlflow_model_is_found(place: Place, tmp_path: Path) -> None:
    whole(tmp_path / "logged" / "model")
    (tmp_path / "logged" / "MLmodel").write_text("{}")
    place.known["models:/chat/1"] = tmp_path / "logged"
    assert place.assemble("models:/chat/1")["model"] == str(place.folder / "model" / "model")


def test_base_and_adapters_in_the_cache_are_not_downloaded_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.known["models:/chat/3"] = adapter(tmp_path / "tuned")
    first = place.assemble("models:/chat/3", cache=tmp_path / "cache")
    monkeypatch.setattr(Folder, "download", lambda *_: pytest.fail("downloaded again"))
    place.folder = tmp_path / "second"
    assert place.assemble("models:/chat/3", cache=tmp_path / "cache").keys() == first.keys()
    assert (tmp_path / "second" / "engine" / "base" / "model.safetensors").read_bytes() == weights(b"whole")


def test_a_mounted_model_stays_where_it_is(place: Place) -> None:
    whole(place.folder / "model")
    assert place.assemble(f"file://{place.folder / 'model'}")["model"] == str(place.folder / "model")


def test_the_settings_are_variables() -> None:
    env = Environment(
        {
            "MODELOPS_MODEL_URI": "file:///modelops/model",
            "MODELOPS_MODEL_SOURCE": "pvc://models/chat/1",
            "MODELOPS_MODEL_NAME": "chat",
            "MODELOPS_ADAPTERS": '{"a": {"uri": "models:/a/1", "version": "1"}, "b": {}}',
        }
    )
    settings = AssembleContract.read(env)
    assert settings.adapters == (AdapterPart("a", "models:/a/1", "a/1"),)
    assert env.problems == ["MODELOPS_ADAPTERS: b must be an object with uri and version"]
