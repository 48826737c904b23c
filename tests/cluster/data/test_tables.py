"""The image with EXTRAS=tables: it has the libraries of both kinds of tables, and prepares from one."""

import json

import pytest

from tests.cluster.data.pipelines import Pipelines
from tests.cluster.data.test_data_pipeline import run_in_image
from tests.cluster.support import platform_facts
from tests.cluster.training.images import TrainingImages

pytestmark = [pytest.mark.data, pytest.mark.long]

SCRIPT = """
import json, pathlib
import deltalake, pandas, pyarrow
import pyiceberg.io.fsspec
from modelops_runtime.data import prepare

rows = pyarrow.table({"x": range(60), "y": [0, 1] * 30})
deltalake.write_deltalake("/tmp/table", rows.slice(0, 40))
deltalake.write_deltalake("/tmp/table", rows.slice(40), mode="append")
pipeline = {"sources": [{"uri": "/tmp/table", "format": "delta"}], "steps": [{"split": {}}], "target": "y"}
prepare.main(["--pipeline", json.dumps(pipeline), "--destination", "/tmp/out"])
version = json.loads(pathlib.Path("/tmp/out/latest.json").read_text())["data_version"]
folder = pathlib.Path("/tmp/out", version)
parts = pandas.concat([pandas.read_parquet(folder / part) for part in ("train", "validation", "test")])
[source] = json.loads((folder / "report.json").read_text())["sources"]
print("RESULT " + json.dumps([sorted(parts["x"].tolist()), source["format"], source["table_version"]]))
"""


def test_the_image_prepares_from_a_table(pipelines: Pipelines, tmp_path_factory: pytest.TempPathFactory) -> None:
    image = TrainingImages(tmp_path_factory.mktemp("tables"), platform_facts()).target("prepare", "tables")
    said = run_in_image(Pipelines(pipelines.namespace, image, pipelines.new_stack), SCRIPT, seconds=180)
    [line] = [line for line in said.splitlines() if line.startswith("RESULT ")]
    assert json.loads(line.removeprefix("RESULT ")) == [[*range(60)], "delta", 1]
