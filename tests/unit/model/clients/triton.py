"""Asks a server for y = 2x + 1 by Triton's own client: python triton.py HOST:PORT. Prints what it got, as JSON."""

import asyncio
import json
import sys

import ml_dtypes
import numpy as np
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

address = sys.argv[1]
client = tritonclient.http.InferenceServerClient(address)
TYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()


def tensor(array, binary=True, module=tritonclient.http):
    made = module.InferInput("input", list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def infer(array, binary=True, **more):
    return client.infer("line", [tensor(array, binary)], **more).as_numpy("output")


def refused(array):
    try:
        return infer(array).tolist()
    except InferenceServerException as error:
        return [error.status(), error.message()]


async def aio(binary):
    async with tritonclient.http.aio.InferenceServerClient(address) as other:
        asked = [tensor(rows, binary, tritonclient.http.aio)]
        return (await other.infer("line", asked)).as_numpy("output").tolist()


rows = np.array([[1], [0]], dtype="float32")
in_json = [tritonclient.http.InferRequestedOutput("output", binary_data=False)]
named = client.infer("line", [tensor(rows)], request_id="7", model_version="run-abc123def456", parameters={"team": "a"})
print(
    json.dumps(
        {
            "health": [client.is_server_live(), client.is_server_ready(), client.is_model_ready("line")],
            "extensions": client.get_server_metadata()["extensions"],
            "inputs": client.get_model_metadata("line")["inputs"],
            "binary": {kind: infer(rows.astype(kind)).tolist() for kind in TYPES},
            "json": {kind: infer(rows.astype(kind), binary=False).tolist() for kind in TYPES},
            # What one has after rounding to half precision, and the other not.
            "halves": [
                infer(np.array([[0.1]], dtype=kind)).tolist() for kind in ("float16", ml_dtypes.bfloat16, "float32")
            ],
            "json answer": infer(rows, outputs=in_json).tolist(),
            "dtype": str(infer(rows).dtype),
            "id": named.get_response()["id"],
            "in the background": client.async_infer("line", [tensor(rows)]).get_result().as_numpy("output").tolist(),
            "aio": [asyncio.run(aio(binary)) for binary in (True, False)],
            "nan": refused(np.array([[0], [np.nan]], dtype="float32")),
            "shape": refused(np.array([[1, 2]], dtype="float32")),
        }
    )
)
