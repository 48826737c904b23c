"""The identity of a training run."""

from typing import Any

import pytest

from modelops._run_id import canonical_json, image_digest, run_id
from tests.unit.components.harness import DIGEST, IMAGE

BASE: dict[str, Any] = {
    "image_digest": DIGEST,
    "command": ["python", "-m", "model.train"],
    "parameters": {"epochs": 200, "learning_rate": 0.02},
    "data_uri": "",
    "data_version": "",
    "framework": "tensorflow",
    "workers": 1,
}


def test_golden_run_ids() -> None:
    """These must never change: a new value for an old run would train every model of every team again."""
    assert run_id(**BASE) == "be30ec438250"
    assert run_id(**{**BASE, "parameters": {}}) == "ebc6e5fe5cb5"
    assert run_id(**{**BASE, "data_uri": "s3://data/ü", "data_version": "7"}) == "40f940b59476"


def test_unchanged_inputs_keep_the_run_id() -> None:
    reordered = {**BASE, "parameters": {"learning_rate": 0.02, "epochs": 200.0}, "command": tuple(BASE["command"])}
    assert run_id(**reordered) == run_id(**BASE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_digest", "sha256:" + "b" * 64),
        ("command", ["python", "-m", "model.other"]),
        ("parameters", {"epochs": 201, "learning_rate": 0.02}),
        ("data_uri", "s3://data"),
        ("data_version", "2"),
        ("framework", "pytorch"),
        ("workers", 2),
    ],
)
def test_each_input_changes_the_run_id(field: str, value: Any) -> None:
    assert run_id(**{**BASE, field: value}) != run_id(**BASE)


def test_true_and_one_are_different_parameters() -> None:
    assert run_id(**{**BASE, "parameters": {"a": True}}) != run_id(**{**BASE, "parameters": {"a": 1}})


def test_the_registry_host_is_no_part_of_the_identity() -> None:
    assert image_digest(IMAGE) == image_digest(f"localhost:5000/other@{DIGEST}") == DIGEST


def test_an_image_without_digest_is_refused() -> None:
    with pytest.raises(ValueError, match="must be named by digest"):
        image_digest("registry.example.com/team/model:latest")


def test_canonical_json_has_one_spelling() -> None:
    assert canonical_json({"b": 1.0, "a": [True, None, "ü", 0.5]}) == '{"a":[true,null,"ü",0.5],"b":1}'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canonical_json_refuses_what_json_lacks(value: float) -> None:
    with pytest.raises(ValueError):
        canonical_json({"a": value})
