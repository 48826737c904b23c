"""Checkpoints: training that was stopped goes on where it was."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

MODEL = "model.keras"
STATE = "state.json"


@dataclass(frozen=True)
class Progress:
    """A model after `len(history)` epochs."""

    model: keras.Model
    history: list[dict[str, float]]


class Checkpoints:
    """One checkpoint in `directory`, whole or not there at all.

    It belongs to one `run_id` and one set of parameters: another run's is not resumed.
    """

    def __init__(self, directory: Path, run_id: str, parameters: dict[str, Any]) -> None:
        self._folder = directory / "last"
        self._scratch = directory / ".next"
        self._owner = {"run_id": run_id, "parameters": parameters}

    def save(self, progress: Progress) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        progress.model.save(self._scratch / MODEL)
        (self._scratch / STATE).write_text(json.dumps({**self._owner, "history": progress.history}))
        # A crash between these two lines costs the checkpoint, never the training's truth.
        shutil.rmtree(self._folder, ignore_errors=True)
        self._scratch.rename(self._folder)

    def load(self) -> Progress | None:
        """The last checkpoint; None when there is none, it is another run's, or it can't be read (said so)."""
        try:
            state = json.loads((self._folder / STATE).read_text())
            if any(state.get(key) != value for key, value in self._owner.items()):
                print("the checkpoint is another run's: starting from the beginning", flush=True)
                return None
            return Progress(keras.models.load_model(self._folder / MODEL), state["history"])
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a damaged archive makes Keras raise
            print(f"the checkpoint can't be read ({error}): starting from the beginning", flush=True)
            return None

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
