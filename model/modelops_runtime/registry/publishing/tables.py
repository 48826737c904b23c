"""Tables of answers among a run's artifacts, which MLflow's pages show and compare.

As MLflow's own `log_table` would log them, which needs pandas, and adds a retry's rows to those that are there.
"""

import json
from pathlib import Path

from mlflow import MlflowClient

FOLDER = "evaluation"
"""In the output folder, and among the artifacts."""
SHOWN = "mlflow.loggedArtifacts"
"""MLflow's tag with the tables of a run."""


def log(client: MlflowClient, run_id: str, output: Path) -> None:
    """The tables that an evaluation left in the output folder, if any. Logging the same again is allowed."""
    paths = sorted((output / FOLDER).glob("*.json"))
    for path in paths:
        client.log_artifact(run_id, str(path), FOLDER)
    if paths:
        tables = [{"path": f"{FOLDER}/{path.name}", "type": "table"} for path in paths]
        client.set_tag(run_id, SHOWN, json.dumps(tables))
