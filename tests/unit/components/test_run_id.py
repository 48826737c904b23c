"""The identity of a training run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops.core.run_id import canonical_json, image_digest, run_id
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


GOLDEN = json.loads((Path(__file__).resolve().parents[3] / "docs/components/run-ids.json").read_text())


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["about"])
def test_published_run_ids_never_change(entry: dict[str, Any]) -> None:
    """A new value for an old run would train every model of every team again."""
    assert run_id(**entry["inputs"]) == entry["run_id"]


def test_the_first_run_ids_are_the_ones_from_before_the_published_set() -> None:
    assert run_id(**BASE) == "be30ec438250"
    assert run_id(**{**BASE, "parameters": {}}) == "ebc6e5fe5cb5"
    assert run_id(**{**BASE, "data_uri": "s3://data/ü", "data_version": "7"}) == "40f940b59476"


def test_the_published_set_is_the_same_on_another_machine() -> None:
    """Another process, hash seed and locale: nothing of the machine gets into an identity."""
    program = "import json, sys; from modelops.core.run_id import run_id; "
    program += "print(json.dumps([run_id(**entry['inputs']) for entry in json.load(sys.stdin)]))"
    for seed in ("0", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(GOLDEN),
            env={"PYTHONHASHSEED": seed, "LC_ALL": "C", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == [entry["run_id"] for entry in GOLDEN]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
PARAMETERS = st.dictionaries(st.text(), SCALARS, max_size=6)


def same(left: Any, right: Any) -> bool:
    """The stated rule: numbers are the same by value, everything else by kind and value."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


@settings(deadline=None)
@given(PARAMETERS, st.randoms())
def test_the_order_of_parameters_means_nothing(parameters: dict[str, Any], random: Any) -> None:
    names = list(parameters)
    random.shuffle(names)
    shuffled = {name: parameters[name] for name in names}
    assert run_id(**{**BASE, "parameters": shuffled}) == run_id(**{**BASE, "parameters": parameters})


@settings(deadline=None)
@given(PARAMETERS, PARAMETERS)
def test_two_runs_have_one_identity_exactly_when_their_parameters_are_the_same(
    left: dict[str, Any], right: dict[str, Any]
) -> None:
    equal = left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    ids = {run_id(**{**BASE, "parameters": parameters}) for parameters in (left, right)}
    assert (len(ids) == 1) is equal


@settings(deadline=None)
@given(st.text(min_size=1), SCALARS, SCALARS)
def test_one_changed_parameter_changes_the_identity(name: str, left: Any, right: Any) -> None:
    ids = {run_id(**{**BASE, "parameters": {name: value}}) for value in (left, right)}
    assert (len(ids) == 1) is same(left, right)


@settings(deadline=None)
@given(PARAMETERS)
def test_the_identity_survives_the_wire_which_knows_only_floats(parameters: dict[str, Any]) -> None:
    wired = {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in parameters.items()
    }
    assert run_id(**{**BASE, "parameters": wired}) == run_id(**{**BASE, "parameters": parameters})


@settings(deadline=None)
@given(PARAMETERS)
def test_canonical_json_says_what_was_given(parameters: dict[str, Any]) -> None:
    assert json.loads(canonical_json(parameters)) == parameters


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
