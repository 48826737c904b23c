"""The team's repository on a Git server of this machine, and a working copy of it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AUTHOR = {"GIT_AUTHOR_NAME": "team", "GIT_AUTHOR_EMAIL": "team@example.com"}
_WHO = {**_AUTHOR, "GIT_COMMITTER_NAME": "team", "GIT_COMMITTER_EMAIL": "team@example.com"}


class WorkingCopy:
    """A clone of the served repository."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address

    def git(self, *arguments: str) -> str:
        """Runs git in the working copy; returns what it printed."""
        environment = {**os.environ, **_WHO}
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def push(self, branch: str, message: str, *, amend: bool = False) -> str:
        """Commits everything and pushes it to a branch; returns the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message, *(["--amend"] if amend else []))
        self.git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")


@contextmanager
def served(folder: Path, content: Path) -> Iterator[WorkingCopy]:
    """A repository `team/app` with this content, not committed yet, behind a Git server."""
    bare = folder / "server" / "team" / "app"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", bare], check=True)
    subprocess.run(["git", "-C", bare, "config", "uploadpack.allowAnySHA1InWant", "true"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--base-path={folder / 'server'}", "--export-all", "--enable=receive-pack", "--reuseaddr"]
    command = ["git", "daemon", *options, "--listen=127.0.0.1", f"--port={port}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            shutil.copytree(content, folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
            copy = WorkingCopy(folder / "app", f"git://127.0.0.1:{port}/team/app")
            copy.git("init", "--quiet", "--initial-branch", "main")
            copy.git("remote", "add", "origin", copy.address)
            _wait_for(port)
            yield copy
        finally:
            server.terminate()


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the Git server doesn't listen")
