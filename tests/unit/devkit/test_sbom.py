"""Bills of materials: each image's has what its locks install, with the hashes that pip holds the files against."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devkit.errors import DevkitError
from devkit.locks import LOCKS, lists, pins
from devkit.sbom import bill, images, requirements


def test_every_lock_is_in_the_bill_of_an_image() -> None:
    assert {lock for locks in images().values() for lock in locks} == lists().keys()


def test_an_image_has_the_locks_of_the_stages_that_it_is_made_from() -> None:
    found = images()
    assert found["registry"] == []
    assert found["serve-onnx"] == ["serve", "serve-onnx"]
    assert found["finetune"] == ["train-pytorch", "finetune", "evaluate"]
    assert found["serve-grpc"] == ["serve-grpc"]  # the build argument EXTRAS adds it


def test_of_two_versions_the_one_installed_last_counts() -> None:
    def version(name: str, text: str) -> list[str]:
        return [line.split(" ")[0] for line in text.splitlines() if line.startswith(f"{name}==")]

    first, last = (
        version("databricks-sdk", (LOCKS / f"{lock}.txt").read_text()) for lock in ("train-pytorch", "train")
    )
    assert first != last
    assert version("databricks-sdk", requirements(["train-pytorch", "train"])) == last


def test_a_bill_names_each_package_with_its_version_and_its_hashes_and_is_always_the_same(tmp_path: Path) -> None:
    text = requirements(["serve", "serve-onnx"])
    first, second = (bill(text, tmp_path / name) for name in ("a.cdx.json", "b.cdx.json"))
    assert first.read_bytes() == second.read_bytes()
    found = json.loads(first.read_text())
    assert found["bomFormat"] == "CycloneDX"
    packages = {each["purl"]: each for each in found["components"]}
    expected = [pin for lock in ("serve", "serve-onnx") for pin in pins(LOCKS / f"{lock}.txt")]
    assert packages.keys() == {f"pkg:pypi/{pin.replace('==', '@')}" for pin in expected}
    for line in text.splitlines():
        pin, *hashes = line.split(" --hash=sha256:")
        [files] = packages[f"pkg:pypi/{pin.replace('==', '@')}"]["externalReferences"]
        assert {each["content"] for each in files["hashes"]} == set(hashes)


def test_a_bill_keeps_to_cyclonedxs_schema(tmp_path: Path) -> None:
    file = bill(requirements(["fetch"]), tmp_path / "fetch.cdx.json")
    code = "import sys; from cyclonedx.schema import SchemaVersion"
    code += "; from cyclonedx.validation.json import JsonStrictValidator; v = JsonStrictValidator(SchemaVersion.V1_6)"
    code += "; print(v.validate_str(open(sys.argv[1]).read()))"
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_a_list_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DevkitError, match=r"broken\.cdx\.json can't be made"):
        bill("a", tmp_path / "missing" / "broken.cdx.json")
