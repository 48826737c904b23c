"""Exit codes, the errors that lead to them, and how a program ends with one."""

import signal
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every program here. Jobs never retry 2, 3, 10, 11 and 13 to 15, and don't count 75."""

    DONE = 0
    FAILURE = 1
    CONFIGURATION = 2
    GATE = 3
    BAD_ROW = 10
    MISSING_COLUMN = 11
    UNREADABLE = 12
    EMPTY = 13
    PRIVACY = 14
    LEAK = 15
    PEER_LOST = 75
    TERMINATED = 143


class ContractError(Exception):
    """Ends a program with one message a problem and the exit code `code`."""

    def __init__(self, *problems: str, code: Exit = Exit.FAILURE) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.code = code


class ConfigurationError(ContractError):
    """The configuration is wrong: a retry cannot help."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems, code=Exit.CONFIGURATION)


def run(main: Callable[[], None]) -> None:
    """Run a program: what it refuses becomes plain lines on stderr (the Pod's termination message) and an exit code."""
    # A container's first process ignores SIGTERM unless it has a handler.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(Exit.TERMINATED))
    code = Exit.DONE
    try:
        main()
    except ContractError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        code = error.code
    except Exception:
        traceback.print_exc()
        code = Exit.FAILURE
    sys.stdout.flush()
    sys.exit(code)
