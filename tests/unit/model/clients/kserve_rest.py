"""Asks a server for y = 2x + 1 by KServe's own client: python kserve_rest.py HOST:PORT. Prints what it got, as JSON."""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

url = f"http://{sys.argv[1]}"
client = InferenceRESTClient(RESTConfig(protocol="v2"))
TYPES = {"FP16": "float16", "FP32": "float32", "FP64": "float64", "INT64": "int64", "UINT8": "uint8", "BOOL": "bool"}
rows = np.array([[1], [0]], dtype="float32")


async def infer(datatype, binary, **more):
    tensor = InferInput("input", [2, 1], datatype)
    tensor.set_data_from_numpy(rows.astype(TYPES[datatype]), binary_data=binary)
    return await client.infer(url, InferRequest("line", [tensor], **more), model_name="line")


async def values(datatype, binary, **more):
    return (await infer(datatype, binary, **more)).outputs[0].as_numpy().tolist()


async def refused():
    try:
        await client.infer(url, {"inputs": [[1]]}, model_name="line")
    except httpx.HTTPStatusError as error:
        return str(error)


async def main():
    wanted = [RequestedOutput("output", {"binary_data": True})]
    binary_answer = {"request_outputs": wanted}
    print(
        json.dumps(
            {
                "health": [
                    await client.is_server_live(url),
                    await client.is_server_ready(url),
                    await client.is_model_ready(url, "line"),
                ],
                "binary": {datatype: await values(datatype, True) for datatype in TYPES},
                # Its client sends FP16 as binary data only.
                "json": {datatype: await values(datatype, False) for datatype in TYPES if datatype != "FP16"},
                "binary answer": await values("FP32", True, **binary_answer),
                "id": (await infer("FP32", False, request_id="7")).id,
                "refused": await refused(),
            }
        )
    )


asyncio.run(main())
