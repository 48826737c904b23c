"""Two workers that count together: the second one is killed once, the first one notices and ends with 75."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

parameters, index = json.loads(os.environ["MODELOPS_PARAMETERS"]), int(os.environ["RANK"])
checkpoint = Path(os.environ["MODELOPS_CHECKPOINT_DIR"], f"worker-{index}.json")
state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"step": 0, "begun": []}
state["begun"].append(state["step"])
place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))


def connected() -> socket.socket:
    """The connection to the other worker."""
    if index == 0:
        return socket.create_server(("", place[1])).accept()[0]
    deadline = time.monotonic() + 240
    while True:
        try:
            return socket.create_connection(place, timeout=10)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


peer = connected()
peer.settimeout(120)
while state["step"] < parameters["steps"]:
    time.sleep(parameters["pause"])
    try:
        peer.sendall(b".")
        alive = peer.recv(1)
    except OSError:
        alive = b""
    if not alive:
        print("the other worker is gone", flush=True)
        sys.exit(75)
    state["step"] += 1
    partial = checkpoint.with_suffix(".partial")
    partial.write_text(json.dumps(state))
    partial.rename(checkpoint)
    if index == 1 and state["step"] == parameters["die_at"] and len(state["begun"]) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
Path(os.environ["MODELOPS_OUTPUT_DIR"], "result").write_text(f"begun at {state['begun']}")
