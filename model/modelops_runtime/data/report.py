"""What the report of a version has: the same for one worker and for many; columns, files, rows' numbers and counts, but
no values."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from modelops_runtime.data.table import added
from modelops_runtime.data.violations import first


def of_rows_read(frame: pd.DataFrame) -> dict[str, Any]:
    """The report's entry for the rows as they were read."""
    missing = frame.isna().sum()
    return {"read": len(frame), "missing": {str(column): int(count) for column, count in missing.items() if count}}


def summary(entries: Iterable[Mapping[str, Any]], rows: Mapping[str, int]) -> dict[str, Any]:
    """The report, of the entries that steps and sources wrote."""
    steps: dict[int, dict[str, Any]] = {}
    protected: dict[tuple[str, str], dict[str, Any]] = {}
    violations: list[Mapping[str, Any]] = []
    sources: list[Mapping[str, Any]] = []
    rows_read, missing, violation_count = 0, dict[str, int](), 0
    for entry in entries:
        if "read" in entry:
            rows_read += entry["read"]
            missing = added(missing, entry["missing"])
        elif "source" in entry:
            sources.append(entry)
        elif "violations" in entry:
            violations += entry["violations"]
            violation_count += entry["count"]
        elif "texts" in entry:
            continue
        elif "step" in entry:
            step = steps.setdefault(entry["step"], {**entry, "rows_before": 0, "rows_after": 0})
            step["rows_before"] += entry["rows_before"]
            step["rows_after"] += entry["rows_after"]
        else:
            column, by = entry.get("protected", entry.get("scanned")), entry.get("by", "scan_text")
            column_entry = protected.setdefault((column, by), {"column": column, "by": by})
            for key, value in entry.items():
                if key in ("values", "removed_rows"):
                    column_entry[key] = column_entry.get(key, 0) + value
                elif key == "found":
                    old = column_entry.setdefault("found", {})
                    column_entry["found"] = {
                        kind: old.get(kind, 0) + value.get(kind, 0) for kind in sorted({*old, *value})
                    }
                elif key not in ("protected", "scanned", "by"):
                    column_entry[key] = value
    return {
        "rows_read": rows_read,
        "sources": sorted(sources, key=lambda entry: int(entry["source"])),
        "missing": dict(sorted(missing.items())),
        "rows": dict(rows),
        "steps": [steps[number] for number in sorted(steps)],
        "protected": [protected[key] for key in sorted(protected)],
        "violation_count": violation_count,
        "violations": [{"violation": one.pop("rule"), **one} for one in first(violations)],
    }
