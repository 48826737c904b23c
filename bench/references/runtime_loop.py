"""The bare runtime: the prediction that our server makes, preprocessing included, again and again without a server.

python runtime_loop.py SECONDS <REQUEST
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from modelops_runtime.artifacts.manifest import Manifest
from modelops_runtime.artifacts.runtimes import load

folder, seconds = Path(os.environ["MODELOPS_MODEL_DIR"]), float(sys.argv[1])
manifest = Manifest.read(folder)
runtime = load(folder, manifest, 1)
inputs = np.asarray(json.load(sys.stdin)["inputs"], dtype=manifest.inputs.dtype)
runtime.predict(inputs)  # warms up what is created on first use
count, started = 0, time.perf_counter()
while time.perf_counter() < started + seconds:
    runtime.predict(inputs)
    count += 1
print(count / (time.perf_counter() - started))
