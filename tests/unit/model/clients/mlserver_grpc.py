"""Asks a server for y = 2x + 1 with MLServer's own types, converters and stub: python mlserver_grpc.py HOST:PORT."""

import json
import sys

import grpc
import numpy as np
from mlserver.codecs import NumpyCodec
from mlserver.grpc import converters, dataplane_pb2, dataplane_pb2_grpc
from mlserver.types import InferenceRequest

stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(sys.argv[1]))
rows = np.array([[1], [0]], dtype="float32")


def ask(kind, raw):
    request = InferenceRequest(id="7", inputs=[NumpyCodec.encode_input("input", rows.astype(kind))])
    message = converters.ModelInferRequestConverter.from_types(request, "line", None, use_raw=raw)
    answer = converters.ModelInferResponseConverter.to_types(stub.ModelInfer(message))
    return [answer.id, NumpyCodec.decode_output(answer.outputs[0]).tolist()]


kinds = ("float32", "float64", "int64", "uint8", "bool")
metadata = stub.ModelMetadata(dataplane_pb2.ModelMetadataRequest(name="line"))
print(
    json.dumps(
        {
            "platform": converters.ModelMetadataResponseConverter.to_types(metadata).platform,
            "typed": {kind: ask(kind, False) for kind in kinds},
            "raw": {kind: ask(kind, True) for kind in (*kinds, "float16")},
        }
    )
)
