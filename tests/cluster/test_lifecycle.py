"""`make up`, again, `make down`, and what is left on the machine: the commands as a new user runs them.

Needs a machine where nothing is up yet, because it takes the whole platform down; else it says so and does nothing.
"""

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.support import REPOSITORY, HostTraces, host_traces, post, users_files

pytestmark = pytest.mark.lifecycle

UNCHANGED_GOAL_SECONDS = 30
WARM_GOAL_SECONDS = 240


@pytest.fixture(scope="module", autouse=True)
def only_on_our_own_platform(platform_was_up: bool, platform_env: dict[str, str]) -> None:
    if platform_was_up:
        pytest.skip("a platform was up before this session, and it is not taken down for a test: `make down` first")


def make(target: str) -> tuple[str, float]:
    started = time.monotonic()
    done = subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    taken = time.monotonic() - started
    assert done.returncode == 0, done.stdout
    return done.stdout, taken


def test_down_then_up_serves_a_model_and_down_leaves_the_machine_as_it_was(
    traces_before: HostTraces, figure: Callable[[str], None]
) -> None:
    make("down")
    assert host_traces() == traces_before

    said, warm = make("up")
    url = re.search(r"curl -s -X POST (\S+)", said)
    assert url, said
    answer = json.loads(said.split("\n  {", 1)[1].join(["{", ""]).splitlines()[0])
    assert answer["outputs"][0] == pytest.approx(2.0, abs=0.25)
    assert post(url[1], {"inputs": [[0.5]]})[1] == answer
    assert re.search(r"\[ 1/\d+\] check this machine: done", said)

    again, unchanged = make("up")
    assert "created" not in again and "replaced" not in again and "updated" not in again, again
    figure(f"make up with warm caches: {warm:.0f} s (goal {WARM_GOAL_SECONDS})")
    figure(f"make up with nothing changed: {unchanged:.0f} s (goal {UNCHANGED_GOAL_SECONDS})")

    make("down")
    assert host_traces() == traces_before
    assert make("status")[0].startswith("nothing is up")


def test_the_users_own_files_are_not_written(home_before: dict[Path, float]) -> None:
    written = [str(path) for path, when in users_files().items() if home_before.get(path) != when]
    assert written == []
