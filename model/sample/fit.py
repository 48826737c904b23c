"""Training itself: rows in, a checked model directory and its metrics out. The same for every framework."""

import shutil
import struct
import time

import numpy as np

from modelops_runtime.artifacts.results import write_json, write_metrics
from modelops_runtime.contract import ConfigurationError, ContractError, Exit, TrainingContract
from modelops_runtime.training.checkpoint import Checkpoints, Progress
from modelops_runtime.training.progress import Reporter
from modelops_runtime.training.rendezvous import Peers
from modelops_runtime.training.stop import Stop
from sample import dataset, preprocess
from sample.batches import Seen, Shards
from sample.evaluate import evaluate
from sample.export import write_model
from sample.frameworks import Framework, Model
from sample.parameters import Parameters

_LOSS = struct.Struct("!d")


def train(
    settings: TrainingContract, parameters: Parameters, stop: Stop, framework: Framework, peers: Peers
) -> dict[str, float]:
    """From data to the output folder; the metrics of the test split, which only the chief has.

    The chief alone reads and writes the checkpoint: the others get it when all meet, so they need no shared volume.
    """
    framework.start(parameters)
    rows = dataset.read(settings.data_uri, parameters)
    parameters = rows.parameters
    print(f"run {settings.run_id} of {settings.model_name}: {rows}", flush=True)
    checkpoints = Checkpoints(settings, parameters.model_dump())
    progress = (checkpoints.load() if settings.chief else None) or Progress()
    if progress.whole(parameters.epochs):
        # The last try got as far as this; the others may have gone.
        peers.count = 1
    progress = _share(progress, checkpoints, peers)
    model = framework.build(parameters, peers)
    if progress.weights:
        model.restore(progress.weights)
        print(f"resuming after epoch {len(progress.history)}/{parameters.epochs}, step {progress.step}", flush=True)
    shards = Shards(*rows.train, parameters, peers.count, peers.index)
    training = Training(model, progress, shards, checkpoints, settings, peers, stop)
    training.fit(rows.validation)
    if not settings.chief:
        peers.finish()
        return {}
    inputs, targets = rows.test
    predicted = model.predict(inputs)
    metrics = evaluate(predicted, targets, parameters.task)
    write_outputs(model, progress, metrics, predicted, settings, rows)
    peers.finish()
    return metrics


def _share(progress: Progress, checkpoints: Checkpoints, peers: Peers) -> Progress:
    """The workers meet; all resume from the chief's checkpoint."""
    gift = peers.meet(checkpoints.pack(progress) if peers.index == 0 and peers.count > 1 else b"")
    return checkpoints.unpack(gift) if peers.index > 0 else progress


class Training:
    """The way from `progress` to the last epoch."""

    def __init__(
        self,
        model: Model,
        progress: Progress,
        shards: Shards,
        checkpoints: Checkpoints,
        settings: TrainingContract,
        peers: Peers,
        stop: Stop,
    ) -> None:
        self._model, self._progress, self._shards, self._checkpoints = model, progress, shards, checkpoints
        self._settings, self._peers, self._stop = settings, peers, stop
        self._saved = time.monotonic()
        self._steps = 0

    def fit(self, validation: tuple[preprocess.Array, preprocess.Array]) -> None:
        """To the last epoch. The batches' order depends on the seed and the epoch alone, so a resumed training ends
        with the same weights.

        Raises ContractError (exit 143) after a checkpoint when stopped; ConfigurationError when the loss is not finite.
        """
        progress, epochs = self._progress, self._shards.parameters.epochs
        reporter = Reporter(epochs, len(progress.history), self._settings.output_dir)
        while not progress.whole(epochs):
            epoch = len(progress.history) + 1
            before = self._shards.before(epoch, progress.step)
            taken = self._one_epoch(epoch)
            if self._settings.chief:
                loss = self._whole_epoch(epoch, before, taken)
                val_loss = _mean_loss(self._model.predict(validation[0]), validation[1], self._shards.parameters)
                if not np.isfinite([loss, val_loss]).all():
                    raise ConfigurationError(
                        f"the loss is not finite in epoch {epoch}: lower learning_rate or scale the data"
                    )
            else:
                self._peers.gather(_LOSS.pack(progress.loss) + taken.tobytes())
                loss = val_loss = 0.0
            progress.history.append({"epoch": epoch, "loss": loss, "val_loss": val_loss})
            progress.step, progress.loss, progress.rows = 0, 0.0, 0
            if self._settings.chief:
                reporter.report(progress.history[-1])
            self._keep(end=progress.whole(epochs))

    def _one_epoch(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The steps that are left of the epoch; the rows that this worker took."""
        progress, taken = self._progress, [np.empty(0, "int64")]
        steps = self._shards.batches(epoch, progress.step)
        for number, batch in enumerate(steps):
            if number:
                self._keep()
            progress.loss += self._model.step(batch) * batch.whole
            progress.rows += len(batch.rows)
            progress.step += 1
            taken.append(batch.rows)
        return np.concatenate(taken)

    def _whole_epoch(self, epoch: int, before: np.ndarray, taken: np.ndarray) -> float:
        """The mean loss of the rows of all workers, each of which was taken once.

        The other workers' losses before a resume in mid-epoch are unknown: then it is the mean of the rest.
        """
        seen = Seen(len(self._shards.inputs), before)
        loss, rows = self._progress.loss, self._progress.rows
        for worker, report in enumerate(self._peers.gather(b"")):
            if worker > 0:
                loss += _LOSS.unpack_from(report)[0]
                taken_there = np.frombuffer(report, "int64", offset=_LOSS.size)
                rows += len(taken_there)
                seen.add(taken_there)
        seen.add(taken)
        seen.check(epoch)
        return loss / rows

    def _keep(self, end: bool = False) -> None:
        """Between two steps: writes a checkpoint when one is due, and ends when this or another worker has to stop."""
        self._steps += 1
        stopped = self._stop.requested
        if stopped:
            self._peers.announce_stop()
        if not self._settings.chief:
            return
        stopping = stopped or self._peers.stopping is not None
        if end or stopping or self._due():
            self._progress.weights = self._model.state()
            self._checkpoints.save(self._progress)
            self._saved = time.monotonic()
        if stopping and not end:
            self._end(stopped)

    def _due(self) -> bool:
        every = self._settings.checkpoint_steps
        return (every > 0 and self._steps % every == 0) or (
            self._settings.checkpoint_seconds > 0
            and time.monotonic() - self._saved >= self._settings.checkpoint_seconds
        )

    def _end(self, stopped: bool) -> None:
        progress = self._progress
        where = f"epoch {len(progress.history)}" + (f", step {progress.step}" if progress.step else "")
        if stopped:
            raise ContractError(f"stopped after {where}, checkpoint saved", code=Exit.TERMINATED)
        raise ContractError(
            f"worker {self._peers.stopping} was told to stop: stopped after {where}, checkpoint saved",
            code=Exit.PEER_LOST,
        )


def _mean_loss(predicted: preprocess.Array, actual: preprocess.Array, parameters: Parameters) -> float:
    """The loss that training makes small, of predictions."""
    predicted, actual = predicted.astype("float64"), actual.astype("float64")
    if parameters.loss_name == "mse":
        return float(np.mean((predicted - actual) ** 2))
    return float(-np.mean(np.log(np.maximum(np.sum(predicted * actual, axis=1), 1e-30))))


def write_outputs(
    model: Model,
    progress: Progress,
    metrics: dict[str, float],
    predicted: preprocess.Array,
    settings: TrainingContract,
    rows: dataset.Dataset,
) -> None:
    """The model directory first, `metrics.json` last: where it exists, the rest is complete."""
    output = settings.output_dir
    output.mkdir(parents=True, exist_ok=True)
    (output / "metrics.json").unlink(missing_ok=True)
    scratch = output / ".model"
    for folder in (scratch, output / "model"):
        shutil.rmtree(folder, ignore_errors=True)
    scratch.mkdir()
    write_model(model, scratch, settings, rows, predicted)
    scratch.rename(output / "model")
    write_json(output / "parameters.json", rows.parameters.model_dump())
    write_json(output / "history.json", progress.history)
    write_metrics(metrics, output)
