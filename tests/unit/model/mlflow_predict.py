"""Loads models by MLflow alone and prints what they predict: a JSON list of questions on standard input.

A question has `uri`, `rows` and, for a data frame, `columns`, else the array's `dtype`.
"""

import json
import sys

import mlflow
import numpy as np
import pandas as pd

sys.modules["modelops_runtime"] = None  # as where it isn't installed
answers = []
for question in json.load(sys.stdin):
    model = mlflow.pyfunc.load_model(question["uri"])
    if "columns" in question:
        data = pd.DataFrame(question["rows"], columns=question["columns"])
    else:
        data = np.array(question["rows"], dtype=question["dtype"])
    answers.append({"outputs": model.predict(data).tolist(), "example": model.predict(model.input_example).tolist()})
print(json.dumps(answers))
