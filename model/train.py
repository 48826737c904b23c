"""The training container: `python -m model.train`. Contract and exit codes: docs/model.md.

TensorFlow is imported late: wrong settings are refused at once, and a SIGTERM during the import is not lost.
"""

import os
import time

from model import contract
from model.contract import ConfigurationError, Environment, TrainingContract
from model.parameters import Parameters
from model.stop import Stop

FRAMEWORK = "tensorflow"
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
"""TensorFlow's start-up notes would fill the Pod's termination message; oneDNN's kernels round differently."""


def read_settings(env: Environment) -> tuple[TrainingContract, Parameters]:
    """Raises ConfigurationError with the problems of the environment and of the parameters together."""
    settings = TrainingContract.read(env)
    if settings.framework != FRAMEWORK:
        env.problems.append(f"MODELOPS_FRAMEWORK is {settings.framework!r}, this image trains {FRAMEWORK}")
    parameters = Parameters()
    try:
        parameters = Parameters.parse(settings.parameters)
    except ConfigurationError as error:
        env.problems.extend(error.problems)
    env.check()
    return settings, parameters


def main() -> None:
    started = time.monotonic()
    stop = Stop()
    stop.listen()
    settings, parameters = read_settings(Environment())
    os.environ.update(QUIET)

    from model.fit import train

    metrics = train(settings, parameters, stop)
    values = "  ".join(f"{name} {value:.5f}" for name, value in metrics.items())
    print(f"trained in {time.monotonic() - started:.1f} s; test split: {values}", flush=True)


if __name__ == "__main__":
    contract.run(main)
