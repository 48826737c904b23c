"""Kills one of the processes of a `pulumi up`, at a point that a seed chooses: nothing but what the `up` started."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.programs import Project

VICTIMS = {
    "engine": "/pulumi up ",
    "program": "/language_host/program.py ",
    "provider": "/pulumi-resource-kubernetes",
}
"""Each with what its command line has."""
_STEPS = ('"resourcePreEvent"', '"resOutputsEvent"')
_GRACE_SECONDS = 3
"""How long the rest of a killed `up` goes on, as on a machine that runs on."""
_TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Undisturbed:
    """An `up` that nobody killed."""

    seconds: float
    steps: int
    """How many events of resources it logged."""


@dataclass(frozen=True)
class Kill:
    """Who dies when: after a time, or after so many events of resources."""

    victim: str
    seconds: float | None
    steps: int | None

    def __str__(self) -> str:
        when = f"after {self.seconds:.2f} s" if self.seconds is not None else f"after {self.steps} events"
        return f"{self.victim} {when}"


@dataclass(frozen=True)
class Struck:
    """What became of the `up`."""

    killed: str | None
    """The victim; None if the `up` had ended before."""
    code: int
    said: str


def drawn(seed: int, number: int, undisturbed: Undisturbed) -> Kill:
    """The kill of that number: every other one by time, the others by event."""
    rng = random.Random(f"{seed}-{number}")
    victim = rng.choice(sorted(VICTIMS))
    if number % 2:
        return Kill(victim, rng.uniform(0.02, 1) * undisturbed.seconds, None)
    return Kill(victim, None, rng.randint(1, undisturbed.steps - 1))


def watch(project: Project) -> Undisturbed:
    """An `up` to its end."""
    started = time.monotonic()
    running = project.start_up()
    said, _ = running.communicate(timeout=_TIMEOUT_SECONDS)
    assert running.returncode == 0, said
    return Undisturbed(time.monotonic() - started, _steps(project.event_log))


def strike(project: Project, kill: Kill) -> Struck:
    """An `up` in which the kill happens. A victim that has not started yet is waited for, in place of one that has
    ended already the engine dies."""
    started = time.monotonic()
    running = project.start_up()
    killed, seen = None, False
    while running.poll() is None and killed is None:
        time.sleep(0.01)
        pids = dict(_victims(running.pid))
        seen = seen or kill.victim in pids
        if not seen or not _due(kill, project.event_log, time.monotonic() - started):
            continue
        killed = kill.victim if kill.victim in pids else "engine"
        with suppress(ProcessLookupError):
            os.kill(pids.get(killed, running.pid), signal.SIGKILL)
        if killed == "engine":
            time.sleep(_GRACE_SECONDS)
            for _command, pid in [*_session(running.pid)]:  # its plugins have process groups of their own
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    said, _ = running.communicate(timeout=_TIMEOUT_SECONDS)
    return Struck(killed, running.returncode, said)


def _due(kill: Kill, log: Path, seconds: float) -> bool:
    if kill.seconds is not None:
        return seconds >= kill.seconds
    assert kill.steps is not None
    return _steps(log) >= kill.steps


def _steps(log: Path) -> int:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return sum(any(step in line for step in _STEPS) for line in lines)


def _victims(session: int) -> Iterator[tuple[str, int]]:
    """The processes of the `up`'s session, by what they are."""
    for command, pid in _session(session):
        for victim, mark in VICTIMS.items():
            if mark in command:
                yield victim, pid


def _session(session: int) -> Iterator[tuple[str, int]]:
    """Command line and id of each process of a session."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                command = "/" + (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield command, int(folder.name)
