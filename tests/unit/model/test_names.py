"""Any text as a name that MLflow takes, and back; MLflow's own validation is the oracle."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, _validate_metric_name, _validate_param_name

from modelops_runtime.registry.publishing.names import MAX_CHARACTERS, mlflow_name, say_renamed

ANY = st.text(st.characters(), max_size=300)  # lone surrogates included
LIKE_ESCAPES = st.lists(st.sampled_from(["_", "x", "_x", "0041", "005F", "_x0041_", "[", "A", "/", ".", "é"])).map(
    "".join
)
NAMES = st.one_of(ANY, LIKE_ESCAPES)


def original(name: str) -> str:
    """What docs/model.md says about reading a name back."""
    return re.sub("_x([0-9A-F]{4,6})_", lambda escape: chr(int(escape[1], 16)), name)


@given(NAMES)
@example("")
@example("..")
@example("a/../b")
@example("a\n")
def test_mlflow_takes_every_name(name: str) -> None:
    _validate_metric_name(mlflow_name(name))
    _validate_param_name(mlflow_name(name))
    assert len(mlflow_name(name)) <= MAX_CHARACTERS == MAX_ENTITY_KEY_LENGTH


@given(NAMES)
@example("_x0041[")
@example("_x0041_x0042_")
def test_a_name_comes_back_unless_it_ends_in_a_digest(name: str) -> None:
    mapped = mlflow_name(name)
    if name and not re.search("_x[0-9A-F]{32}_$", mapped):
        assert original(mapped) == name
    else:
        assert not name or 9 * len(name) > MAX_CHARACTERS  # `_x10FFFF_` has 9


@given(NAMES, NAMES)
@example("_x0041_", "A")
@example("x" * 251, "x" * 252)
@example("f1[spam]", mlflow_name("f1[spam]"))
@example("x" * 251, mlflow_name("x" * 251))
@example("", mlflow_name(""))
def test_two_names_never_become_one(one: str, other: str) -> None:
    assert (mlflow_name(one) == mlflow_name(other)) is (one == other)


@given(st.from_regex(r"[A-Za-z0-9_\-.: é]([A-Za-z0-9_\-: é/.]*[A-Za-z0-9])?", fullmatch=True))
def test_a_name_that_mlflow_takes_stays_unless_it_looks_escaped(name: str) -> None:
    if "//" not in name and "/." not in name and name[0] != "." and not re.search("_x[0-9A-F]{4}", name):
        assert len(name) > MAX_CHARACTERS or mlflow_name(name) == name


@pytest.mark.parametrize(
    ("name", "mapped"),
    [
        ("loss_x1_", "loss_x1_"),
        ("MAP@10", "MAP_x0040_10"),
        ("f1 (macro)", "f1 _x0028_macro_x0029_"),
        ("optimizer[lr]", "optimizer_x005B_lr_x005D_"),
        ("+trainer.max_epochs", "_x002B_trainer.max_epochs"),
        ("/f1", "_x002F_f1"),
    ],
)
def test_names_are_escaped_as_the_docs_say(name: str, mapped: str) -> None:
    assert mlflow_name(name) == mapped


def test_what_is_renamed_is_shown_and_many_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    say_renamed(["f1", *(f"f1[{number}]" for number in range(12))])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "MLflow takes no 'f1[0]': there it is f1_x005B_0_x005D_"
    assert (len(lines), lines[-1]) == (11, "and 2 more names that MLflow refuses, escaped in the same way")
