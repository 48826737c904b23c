"""Rows that break a rule: all are counted, the first of them listed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelops_runtime.contract import Exit
from modelops_runtime.data.context import Context
from modelops_runtime.data.errors import DataError

LISTED = 100
"""Violations that a report lists, and SAID those that a message has."""
SAID = 20


class Violations:
    """What a step finds in the rows that it looks at."""

    def __init__(self, context: Context) -> None:
        self._context, self.counts, self._first = context, Counter[str](), list[tuple[int, str, str]]()

    def add(self, index: Any, column: str, reason: str, rule: str) -> None:
        self.add_all([index], column, reason, rule)

    def add_all(self, indices: Sequence[Any], column: str, reason: str, rule: str) -> None:
        """Rows that break the same rule, in their order."""
        self.counts[reason] += len(indices)
        self._first += [(int(index), column, rule) for index in indices[:LISTED]]
        if len(self._first) > 2 * LISTED:
            self._first = sorted(self._first)[:LISTED]

    def settle(self, on_violation: str) -> list[dict[str, Any]]:
        """The first ones: place, file, row, column and rule. Raises DataError where they fail the run."""
        listed = []
        for index, column, rule in sorted(self._first)[:LISTED]:
            file, row = self._context.origin(index)
            listed.append({"place": index, "file": file, "row": row, "column": column, "rule": rule})
        count = self.counts.total()
        if count and on_violation == "fail":
            problems = [f"{one['file']}, row {one['row']}, column {one['column']}: {one['rule']}" for one in listed]
            more = [f"and {count - SAID:,} more"] if count > SAID else []
            advice = "correct these rows, or leave them out by on_violation: drop"
            raise DataError(*problems[:SAID], *more, advice, code=Exit.BAD_ROW)
        return listed


def first(listed: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first of what several steps or workers listed, without their places."""
    ordered = sorted(listed, key=lambda one: (one["place"], one["column"], one["rule"]))[:LISTED]
    return [{key: value for key, value in one.items() if key != "place"} for one in ordered]
