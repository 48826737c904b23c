"""The publishing container: `python -m model.publish`. Gate first, then MLflow. Contract: docs/model.md.

MLflow is imported late: a gate that is not met fails at once.
"""

import os
import time
import urllib.request

from model import contract, gate
from model.contract import ConfigurationError, ContractError, Environment, PublishContract
from model.outputs import read_outputs

MLFLOW = {
    "GIT_PYTHON_REFRESH": "quiet",  # there is no git in the image
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # the long waiting is ours, with a message
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # an address that works in the cluster only
}
"""MLflow's own settings, where nobody has set them."""


def wait_for_registry(tracking_uri: str, wait_seconds: float) -> None:
    """Raises ContractError with the last reason when the registry does not answer within `wait_seconds`."""
    deadline = time.monotonic() + wait_seconds
    pause = 0.5
    said = False
    while True:
        try:
            with urllib.request.urlopen(f"{tracking_uri.rstrip('/')}/health", timeout=5):
                return
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", "") or error
            if time.monotonic() + pause > deadline:
                waited = f"after {wait_seconds:g} s"
                raise ContractError(f"the registry {tracking_uri} is not reachable {waited}: {reason}") from None
            if not said:
                print(f"waiting up to {wait_seconds:g} s for the registry {tracking_uri}: {reason}", flush=True)
                said = True
        time.sleep(pause)
        pause = min(pause * 2, 5)


def publish(settings: PublishContract, bounds: gate.Gate) -> None:
    outputs = read_outputs(settings.training)
    for line in gate.check(bounds, outputs.metrics):
        print(f"gate met: {line}", flush=True)
    wait_for_registry(settings.tracking_uri, settings.wait_seconds)
    for name, value in MLFLOW.items():
        os.environ.setdefault(name, value)

    from model.tracking import record

    print(record(settings, outputs), flush=True)


def main() -> None:
    env = Environment()
    settings = PublishContract.read(env)
    bounds: gate.Gate = {}
    try:
        bounds = gate.parse(settings.gate)
    except ConfigurationError as error:
        env.problems.extend(error.problems)
    env.check()
    publish(settings, bounds)


if __name__ == "__main__":
    contract.run(main)
