"""Brings one stack up on the platform and sends it a test prediction."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devkit.errors import DevkitError
from devkit.paths import REPOSITORY

SAMPLE_REQUEST = {"inputs": [[0.5]]}
_ANSWER_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """The service's response to the sample request."""

    curl: str
    body: str


class Stack:
    """A stack of this repository, driven through the Pulumi CLI."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.name = name
        self._environment = environment

    def select(self) -> None:
        """Selects the stack, creating it in the state back end if it is missing."""
        done = self._pulumi("stack", "select", "--create", self.name)
        if done.returncode != 0:
            raise DevkitError(f"selecting the stack {self.name} failed: {done.stderr.strip()[-800:]}")

    def required_images(self, python: Path) -> list[str]:
        """Upstream images that the stack's parts would run with its settings."""
        done = subprocess.run(
            [str(python), "-m", "stacks.images", self.name],
            cwd=REPOSITORY,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise DevkitError(done.stderr.strip())
        return [str(image) for image in json.loads(done.stdout)]

    def up(self, say: Callable[[str], None]) -> None:
        """`pulumi up`, its lines passed on to `say` as they arrive. Raises DevkitError when it fails."""
        command = [
            "pulumi",
            "up",
            "--stack",
            self.name,
            "--yes",
            "--skip-preview",
            "--non-interactive",
            "--color=never",
        ]
        with subprocess.Popen(
            command, cwd=REPOSITORY, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip():
                    say(f"    {line.rstrip()}")
        if process.returncode != 0:
            raise DevkitError(
                f"`pulumi up` of the stack {self.name} failed; the lines above say where",
                "fix it and run this again: what exists already is kept",
            )

    def outputs(self) -> dict[str, object]:
        """The stack's outputs by name."""
        done = self._pulumi("stack", "output", "--stack", self.name, "--json")
        if done.returncode != 0:
            raise DevkitError(f"reading the outputs of {self.name} failed: {done.stderr.strip()[-800:]}")
        return dict(json.loads(done.stdout))

    def _pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=REPOSITORY,
            env=self._environment,
            capture_output=True,
            text=True,
        )


def send_sample(predict_url: str) -> Answer:
    """Sends the sample request and returns the response with the `curl` line that repeats it.

    A load balancer may need a moment after `pulumi up`, so a refused connection is retried for a minute.
    Raises DevkitError when there is no response by then, or an error.
    """
    body = json.dumps(SAMPLE_REQUEST)
    curl = f"curl -s -X POST {predict_url} -H 'Content-Type: application/json' -d '{body}'"
    request = urllib.request.Request(predict_url, body.encode(), {"Content-Type": "application/json"}, method="POST")
    deadline = time.monotonic() + _ANSWER_TIMEOUT_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return Answer(curl, answer.read().decode().strip())
        except urllib.error.HTTPError as error:
            raise DevkitError(f"{predict_url} responded with {error.code}: {error.read().decode()[:300]}") from error
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise DevkitError(
                    f"{predict_url} does not respond: {error}", "`python3 -m devkit status` shows what is running"
                ) from error
            time.sleep(0.5)
