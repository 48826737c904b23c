"""`data_version` is another one where anything has changed that shapes the rows, and the same where nothing has."""

import ast
import json
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

import modelops_runtime.data
from modelops_runtime.data import version as versions
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.steps import STEPS
from tests.texts import tokenizer

SALT = b"0123456789abcdef"
SPLIT: dict[str, Any] = {"split": {}}


def version(folder: Path, steps: list[dict[str, Any]], salt: bytes = SALT, **source: Any) -> str:
    declared = {"sources": [{"uri": f"{folder}/raw.csv", **source}], "steps": steps}
    return Pipeline.parse(declared).version(salt)


def raw(folder: Path, **columns: Any) -> Path:
    folder.mkdir(exist_ok=True)
    pd.DataFrame(columns or {"a": range(10), "t": ["text"] * 10}).to_csv(folder / "raw.csv", index=False)
    return folder


def picture(file: Path, value: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), np.full((16, 16, 3), value, dtype="uint8"))


@pytest.mark.parametrize("features", [[{"image_features": {"column": "image"}}], []], ids=["read", "not read"])
def test_images_that_a_table_names_are_part_of_it_where_a_step_reads_them(
    tmp_path: Path, features: list[dict[str, Any]]
) -> None:
    images = [tmp_path / "images" / f"{n}.png" for n in range(4)]
    for n, image in enumerate(images):
        picture(image, n * 20)
    raw(tmp_path, image=[str(image) for image in images], a=range(4))
    steps = [*features, SPLIT]
    before = version(tmp_path, steps)
    assert version(tmp_path, steps) == before
    picture(images[2], 255)
    after = version(tmp_path, steps)
    assert (after != before) == bool(features)
    # The same images, of other rows.
    images[0].rename(tmp_path / "x.png")
    images[1].rename(images[0])
    (tmp_path / "x.png").rename(images[1])
    assert (version(tmp_path, steps) != after) == bool(features)


def test_images_count_where_a_step_before_makes_their_column(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 9)
    raw(tmp_path, image=[str(tmp_path / "a.png"), None], a=[1, 2])
    steps = [{"fill": {"columns": ["image"], "by": "drop"}}, {"image_features": {"column": "image"}}, SPLIT]
    before = version(tmp_path, steps)
    picture(tmp_path / "a.png", 99)
    assert version(tmp_path, steps) != before


def encoder(folder: Path) -> Path:
    tokenizer(folder)
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"weights")
    (folder / "model.safetensors.index.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("model-00001-of-00002.safetensors", True),
        ("model.safetensors.index.json", True),
        ("config.json", True),
        ("tokenizer.json", True),
        ("vocab.txt", True),
        ("README.md", False),
    ],
)
def test_an_encoders_files_are_part_of_it_and_its_folder_is_not(tmp_path: Path, name: str, counts: bool) -> None:
    raw(tmp_path)
    encoder(tmp_path / "model")
    steps = [{"encode_text": {"column": "t", "model": f"{tmp_path}/model"}}, SPLIT]
    before = version(tmp_path, steps)
    shutil.copytree(tmp_path / "model", tmp_path / "moved")
    moved = [{"encode_text": {"column": "t", "model": f"{tmp_path}/moved"}}, SPLIT]
    assert version(tmp_path, moved) == before
    (tmp_path / "moved" / name).write_text("changed")
    assert (version(tmp_path, moved) != before) == counts


def test_a_tokenizers_files_are_part_of_it_and_its_folder_is_not(tmp_path: Path) -> None:
    raw(tmp_path, text=["hello the order"] * 10)
    made = []
    for name in ("one", "other"):
        tokenizer(tmp_path / name)
        made.append([{"conversations": {}}, {"tokens": {"tokenizer": f"{tmp_path}/{name}"}}, SPLIT])
    assert version(tmp_path, made[0]) == version(tmp_path, made[1])
    tokenizer(tmp_path / "third", None)
    other = [{"conversations": {}}, {"tokens": {"tokenizer": f"{tmp_path}/third"}}, SPLIT]
    assert version(tmp_path, other) != version(tmp_path, made[0])


USES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "scale": ({"columns": ["a"]}, {"scikit-learn"}),
    "word_vectors": ({"column": "t"}, {"gensim"}),
    "image_features": ({"column": "t"}, {"opencv-python-headless"}),
    "near_duplicates": ({"columns": ["t"]}, {"datasketch"}),
    "encode_text": ({"column": "t", "model": "none"}, {"torch", "transformers", "tokenizers", "safetensors"}),
    "scan_text": ({"columns": ["t"]}, {"presidio-analyzer", "phonenumbers", "tldextract"}),
    "deduplicate": ({}, set()),
}


@pytest.mark.parametrize("name", USES)
def test_a_library_counts_where_a_step_uses_it(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw(tmp_path)
    fields, used = USES[name]
    steps = [SPLIT, {name: fields}] if STEPS[name](**fields).fitted else [{name: fields}, SPLIT]
    installed, before = metadata.version, version(tmp_path, steps)
    everything = set().union(*(libraries for _fields, libraries in USES.values())) | {"pandas", "numpy", "pyarrow"}
    counts = set()
    for library in everything:
        monkeypatch.setattr(
            versions.metadata,
            "version",
            lambda wanted, library=library: "0.0.1" if wanted == library else installed(wanted),
        )
        if version(tmp_path, steps) != before:
            counts.add(library)
    assert counts == used | {"pandas", "numpy", "pyarrow"}


def test_every_library_that_a_steps_module_imports_is_declared() -> None:
    distributions = metadata.packages_distributions()
    common = {"numpy", "pandas", "pyarrow", "pydantic", "modelops-runtime", *sys.stdlib_module_names}
    for file in sorted(Path(modelops_runtime.data.__file__ or "", "..", "steps").resolve().glob("*.py")):
        declared = {
            library
            for step in STEPS.values()
            if step.__module__.endswith(f".{file.stem}")
            for library in step.libraries
        }
        for node in ast.walk(ast.parse(file.read_bytes())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for package in {name.partition(".")[0] for name in names} - {"modelops_runtime", *common}:
                [distribution] = {name.lower().replace("_", "-") for name in distributions.get(package, [package])}
                assert distribution in declared, f"{file.name} imports {package}"


def test_the_code_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw(tmp_path)
    before = version(tmp_path, [SPLIT])
    package = Path(versions.__file__).parents[1]
    for folder in ("data", "artifacts"):
        shutil.copytree(package / folder, tmp_path / "package" / folder)
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "package" / "data" / "version.py"))
    assert version(tmp_path, [SPLIT]) == before
    for file in ("data/sources/delimited.py", "data/steps/split.py", "data/table.py", "artifacts/preprocessing.py"):
        with (tmp_path / "package" / file).open("a") as stream:
            stream.write("\n# changed\n")
        after = version(tmp_path, [SPLIT])
        assert after != before
        before = after


@pytest.mark.parametrize(
    "change",
    [
        lambda steps: steps[0]["check"]["columns"]["a"].update(minimum=2),
        lambda steps: steps[1]["split"].update(seed=9),
        lambda steps: steps.append({"fill": {"columns": ["a"], "by": "mean"}}),
        lambda steps: steps.reverse(),
    ],
)
def test_the_steps_and_their_order_count(tmp_path: Path, change: Callable[[Any], None]) -> None:
    raw(tmp_path)
    steps: list[dict[str, Any]] = [{"check": {"columns": {"a": {"minimum": 1}, "t": {"required": True}}}}, SPLIT]
    before = version(tmp_path, steps)
    changed = json.loads(json.dumps(steps))
    change(changed)
    assert version(tmp_path, changed) != before


def test_what_shapes_no_row_does_not_count(tmp_path: Path) -> None:
    raw(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    check = {"columns": {"a": {"minimum": 1, "maximum": 5}, "t": {"required": True}}}
    reversed_check = {"columns": {"t": {"required": True}, "a": {"maximum": 5, "minimum": 1}}}
    types = {"types": {"a": "number", "t": "text"}}
    before = version(tmp_path / "one", [{"check": check}, SPLIT, {"scale": {"columns": ["a"]}}], **types)
    said = {"check": reversed_check | {"on_violation": "fail"}}
    steps = [said, {"split": {"by": "random"}}, {"scale": {"by": "standard", "columns": ["a"]}}]
    swapped = {"types": {"t": "text", "a": "number"}}
    # Another folder, another order of keys, defaults that are said, a salt that no step uses.
    assert version(tmp_path / "other", steps, b"another secret, too", **swapped) == before


@pytest.mark.parametrize("name", ["hash", "pseudonymise"])
def test_the_salt_counts_where_a_step_uses_it(tmp_path: Path, name: str) -> None:
    raw(tmp_path)
    steps = [{name: {"columns": ["t"], **({"domain": "d"} if name == "pseudonymise" else {})}}, SPLIT]
    assert version(tmp_path, steps) != version(tmp_path, steps, b"another secret, too")


def test_an_address_counts_where_it_stays_in_the_rows(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        for n in range(3):
            picture(tmp_path / folder / "images" / "cat" / f"{n}.png", n)
    features: list[dict[str, Any]] = [
        {"image_features": {"keep": True}},
        {"image_features": {}},
        {"drop": {"columns": ["uri"]}},
    ]
    same = []
    for step in features:
        of_folders = [
            Pipeline.parse(
                {"sources": [{"uri": f"{tmp_path}/{folder}/images", "format": "images"}], "steps": [step, SPLIT]}
            ).version(SALT)
            for folder in ("one", "other")
        ]
        same.append(of_folders[0] == of_folders[1])
    assert same == [False, True, True]
