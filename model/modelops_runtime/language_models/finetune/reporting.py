"""The training contract on the Trainer's side: progress, checkpoints, and stopping when told to."""

import shutil
import time
from typing import Any

from modelops_runtime.contract import ContractError, Exit, TrainingContract
from modelops_runtime.language_models.finetune.checkpoints import Checkpoints
from modelops_runtime.language_models.finetune.measure import measured
from modelops_runtime.language_models.finetune.parameters import Parameters
from modelops_runtime.language_models.finetune.workers import Processes
from modelops_runtime.training.progress import Reporter
from modelops_runtime.training.stop import Stop

SHARE = 10
"""Checkpoints by time take a tenth of it at most: those of a large model last longer than the contract's 5 s."""


class Contract:
    """What the Trainer's callback does, and what it has seen."""

    def __init__(
        self,
        trainer: Any,
        settings: TrainingContract,
        parameters: Parameters,
        processes: Processes,
        checkpoints: Checkpoints,
        stop: Stop,
    ) -> None:
        self._trainer, self._settings, self._parameters = trainer, settings, parameters
        self._processes, self._checkpoints, self._stop = processes, checkpoints, stop
        self._reporter: Reporter | None = None
        self._saved = self._began = time.monotonic()
        self._took = 0.0
        self._told = 0.0
        """Whether a process was told to stop: 1."""
        self._reported = 0.0

    def callback(self) -> Any:
        """A TrainerCallback, whose class needs Transformers."""
        from transformers import TrainerCallback

        contract = self

        class Callback(TrainerCallback):  # type: ignore[misc, unused-ignore]
            def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
                contract.begin(state, -(-len(given["train_dataloader"]) // args.gradient_accumulation_steps))

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                contract.step(state, control)

            def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                contract.report(state)

            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                contract.keep(state)

        return Callback()

    def begin(self, state: Any, epoch: int) -> None:
        """`epoch`: its steps."""
        self._epoch = max(1, epoch)
        self._reporter = Reporter(state.max_steps, state.global_step, self._settings.output_dir, "step")
        self._first_step = state.global_step
        self._began = self._saved = time.monotonic()
        if self._processes.first_of_machine:
            shutil.rmtree(self._checkpoints.writing, ignore_errors=True)  # what a killed run began

    def step(self, state: Any, control: Any) -> None:
        """After each step of the optimizer, at every process alike."""
        ended = state.global_step >= state.max_steps
        validation = self._trainer.eval_dataset
        if validation is not None and (ended or state.global_step % self._epoch == 0):
            metrics = measured(self._trainer, validation, self._parameters.objective, self._processes)
            state.log_history.append({"step": state.global_step, "val_loss": metrics["loss"]})
            control.should_log = True
        self._told, due = self._processes.most(float(self._stop.requested), float(self._due(state)))
        control.should_save = bool(self._told or due or ended)
        control.should_training_stop = control.should_training_stop or bool(self._told)

    def _due(self, state: Any) -> bool:
        every, seconds = self._settings.checkpoint_steps, self._settings.checkpoint_seconds
        if every and state.global_step % every == 0:
            return True
        return seconds > 0 and time.monotonic() - self._saved >= max(seconds, SHARE * self._took)

    def keep(self, state: Any) -> None:
        """The checkpoint that all processes have just written becomes the one that counts."""
        started, name = time.monotonic(), f"checkpoint-{state.global_step}"
        self._processes.wait()
        if self._processes.first:
            self._checkpoints.bring(name)
        self._processes.wait()
        if self._processes.first_of_machine and (self._checkpoints.writing / name).exists():
            self._checkpoints.bring(name)  # this machine's share of a store's, or of no volume that all share
        self._processes.wait()
        if self._processes.first:
            self._checkpoints.point(name)
        self._saved = time.monotonic()
        self._took = self._saved - started

    def report(self, state: Any) -> None:
        rows = self.history
        if rows and rows[-1]["epoch"] > self._reported and self._processes.first:
            assert self._reporter
            self._reported = rows[-1]["epoch"]
            self._reporter.report(rows[-1])

    @property
    def history(self) -> list[dict[str, float]]:
        """What was logged at each step, by the contract's names: its `epoch` is the step here."""
        rows: dict[int, dict[str, float]] = {}
        for entry in self._trainer.state.log_history:
            row = rows.setdefault(int(entry["step"]), {"epoch": float(entry["step"])})
            row |= {name: float(entry[name]) for name in ("loss", "val_loss", "learning_rate") if name in entry}
        return [row for _, row in sorted(rows.items()) if "loss" in row]

    def end(self, _result: Any) -> None:
        """Raises ContractError where the training was stopped before its end; its checkpoint is written."""
        state = self._trainer.state
        self._seconds = time.monotonic() - self._began
        if self._told and state.global_step < state.max_steps:
            own = self._stop.requested
            who = "" if own else "another worker was told to stop: "
            raise ContractError(
                f"{who}stopped after step {state.global_step} of {state.max_steps}, checkpoint saved",
                code=Exit.TERMINATED if own else Exit.PEER_LOST,
            )

    def throughput(self) -> dict[str, float]:
        """Steps and tokens a second of this try."""
        state = self._trainer.state
        if state.global_step == self._first_step:
            return {}
        return {"steps_per_second": (state.global_step - self._first_step) / self._seconds}
