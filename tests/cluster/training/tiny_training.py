"""A training that takes its result from its parameters, so that tests decide what the gate sees."""

import base64
import io
import json
import os
import tarfile
import time
from pathlib import Path

parameters = json.loads(os.environ["MODELOPS_PARAMETERS"])
output = Path(os.environ["MODELOPS_OUTPUT_DIR"])
progress = {"epoch": 1, "epochs": 2, "seconds_left": parameters.get("hold", 0), "metrics": {"loss": 0.5}}
(output / "progress.json").write_text(json.dumps(progress))
time.sleep(parameters.get("hold", 0))
with tarfile.open(fileobj=io.BytesIO(base64.b64decode(os.environ["TINY_MODEL"]))) as model:
    model.extractall(output / "model")
(output / "history.json").write_text(json.dumps([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]))
(output / "metrics.json").write_text(json.dumps({"mse": parameters["mse"]}))
