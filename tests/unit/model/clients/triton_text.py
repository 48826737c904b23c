"""Asks a server for a column of numbers and one of text by Triton's own client: python triton_text.py HOST:PORT."""

import json
import sys

import numpy as np
import tritonclient.http

client = tritonclient.http.InferenceServerClient(sys.argv[1])
COLUMNS = {
    "age": ("FP64", np.array([[50.0], [1.0]])),
    "city": ("BYTES", np.array([["Rome"], ["Lima ü"]], dtype=object)),
}


def infer(binary):
    tensors = []
    for name, (datatype, values) in COLUMNS.items():
        tensors.append(tritonclient.http.InferInput(name, list(values.shape), datatype))
        tensors[-1].set_data_from_numpy(values, binary_data=binary)
    return client.infer("sum", tensors).as_numpy("output").tolist()


print(json.dumps([infer(binary) for binary in (True, False)]))
