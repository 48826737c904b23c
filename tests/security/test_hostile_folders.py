"""A model's folder that means harm: it is refused with a readable reason, in time, and nothing outside is served."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelops_runtime.artifacts.manifest import FILE_NAME, Manifest
from modelops_runtime.contract import ContractError
from modelops_runtime.registry.sources.folder import whole
from tests.models import write_model

SECONDS = 10


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """A folder that is read for ever fails its test."""

    def late(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"still reading after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "model")
    return tmp_path / "model"


def weights(folder: Path) -> Path:
    return folder / Manifest.read(folder).file


def rewritten(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / FILE_NAME).read_text())
    (folder / FILE_NAME).write_text(json.dumps(content | changes))


def refusal(folder: Path) -> str:
    with pytest.raises(ContractError) as caught:
        whole(folder)
    assert len(str(caught.value)) < 500
    return str(caught.value)


@pytest.mark.parametrize("name", ["..", "../model.tflite", "/etc/passwd", "a/b", "a\0b", "a\nb", "\ud800", "a" * 256])
@pytest.mark.parametrize("field", ["file", "extra_files"])
def test_a_manifest_names_files_beside_it_alone(field: str, name: str, folder: Path) -> None:
    rewritten(folder, **{field: [name] if field == "extra_files" else name})
    assert f"{FILE_NAME}: {field} must be" in refusal(folder)


def test_a_link_shows_nothing_of_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a secret of the pod")
    weights(folder).unlink()
    (folder / "model.tflite").symlink_to(tmp_path / "token")
    said = refusal(folder)
    assert "is damaged" in said and "secret" not in said


def test_a_manifest_that_is_a_link_shows_nothing_of_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a secret of the pod")
    (folder / FILE_NAME).unlink()
    (folder / FILE_NAME).symlink_to(tmp_path / "token")
    said = refusal(folder)
    assert "is not JSON" in said and "secret" not in said


ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_a_model_that_is_no_file_is_refused_in_time(make: Callable[[Path], object], folder: Path) -> None:
    path = weights(folder)
    path.unlink()
    make(path)
    assert "model.tflite, which model.json names, can't be read: " in refusal(folder)


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_a_manifest_that_is_no_file_is_refused_in_time(make: Callable[[Path], object], folder: Path) -> None:
    path = folder / FILE_NAME
    path.unlink()
    make(path)
    assert "there is no model in" in refusal(folder)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[]", "null", '{"name": ' + "9" * 5000 + "}", "\ufeff"]
)
def test_a_manifest_that_is_none_is_refused(text: str, folder: Path) -> None:
    (folder / FILE_NAME).write_text(text)
    assert FILE_NAME in refusal(folder)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_of_any_field_is_taken_or_refused(data: st.DataObject, folder: Path) -> None:
    path = folder / FILE_NAME
    content = json.loads(path.read_text())
    changed = data.draw(st.sampled_from(sorted(content)))
    path.write_text(json.dumps(content | {changed: data.draw(VALUES)}))
    try:
        whole(folder)
    except ContractError as error:
        assert str(error)
    finally:
        path.write_text(json.dumps(content))
