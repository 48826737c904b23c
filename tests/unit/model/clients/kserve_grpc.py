"""Asks a server for y = 2x + 1 by KServe's own client over gRPC: python kserve_grpc.py HOST:PORT. Prints JSON."""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

TYPES = {"FP32": "float32", "FP64": "float64", "INT64": "int64", "UINT8": "uint8", "BOOL": "bool"}
rows = np.array([[1], [0]], dtype="float32")


async def main():
    client = InferenceGRPCClient(sys.argv[1])

    async def values(datatype, binary):
        tensor = InferInput("input", [2, 1], datatype)
        kind = TYPES.get(datatype, "float16")
        tensor.set_data_from_numpy(rows.astype(kind), binary_data=binary)
        request = InferRequest("line", [tensor], request_id="7", model_version="run-abc123def456")
        answer = await client.infer(request)
        return [answer.id, answer.outputs[0].as_numpy().tolist()]

    print(
        json.dumps(
            {
                "health": [
                    await client.is_server_live(),
                    await client.is_server_ready(),
                    await client.is_model_ready("line"),
                ],
                "typed": {datatype: await values(datatype, False) for datatype in TYPES},
                "raw": {datatype: await values(datatype, True) for datatype in [*TYPES, "FP16"]},
            }
        )
    )
    await client.close()


asyncio.run(main())
