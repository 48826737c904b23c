"""BentoML with the model: one worker, predictions on its event loop."""

import bentoml
from litert import Line


@bentoml.service(workers=1, metrics={"enabled": True}, traffic={"timeout": 30})
class LineService:
    def __init__(self) -> None:
        self.line = Line()

    @bentoml.api(route="/predict")
    async def predict(self, inputs: list[list[float]]) -> list[float]:
        outputs: list[float] = self.line.predict(inputs)[:, 0].tolist()
        return outputs
