"""Several workers of one training on this machine, each a process, as the component's wrapper starts them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY
from tests.runtime import environment


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _port in range(count)]
    ports = [free.getsockname()[1] for free in sockets]
    for free in sockets:
        free.close()
    return ports


@dataclass
class Workers:
    """`count` workers of one training in `folder`; a `with` block starts them, and leaves none."""

    folder: Path
    count: int
    framework: str = "tensorflow"
    parameters: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, object] = field(default_factory=dict)
    python: str = sys.executable
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)
    helpers: list["subprocess.Popen[str]"] = field(default_factory=list)

    def __enter__(self) -> "Workers":
        self.folder.mkdir(parents=True, exist_ok=True)
        peers, root, *each = free_ports(2 + self.count)
        addresses = [f"127.0.0.1:{port}" for port in each]
        common: dict[str, object] = {
            "MODELOPS_RUN_ID": "abc123def456",
            "MODELOPS_MODEL_NAME": "sample",
            "MODELOPS_FRAMEWORK": self.framework,
            "MODELOPS_PARAMETERS": json.dumps(self.parameters),
            "MODELOPS_WORKERS": self.count,
            "MODELOPS_WORKER_HOSTS": ",".join(["127.0.0.1"] * self.count),
            "MODELOPS_PEER_PORT": peers,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": root,
            "WORLD_SIZE": self.count,
            **self.variables,
        }
        dmlc = {
            "DMLC_PS_ROOT_URI": "127.0.0.1",
            "DMLC_PS_ROOT_PORT": root,
            "DMLC_NODE_HOST": "127.0.0.1",
            "DMLC_NUM_WORKER": self.count,
            "DMLC_NUM_SERVER": self.count,
        }
        if self.framework == "mxnet" and self.count > 1:
            common |= dmlc
            for role in ["scheduler", *["server"] * self.count]:
                self.helpers.append(self._start(self.folder / "helpers.log", {**common, "DMLC_ROLE": role}))
        for index in range(self.count):
            own = {
                "MODELOPS_WORKER_INDEX": index,
                "MODELOPS_OUTPUT_DIR": self.output(index),
                "MODELOPS_CHECKPOINT_DIR": self.folder / f"checkpoints{index}",
                "RANK": index,
                "LOCAL_RANK": 0,
                "DMLC_ROLE": "worker",
                "DMLC_WORKER_ID": index,
                "TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}),
            }
            self.processes.append(self._start(self.log(index), {**common, **own}))
        return self

    def _start(self, log: Path, variables: dict[str, object]) -> "subprocess.Popen[str]":
        with log.open("a") as out:
            return subprocess.Popen(
                [self.python, "-m", "sample.train"],
                env=environment(**variables),
                cwd=REPOSITORY,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def __exit__(self, *_: object) -> None:
        for process in [*self.processes, *self.helpers]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def output(self, index: int = 0) -> Path:
        """The output folder of a worker."""
        return self.folder / f"output{index}"

    def log(self, index: int = 0) -> Path:
        """What a worker printed."""
        return self.folder / f"worker{index}.log"

    def wait(self, timeout_seconds: float = 300) -> list[int]:
        """The exit codes of all; raises AssertionError with what they printed when one does not end."""
        deadline = time.monotonic() + timeout_seconds
        try:
            return [process.wait(max(0.1, deadline - time.monotonic())) for process in self.processes]
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_seconds} s: {self.text()}") from None

    def wait_for_line(self, words: str, index: int = 0, timeout_seconds: float = 200) -> None:
        """Returns when the worker has printed `words`."""
        deadline = time.monotonic() + timeout_seconds
        while words not in self.log(index).read_text():
            ended = [process.poll() for process in self.processes]
            assert ended == [None] * self.count and time.monotonic() < deadline, f"{ended}: {self.text()}"
            time.sleep(0.05)

    def text(self) -> str:
        """What all have printed."""
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    def json(self, name: str) -> Any:
        """A file of the chief's output."""
        return json.loads((self.output() / name).read_text())
