"""The pages of the components say what the library says."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pulumi
import pytest

import modelops
from modelops.serving import resolve
from tests.unit.components.harness import DIGEST, IMAGE, run

REPOSITORY = Path(__file__).resolve().parents[3]
PAGES = REPOSITORY / "docs" / "components"
SNIPPETS = [
    pytest.param(text, id=f"{page.name} {number}")
    for page in [
        REPOSITORY / "components" / "README.md",
        REPOSITORY / "docs" / "how-to" / "canary.md",
        REPOSITORY / "docs" / "how-to" / "clusters.md",
        REPOSITORY / "docs" / "tutorial" / "quickstart.md",
        REPOSITORY / "docs" / "how-to" / "teams.md",
        REPOSITORY / "docs" / "how-to" / "training-examples.md",
        REPOSITORY / "docs" / "how-to" / "single-sign-on.md",
        *sorted(PAGES.glob("*.md")),
    ]
    for number, text in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), start=1)
]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", PAGES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load_generator()
COMPONENTS = {
    name
    for name in modelops.__all__
    if isinstance(kind := getattr(modelops, name), type) and issubclass(kind, pulumi.ComponentResource)
}


def test_every_component_has_a_page() -> None:
    assert {component.__name__ for component in GENERATE.PAGES.values()} == COMPONENTS


@pytest.mark.parametrize("component", sorted(COMPONENTS))
def test_the_page_that_an_unknown_argument_is_answered_by_is_there(component: str) -> None:
    with pytest.raises(modelops.ArgumentsError) as caught:
        getattr(modelops, component)("demo", {"zzz": 1})
    answer = re.search(r"zzz is not an argument; (\S+) lists them", str(caught.value))
    assert answer and (REPOSITORY / answer[1]).is_file()


@pytest.mark.parametrize("page", ["README.md", "components/README.md", "docs/index.md"])
def test_a_table_of_components_has_a_row_for_each(page: str) -> None:
    rows = re.findall(r"^\| (?:\[|`)(\w+)(?:`|\]\([^)]+\)) \|", (REPOSITORY / page).read_text(), re.MULTILINE)
    assert set(rows) >= COMPONENTS


@pytest.mark.parametrize("name", sorted(GENERATE.PAGES))
def test_tables_are_current(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text()
    assert GENERATE.render(page, GENERATE.PAGES[name]) == page, "run `make generate`"


@pytest.mark.parametrize("name", sorted(GENERATE.PAGES))
def test_every_field_is_described(name: str) -> None:
    assert "| None |" not in GENERATE.tables(GENERATE.PAGES[name])


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets_run(snippet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what a page takes for granted: the components of the other pages, and the stack's config."""
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(pulumi, "export", lambda *_: None)
    monkeypatch.setattr(resolve, "_look_up", lambda *_: "7")  # no server answers here
    names: dict[str, Any] = {
        "pulumi": pulumi,
        "image": SimpleNamespace(ref=IMAGE),
        "prepare": SimpleNamespace(ref=IMAGE),
        "train": SimpleNamespace(ref=IMAGE),
        "registry": SimpleNamespace(tracking_uri="http://registry.ml.svc:5000", url="http://localhost:30500"),
        "required": {
            "image": IMAGE,
            "model_name": "linear",
            "framework": "tensorflow",
            "namespace": "ml",
            "tracking_uri": "http://registry.ml.svc:5000",
        },
        "training": SimpleNamespace(model_uri="models:/linear@run-0123456789ab"),
        "monitoring": SimpleNamespace(prometheus_url="http://prometheus.mon.svc:9090"),
        "ModelImage": modelops.ModelImage,
        "folder": "model/sample",
        "ModelService": modelops.ModelService,
        "TrainingJob": modelops.TrainingJob,
        "old": "models:/linear@run-0123456789ab",
        "new": "models:/linear@run-ba9876543210",
        "config": SimpleNamespace(require_secret=lambda _: "a long secret"),
    }
    release = {"image": IMAGE, "model_name": "linear", "run_id": "0123456789ab"}
    image = f"oci://registry.staging.example.com/team/linear@{DIGEST}"
    stacks = {"organization/modelops/staging": {"release": release, "model_uri": image}}
    assert run(lambda: exec(snippet, names), stacks=stacks).resources
