"""Reads the JSON of `pulumi preview --json` and `pulumi refresh --preview-only --json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from previews.visible import visible, visible_in

CHANGES = ("delete", "replace", "update", "import", "create")
"""The operations that change something, the most drastic first."""
_REPLACEMENT_PARTS = ("replace", "create-replacement", "import-replacement", "delete-replaced")
_QUIET = ("same", "read", "read-replacement", "refresh", "discard", "discard-replaced", "remove-pending-replace")
"""The operations that change nothing outside of the state."""


class PreviewError(Exception):
    """Input that can't be used; the message says which, why and what to do."""


@dataclass(frozen=True)
class Step:
    """What a preview would do with one resource."""

    op: str
    urn: str
    old: Mapping[str, Any]
    """Its state before, with `inputs` and `outputs`; empty for a new resource."""
    new: Mapping[str, Any]
    reasons: tuple[str, ...] = ()
    """Properties that make it a replacement."""
    changed: tuple[str, ...] = ()
    """Paths of changed properties, as the provider gave them."""
    leftover: bool = False
    """Whether it deletes what an interrupted update left behind of a resource that was replaced."""
    refreshed: bool = False
    """Whether this is drift: the cluster's state against the last known one, not a change of the program."""

    @property
    def type(self) -> str:
        """Pulumi's type of the resource: `kubernetes:batch/v1:Job`."""
        return self.urn.split("::")[2].split("$")[-1]

    @property
    def parents(self) -> tuple[str, ...]:
        """Types of the components that it is in, outermost first."""
        return tuple(self.urn.split("::")[2].split("$")[:-1])

    @property
    def kind(self) -> str:
        """Last word of the type: `Job`."""
        return self.type.split(":")[-1]

    @property
    def name(self) -> str:
        """Name of the resource in the program."""
        return self.urn.split("::", 3)[3]

    @property
    def custom(self) -> bool:
        """Whether it stands for something outside of Pulumi; components don't."""
        return bool((self.new or self.old).get("custom")) and not self.type.startswith("pulumi:")


@dataclass(frozen=True)
class Preview:
    """One stack's preview."""

    stack: str
    steps: tuple[Step, ...]
    """Only those that change something, in a stable order."""
    unchanged: int = 0
    """How many resources stay as they are."""
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    violations: tuple["Violation", ...] = ()


@dataclass(frozen=True, order=True)
class Violation:
    """A policy that a resource violates."""

    level: str
    """`mandatory`, `advisory` or `remediate`."""
    policy: str
    resource: str
    message: str


def read(text: str, *, source: str, stack: str | None = None) -> Preview:
    """A preview from its JSON. `stack` overrides the name in the resources' URNs. Raises PreviewError."""
    if not text.strip():
        raise PreviewError(f"{source} is empty: the preview ended before it wrote JSON; pass its log with --failed")
    try:
        document = json.loads(text)
    except ValueError as error:
        raise PreviewError(f"{source} is not JSON ({error}), must be what `pulumi preview --json` wrote") from None
    if not isinstance(document, dict) or not {"steps", "diagnostics", "changeSummary"} & document.keys():
        raise PreviewError(f"{source} is not a preview: it has no `steps`, must be what `pulumi preview --json` wrote")
    document = visible_in(document)
    raw = document.get("steps") or []
    if not isinstance(raw, list):
        raise PreviewError(f"{source}: `steps` is {type(raw).__name__}, must be a list")
    steps = [_step(entry, f"{source}: steps[{index}]") for index, entry in enumerate(raw)]
    name = stack or next((step.urn.split("::")[0].rsplit(":", 1)[-1] for step in steps), None)
    if name is None:
        raise PreviewError(f"{source} names no stack, must be given as NAME={source}")
    refreshed = any(entry.get("op") == "refresh" for entry in raw)
    errors, warnings = _diagnostics(document.get("diagnostics") or [], source)
    return Preview(
        name,
        _changes(steps, refreshed),
        _count(document.get("changeSummary"), "same"),
        errors,
        warnings,
    )


def read_file(path: Path, stack: str | None = None) -> Preview:
    """A preview from a file. Raises PreviewError."""
    return read(_text(path), source=str(path), stack=stack)


def failed(path: Path, stack: str) -> Preview:
    """A preview that ended without JSON, from its standard error. Raises PreviewError."""
    log = visible(_text(path, errors="replace")).strip()
    return Preview(stack, (), errors=(log or "the preview failed without a message",))


def read_violations(path: Path) -> tuple[Violation, ...]:
    """Policy violations from an event log (`--event-log`); the preview's JSON lacks them. Raises PreviewError."""
    violations = set()
    for number, line in enumerate(_text(path).splitlines(), 1):
        try:
            event = json.loads(line).get("policyEvent") if line.strip() else None
        except (ValueError, AttributeError):
            raise PreviewError(f"{path}, line {number}: not an event, must be what --event-log wrote") from None
        if event := visible_in(event):
            name = str(event.get("resourceUrn", "")).split("::", 3)[-1]
            level = str(event.get("enforcementLevel", "advisory"))
            violations.add(
                Violation(level, str(event.get("policyName", "")), name, str(event.get("message", "")).strip())
            )
    return tuple(sorted(violations, key=lambda violation: (violation.level != "mandatory", violation)))


def decoded(content: bytes, errors: str = "strict") -> str:
    """The text in UTF-8, UTF-16 or UTF-32, with or without a byte order mark: PowerShell's `>` writes UTF-16."""
    return content.decode(json.detect_encoding(content), errors).removeprefix("\ufeff").replace("\r\n", "\n")


def _text(path: Path, errors: str = "strict") -> str:
    try:
        return decoded(path.read_bytes(), errors)
    except (OSError, UnicodeDecodeError) as error:
        raise PreviewError(f"{path} can't be read: {error}") from None


def _count(summary: Any, op: str) -> int:
    count = summary.get(op, 0) if isinstance(summary, dict) else 0
    return count if isinstance(count, int) else 0


def _step(entry: Any, where: str) -> Step:
    if not isinstance(entry, dict) or not isinstance(entry.get("op"), str):
        raise PreviewError(f"{where} has no `op`")
    urn = entry.get("urn")
    if not isinstance(urn, str) or urn.count("::") < 3:
        raise PreviewError(f"{where}: urn is {urn!r}, must be urn:pulumi:STACK::PROJECT::TYPE::NAME")
    return Step(
        entry["op"],
        visible(urn, lines=False),
        entry.get("oldState") or {},
        entry.get("newState") or {},
        tuple(sorted(entry.get("replaceReasons") or ())),
        tuple(sorted(entry.get("detailedDiff") or ())),
    )


def _changes(steps: list[Step], refreshed: bool) -> tuple[Step, ...]:
    """One step for each resource, and one for what an interrupted update left of it.

    A replacement may come as one step or in several parts. Where nothing replaces the resource, or its old state is
    marked as deleted already, `delete-replaced` removes such a leftover.
    """
    replaced = {step.urn for step in steps if step.op in _REPLACEMENT_PARTS and step.op != "delete-replaced"}
    chosen: dict[tuple[str, bool], Step] = {}
    for step in steps:
        if step.op in _QUIET:
            continue
        leftover = step.op == "delete-replaced" and (step.urn not in replaced or step.old.get("delete") is True)
        op = "replace" if step.op in _REPLACEMENT_PARTS else step.op if step.op in CHANGES else "update"
        key = step.urn, leftover
        if key in chosen and step.op in _REPLACEMENT_PARTS and step.op != "replace":
            continue
        chosen[key] = replace(step, op="delete" if leftover else op, leftover=leftover, refreshed=refreshed)
    return tuple(sorted(chosen.values(), key=lambda step: (CHANGES.index(step.op), step.urn, step.leftover)))


def _diagnostics(entries: list[Any], source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Errors and warnings, each once and in a stable order: parallel steps report in any order."""
    messages: dict[str, set[str]] = {"error": set(), "warning": set()}
    for entry in entries:
        if not isinstance(entry, dict):
            raise PreviewError(f"{source}: a diagnostic is {type(entry).__name__}, must be an object")
        severity = "error" if str(entry.get("severity", "")).startswith("error") else entry.get("severity")
        message = str(entry.get("message", "")).strip().removeprefix(f"{severity}: ")
        if severity in messages and message:
            messages[severity].add(message)
    return tuple(sorted(messages["error"])), tuple(sorted(messages["warning"]))
