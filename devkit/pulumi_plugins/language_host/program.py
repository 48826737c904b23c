"""Runs one Pulumi program and reports what goes wrong in it. Started by the host under the program's interpreter.

Needs the Pulumi SDK and the standard library only. Exit codes: 0 done; 23 failed and already reported to the engine;
anything else is the program's own.
"""

import argparse
import asyncio
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

REPORTED = 23
"""Exit code of a program whose failure the engine already knows."""

_MISSING_SDK = (
    "The Pulumi SDK is not installed in {python}. Run `pulumi install`, or install the project's requirements "
    "into that environment."
)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a Pulumi program")
    for option in ("monitor", "engine", "project", "stack", "organization", "pwd"):
        parser.add_argument(f"--{option}", default="")
    parser.add_argument("--parallel", type=int, default=0)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("program")
    parser.add_argument("rest", nargs="*")
    return parser.parse_args(argv)


def entry_of(program: str, directory: str) -> tuple[str, str]:
    """The path to run and the folder that imports start from, for an entry point relative to `directory`."""
    path = Path(directory, program).resolve()
    return str(path), str(path if path.is_dir() else path.parent)


def _is_machinery(filename: str) -> bool:
    """Whether a traceback's frame belongs to running the program and not to the program."""
    here = os.path.abspath(__file__)
    parts = Path(filename).parts
    return (
        os.path.abspath(filename) == here
        or filename.startswith("<frozen runpy")
        or parts[-1:] == ("runpy.py",)
        or parts[-3:] == ("pulumi", "runtime", "stack.py")
        or parts[-2:] in (("asyncio", "base_events.py"), ("asyncio", "runners.py"))
    )


def readable_traceback(error: BaseException) -> str:
    """The traceback of `error` as Python prints it, from the program's own first frame on."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _configure(args: argparse.Namespace) -> None:
    from pulumi import runtime
    from pulumi.runtime.config import get_config_env, get_config_secret_keys_env

    runtime.set_all_config(get_config_env(), get_config_secret_keys_env())
    runtime.configure(
        runtime.Settings(
            monitor=args.monitor,
            engine=args.engine,
            project=args.project,
            stack=args.stack,
            parallel=args.parallel,
            dry_run=args.dry_run,
            organization=args.organization or "organization",
        )
    )


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    import grpc

    # A lost engine connection that reaches the loop can't be handled any more: stop instead of hanging.
    if isinstance(context.get("exception"), grpc.RpcError):
        loop.stop()
    else:
        loop.default_exception_handler(context)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    if pending:
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.close()


def _run(path: str, parallel: int) -> None:
    from pulumi.runtime import run_in_stack

    def program() -> None:
        runpy.run_path(path, run_name="__main__")

    # The engine's failures leave futures unobserved; asyncio's complaints about them tell a user nothing.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # Resource calls block a worker thread each; as many as the engine takes at once, and room for invokes.
    loop.set_default_executor(ThreadPoolExecutor(max_workers=max(parallel, 1) * 4))
    loop.set_exception_handler(_on_loop_error)
    try:
        loop.run_until_complete(run_in_stack(program))
    finally:
        _close(loop)


def _report(error: BaseException) -> int:
    """Tell the engine about `error`; the exit code to end with."""
    import grpc
    from pulumi import RunError, log

    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return code
    if isinstance(error, RunError):
        log.error(str(error))
    elif isinstance(error, grpc.RpcError) and getattr(error, "code", lambda: None)() == grpc.StatusCode.UNAVAILABLE:
        # The engine's monitor is gone: the deployment is over and has its own message.
        log.debug("the resource monitor has ended")
    else:
        log.error(f"Program failed with an unhandled exception:\n{readable_traceback(error)}")
    return REPORTED


def _end_quietly(signum: int, frame: FrameType | None) -> None:
    os._exit(128 + signum)


def main(argv: list[str]) -> int:
    """Run the program that `argv` describes; the process's exit code."""
    import signal

    args = _arguments(argv)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _end_quietly)
    try:
        import pulumi  # noqa: F401
    except ImportError:
        traceback.print_exc()
        print(_MISSING_SDK.format(python=sys.executable), file=sys.stderr)
        return 1
    _configure(args)
    if args.pwd:
        os.chdir(args.pwd)
    path, folder = entry_of(args.program, os.getcwd())
    sys.argv = [args.program, *args.rest]
    # This file's own folder must not shadow the program's modules.
    sys.path[0] = folder
    try:
        _run(path, args.parallel)
    except BaseException as error:
        # Whatever the program raises is for its user to read.
        return _report(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
