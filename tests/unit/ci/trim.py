"""Makes a preview's JSON small enough to keep: `python -m tests.unit.ci.trim < preview.json > previews/NAME.json`.

What a comment shows stays byte by byte; source positions and the states of unchanged resources go, paths of the machine
and the address of its registry become neutral ones.
"""

import json
import re
import sys
from typing import Any

_UNUSED = {"stackTrace", "sourcePosition", "propertyDependencies", "dependencies", "created", "modified"}
_QUIET = {"same", "read", "refresh"}


def trim(document: dict[str, Any], *paths: str) -> str:
    """The preview as compact JSON, one step a line. `paths` are folders of this machine."""
    steps = document.get("steps") or []
    for step in steps:
        for side in ("oldState", "newState"):
            state = step.get(side)
            if state and step["op"] in _QUIET:
                step[side] = {"urn": state["urn"], "custom": state["custom"], "type": state["type"]}
            elif state:
                # Outputs are compared for drift only: a refresh has no other inputs than the last known ones.
                drop = _UNUSED if any(other["op"] == "refresh" for other in steps) else _UNUSED | {"outputs"}
                step[side] = {key: value for key, value in state.items() if key not in drop}
    document["steps"] = []
    lines = ",\n".join(json.dumps(step, sort_keys=True) for step in steps)
    text = json.dumps(document, sort_keys=True).replace('"steps": []', f'"steps": [\n{lines}\n]')
    text = re.sub(r"localhost:5000", "registry.example.com", text)
    for path in paths:
        text = text.replace(path, "/project")
    return text + "\n"


if __name__ == "__main__":
    sys.stdout.write(trim(json.load(sys.stdin), *sys.argv[1:]))
