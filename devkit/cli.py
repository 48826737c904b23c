"""The command line: ``python3 -m devkit up | down | status | env``."""

import argparse
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from devkit import backend, clusters, environment
from devkit.errors import DevkitError
from devkit.paths import cache_root, state_root
from devkit.up import Request, bring_up

_DESCRIPTION = """\
A Pulumi toolchain and a Kubernetes cluster on this machine: the best available, built from package registries
where official releases are out of reach. Caches live in {cache}, the running platform in {state}.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 done, 1 failed with a message, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except DevkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted — run the same command again to continue where it stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m devkit",
        description=_DESCRIPTION.format(cache=cache_root(), state=state_root()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start the platform; with --deploy, bring a stack up on it")
    up.add_argument(
        "--cluster",
        choices=clusters.KINDS,
        help="which cluster (default: the context that the stack's config names, else an installed Minikube or kind, "
        "else the embedded one)",
    )
    up.add_argument("--deploy", metavar="STACK", help="then bring this stack up and send it a test prediction")
    up.add_argument("--stack", default="dev", help="stack whose config may name a context (default: %(default)s)")
    up.set_defaults(run=_up)
    down = commands.add_parser(
        "down", help="remove what `up` created: cluster, processes, state; caches and kept stacks stay"
    )
    down.set_defaults(run=_down)
    status = commands.add_parser("status", help="what is running, with process ids and memory")
    status.add_argument("--json", action="store_true", help="as JSON")
    status.set_defaults(run=_status)
    env = commands.add_parser("env", help='print `export` lines: eval "$(python3 -m devkit env)"')
    env.set_defaults(run=_env)
    return parser


def _up(options: argparse.Namespace) -> int:
    stack = options.deploy or options.stack
    cluster = clusters.choose(options.cluster, stack)
    current = clusters.running()
    if current is not None and current.kind != cluster.kind:
        if options.cluster is not None:
            raise DevkitError(f"the {current.kind} cluster is up", "run `make down` first, then choose another")
        cluster = current
    with _exclusive():
        bring_up(Request(cluster=cluster, deploy=options.deploy))
    return 0


def _down(_: argparse.Namespace) -> int:
    with _exclusive():
        cluster = clusters.running()
        if cluster is None:
            # A start that failed early leaves no record, but may leave processes.
            cluster = clusters.Embedded()
        else:
            backend.refuse_to_lose(cluster, environment.complete(cluster))
        cluster.stop(lambda text: print(f"  {text}", flush=True))
        shutil.rmtree(state_root(), ignore_errors=True)
    print(f"down. The caches stay in {cache_root()}")
    return 0


def _status(options: argparse.Namespace) -> int:
    cluster = clusters.running()
    if cluster is None:
        print("{}" if options.json else "nothing is up — `make up` starts it")
        return 0
    parts = cluster.status()
    if options.json:
        print(json.dumps({"cluster": cluster.kind, "parts": parts}, indent=2))
        return 0
    print(f"cluster: {cluster.kind}")
    for name, part in parts.items():
        print(f"  {name:<28} {_one_line(part)}")
    return 0


def _one_line(part: object) -> str:
    if isinstance(part, dict):
        return "  ".join(f"{key} {value}" for key, value in part.items())
    return str(part)


def _env(_: argparse.Namespace) -> int:
    cluster = clusters.running()
    if cluster is None:
        raise DevkitError("nothing is up", "`make up` (or `python3 -m devkit up`) first")
    print(environment.export_lines(cluster))
    return 0


@contextmanager
def _exclusive() -> Iterator[None]:
    """Allows one `up` or `down` at a time on the same caches."""
    cache_root().mkdir(parents=True, exist_ok=True)
    with (cache_root() / "lock").open("a+") as lock:
        _lock(lock)
        yield


def _lock(lock: TextIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        raise DevkitError(
            f"another `devkit up` or `down` is running (pid {lock.read().strip() or 'unknown'})", "wait until it ends"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
