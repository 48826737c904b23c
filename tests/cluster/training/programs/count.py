"""A training without a framework that counts: STEPS steps of PAUSE seconds, a checkpoint after each of them.

It keeps the contract: it goes on from its checkpoint, writes one on SIGTERM and ends with 143, and tells on which step
each of its processes began. Its first process waits at step `holds[0]` until it is disturbed or a file lets it go, the
second one at `holds[1]`, and so on: a test then depends on no timing.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

parameters = json.loads(os.environ["MODELOPS_PARAMETERS"])
output, kept = Path(os.environ["MODELOPS_OUTPUT_DIR"]), Path(os.environ["MODELOPS_CHECKPOINT_DIR"])
checkpoint = kept / f"worker-{os.environ['MODELOPS_WORKER_INDEX']}.json"
state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"step": 0, "begun": []}
state["begun"].append(state["step"])


def keep() -> None:
    """Writes the checkpoint, whole or not at all."""
    partial = checkpoint.with_suffix(".partial")
    partial.write_text(json.dumps(state))
    partial.rename(checkpoint)


def stop(*_: object) -> None:
    """SIGTERM: a checkpoint, and the end that says so."""
    keep()
    sys.exit(143)


holds = json.loads(parameters.get("holds", "[]"))
signal.signal(signal.SIGTERM, stop)
keep()
while state["step"] < parameters["steps"]:
    time.sleep(parameters["pause"])
    state["step"] += 1
    keep()
    seconds_left = (parameters["steps"] - state["step"]) * parameters["pause"]
    print(
        f"epoch {state['step']}/{parameters['steps']}  loss {1 / state['step']:.4f}  {seconds_left:.0f} s left",
        flush=True,
    )
    held = len(state["begun"]) <= len(holds) and state["step"] == holds[len(state["begun"]) - 1]
    while held and not Path("/tmp/go").exists():
        time.sleep(0.1)
(output / "result").write_text(f"begun at {state['begun']}")
