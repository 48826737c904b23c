"""MLServer with the model. `bench/references.py` writes its settings: predictions in the server's own process."""

from litert import Line
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class LineModel(MLModel):
    async def load(self) -> bool:
        self.line = Line()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = self.line.predict(NumpyCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", outputs)])
