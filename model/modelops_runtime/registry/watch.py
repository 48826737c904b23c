"""Shows a running training in MLflow: `modelops-watch`, beside it, until SIGTERM.

Reads the `progress.json` that the training renews after each epoch. Nothing here may hurt the training: what goes wrong
is said once and tried again later. The run stays open for the publisher, or is closed when the training has failed.
"""

import contextlib
import json
import signal
import threading
from pathlib import Path
from typing import Any

from modelops_runtime.contract import ContractError, Environment, PublishContract, is_number

EVERY_SECONDS = 2.0
AFTER_TROUBLE_SECONDS = 30.0


class Watcher:
    """Logs each new epoch. MLflow is imported with the first: until then this costs next to nothing."""

    def __init__(self, settings: PublishContract) -> None:
        self._settings = settings
        self._run = ""
        self._epoch = 0

    def look(self) -> None:
        """Logs what is new. Raises ContractError when MLflow can't take it."""
        progress = read_progress(self._settings.training.output_dir / "progress.json")
        epoch = int(progress.get("epoch") or 0)
        if epoch <= self._epoch:
            return

        from modelops_runtime.registry.publishing import runs, tracking

        with tracking.registry(self._settings) as client:
            if not self._run:
                run = runs.find_or_create(client, self._settings)
                if run.info.status == "FINISHED":
                    self._epoch = epoch
                    return
                client.update_run(run.info.run_id, status="RUNNING")
                runs.log_parameters(client, run.info.run_id, self._settings.training.parameters)
                self._run = run.info.run_id
            runs.log_epochs(client, self._run, [{**progress.get("metrics", {}), "epoch": epoch}])
            client.set_tag(self._run, "modelops.progress", in_words(progress))
        self._epoch = epoch

    def failed(self) -> None:
        """Closes the run of a training that has not ended well."""
        if self._run:
            from modelops_runtime.registry.publishing import tracking

            with tracking.registry(self._settings) as client:
                client.set_terminated(self._run, "FAILED")


def read_progress(path: Path) -> dict[str, Any]:
    """The training's progress; empty where it has written none yet, or not a valid one."""
    with contextlib.suppress(OSError, ValueError):
        progress = json.loads(path.read_text())
        if (
            isinstance(progress, dict)
            and is_number(progress.get("epoch"))
            and isinstance(progress.get("metrics", {}), dict)
        ):
            return progress
    return {}


def in_words(progress: dict[str, Any]) -> str:
    """`epoch 3/10, 42 s left`."""
    unit = progress.get("unit")
    words = f"{unit if isinstance(unit, str) else 'epoch'} {progress['epoch']:g}"
    if is_number(progress.get("epochs")):
        words += f"/{progress['epochs']:g}"
    if is_number(progress.get("seconds_left")):
        words += f", {progress['seconds_left']:.0f} s left"
    return words


def watch(watcher: Watcher, ended: threading.Event, every_seconds: float = EVERY_SECONDS) -> None:
    """Looks until `ended`, and once more then."""
    reported = False
    while True:
        last = ended.is_set()
        pause = every_seconds
        try:
            watcher.look()
        except ContractError as error:
            pause = AFTER_TROUBLE_SECONDS
            if not reported:
                print(f"the progress is not in MLflow for now: {error}", flush=True)
                reported = True
        if last:
            return
        ended.wait(pause)


def main() -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: ended.set())
    env = Environment()
    settings = PublishContract.read(env)
    code = env.path("MODELOPS_TRAINING_CODE", "/tmp/training-code")
    env.check()
    watcher = Watcher(settings)
    watch(watcher, ended)
    if not code.exists() or code.read_text().strip() != "0":
        with contextlib.suppress(ContractError):
            watcher.failed()
