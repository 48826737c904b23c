"""KServe's Python server with the model: one process, predictions on its event loop, no gRPC, no latency log."""

import os

import kserve
from litert import Line


class LineModel(kserve.Model):
    def __init__(self) -> None:
        super().__init__("line")
        self.line = Line()
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):  # type: ignore[no-untyped-def]
        outputs = self.line.predict(payload.inputs[0].as_numpy())
        tensor = kserve.InferOutput("output", list(outputs.shape), "FP32", outputs.ravel().tolist())
        return kserve.InferResponse(payload.id or "none", "line", [tensor])


if __name__ == "__main__":
    port = int(os.environ["MODELOPS_PORT"])
    kserve.ModelServer(http_port=port, workers=1, enable_grpc=False, enable_latency_logging=False).start([LineModel()])
