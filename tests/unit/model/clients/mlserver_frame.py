"""Asks a server for a pandas DataFrame by MLServer's own codec: python mlserver_frame.py HOST:PORT."""

import json
import sys
import urllib.request

import pandas as pd
from mlserver.codecs import PandasCodec

frame = pd.DataFrame({"city": ["Rome", "Lima ü"], "age": [50, 1]})
body = PandasCodec.encode_request(frame, use_bytes=False).model_dump_json()
with urllib.request.urlopen(f"http://{sys.argv[1]}/v2/models/sum/infer", body.encode()) as answer:
    print(json.dumps(json.load(answer)["outputs"][0]["data"]))
