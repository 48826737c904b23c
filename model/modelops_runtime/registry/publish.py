"""The publishing container: `modelops-publish`. Gate first, then MLflow. Contract: docs/model.md. With `--gate`
it looks at the gate's absolute bounds alone.

MLflow is imported late: a bound that is not met fails at once.
"""

import contextlib
import sys
import time
import urllib.request

from modelops_runtime.contract import ConfigurationError, ContractError, Environment, PublishContract
from modelops_runtime.registry import gate
from modelops_runtime.registry.outputs import check_model, read_outputs
from modelops_runtime.registry.report import Published, report


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
        # Nothing is trained where the run is in the registry already.
        nothing = not (settings.training.output_dir / "metrics.json").exists()
        with contextlib.suppress(ContractError):
            if nothing and already_published(settings):
                return
        raise
    gate.say_met(gate.check(gate.absolute(bounds), outputs.metrics))
    if already_published(settings):
        return
    check_model(settings.training.output_dir / "model")

    from modelops_runtime.registry import tracking

    with tracking.registry(settings) as client:
        compared = gate.relative(bounds)
        if any(compared.values()):
            gate.say_met(gate.check(compared, outputs.metrics, tracking.serving(client, settings)))
        done = tracking.register(client, settings, tracking.log(client, settings, outputs))
    say_published(settings, done, f"published {name} version {done.version} as models:/{name}@{alias}")


def already_published(settings: PublishContract) -> bool:
    """Whether the registry has this run's version; if so, prints and reports it. Raises ContractError."""
    wait_for_registry(settings.tracking_uri, settings.wait_seconds)

    from modelops_runtime.registry import tracking

    with tracking.registry(settings) as client:
        done = tracking.published(client, settings)
    if done is None:
        return False
    name, alias = settings.training.model_name, settings.alias
    say_published(settings, done, f"{name}@{alias} is already published as version {done.version}: nothing to do")
    return True


def publish_trial(settings: PublishContract) -> None:
    """One trial of a sweep: its run under the sweep's, and nothing registered. `modelops-select` has the last word."""
    assert settings.sweep
    outputs = read_outputs(settings.training)
    if settings.sweep.metric not in outputs.metrics:
        reported = ", ".join(sorted(outputs.metrics)) or "none"
        raise ConfigurationError(
            f"MODELOPS_SWEEP_METRIC: {settings.sweep.metric} not reported; reported metrics: {reported}"
        )
    check_model(settings.training.output_dir / "model")
    wait_for_registry(settings.tracking_uri, settings.wait_seconds)

    from modelops_runtime.registry import tracking

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
