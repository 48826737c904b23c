"""Asks a server for y = 2x + 1 with MLServer's own types and codecs: python mlserver_requests.py HOST:PORT."""

import json
import sys
import urllib.request
import warnings

import numpy as np
from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse, RequestOutput

warnings.simplefilter("ignore")  # Pydantic's, of its old names
url = f"http://{sys.argv[1]}/v2/models/line"
rows = np.array([[1], [0]], dtype="float32")


def ask(body):
    with urllib.request.urlopen(f"{url}/infer", body.encode()) as answer:
        response = InferenceResponse.model_validate_json(answer.read())
    return NumpyCodec.decode_output(response.outputs[0]).tolist()


def request(kind, **more):
    return InferenceRequest(inputs=[NumpyCodec.encode_input("input", rows.astype(kind))], **more)


with urllib.request.urlopen(url) as answer:
    metadata = MetadataModelResponse.model_validate_json(answer.read())
whole = NumpyRequestCodec.encode_request(rows)
whole.inputs[0].name = "input"
print(
    json.dumps(
        {
            "platform": metadata.platform,
            "types": {
                kind: ask(request(kind).model_dump_json())
                for kind in ("float16", "float32", "float64", "int64", "bool")
            },
            # These two write null for every field that was left out.
            "json()": ask(request("float32").json()),
            "dict()": ask(json.dumps(request("float32").dict())),
            "outputs": ask(request("float32", id="7", outputs=[RequestOutput(name="output")]).model_dump_json()),
            "request codec": ask(whole.model_dump_json()),
        }
    )
)
