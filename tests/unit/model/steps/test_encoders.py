"""What `encode_text` refuses. What it makes of texts needs PyTorch, and runs in its image: tests/cluster/data."""

from pathlib import Path

import pandas as pd
import pytest

from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data.steps import STEPS, Context, DataError
from modelops_runtime.data.steps.encoders import _loaded

FRAME = pd.DataFrame({"t": ["a text"]})


def test_a_folder_without_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "transformers"):
        monkeypatch.setitem(__import__("sys").modules, module, object())
    (tmp_path / "pytorch_model.bin").write_text("pickled, and so never loaded")
    with pytest.raises(ConfigurationError, match=r"must be a folder with model\.safetensors"):
        _loaded(str(tmp_path))


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
