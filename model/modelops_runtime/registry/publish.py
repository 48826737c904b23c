"""The publishing container: `modelops-publish`. Gate first, then MLflow. Contract: docs/model.md. With `--gate`
it looks at the gate's absolute bounds alone.

MLflow is imported late: a bound that is not met fails at once.
"""

import sys
import time
import urllib.request

from modelops_runtime.contract import ConfigurationError, ContractError, Environment, PublishContract
from modelops_runtime.registry.publishing import gate
from modelops_runtime.registry.publishing.outputs import check_model, read_outputs
from modelops_runtime.registry.publishing.report import Published, report


def wait_for_registry(tracking_uri: str, wait_seconds: float) -> None:
    """Raises ContractError with the last reason when the registry does not answer within `wait_seconds`."""
    deadline = time.monotonic() + wait_seconds
    pause = 0.5
    reported = False
    while True:
        try:
            with urllib.request.urlopen(f"{tracking_uri.rstrip('/')}/health", timeout=5):
                return
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", "") or error
            if time.monotonic() + pause > deadline:
                waited = f"after {wait_seconds:g} s"
                raise ContractError(f"the registry {tracking_uri} is not reachable {waited}: {reason}") from None
            if not reported:
                print(f"waiting up to {wait_seconds:g} s for the registry {tracking_uri}: {reason}", flush=True)
                reported = True
        time.sleep(pause)
        pause = min(pause * 2, 5)


def settings_and_gate() -> tuple[PublishContract, gate.Gate]:
    """The settings from the environment. Raises ConfigurationError with every problem."""
    env = Environment()
    settings = PublishContract.read(env)
    bounds = gate.read(env, settings.gate)
    env.check()
    return settings, bounds


def say_published(settings: PublishContract, published: Published, words: str) -> None:
    """Reports to the component where it wants a report, and prints so."""
    if settings.report:
        report(settings.report, settings.training.run_id, published)
    print(words, flush=True)


def publish(settings: PublishContract, bounds: gate.Gate) -> None:
    """One training: gate, run, version, alias, report."""
    name, alias = settings.training.model_name, settings.alias
    try:
        outputs = read_outputs(settings.training)
    except ConfigurationError:
        if judged_without_training(settings, bounds):
            return
        raise
    gate.say_met(gate.check(gate.absolute(bounds), outputs.metrics))
    if already_published(settings, bounds):
        return
    check_model(settings.training.output_dir / "model")

    from modelops_runtime.registry.publishing import tracking

    with tracking.registry(settings) as client:
        compared, serving = gate.relative(bounds), tracking.serving(client, settings)
        tags = gate.judge(compared, outputs.metrics, tracking.comparison(settings), serving)
        done = tracking.register(client, settings, tracking.log(client, settings, outputs), tags)
    say_published(settings, done, f"published {name} version {done.version} as models:/{name}@{alias}")


def judged_without_training(settings: PublishContract, bounds: gate.Gate) -> bool:
    """Whether nothing was trained because the registry has this run's version; if so, judges and reports that."""
    if (settings.training.output_dir / "metrics.json").exists():
        return False
    try:
        published = _published(settings)
    except ContractError:
        return False
    return _concluded(settings, bounds, published)


def already_published(settings: PublishContract, bounds: gate.Gate) -> bool:
    """Whether the registry has this run's version; if so, judges and reports it. Raises ContractError."""
    return _concluded(settings, bounds, _published(settings))


def _published(settings: PublishContract) -> Published | None:
    wait_for_registry(settings.tracking_uri, settings.wait_seconds)

    from modelops_runtime.registry.publishing import tracking

    with tracking.registry(settings) as client:
        return tracking.published(client, settings)


def _concluded(settings: PublishContract, bounds: gate.Gate, published: Published | None) -> bool:
    """Whether there is a version; it is judged again, because the gate may have changed since it was published."""
    if published is None:
        return False
    from modelops_runtime.registry.publishing import tracking

    with tracking.registry(settings) as client:
        tracking.judge_again(client, settings, bounds, published)
    name, alias = settings.training.model_name, settings.alias
    say_published(
        settings, published, f"{name}@{alias} is already published as version {published.version}: nothing to do"
    )
    return True


def publish_trial(settings: PublishContract) -> None:
    """One trial of a sweep: its run under the sweep's, and nothing registered. `modelops-select` has the last word."""
    assert settings.sweep
    try:
        outputs = read_outputs(settings.training)
    except ConfigurationError:
        # The gate is `modelops-select`'s.
        if judged_without_training(settings, {}):
            return
        raise
    if settings.sweep.metric not in outputs.metrics:
        reported = ", ".join(sorted(outputs.metrics)) or "none"
        raise ConfigurationError(
            f"MODELOPS_SWEEP_METRIC: {settings.sweep.metric} not reported; reported metrics: {reported}"
        )
    check_model(settings.training.output_dir / "model")
    wait_for_registry(settings.tracking_uri, settings.wait_seconds)

    from modelops_runtime.registry.publishing import tracking

    with tracking.registry(settings) as client:
        run = tracking.log(client, settings, outputs)
    value = outputs.metrics[settings.sweep.metric]
    print(f"trial {settings.sweep.index}: {settings.sweep.metric} is {value:.6g} (run {run.info.run_id})", flush=True)


def main() -> None:
    settings, bounds = settings_and_gate()
    if sys.argv[1:] == ["--gate"]:
        gate.say_met(gate.check(gate.absolute(bounds), read_outputs(settings.training).metrics))
    elif settings.sweep is None:
        publish(settings, bounds)
    else:
        publish_trial(settings)
