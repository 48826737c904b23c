"""The dev stack's data, from its raw file to a served prediction, in processes of this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelops_runtime.contract import TrainingContract
from modelops_runtime.data import prepare
from modelops_runtime.registry.publishing import gate
from modelops_runtime.training.rendezvous import Peers
from modelops_runtime.training.stop import Stop
from sample import frameworks, raw_data
from sample.fit import train
from sample.parameters import Parameters
from tests.unit.model.support import start_server
from tests.unit.stacks.support import REPOSITORY

IN_IMAGE = "/app/"
"""Where the image `prepare` has what model/Dockerfile copies."""


def settings() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((REPOSITORY / "stacks" / "Pulumi.dev.yaml").read_text())["config"]
    return document


def declared() -> dict[str, Any]:
    """The stack's declaration, its files where the repository has them."""
    data = settings()["modelops:data"]
    sources = [{**source, "uri": source["uri"].replace(IN_IMAGE, f"{REPOSITORY}/model/")} for source in data["sources"]]
    return {"sources": sources, "steps": data["steps"], "target": data["target"]}


def test_the_raw_file_is_what_its_program_writes() -> None:
    assert raw_data.FILE.read_text() == raw_data.text()


def test_the_image_has_the_raw_file_where_the_stack_reads_it() -> None:
    dockerfile = (REPOSITORY / "model" / "Dockerfile").read_text()
    assert f"WORKDIR {IN_IMAGE.rstrip('/')}\n" in dockerfile
    folder = str(raw_data.FILE.parent.relative_to(REPOSITORY / "model"))
    assert f"COPY --chmod=755 {folder} {folder}\n" in dockerfile.split(" AS prepare-sources\n")[1].split("\nFROM ")[0]
    assert [source["uri"] for source in settings()["modelops:data"]["sources"]] == [f"{IN_IMAGE}{folder}/*.csv"]


def test_no_row_breaks_a_rule_so_that_no_alert_greets_a_new_stack(tmp_path: Path) -> None:
    prepare.main(["--pipeline", json.dumps(declared()), "--destination", str(tmp_path), "--data-version", "v1"])
    report = json.loads((tmp_path / "v1" / "report.json").read_text())
    assert report["violations"] == []
    assert (report["rows_read"], sum(report["rows"].values())) == (114, raw_data.ROWS)


@pytest.mark.tensorflow
def test_it_goes_from_the_raw_file_to_a_served_prediction(tmp_path: Path) -> None:
    prepare.main(["--pipeline", json.dumps(declared()), "--destination", str(tmp_path), "--data-version", "v1"])
    model = settings()["modelops:model"]
    contract = TrainingContract(
        run_id="abc123def456",
        model_name=model["name"],
        framework=model["framework"],
        parameters=model["parameters"],
        data_uri=str(tmp_path / "v1"),
        data_version="v1",
        output_dir=tmp_path / "output",
        checkpoint_dir=tmp_path / "checkpoints",
    )
    stop = Stop()
    peers = Peers(contract.run_id, 1, 0, "localhost", contract.peer_port, stop)
    parameters = Parameters.parse(model["parameters"])
    metrics = train(contract, parameters, stop, frameworks.load(model["framework"]), peers)
    assert gate.check(gate.parse(model["gate"]), metrics)
    with start_server(tmp_path / "output" / "model", tmp_path / "log") as server:
        [answer] = server.post({"inputs": [[0.5]]}).json()["outputs"]
    assert answer == pytest.approx(2, abs=0.15)
