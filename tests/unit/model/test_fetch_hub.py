"""Fetching from the Hugging Face Hub, by its own library, from a server that answers as the Hub does."""

import json
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.runtime import run_module

FIRST, SECOND = "1" * 40, "2" * 40
FILES: dict[str, bytes] = {"config.json": b"{}", "model.safetensors": b"weights" * 100_000, "onnx/model.onnx": b"graph"}


@dataclass
class FakeHub:
    """One repository, `team/tiny`, which only a token opens."""

    url: str = ""
    token: str = ""
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {FIRST: dict(FILES)})
    revisions: dict[str, str] = field(default_factory=lambda: {"main": FIRST})
    asked: list[str] = field(default_factory=list)
    break_after: int = 0
    """Bytes after which the next download breaks off."""
    resets: bool = False
    """Whether it breaks off by a reset, as a failing network does, rather than by an end."""
    breaks_for_good: bool = False
    """Whether it doesn't answer any more once a download has broken off."""
    away: bool = False
    continued: bool = False
    """Whether a download went on behind what was there."""

    def commit(self, revision: str) -> str | None:
        commit = self.revisions.get(revision, revision)
        return commit if commit in self.commits else None


class Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, parts = self.hub, urlsplit(self.path)
        path = unquote(parts.path)
        hub.asked.append(f"{self.command} {path}")
        if hub.away:
            return self._send(503, b"", {})
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._refuse(401, "RepoNotFound", "Repository Not Found")
        if api := re.fullmatch(r"/api/models/team/tiny(?:/revision/(.+))?", path):
            return self._info(api[1] or "main", sizes="blobs" in parse_qs(parts.query))
        if file := re.fullmatch(r"/team/tiny/resolve/([^/]+)/(.+)", path):
            return self._file(file[1], file[2])
        return self._refuse(404, "RepoNotFound", "Repository Not Found")

    def _info(self, revision: str, *, sizes: bool) -> None:
        commit = self.hub.commit(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = self.hub.commits[commit]
        siblings = [{"rfilename": name, **(_sizes(files[name]) if sizes else {})} for name in files]
        content = {"id": "team/tiny", "modelId": "team/tiny", "sha": commit, "siblings": siblings, "private": False}
        return self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _file(self, revision: str, name: str) -> None:
        commit = self.hub.commit(revision)
        if commit is None or name not in self.hub.commits[commit]:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        content = self.hub.commits[commit][name]
        headers = {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            self.hub.continued = True
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._send(206 if start else 200, content[start:], headers)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._send(status, json.dumps({"error": message}).encode(), {"X-Error-Code": code, "X-Error-Message": message})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut, self.hub.break_after = self.hub.break_after, 0
        if cut and len(body) > cut:
            self.wfile.write(body[:cut])
            self.wfile.flush()
            self.hub.away = self.hub.breaks_for_good
            self.close_connection = True
            if self.hub.resets:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        self.hub.break_after = cut
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _sizes(content: bytes) -> dict[str, Any]:
    """What the Hub says of a file: of a large one also the digest that it is known by."""
    large = {"sha256": sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return {"size": len(content), **({"lfs": large} if len(content) > 10_000 else {})}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    fake = FakeHub()
    handler = type("_Handler", (Handler,), {"hub": fake})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield fake
        server.shutdown()


Fetch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def fetch(hub: FakeHub, tmp_path: Path) -> Fetch:
    """Runs the command; the model is in the folder `pod` then."""
    settings = {
        "MODELOPS_MODEL_DIR": tmp_path / "pod",
        "MODELOPS_REGISTRY_WAIT_SECONDS": 0,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": tmp_path / "home",
    }

    def run(uri: str, **variables: object) -> "subprocess.CompletedProcess[str]":
        return run_module("modelops_runtime fetch", **{"MODELOPS_MODEL_URI": uri, **settings, **variables})

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def downloads(hub: FakeHub) -> int:
    return len([line for line in hub.asked if line.startswith("GET /team")])


def test_a_repository_is_fetched_whole(fetch: Fetch, tmp_path: Path) -> None:
    done = fetch("hf://team/tiny")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "fetched hf://team/tiny: a Transformers model, 700007 bytes\n"
    assert contents(tmp_path / "pod") == FILES


def test_a_revision_is_that_one_whatever_the_main_branch_is(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    hub.commits[SECOND] = {**FILES, "config.json": b"[]"}
    hub.revisions |= {"main": SECOND, "v1": FIRST}
    for revision, config in (("@v1", b"{}"), (f"@{SECOND}", b"[]"), ("", b"[]")):
        assert fetch(f"hf://team/tiny{revision}").returncode == 0
        assert contents(tmp_path / "pod")["config.json"] == config


def test_the_cache_goes_by_the_commit(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    cache = {"MODELOPS_MODEL_CACHE_DIR": tmp_path / "cache"}
    assert "in the cache already" not in fetch("hf://team/tiny", **cache).stdout
    assert "in the cache already" in fetch(f"hf://team/tiny@{FIRST}", **cache).stdout
    assert downloads(hub) == len(FILES)
    hub.commits[SECOND] = {"config.json": b"[]"}
    hub.revisions["main"] = SECOND
    assert "in the cache already" not in fetch("hf://team/tiny", **cache).stdout
    assert (tmp_path / "pod" / "config.json").read_bytes() == b"[]"
    away = fetch("hf://team/tiny", **cache, HF_ENDPOINT="http://127.0.0.1:9")
    assert away.returncode == 0 and "from the cache" in away.stdout


def test_a_token_opens_what_is_not_public(hub: FakeHub, fetch: Fetch) -> None:
    hub.token = "hf_planted"
    refused = fetch("hf://team/tiny", MODELOPS_REGISTRY_WAIT_SECONDS=60)
    assert refused.returncode == 2
    assert "error: hf://team/tiny refused the list of its files: " in refused.stderr
    assert fetch("hf://team/tiny", HF_TOKEN=hub.token).returncode == 0


@pytest.mark.parametrize("uri", ["hf://team/other", "hf://team/tiny@no-such-branch"])
def test_what_is_not_there_is_refused_without_waiting(fetch: Fetch, uri: str) -> None:
    done = fetch(uri, MODELOPS_REGISTRY_WAIT_SECONDS=60)
    assert done.returncode == 2 and "refused the list of its files" in done.stderr


def test_a_hub_that_does_not_answer(fetch: Fetch) -> None:
    done = fetch("hf://team/tiny", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("error: hf://team/tiny is not reachable for the list of its files: ")


@pytest.mark.parametrize("resets", [False, True])
def test_a_download_that_breaks_in_the_middle_goes_on_where_it_was(
    hub: FakeHub, fetch: Fetch, tmp_path: Path, resets: bool
) -> None:
    hub.commits[FIRST]["model.safetensors"] = large = bytes(range(256)) * 100_000
    hub.break_after, hub.resets = 15 * 2**20, resets
    done = fetch("hf://team/tiny", MODELOPS_REGISTRY_WAIT_SECONDS=20)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "pod") == {**FILES, "model.safetensors": large}
    assert hub.continued


def test_what_an_attempt_left_is_not_trusted(hub: FakeHub, fetch: Fetch, tmp_path: Path) -> None:
    hub.commits[FIRST]["model.safetensors"] = bytes(range(256)) * 100_000
    hub.break_after, hub.breaks_for_good = 15 * 2**20, True
    assert fetch("hf://team/tiny").returncode == 1
    (part,) = (tmp_path / "pod").glob(".fetch-*/model.safetensors")
    part.write_bytes(bytes(part.stat().st_size))  # as a machine that lost its power may leave it
    hub.away = False
    done = fetch("hf://team/tiny")
    assert done.returncode == 1 and "model.safetensors is damaged: its SHA-256 is" in done.stderr
    assert fetch("hf://team/tiny").returncode == 0


def test_a_file_that_is_too_large(fetch: Fetch, tmp_path: Path) -> None:
    done = fetch("hf://team/tiny", MODELOPS_MODEL_MAX_BYTES=1000)
    assert done.returncode == 1
    assert "model.safetensors has 700000 bytes, at most 1000 are allowed" in done.stderr
    assert contents(tmp_path / "pod") == {}


class TestTheBaseOfAFineTuning:
    """`modelops-fetch-base` takes what a tuning makes use of, and leaves other formats of the same weights."""

    URI = f"hf://team/tiny@{FIRST}"

    def fetch(self, hub: FakeHub, bases: Path, **variables: object) -> "subprocess.CompletedProcess[str]":
        settings = {
            "MODELOPS_BASE_MODEL": self.URI,
            "MODELOPS_BASES_DIR": bases,
            "MODELOPS_REGISTRY_WAIT_SECONDS": 0,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": bases.parent / "home",
        }
        return run_module("modelops_runtime fetch-base", **settings, **variables)

    def test_an_attempt_that_breaks_off_is_gone_on_with_by_the_next(self, hub: FakeHub, tmp_path: Path) -> None:
        hub.commits[FIRST]["model.safetensors"] = large = bytes(range(256)) * 100_000
        hub.break_after, hub.breaks_for_good = 15 * 2**20, True
        bases = tmp_path / "bases"
        broken = self.fetch(hub, bases)
        assert broken.returncode == 1 and "is not reachable for model.safetensors" in broken.stderr
        assert [path for path in bases.iterdir() if not path.name.startswith(".")] == []
        hub.away = False
        done = self.fetch(hub, bases)
        assert done.returncode == 0, done.stderr
        (place,) = (path for path in bases.iterdir() if path.is_dir())
        assert contents(place) == {"config.json": b"{}", "model.safetensors": large}
        assert hub.continued
        assert done.stdout.endswith(f"{self.URI} is in {place}\n")

    def test_a_file_that_is_not_what_its_publisher_wrote_is_refused(self, hub: FakeHub, tmp_path: Path) -> None:
        files = hub.commits[FIRST]
        files["SHA256SUMS"] = "".join(
            f"{sha256(content).hexdigest()}  {name}\n" for name, content in files.items()
        ).encode()
        assert self.fetch(hub, tmp_path / "whole").returncode == 0
        files["config.json"] = b"[]"
        refused = self.fetch(hub, tmp_path / "damaged")
        assert refused.returncode == 1 and "config.json is damaged: its SHA-256 is" in refused.stderr
        assert list((tmp_path / "damaged").iterdir()) == []
