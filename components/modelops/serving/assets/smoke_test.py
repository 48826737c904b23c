"""Posts known inputs to a server and compares the outputs. Standard library only: runs in any image with Python.

Exit code 0: the outputs match. 1: they differ, or the server returned none; stderr lists actual and expected values.
"""

import json
import math
import os
import sys
import urllib.error
import urllib.request
from typing import Any

MAX_BYTES = 500
TIMEOUT_SECONDS = 30
RELATIVE = 1e-5
"""What single precision needs, as for golden predictions: `modelops_runtime/artifacts/agreement.py`."""


def differences(actual: Any, expected: Any, tolerance: float, path: str = "outputs") -> list[str]:
    """One line for each value that differs from the expected one by more than the tolerance and RELATIVE allow."""
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            problem = f"has {len(actual)} entries" if isinstance(actual, list) else f"is {actual!r}"
            return [f"{path} {problem}, must have {len(expected)} entries"]
        pairs = enumerate(zip(actual, expected, strict=True))
        return [line for index, pair in pairs for line in differences(*pair, tolerance, f"{path}[{index}]")]
    is_number = isinstance(actual, (int, float)) and not isinstance(actual, bool)
    if is_number and math.isclose(actual, expected, rel_tol=RELATIVE, abs_tol=tolerance):
        return []
    return [f"{path} is {actual!r}, must be {expected!r} within {max(tolerance, RELATIVE * abs(expected)):g}"]


def predict(url: str, inputs: Any) -> Any:
    """The outputs that the server returns. Raises ValueError if it returns none."""
    body = json.dumps({"inputs": inputs}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            content = response.read()
    except urllib.error.HTTPError as error:
        raise ValueError(f"{url} answered {error.code}: {error.read(MAX_BYTES).decode(errors='replace')}") from None
    except OSError as error:
        raise ValueError(f"{url} did not answer: {error}") from None
    try:
        return json.loads(content)["outputs"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{url} answered without outputs: {content[:MAX_BYTES]!r}") from None


def main() -> None:
    test = json.loads(os.environ["MODELOPS_SMOKE_TEST"])
    url = os.environ["MODELOPS_SMOKE_URL"]
    try:
        problems = differences(predict(url, test["inputs"]), test["outputs"], test["tolerance"])
    except ValueError as error:
        problems = [str(error)]
    for problem in problems[:10]:
        print(f"smoke test: {problem}", file=sys.stderr)
    if not problems:
        print("smoke test: the outputs match", flush=True)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
