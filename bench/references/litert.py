"""The very model file that our server serves, for the other servers."""

import os
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class Line:
    """Predicts rows of one number."""

    def __init__(self) -> None:
        self._interpreter = Interpreter(model_path=f"{os.environ['MODELOPS_MODEL_DIR']}/model.tflite", num_threads=1)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._shape: tuple[int, ...] = ()

    def predict(self, rows: Any) -> Any:
        rows = np.asarray(rows, dtype="float32")
        if rows.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input, rows.shape)
            self._interpreter.allocate_tensors()
            self._shape = rows.shape
        self._interpreter.set_tensor(self._input, rows)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)
