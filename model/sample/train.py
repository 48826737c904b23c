"""The training container: `python -m sample.train`. Contract and exit codes: docs/model.md.

The framework is imported late: wrong settings are refused at once, and a SIGTERM during the import is not lost.
"""

import importlib
import os
import sys
import time

from modelops_runtime import contract
from modelops_runtime.contract import ConfigurationError, ContractError, Environment, Exit, TrainingContract
from modelops_runtime.training.rendezvous import Peers
from modelops_runtime.training.stop import Stop
from sample import frameworks
from sample.parameters import Parameters

PARAMETER_SERVER_ROLES = ("scheduler", "server")


def read_settings(env: Environment) -> tuple[TrainingContract, Parameters]:
    """Raises ConfigurationError with the problems of the environment and of the parameters together."""
    settings = TrainingContract.read(env)
    available = frameworks.available()
    if settings.framework not in available:
        env.problems.append(f"MODELOPS_FRAMEWORK is {settings.framework!r}, this image trains {' or '.join(available)}")
    else:
        env.problems.extend(frameworks.load(settings.framework).problems(settings.workers))
    parameters = Parameters()
    try:
        parameters = Parameters.parse(settings.parameters)
    except ConfigurationError as error:
        env.problems.extend(error.problems)
    env.check()
    return settings, parameters


def main() -> None:
    if os.environ.get("DMLC_ROLE") in PARAMETER_SERVER_ROLES:
        importlib.import_module("mxnet")  # serves until its workers are done
        return
    started = time.monotonic()
    stop = Stop()
    stop.listen()
    settings, parameters = read_settings(Environment())
    hosts = settings.worker_hosts or ("localhost",)
    peers = Peers(settings.run_id, settings.workers, settings.worker_index, hosts[0], settings.peer_port, stop)

    from sample.fit import train

    try:
        metrics = train(settings, parameters, stop, frameworks.load(settings.framework), peers)
    except ContractError:
        peers.leave()
        raise
    except Exception:
        peers.wait_for_verdict()
        raise
    values = "  ".join(f"{name} {value:.5f}" for name, value in metrics.items())
    result = f"test split: {values}" if values else f"worker {settings.worker_index} of {settings.workers}"
    print(f"trained in {time.monotonic() - started:.1f} s; {result}", flush=True)
    if settings.workers > 1:
        # All are done. Frameworks take leave of each other when the interpreter ends, and wait for ever for one that
        # was quicker.
        sys.stderr.flush()
        os._exit(Exit.DONE)


if __name__ == "__main__":
    contract.run(main)
