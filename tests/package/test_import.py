"""What `import modelops` costs a program that has pulumi and pulumi_kubernetes already."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ALONE = "import pulumi, pulumi_kubernetes"
WITH = f"{ALONE}, modelops"
EVERYTHING = f"{ALONE}; from modelops import *"
ROUNDS = 9
ATTEMPTS = 3
GOAL = 1.15
"""It was 2.8 once, with all components and all of Kubernetes' API, and 1.3 with all components."""


def _modules(program: str) -> set[str]:
    code = f"{program}; import sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_costs_little_more_than_what_it_builds_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    # Compiled modules are what a program finds from its second run on.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def seconds(program: str) -> float:
        code = f"import time; start = time.process_time(); {program}; print(time.process_time() - start)"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return float(done.stdout)

    def ratio() -> float:
        rounds = [(seconds(ALONE), seconds(WITH)) for _ in range(ROUNDS)]
        theirs, mine = (statistics.median(side) for side in zip(*rounds, strict=True))
        return mine / theirs

    seconds(WITH)  # compiles
    found = [ratio()]
    # Other work on the machine falls on the two imports unevenly, so one figure over the goal is looked at again.
    while found[-1] > GOAL and len(found) < ATTEMPTS:
        found.append(ratio())
    with capsys.disabled():
        print(f"\nimport modelops: {found[-1]:.2f} times the import of pulumi and pulumi_kubernetes (goal {GOAL})")
    assert found[-1] <= GOAL, found


def test_kubernetes_classes_are_loaded_when_they_are_used() -> None:
    """A module of pulumi_kubernetes has hundreds of classes: it loads at first use, not with a component."""
    loaded = {name for name in _modules(EVERYTHING) - _modules(ALONE) if name.startswith("pulumi_kubernetes.")}
    early = {name for name in loaded if name.endswith(("._inputs", ".outputs"))}
    assert early == set(), "something of them is used at import: an annotation to quote, or a constant (decision 90)"
