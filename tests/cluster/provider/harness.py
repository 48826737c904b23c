"""A Pulumi stack for one test: a function is its program, the real engine and the Kubernetes plugin do the rest."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import pulumi
import pulumi_kubernetes as k8s
import yaml
from pulumi.automation._server import LanguageServer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import language_pb2_grpc

Program = Callable[[k8s.Provider], Mapping[str, Any] | None]
"""A program: gets the provider to give to its resources, returns the stack's outputs."""

# gRPC remembers for a while that an address was refused, across channels: an engine may get the port of one before it.
_GRPC_CHANNEL_OPTIONS.append(("grpc.use_local_subchannel_pool", 1))
_EMPTY: list[Path] = []
_INLINE = ("--exec-kind", "auto.inline")
KINDS_OF_NO_CHANGE = {"same", "read", "refresh", "discard"}


@dataclass
class Outcome:
    """What an operation did."""

    code: int
    text: str
    """Everything that was said: diagnostics, then what the command printed."""
    steps: list[tuple[str, str]] = field(default_factory=list)
    """(operation, resource name), in the order of their start."""
    diffs: dict[str, dict[str, str]] = field(default_factory=dict)
    """By resource name: the changed paths, each with the kind of change."""

    @property
    def ok(self) -> bool:
        """Whether the operation succeeded."""
        return self.code == 0

    def operations(self, name: str) -> list[str]:
        """What was done to the resource of that name."""
        return [operation for operation, resource in self.steps if resource == name]

    def changed(self) -> dict[str, list[str]]:
        """The operations that changed something, by resource name."""
        names = {name for operation, name in self.steps if operation not in KINDS_OF_NO_CHANGE}
        return {name: [o for o in self.operations(name) if o not in KINDS_OF_NO_CHANGE] for name in sorted(names)}


class Stack:
    """One stack with a back end of its own."""

    def __init__(self, folder: Path, *, namespace: str = "", environment: Mapping[str, str] | None = None) -> None:
        self.namespace = namespace
        self.folder = folder
        folder.mkdir(parents=True)
        # Of its own name: stacks in one namespace are told apart by project and stack.
        self.project = f"conformance-{uuid.uuid4().hex[:6]}"
        project = {"name": self.project, "runtime": "python", "backend": {"url": f"file://{folder / 'backend'}"}}
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project))
        self._overrides = dict(environment or {})
        self.environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "conformance",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # Without it the command has no --event-log.
            "PULUMI_DEBUG_COMMANDS": "true",
            # Python packages without a plugin here (pulumi_docker) must not send each operation to the network.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            **(environment or {}),
        }
        self._initialize()

    def _initialize(self) -> None:
        """An empty stack: made once by the command itself, then copied, which saves half a second a test."""
        if _EMPTY:
            shutil.copytree(_EMPTY[0], self.folder, dirs_exist_ok=True)
            stacks = self.folder / "backend" / ".pulumi" / "stacks"
            [copied] = stacks.iterdir()
            own = copied.rename(stacks / self.project) / "test.json"
            own.write_text(own.read_text().replace(f"/{copied.name}/", f"/{self.project}/"))
            return
        (self.folder / "backend").mkdir()
        self._command("stack", "init", "test")
        _EMPTY.append(Path(tempfile.mkdtemp(prefix="conformance-")))
        atexit.register(shutil.rmtree, _EMPTY[0], ignore_errors=True)
        shutil.copytree(self.folder / "backend", _EMPTY[0] / "backend")
        shutil.copy(self.folder / "Pulumi.test.yaml", _EMPTY[0])

    def _command(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self, program: Program, *options: str, succeed: bool | None = True, **settings: Any) -> Outcome:
        """`pulumi up` with `program`. `succeed` says whether it must; None: either way."""
        return self._operate(program, ["up", "--yes", "--skip-preview", *options], succeed, settings)

    def preview(self, program: Program, *options: str, succeed: bool | None = True, **settings: Any) -> Outcome:
        """`pulumi preview` with `program`."""
        return self._operate(program, ["preview", *options], succeed, settings)

    def unchanged(self, program: Program, **settings: Any) -> None:
        """Assert that `program` would change nothing."""
        found = self.preview(program, "--expect-no-changes", succeed=None, **settings)
        assert found.ok, f"{found.changed()} {found.diffs}\n{found.text}"

    def refresh(self, *options: str, succeed: bool | None = True) -> Outcome:
        """`pulumi refresh`."""
        return self._operate(lambda provider: None, ["refresh", "--yes", "--skip-preview", *options], succeed, {})

    def destroy(self, *options: str, succeed: bool | None = True, preview: bool = False) -> Outcome:
        """`pulumi destroy`, without its preview unless that is asked for."""
        command = ["destroy", "--yes", *([] if preview else ["--skip-preview"]), *options]
        return self._operate(lambda provider: None, command, succeed, {})

    def cancel(self) -> None:
        """`pulumi cancel`: takes the lock from an update that died."""
        self._command("cancel", "--yes", "--stack", "test")

    def state(self) -> dict[str, dict[str, Any]]:
        """The resources in the stack's state by name."""
        exported = json.loads(self._command("stack", "export", "--stack", "test"))
        resources = exported["deployment"].get("resources") or []
        return {resource["urn"].split("::")[-1]: resource for resource in resources}

    def state_text(self) -> str:
        """The stack's state as it is stored."""
        return self._command("stack", "export", "--stack", "test")

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets in clear."""
        return dict(json.loads(self._command("stack", "output", "--json", "--show-secrets", "--stack", "test")))

    def _operate(
        self, program: Program, arguments: list[str], succeed: bool | None, settings: Mapping[str, Any]
    ) -> Outcome:
        log = self.folder / "events.json"
        log.unlink(missing_ok=True)
        with self._language_host(program, settings) as address:
            inline = [f"--client={address}", *_INLINE] if arguments[0] in ("up", "preview") else []
            done = subprocess.run(
                [*_command(*arguments), "--event-log", str(log), *inline],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
            )
        outcome = read_events(log, done.returncode, done.stdout + done.stderr)
        if succeed is not None:
            assert outcome.ok is succeed, outcome.text
        return outcome

    def start(self, program: Program, *options: str) -> "Running":
        """Start `pulumi up` with `program` and come back at once."""
        return Running(self, program, options)

    @contextmanager
    def _language_host(self, program: Program, settings: Mapping[str, Any]):  # type: ignore[no-untyped-def]
        def run() -> None:
            # The SDK reads defaults, such as KUBECONFIG, from the program's environment.
            with mock.patch.dict(os.environ, self._overrides):
                provider = k8s.Provider("cluster", **{"namespace": self.namespace or None, **settings})
                for name, value in (program(provider) or {}).items():
                    pulumi.export(name, value)

        server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=_GRPC_CHANNEL_OPTIONS)
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(run), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(0)


def _command(*arguments: str) -> list[str]:
    return ["pulumi", *arguments, "--stack", "test", "--non-interactive", "--color", "never"]


class Running:
    """A `pulumi up` under way."""

    def __init__(self, stack: Stack, program: Program, options: Sequence[str]) -> None:
        self._stack = stack
        self._context = stack._language_host(program, {})
        address = self._context.__enter__()
        self._process = subprocess.Popen(
            [*_command("up", "--yes", "--skip-preview"), f"--client={address}", *_INLINE, *options],
            cwd=stack.folder,
            env=stack.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(self._process.stdout)

    def text(self) -> str:
        """What it has said so far."""
        return "".join(self._lines)

    @property
    def process_id(self) -> int:
        """The process, and its group: everything that it started is in there too."""
        return self._process.pid

    def code(self) -> int | None:
        """Its exit code; None while it goes on."""
        return self._process.poll()

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def end(self, timeout_seconds: float) -> int:
        """Wait for its end; the exit code."""
        try:
            return self._process.wait(timeout_seconds)
        finally:
            self._process.kill()
            self._reader.join(5)
            self._context.__exit__(None, None, None)


def read_events(log: Path, code: int, printed: str) -> Outcome:
    """The outcome that an event log describes."""
    outcome, said = Outcome(code, ""), []
    for line in log.read_text().splitlines() if log.exists() else []:
        event = json.loads(line)
        if (step := event.get("resourcePreEvent")) is not None:
            metadata = step["metadata"]
            name = metadata["urn"].split("::")[-1]
            outcome.steps.append((metadata["op"], name))
            for path, change in (metadata.get("detailedDiff") or {}).items():
                outcome.diffs.setdefault(name, {})[path] = change["diffKind"]
        diagnostic = event.get("diagnosticEvent") or {}
        if diagnostic and diagnostic["severity"] != "debug" and not diagnostic.get("ephemeral"):
            said.append(diagnostic["message"])
    outcome.text = "".join(said) + "\n" + printed
    return outcome
