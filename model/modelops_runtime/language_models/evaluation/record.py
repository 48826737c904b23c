"""An evaluation as a run in MLflow: its metrics, its answers as tables, and what was evaluated on what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelops_runtime.language_models.evaluation.parameters import Evaluation

ROLE = "evaluation"


def log(
    tracking_uri: str,
    experiment: str,
    tags: Mapping[str, str],
    data: Mapping[str, str],
    evaluation: Evaluation,
    metrics: Mapping[str, float],
    output: Path,
) -> str:
    """The id of the run. `data`: the version of each address that was read."""
    from modelops_runtime.registry.publishing import runs, tables, tracking

    with tracking.client_of(tracking_uri) as client:
        home = runs.experiment(client, experiment)
        known = {name: value for name, value in tags.items() if value}
        run = client.create_run(home, run_name=_name(known), tags={**known, runs.ROLE: ROLE})
        run_id = str(run.info.run_id)
        try:
            runs.log_parameters(client, run_id, _parameters(evaluation))
            for uri, version in data.items():
                runs.log_dataset(client, run_id, uri, version, ROLE)
            runs.log_final(client, run_id, metrics, 0)
            tables.log(client, run_id, output)
        except BaseException:
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
    return run_id


def _name(tags: Mapping[str, str]) -> str:
    version = tags.get("modelops.model_version") or tags.get("modelops.run_id")
    return "-".join(filter(None, ["evaluation", tags.get("modelops.model"), version]))


def _parameters(evaluation: Evaluation) -> dict[str, Any]:
    return evaluation.model_dump(mode="json", by_alias=True, exclude_none=True)
