"""The three examples, from raw files to a served prediction, in processes of this machine."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from examples.data import raw_data
from examples.data.raw_data import EXAMPLES
from modelops_runtime.artifacts.manifest import Manifest
from modelops_runtime.artifacts.preprocessing import FILE_NAME, Preprocessing
from modelops_runtime.contract import TrainingContract
from modelops_runtime.data import prepare
from modelops_runtime.registry.publishing import gate
from modelops_runtime.training.rendezvous import Peers
from modelops_runtime.training.stop import Stop
from sample import dataset, frameworks
from sample.fit import train
from sample.parameters import Parameters
from tests.unit.model.support import start_server

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_goes_from_raw_files_to_a_served_prediction(name: str, tmp_path: Path) -> None:
    example = EXAMPLES[name]
    raw = tmp_path / "raw"
    raw.mkdir()
    example.write(raw)
    declared = {"sources": example.sources(str(raw)), "steps": example.steps, "target": example.target}
    out = tmp_path / "prepared"
    prepare.main(["--pipeline", json.dumps(declared), "--destination", str(out), "--data-version", "v1"])

    settings = TrainingContract(
        run_id="abc123def456",
        model_name=name,
        framework="tensorflow",
        parameters=example.parameters,
        data_uri=str(out / "v1"),
        data_version="v1",
        output_dir=tmp_path / "output",
        checkpoint_dir=tmp_path / "checkpoints",
    )
    stop, parameters = Stop(), Parameters.parse(example.parameters)
    peers = Peers(settings.run_id, 1, 0, "localhost", settings.peer_port, stop)
    metrics = train(settings, parameters, stop, frameworks.load("tensorflow"), peers)
    assert gate.check(gate.parse(example.gate), metrics)

    model = tmp_path / "output" / "model"
    manifest = Manifest.read(model)
    assert manifest.runtime == "litert" and FILE_NAME in manifest.extra_files
    assert len(manifest.labels) == dataset.read(settings.data_uri, parameters).parameters.classes
    with start_server(model, tmp_path / "log") as server:
        answer = server.post({"inputs": [example.question]})
        assert answer.status == 200, answer.body
        [probabilities] = answer.json()["outputs"]
        # The golden rows are made up: they must not be rows of the data.
        assert server.post({"inputs": manifest.golden.inputs}).status == 200
    assert str(manifest.labels[int(np.argmax(probabilities))]) == example.answer
    left = "".join(path.read_text(errors="replace") for path in model.rglob("*") if path.is_file())
    assert not any(secret in left for secret in example.secrets)


def test_the_command_writes_the_raw_files_and_prints_a_declaration_of_them(tmp_path: Path) -> None:
    command = [sys.executable, raw_data.__file__, "text", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    [source] = json.loads(done.stdout)["pipeline"]["sources"]
    assert len(Path(source["uri"]).read_text().splitlines()) == raw_data.TEXTS


def test_what_training_takes_and_what_the_server_makes_agree_to_the_last_bit_on_1000_rows(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(5), 2000
    raw = pd.DataFrame({"number": range(rows), "a": rng.normal(3, 700, rows), "b": rng.lognormal(0, 3, rows)})
    raw["city"] = rng.choice(["Rome", "Oslo", "Lima"], rows)
    raw["note"] = [" ".join(rng.choice(["soup", "rain", "bread", "wine", "snow"], 4)) for _row in range(rows)]
    raw["y"] = raw["a"] * 2
    raw.to_json(tmp_path / "raw.jsonl", orient="records", lines=True, double_precision=15)
    steps = [
        {"split": {"by": "time", "column": "number", "test": 0.5, "validation": 0.1}},
        {"drop": {"columns": ["number"]}},
        {"outliers": {"columns": ["a"], "rule": "zscore"}},
        {"scale": {"columns": ["a"]}},
        {"scale": {"columns": ["b"], "by": "minmax"}},
        {"encode": {"columns": ["city"]}},
        {"word_vectors": {"column": "note", "size": 5}},
    ]
    source = {"uri": f"{tmp_path}/raw.jsonl", "format": "jsonl"}
    declared = {"sources": [source], "steps": steps, "target": "y"}
    prepare.main(["--pipeline", json.dumps(declared), "--destination", str(tmp_path / "out"), "--data-version", "v1"])

    trained, _targets = dataset.read(str(tmp_path / "out" / "v1"), Parameters()).test
    assert trained.shape == (1000, 2 + 3 + 5) and trained.dtype == np.float32
    saved = Preprocessing.read(tmp_path / "out" / "v1" / FILE_NAME)
    lines = (tmp_path / "raw.jsonl").read_text().splitlines()[-1000:]
    clients = [[json.loads(line)[column] for column in saved.inputs] for line in lines]
    served = saved.transform(np.array(json.loads(json.dumps(clients)), dtype="object"))
    np.testing.assert_array_equal(served.view("uint32"), trained.view("uint32"))
