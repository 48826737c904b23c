"""Posts known inputs, or prompts, to a server and compares the answers. Standard library only: runs in any image with
Python.

Exit code 0: they are right. 1: they differ, or the server returned none; stderr lists actual and expected ones.
"""

import json
import math
import os
import re
import sys
import urllib.error
import urllib.request
from typing import Any

MAX_BYTES = 500
TIMEOUT_SECONDS = 30
PROMPT_SECONDS = 120
"""A long answer takes its time, and an engine's first one more."""
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


def wrong(prompt: dict[str, Any], answer: str) -> list[str]:
    """One line for each way in which a model's answer is not what it must be."""
    said = f"the answer to {prompt['prompt']!r} is {answer!r}"
    problems = []
    if prompt.get("answer") not in (None, answer):
        problems.append(f"{said}, must be {prompt['answer']!r}")
    problems += [f"{said}, must match {each}" for each in prompt.get("required", ()) if not re.search(each, answer)]
    problems += [f"{said}, must not match {each}" for each in prompt.get("forbidden", ()) if re.search(each, answer)]
    return problems


def answer_to(url: str, prompt: dict[str, Any]) -> str:
    """What a model says at temperature 0. Raises ValueError if it says nothing."""
    messages = [{"role": "user", "content": prompt["prompt"]}]
    asked = {"model": prompt["model"], "messages": messages, "max_tokens": int(prompt["max_tokens"]), "temperature": 0}
    content = posted(url, asked, PROMPT_SECONDS)
    try:
        return str(json.loads(content)["choices"][0]["message"]["content"] or "")
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"{url} gave no answer: {content[:MAX_BYTES]!r}") from None


def predict(url: str, inputs: Any) -> Any:
    """The outputs that the server returns. Raises ValueError if it returns none."""
    content = posted(url, {"inputs": inputs})
    try:
        return json.loads(content)["outputs"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{url} answered without outputs: {content[:MAX_BYTES]!r}") from None


def posted(url: str, content: Any, seconds: float = TIMEOUT_SECONDS) -> bytes:
    """The body of the server's answer. Raises ValueError if there is none."""
    headers = {"Content-Type": "application/json", **authorization()}
    request = urllib.request.Request(url, json.dumps(content).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        raise ValueError(f"{url} answered {error.code}: {error.read(MAX_BYTES).decode(errors='replace')}") from None
    except OSError as error:
        raise ValueError(f"{url} did not answer: {error}") from None


def authorization() -> dict[str, str]:
    """One of the API keys, if there are any."""
    folder = os.environ.get("MODELOPS_API_KEYS_DIR")
    for name in sorted(os.listdir(folder)) if folder else []:
        if not name.startswith(".."):
            with open(os.path.join(str(folder), name), encoding="utf-8") as file:
                if key := file.read().strip():
                    return {"Authorization": f"Bearer {key}"}
    return {}


def problems_of(test: dict[str, Any], url: str) -> list[str]:
    if "prompts" in test:
        return [line for prompt in test["prompts"] for line in wrong(prompt, answer_to(url, prompt))]
    return differences(predict(url, test["inputs"]), test["outputs"], test["tolerance"])


def main() -> None:
    test = json.loads(os.environ["MODELOPS_SMOKE_TEST"])
    url = os.environ["MODELOPS_SMOKE_URL"]
    try:
        problems = problems_of(test, url)
    except ValueError as error:
        problems = [str(error)]
    for problem in problems[:10]:
        print(f"smoke test: {problem}", file=sys.stderr)
    if not problems:
        print("smoke test: the answers are right", flush=True)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
