"""What is kept for one run of a program, and ends with it: a process may run many (the Automation API, tests)."""

from collections.abc import MutableMapping
from typing import Any

import pulumi

_PLACE = "_modelops_per_run"


def per_run(name: str) -> MutableMapping[Any, Any]:
    """What this run keeps by that name, empty at first.

    The run's monitor stands for it, and holds it. A dictionary of weak references to monitors would keep each run for
    good: the resources in it refer to the monitor.
    """
    monitor: Any = pulumi.runtime.settings.get_monitor()
    if monitor is None:
        return {}
    kept: MutableMapping[Any, Any] = vars(monitor).setdefault(_PLACE, {}).setdefault(name, {})
    return kept
