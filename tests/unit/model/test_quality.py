"""What a version tells the registry of its raw rows, against a real MLflow server and the registry's own exporter."""

import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from modelops.core.assets import asset
from modelops_runtime.data import prepare

ROWS = "a,b,y\n1,,0\n2,x,1\n,x,0\n1,,0\n99,x,1\n" + "".join(f"{n},z,{n % 2}\n" for n in range(3, 45))


def prepared(folder: Path) -> dict[str, Any]:
    (folder / "raw.csv").write_text(ROWS)
    pipeline = {
        "sources": [{"uri": f"{folder}/raw.csv", "types": {"a": "number", "b": "text", "y": "number"}}],
        "steps": [
            {"check": {"columns": {"a": {"maximum": 50}}, "on_violation": "drop"}},
            {"deduplicate": {}},
            {"split": {}},
        ],
    }
    prepare.main(["--pipeline", json.dumps(pipeline), "--destination", f"{folder}/out"])
    version = json.loads((folder / "out" / "latest.json").read_text())["data_version"]
    report: dict[str, Any] = json.loads((folder / "out" / version / "report.json").read_text())
    return report


def exported(url: str) -> dict[tuple[str, str], float]:
    """The newest runs' metrics by pipeline and name, as the registry's exporter has them."""
    exporter: dict[str, Any] = {"__name__": "exporter"}
    exec(asset("registry/assets/metrics.py"), exporter)
    exporter["SERVER"] = url
    found = exporter["samples"](exporter["newest_runs"](), 0.0)["modelops_run_metric"]
    return {(labels["model"], labels["metric"]): value for labels, value in found}


def test_counts_of_a_version_come_to_the_registrys_exporter(
    mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    monkeypatch.setenv("MODELOPS_PIPELINE_NAME", "people")
    report = prepared(tmp_path)
    assert (report["rows_read"], report["missing"]) == (47, {"a": 1, "b": 2})
    assert len(report["violations"]) == 2 and sum(report["rows"].values()) == 44
    (tmp_path / "again").mkdir()
    monkeypatch.setenv("MODELOPS_PIPELINE_NAME", "others")
    prepared(tmp_path / "again")  # the experiment is there now
    expected = {"data_rows_read": 47, "data_rows": 44, "data_missing": 3, "data_violations": 2}
    found = exported(mlflow_url)
    for pipeline in ("people", "others"):
        assert {name: found[pipeline, name] for name in expected} == expected


def test_the_profile_is_among_the_files_of_the_versions_run(
    mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    monkeypatch.setenv("MODELOPS_PIPELINE_NAME", "profiled")
    version = prepared(tmp_path)["data_version"]
    client = MlflowClient(mlflow_url)
    home = client.get_experiment_by_name("data")
    assert home is not None
    [run] = client.search_runs([home.experiment_id], "tags.`modelops.model` = 'profiled'")
    assert run.info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["profile.html"]
    query = urllib.parse.urlencode({"path": "profile.html", "run_uuid": run.info.run_id})
    with urllib.request.urlopen(f"{mlflow_url}/get-artifact?{query}", timeout=30) as answer:
        page = answer.read().decode()
    assert page == (tmp_path / "out" / version / "profile.html").read_text()


def test_a_registry_that_does_not_answer_is_said_and_the_version_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert prepared(tmp_path)["rows_read"] == 47
    assert "http://127.0.0.1:9 did not take the counts" in capsys.readouterr().out
