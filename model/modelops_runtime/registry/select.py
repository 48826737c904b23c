"""Ends a sweep: `modelops-select` registers the best of its trials. Contract: docs/model.md.

A trial that left no finished run is passed over, by name; without a single finished one the sweep has failed. Of equal
trials the one with the lowest number wins, so that the same trials always select the same one.
"""

from typing import Any

from modelops_runtime.contract import ConfigurationError, ContractError, PublishContract
from modelops_runtime.registry.publish import already_published, say_published, settings_and_gate
from modelops_runtime.registry.publishing import gate


def select(settings: PublishContract, bounds: gate.Gate) -> None:
    """Finds the best trial, checks its gate, registers it and reports it."""
    if settings.sweep is None:
        raise ConfigurationError("MODELOPS_SWEEP_METRIC is not set")
    if already_published(settings, bounds):
        return

    from modelops_runtime.registry.publishing import runs, tracking

    with tracking.registry(settings) as client:
        above, trials = _gathered(client, settings)
        best = _best(settings, trials)
        metrics = runs.final_metrics(best)
        client.set_tag(above, "modelops.best_trial", best.data.tags[runs.TRIAL])
        runs.log_final(client, above, metrics, 0)
        client.set_terminated(above, "FINISHED")
        serving = tracking.serving(client, settings)
        tags = gate.judge(bounds, metrics, tracking.comparison(settings), serving)
        done = tracking.register(client, settings, best, tags)
    name, alias = settings.training.model_name, settings.alias
    say_published(settings, done, f"published {name} version {done.version} as models:/{name}@{alias}")


def _gathered(client: Any, settings: PublishContract) -> tuple[str, dict[int, Any]]:
    """The sweep's run and its finished trials by number, every one of them under that run."""
    from modelops_runtime.registry.publishing import runs

    home = runs.experiment(client, settings.experiment_name)
    above = runs.parent(client, settings, home).info.run_id
    for other in runs.find(client, home, settings.training, "sweep"):
        if other.info.run_id != above:
            client.delete_run(other.info.run_id)
    trials: dict[int, Any] = {}
    for trial in runs.find(client, home, settings.training, "trial"):
        if trial.data.tags.get(runs.PARENT) != above:
            client.set_tag(trial.info.run_id, runs.PARENT, above)
        if trial.info.status == "FINISHED":
            trials.setdefault(int(trial.data.tags[runs.TRIAL]), trial)
    return above, trials


def _best(settings: PublishContract, trials: dict[int, Any]) -> Any:
    """The finished trial with the best value. Raises ContractError when there is none."""
    from modelops_runtime.registry.publishing import runs

    assert settings.sweep
    metric, goal = settings.sweep.metric, settings.sweep.goal
    values = {number: runs.final_metrics(run).get(metric) for number, run in sorted(trials.items())}
    for number in range(settings.sweep.runs):
        value = values.get(number)
        print(f"trial {number}: " + ("no finished run" if value is None else f"{metric} is {value:.6g}"), flush=True)
    judged = {number: value for number, value in values.items() if value is not None}
    if not judged:
        raise ContractError(f"none of the sweep's {settings.sweep.runs} trials has finished with a value for {metric}")
    best = min(judged, key=lambda number: (judged[number] if goal == "min" else -judged[number], number))
    print(f"the best is trial {best}", flush=True)
    return trials[best]


def main() -> None:
    select(*settings_and_gate())
