"""The examples with mocks: each composes from the config that it requires. A cluster test deploys them."""

import re
import runpy
from pathlib import Path

import pulumi
import pytest
import yaml

from tests.unit.components.harness import IMAGE, run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CONFIG = {
    "namespace": "ml",
    "image": IMAGE,
    "train_image": IMAGE,
    "model_uri": "models:/linear@run-0123456789ab",
    "tracking_uri": "http://registry.ml.svc:5000",
    "team": "payments",
    "context": "team",
    "live": "green",
    "claim": "raw",
    "example": "tabular",
    "prepare_image": IMAGE,
    "repository": "registry.example.com/team/diabetes",
    "standby": "models:/linear@run-ba9876543210",
}
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/__main__.py"))


def test_the_readme_names_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text()
    assert len(NAMES) == 8 and all(f"| `{name}` |" in text for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_lists_what_an_example_must_be_given(name: str) -> None:
    [row] = [line for line in (EXAMPLES / "README.md").read_text().splitlines() if line.startswith(f"| `{name}` |")]
    listed = re.findall(r"`(\w+)`", row.split("|")[3])
    required = re.findall(r'config\.require\("(\w+)"\)', (EXAMPLES / name / "__main__.py").read_text())
    assert sorted(listed) == sorted(set(required))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_composes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert yaml.safe_load((EXAMPLES / name / "Pulumi.yaml").read_text())["name"] == name
    pulumi.runtime.set_all_config({f"modelops:{key}": value for key, value in CONFIG.items()})
    monkeypatch.chdir(EXAMPLES / name)
    exported: dict[str, object] = {}
    monkeypatch.setattr(pulumi, "export", exported.__setitem__)
    made = run(lambda: runpy.run_path(str(EXAMPLES / name)) and None)
    assert made.of("Deployment") and exported
