"""What `encode_text` makes of texts, and what it refuses. What needs PyTorch runs where that is installed, and by
tests/cluster/data in the image that has it."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data.steps import STEPS, Context, DataError
from modelops_runtime.data.steps.encoders import _loaded

FRAME = pd.DataFrame({"t": ["a text"]})


INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, r"must be a folder with model\.safetensors, or model\.safetensors\.index\.json and its files$"),
        ({"pytorch_model.bin": ""}, r"model\.safetensors.*: pytorch_model\.bin is a pickle, which is never loaded"),
        ({"model.safetensors.index.json": INDEX, "model-1.safetensors": ""}, r"lacks model-2\.safetensors, one of"),
        ({"model.safetensors.index.json": "{"}, "has no weight_map"),
        ({"model.safetensors.index.json": "[]"}, "has no weight_map"),
        ({"model.safetensors.index.json": '{"weight_map": []}'}, "has no weight_map"),
        ({"model.safetensors.index.json": '{"weight_map": {"a": "x.bin"}}', "x.bin": ""}, r"must name \.safetensors"),
        ({"model.safetensors.index.json": '{"weight_map": {"a": "../x.safetensors"}}'}, "files beside it"),
        ({"model.safetensors": "", "tokenizer.json": ""}, r"lacks config\.json"),
        ({"model.safetensors": "", "config.json": ""}, r"lacks its tokenizer, such as tokenizer\.json"),
    ],
)
def test_what_a_folder_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], said: str
) -> None:
    for module in ("torch", "transformers"):
        monkeypatch.setitem(__import__("sys").modules, module, object())
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        _loaded(str(tmp_path))


def test_a_model_s_name_on_the_hub_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "transformers"):
        monkeypatch.setitem(__import__("sys").modules, module, object())
    with pytest.raises(ConfigurationError, match="must be a folder: nothing is downloaded"):
        _loaded("bert-base-uncased")


def test_an_image_without_transformers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ConfigurationError, match="use the image target prepare-text"):
        _loaded("/nowhere")


def test_it_looks_at_each_row_by_itself() -> None:
    step = STEPS["encode_text"](column="t", model="/models/tiny")
    assert step.rowwise and not step.fitted
    with pytest.raises(ValueError, match="pooling"):
        STEPS["encode_text"](column="t", model="m", pooling="max")


def test_a_missing_column_is_named_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", object())
    with pytest.raises(DataError, match="text"):
        STEPS["encode_text"](column="text", model="/nowhere").apply(FRAME, Context())


WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the soup was cold and rain fell".split()
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
Made = Callable[..., str]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Makes the folder of a tiny encoder of a kind, `Bert` by default, of 16 positions."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: tests/cluster/data runs it in its image")
    import transformers

    def make(kind: str = "Bert", *, words: list[str] = WORDS, **saving: Any) -> str:
        torch.manual_seed(1)
        (tmp_path / "vocab.txt").write_text("\n".join(words))
        transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
        config = getattr(transformers, f"{kind}Config")(vocab_size=len(WORDS), max_position_embeddings=16, **SHAPE)
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path, **saving)
        return str(tmp_path)

    return make


def encoded(folder: str, text: Any, **fields: Any) -> Any:
    _loaded.cache_clear()
    step = STEPS["encode_text"](column="t", model=folder, **fields)
    return step.apply(pd.DataFrame({"t": [text]}), Context(files=["a.csv"])).to_numpy()


@pytest.mark.parametrize(("kind", "positions"), [("Bert", 16), ("Electra", 16), ("Roberta", 14), ("MPNet", 14)])
def test_a_text_longer_than_the_model_s_positions_is_cut_off(made: Made, kind: str, positions: int) -> None:
    folder = made(kind)
    long = encoded(folder, "rain fell " * 200, most_tokens=8192)
    # Two tokens are those at the beginning and at the end.
    assert (long == encoded(folder, "rain fell " * ((positions - 2) // 2))).all()
    assert (long != encoded(folder, "rain fell " * ((positions - 4) // 2))).any()


def test_most_tokens_cuts_off_before_the_positions_do(made: Made) -> None:
    folder = made()
    assert (encoded(folder, "rain fell soup", most_tokens=4) == encoded(folder, "rain fell")).all()


def test_weights_in_several_files_are_those_of_one(made: Made, tmp_path: Path) -> None:
    whole = encoded(made(), "the soup was cold")
    (tmp_path / "model.safetensors").unlink()
    folder = made(max_shard_size="5KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2 and not (tmp_path / "model.safetensors").exists()
    np.testing.assert_array_equal(encoded(folder, "the soup was cold"), whole)


def test_weights_that_are_not_there_are_not_made_up(made: Made, tmp_path: Path) -> None:
    folder = made()
    from safetensors.torch import load_file, save_file

    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: weight for name, weight in weights.items() if "pooler" not in name}, tmp_path / "model.safetensors"
    )
    assert encoded(folder, "soup").shape == (1, 16)
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ConfigurationError, match=r"lacks 1 of its weights, such as encoder\.layer\.1\.output"):
        encoded(folder, "soup")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1"),
        ("model.safetensors", pickle.dumps({"a": 1})),
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "nothing"}'),
        ("tokenizer.json", b"{"),
    ],
)
def test_a_damaged_model_is_refused_in_words(made: Made, tmp_path: Path, name: str, content: bytes) -> None:
    folder = made()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"can't be loaded: [A-Za-z]+$"):
        encoded(folder, "soup")


def test_a_pickle_beside_the_weights_is_left_alone(made: Made, tmp_path: Path) -> None:
    folder = made()
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert encoded(folder, "soup").shape == (1, 16)


def test_a_word_that_the_model_does_not_know_names_its_row(made: Made) -> None:
    folder = made(words=[*WORDS, "surplus"])
    with pytest.raises(
        DataError, match=r"a\.csv, row 0, column t: the encoder .* can't take it \(IndexError\)"
    ) as caught:
        encoded(folder, "surplus")
    assert "surplus" not in str(caught.value)
