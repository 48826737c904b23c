"""Asks a server for y = 2x + 1 by Triton's own client: python triton_grpc.py HOST:PORT. Prints what it got, as JSON."""

import asyncio
import json
import queue
import sys

import ml_dtypes
import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

address = sys.argv[1]
client = tritonclient.grpc.InferenceServerClient(address)
TYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()
rows = np.array([[1], [0]], dtype="float32")


def tensor(array):
    made = tritonclient.grpc.InferInput("input", list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array)
    return made


def infer(array, **more):
    return client.infer("line", [tensor(array)], **more).as_numpy("output")


def refused(model="line", array=rows):
    try:
        return client.infer(model, [tensor(array)]).as_numpy("output").tolist()
    except InferenceServerException as error:
        return [error.status(), error.message()]


def in_the_background():
    answers = queue.Queue()
    client.async_infer("line", [tensor(rows)], lambda result, error: answers.put(error or result.as_numpy("output")))
    return answers.get(timeout=10).tolist()


async def aio():
    async with tritonclient.grpc.aio.InferenceServerClient(address) as other:
        return (await other.infer("line", [tensor(rows)])).as_numpy("output").tolist()


metadata = client.get_model_metadata("line")
outputs = [tritonclient.grpc.InferRequestedOutput("output")]
named = client.infer(
    "line",
    [tensor(rows)],
    request_id="7",
    model_version="run-abc123def456",
    parameters={"team": "a"},
    outputs=outputs,
    compression_algorithm="gzip",
)
print(
    json.dumps(
        {
            "health": [client.is_server_live(), client.is_server_ready(), client.is_model_ready("line")],
            "server": client.get_server_metadata().name,
            "inputs": [[each.name, each.datatype, list(each.shape)] for each in metadata.inputs],
            "versions": list(metadata.versions),
            "platform": metadata.platform,
            "values": {kind: infer(rows.astype(kind)).tolist() for kind in TYPES},
            # What one has after rounding to half precision, and the other not.
            "halves": [
                infer(np.array([[0.1]], dtype=kind)).tolist() for kind in ("float16", ml_dtypes.bfloat16, "float32")
            ],
            "dtype": str(infer(rows).dtype),
            "named": [named.get_response().id, named.get_response().model_version, named.as_numpy("output").tolist()],
            "in the background": in_the_background(),
            "aio": asyncio.run(aio()),
            "no model": refused("other"),
            "nan": refused(array=np.array([[0], [np.nan]], dtype="float32")),
            "shape": refused(array=np.array([[1, 2]], dtype="float32")),
        }
    )
)
