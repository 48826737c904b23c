"""Posts known inputs to a server and compares what comes back. Standard library only: it runs in any image with Python.

Exit code 0: the answer is right. 1: it is wrong, or there is none; stderr says what came and what was wanted.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

LONGEST = 500
TIMEOUT_SECONDS = 30


def differences(got: Any, wanted: Any, tolerance: float, place: str = "outputs") -> list[str]:
    """One line for each place where `got` is not what was wanted."""
    if isinstance(wanted, list):
        if not isinstance(got, list) or len(got) != len(wanted):
            found = f"{len(got)} entries" if isinstance(got, list) else repr(got)
            return [f"{place} is {found}, must have {len(wanted)} entries"]
        pairs = enumerate(zip(got, wanted, strict=True))
        return [line for index, pair in pairs for line in differences(*pair, tolerance, f"{place}[{index}]")]
    number = isinstance(got, (int, float)) and not isinstance(got, bool)
    if number and abs(got - wanted) <= tolerance:
        return []
    return [f"{place} is {got!r}, must be {wanted!r} within {tolerance:g}"]


def answer(url: str, inputs: Any) -> Any:
    """The outputs that the server gives. Raises ValueError when it gives none."""
    body = json.dumps({"inputs": inputs}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            content = response.read()
    except urllib.error.HTTPError as error:
        raise ValueError(f"{url} answered {error.code}: {error.read(LONGEST).decode(errors='replace')}") from None
    except OSError as error:
        raise ValueError(f"{url} did not answer: {error}") from None
    try:
        return json.loads(content)["outputs"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{url} answered without outputs: {content[:LONGEST]!r}") from None


def main() -> None:
    test = json.loads(os.environ["MODELOPS_SMOKE_TEST"])
    url = os.environ["MODELOPS_SMOKE_URL"]
    try:
        problems = differences(answer(url, test["inputs"]), test["outputs"], test["tolerance"])
    except ValueError as error:
        problems = [str(error)]
    for problem in problems[:10]:
        print(f"smoke test: {problem}", file=sys.stderr)
    if not problems:
        print("smoke test: the answer is right", flush=True)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
