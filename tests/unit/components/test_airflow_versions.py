"""A DAG run ends with the files that it began with: the DAG's versions in Airflow's database, and the Jobs of a step's
tries. With stand-ins for Airflow, which is not installed here."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.client import ApiException

from modelops.core.assets import asset
from tests.airflow import Dag, dag_module, loaded, stand_ins
from tests.unit.components.test_airflow_pipeline import ARGS, deploy, files

ASSETS = Path(__file__).resolve().parents[3] / "components/modelops/airflow/assets"


class Bundle:
    """Airflow's base class of bundles, as far as ours uses it."""

    def __init__(self, *, name: str, version: str | None = None) -> None:
        self.name, self.version = name, version


@pytest.fixture(params=["airflow 3.0", "airflow 3.3"])
def versions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    base: dict[str, Any] = {"BaseDagBundle": Bundle}
    if request.param == "airflow 3.3":
        base["BundleVersion"] = lambda version: SimpleNamespace(version=version)
    packages = ("airflow", "airflow.dag_processing", "airflow.dag_processing.bundles")
    stand_ins(monkeypatch, {**{name: {} for name in packages}, "airflow.dag_processing.bundles.base": base})
    return loaded(ASSETS / "dag_versions.py")


class Deployment:
    """Starts of Airflow's pod: what is on its scratch space is lost with each, the database stays."""

    def __init__(self, module: Any, folder: Path) -> None:
        self.module, self.root, self.starts = module, folder, 0
        self.url = f"sqlite:///{folder}/airflow.db"

    def start(self, files: Mapping[str, str]) -> Path:
        self.starts += 1
        source, dags = self.root / f"source-{self.starts}", self.root / f"dags-{self.starts}"
        source.mkdir()
        dags.mkdir()
        for name, content in files.items():
            (source / name).write_text(content)
        self.module.keep(self.url, source, dags)
        return dags

    def bundle(self, dags: Path, version: str | None = None) -> Any:
        return self.module.VersionedDags(folder=str(dags), name="dags-folder", version=version)


def version_of(bundle: Any) -> str:
    found = bundle.get_current_version()
    return str(getattr(found, "version", found))


def test_a_run_finds_the_files_that_it_began_with_after_another_version_was_deployed(
    versions: Any, tmp_path: Path
) -> None:
    airflow = Deployment(versions, tmp_path)
    began_with = version_of(airflow.bundle(airflow.start({"nightly.py": "first"})))
    dags = airflow.start({"nightly.py": "second"})
    assert (airflow.bundle(dags, began_with).path / "nightly.py").read_text() == "first"
    newest = airflow.bundle(dags)
    assert (newest.path / "nightly.py").read_text() == "second"
    assert version_of(newest) != began_with
    assert newest.supports_versioning


def test_the_same_files_are_the_same_version(versions: Any, tmp_path: Path) -> None:
    airflow = Deployment(versions, tmp_path)
    names = [version_of(airflow.bundle(airflow.start({"nightly.py": text}))) for text in ("first", "second", "first")]
    assert names[0] == names[2] != names[1]


_FILES = st.dictionaries(st.sampled_from(["nightly.py", "nightly.json", "modelops_run_id.py"]), st.text(max_size=20))


@settings(max_examples=15, deadline=None)
@given(st.lists(_FILES, min_size=1, max_size=3))
def test_every_version_that_was_deployed_can_be_had_in_full(
    tmp_path_factory: pytest.TempPathFactory, deployed: list[dict[str, str]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        packages = ("airflow", "airflow.dag_processing", "airflow.dag_processing.bundles")
        stand_ins(patch, {name: {} for name in packages})
        stand_ins(patch, {"airflow.dag_processing.bundles.base": {"BaseDagBundle": Bundle}})
        airflow = Deployment(loaded(ASSETS / "dag_versions.py"), tmp_path_factory.mktemp("airflow"))
        made = []
        for files in deployed:
            dags = airflow.start(files)
            made.append((version_of(airflow.bundle(dags)), files))
        for version, files in made:
            folder = airflow.bundle(dags, version).path
            assert {path.name: path.read_bytes().decode() for path in folder.iterdir()} == files


class Batch:
    """The API of Jobs, as far as the DAG uses it."""

    def __init__(self) -> None:
        self.jobs: dict[str, Any] = {}

    def create_namespaced_job(self, namespace: str, job: Mapping[str, Any]) -> None:
        state = SimpleNamespace(conditions=None), SimpleNamespace(deletion_timestamp=None)
        assert job["metadata"]["name"] not in self.jobs
        self.jobs[job["metadata"]["name"]] = SimpleNamespace(status=state[0], metadata=state[1])

    def read_namespaced_job_status(self, name: str, namespace: str) -> Any:
        if name not in self.jobs:
            raise ApiException(status=404)
        return self.jobs[name]


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = dag_module(tmp_path, files(ARGS), monkeypatch)

    def as_try(number: int, run: str = "scheduled") -> Any:
        module.get_current_context = lambda: {"ti": SimpleNamespace(run_id=run, try_number=number)}
        return module

    yield as_try


JOB: dict[str, Any] = {"metadata": {"labels": {}}, "spec": {}}


def test_a_retry_waits_for_the_job_that_the_try_before_left_running(dag: Any) -> None:
    batch = Batch()
    first = dag(1).start(batch, "train", JOB)
    assert dag(2).start(batch, "train", JOB) == first
    assert list(batch.jobs) == [first]


@pytest.mark.parametrize("end", ["Complete", "Failed", "deleted"])
def test_a_retry_after_the_end_of_the_job_starts_another_one(dag: Any, end: str) -> None:
    batch = Batch()
    first = dag(1).start(batch, "train", JOB)
    if end == "deleted":
        batch.jobs[first].metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    else:
        batch.jobs[first].status.conditions = [SimpleNamespace(type=end, status="True")]
    assert dag(2).start(batch, "train", JOB) != first
    assert len(batch.jobs) == 2


def test_steps_and_runs_have_jobs_of_their_own(dag: Any) -> None:
    batch = Batch()
    names = {dag(1, run).start(batch, step, JOB) for run in ("a", "b") for step in ("prepare", "train")}
    assert len(names) == 4
    assert all(len(name) <= 63 and name.startswith("nightly-") for name in names)


def test_airflow_is_shown_another_dag_when_only_its_jobs_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    for name, bound in (("a", 1.0), ("b", 2.0), ("c", 1.0)):
        (tmp_path / name).mkdir()
        args = {**ARGS, "training": {**ARGS["training"], "gate": {"mse": {"max": bound}}}}
        dag_module(tmp_path / name, files(args), monkeypatch)
        shown.append(json.dumps(Dag.latest.fields, default=str, sort_keys=True))
    assert shown[0] == shown[2] != shown[1]


def test_the_deployed_airflow_takes_its_dags_from_the_versions() -> None:
    program = deploy(ARGS)
    [template] = [found.inputs["spec"]["template"]["spec"] for found in program.resources if "Deployment" in found.type]
    for container in template["containers"]:
        variables = {each["name"]: each.get("value") for each in container["env"]}
        [bundle] = json.loads(variables["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
        module, name = bundle["classpath"].split(".")
        assert f"class {name}(BaseDagBundle)" in asset("airflow/assets/dag_versions.py")
        assert f"/opt/airflow/config/{module}.py" in {each["mountPath"] for each in container["volumeMounts"]}
        # Of the DAG itself only the init container has a copy that changes with the stack.
        assert "dag" not in {each["name"] for each in container["volumeMounts"]}
    [prepare] = template["initContainers"]
    assert {"dag", "versions", "home"} <= {each["name"] for each in prepare["volumeMounts"]}
