"""Asks a server for a column of numbers and one of text by Triton's client: python triton_grpc_text.py HOST:PORT."""

import json
import sys

import numpy as np
import tritonclient.grpc

client = tritonclient.grpc.InferenceServerClient(sys.argv[1])
COLUMNS = {
    "age": ("FP64", np.array([[50.0], [1.0]])),
    "city": ("BYTES", np.array([["Rome"], ["Lima ü"]], dtype=object)),
}
tensors = []
for name, (datatype, values) in COLUMNS.items():
    tensors.append(tritonclient.grpc.InferInput(name, list(values.shape), datatype))
    tensors[-1].set_data_from_numpy(values)
print(json.dumps(client.infer("sum", tensors).as_numpy("output").tolist()))
