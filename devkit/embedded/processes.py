"""Long-running parts as child processes: started in their own sessions, found again later, stopped reliably."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from devkit.embedded.layout import Layout
from devkit.errors import DevkitError
from devkit.files import replace_text

LOG_LINES_SHOWN = 8
# Names that a part's process may have; etcd's program is named after its Go module unless renamed.
PROGRAMS = frozenset(
    "etcd server v3 containerd docker-registry buildkitd coredns metrics-server kubelet kube-apiserver "
    "kube-controller-manager kube-scheduler kube-proxy".split()
)
# The module of our own controllers; their process has no name of its own.
AGENT = "devkit.embedded.agent.main"


@dataclass(frozen=True)
class Record:
    """One started process. The start time and the boot id guard against reused pids."""

    pid: int
    start_ticks: int
    boot: str


def boot_id() -> str:
    """Identifies the running kernel's boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot; None when it isn't running (a zombie isn't)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def write_record(path: Path, record: Record) -> None:
    replace_text(path, json.dumps(asdict(record)))


def read_record(path: Path) -> Record | None:
    """The record in `path`; None when there is none or it can't be read."""
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def is_alive(record: Record | None) -> bool:
    """Whether exactly this process is still running."""
    return record is not None and record.boot == boot_id() and start_ticks(record.pid) == record.start_ticks


def record_path(layout: Layout, name: str) -> Path:
    """Where the record of part `name` is kept."""
    return layout.pids / f"{name}.json"


def running_pid(layout: Layout, name: str) -> int | None:
    """The pid of part `name`, None when it isn't running."""
    record = read_record(record_path(layout, name))
    return record.pid if record is not None and is_alive(record) else None


def spawn(layout: Layout, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Starts part `name` with `command`, in a session of its own. Its previous log is kept as `.old`."""
    log = layout.log_of(name)
    if log.exists():
        log.replace(log.with_suffix(".log.old"))
    with log.open("ab") as output:
        child = subprocess.Popen(  # outlives this process on purpose
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=layout.cluster,
            start_new_session=True,
        )
    ticks = start_ticks(child.pid)
    write_record(record_path(layout, name), Record(child.pid, ticks or 0, boot_id()))
    _CHILDREN[name] = child


_CHILDREN: dict[str, "subprocess.Popen[bytes]"] = {}


def wait_for(layout: Layout, name: str, ready: Callable[[], bool], timeout_seconds: float) -> None:
    """Waits until part `name` is ready. Raises DevkitError with its last log lines when it ended or took too long."""
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        if running_pid(layout, name) is None:
            raise failure(layout, name, "stopped by itself")
        if time.monotonic() > deadline:
            raise failure(layout, name, f"did not answer within {timeout_seconds:.0f} s")
        time.sleep(0.1)


def failure(layout: Layout, name: str, what: str) -> DevkitError:
    """An error about part `name` with the end of its log."""
    tail = "".join(f"\n    {line}" for line in last_lines(layout.log_of(name), LOG_LINES_SHOWN))
    return DevkitError(f"{name} {what}; the end of {layout.log_of(name)}:{tail or ' (empty)'}")


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log, each cut at 400 characters."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            return [line[:400] for line in file.read().decode(errors="replace").splitlines()[-count:]]
    except OSError:
        return []


def stop_parts(layout: Layout, names: Sequence[str], grace_seconds: float = 2) -> None:
    """Stops the named parts with SIGTERM, then SIGKILL. Their records go once they are gone."""
    alive = {name: pid for name in names if (pid := running_pid(layout, name)) is not None}
    for pid in alive.values():
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while alive:
        alive = {name: pid for name, pid in alive.items() if not _gone(layout, name)}
        if alive and time.monotonic() > deadline:
            for pid in alive.values():
                _signal(pid, signal.SIGKILL)
            deadline = time.monotonic() + grace_seconds
        time.sleep(0.02)
    for name in names:
        record_path(layout, name).unlink(missing_ok=True)


def _gone(layout: Layout, name: str) -> bool:
    child = _CHILDREN.get(name)
    if child is not None:
        child.poll()  # reaps it if it is our child
    return running_pid(layout, name) is None


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def strays(layout: Layout) -> list[int]:
    """Processes of this cluster that no record names: the containers' shims, and parts whose record was lost."""
    return shims(layout) + [pid for pid, arguments in _command_lines() if _is_part(layout, arguments)]


def shims(layout: Layout) -> list[int]:
    """The containerd shim of each pod."""
    socket = str(layout.containerd_socket)
    return [pid for pid, arguments in _command_lines() if socket in arguments and "-namespace" in arguments]


def _is_part(layout: Layout, arguments: list[str]) -> bool:
    folders = (f"{layout.cluster}/", f"{layout.run}/")
    is_program = os.path.basename(arguments[0]) in PROGRAMS or any(f"from {AGENT} import" in text for text in arguments)
    return is_program and any(folder in text for folder in folders for text in arguments)


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                text = (entry / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
                yield int(entry.name), text.split("\0")


@contextlib.contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """Allows one start or stop at a time. Raises DevkitError when another is under way."""
    layout.cache.mkdir(parents=True, exist_ok=True)
    with (layout.cache / "cluster.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise DevkitError("another start or stop of the embedded cluster is under way", "wait for it") from problem
        yield


def kill_all(pids: Sequence[int]) -> None:
    """Kills processes at once and waits up to 5 s for each to be gone."""
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(start_ticks(pid) is not None for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)


def memory_kibibytes(pid: int) -> dict[str, int]:
    """Resident and proportional set size of a process, in KiB; zeros when it is gone."""
    sizes = {"rss": 0, "pss": 0}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            key, _, rest = line.partition(":")
            if key.lower() in sizes:
                sizes[key.lower()] = int(rest.split()[0])
    return sizes
