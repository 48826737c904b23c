"""BentoML with a model of the iris flowers: one worker, predictions on its event loop, an array for the model."""

import os
from pathlib import Path

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1, metrics={"enabled": True}, traffic={"timeout": 30})
class IrisService:
    def __init__(self) -> None:
        self.model = joblib.load(Path(os.environ["MODELOPS_MODEL_DIR"], "..", "model.joblib"))

    @bentoml.api(route="/predict")
    async def predict(self, inputs: list[list[float]]) -> list[float]:
        outputs: list[float] = self.model.predict(np.array(inputs)).tolist()
        return outputs
