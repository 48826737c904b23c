"""The comment's text, for each host and within its limit."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from previews import diffs
from previews.reading import Preview, Step
from previews.risks import LEVELS, Risk, risks, summary
from previews.scrub import Scrubber
from previews.visible import visible

LIMITS = {"github": 65_536, "gitlab": 1_000_000, "text": 1_000_000}
"""A comment's maximum size in bytes of UTF-8. The hosts count characters, which are never more."""
_SHARE = 3
"""Errors and the list of risks each take at most a third of the comment."""
_MAX_MESSAGE = 4000


@dataclass(frozen=True)
class _Block:
    """A piece of the comment that may be left out."""

    stack: str
    priority: tuple[int, int, int]
    text: str


def marker(key: str) -> str:
    """The line that identifies the tool's own comment."""
    return f"<!-- preview-comment:{re.sub(r'[^A-Za-z0-9_.-]', '-', key)} -->"


def render(
    previews: Sequence[Preview],
    host: str,
    *,
    scrubber: Scrubber | None = None,
    title: str = "Preview",
    key: str = "preview",
    limit: int | None = None,
) -> str:
    """The comment. The same previews give the same bytes; blocks that don't fit are counted, never truncated."""
    scrubber = scrubber or Scrubber()
    limit = LIMITS[host] if limit is None else limit
    title = visible(title, lines=False)
    previews = [replace(preview, stack=visible(preview.stack, lines=False)) for preview in previews]
    page = _Text() if host == "text" else _Markdown()
    risks_by_stack = {preview.stack: risks(preview) for preview in previews}
    head = [] if host == "text" else [marker(key)]
    head.append(page.heading(title))
    head += [page.item(f"{page.strong(p.stack)}: {page.prose(scrubber.text(summary(p)))}") for p in previews]
    head += _failures(previews, page, scrubber, limit // _SHARE)
    head += _risk_lines(risks_by_stack, page, scrubber, limit // _SHARE)
    blocks = [block for index, preview in enumerate(previews) for block in _blocks(preview, index, page, scrubber)]
    return _fitted("\n".join(head), blocks, page, limit)


@dataclass(frozen=True)
class Part:
    """One stack's share of a comment, scrubbed: made where the stack's credentials are, joined where they aren't."""

    stack: str
    changed: bool
    """Whether there is a difference or an error."""
    summary: str
    details: str


def part(preview: Preview, *, scrubber: Scrubber | None = None, limit: int) -> Part:
    """A stack's share, in Markdown. The comment has room for a few of them, so `limit` is a fraction of its own."""
    scrubber, page = scrubber or Scrubber(), _Markdown()
    preview = replace(preview, stack=visible(preview.stack, lines=False))
    line = page.item(f"{page.strong(preview.stack)}: {page.prose(scrubber.text(summary(preview)))}")
    head = _failures([preview], page, scrubber, limit // _SHARE)
    head += _risk_lines({preview.stack: risks(preview)}, page, scrubber, limit // _SHARE)
    details = _fitted("\n".join(head), _blocks(preview, 0, page, scrubber), page, limit).strip("\n")
    return Part(preview.stack, bool(preview.steps or preview.errors), line, details)


def join(parts: Sequence[Part], host: str, *, title: str = "Preview", key: str = "preview") -> str:
    """The comment of several stacks: their summaries, then what is behind them, as far as it fits."""
    own = [] if host == "text" else [marker(key)]
    head = "\n".join([*own, _Markdown().heading(visible(title, lines=False)), *(part.summary for part in parts)])
    details = [part.details for part in parts if part.details]
    reserve = _size(_Markdown().omitted(len(details))) + 2
    text, omitted = head, 0
    for each in details:
        fits = _size(text) + _size(each) + reserve <= LIMITS[host]
        text, omitted = (f"{text}\n\n{each}", omitted) if fits else (text, omitted + 1)
    return f"{text}\n{_Markdown().omitted(omitted)}\n" if omitted else f"{text}\n"


def _fitted(head: str, blocks: list[_Block], page: "_Markdown", limit: int) -> str:
    """Adds blocks, the most important ones first, as long as they fit; shows them by stack."""
    reserve = _size(page.omitted(len(blocks))) + 2
    if _size(head) + reserve > limit:
        head = head.encode()[: max(0, limit - reserve)].decode(errors="ignore").rsplit("\n", 1)[0]
    left, chosen, with_heading = limit - _size(head) - reserve, set(), set()
    for index in sorted(range(len(blocks)), key=lambda index: blocks[index].priority):
        block = blocks[index]
        heading = 0 if block.stack in with_heading else _size(page.subheading(block.stack)) + 1
        if (cost := _size(block.text) + 1 + heading) <= left:
            left -= cost
            chosen.add(index)
            with_heading.add(block.stack)
    parts, stack = [head], ""
    for index, block in enumerate(blocks):
        if index in chosen:
            parts += [page.subheading(block.stack)] if block.stack != stack else []
            parts.append(block.text)
            stack = block.stack
    if missing := len(blocks) - len(chosen):
        parts.append(page.omitted(missing))
    return "\n".join(parts).rstrip("\n") + "\n"


def _size(text: str) -> int:
    return len(text.encode())


def _failures(previews: Sequence[Preview], page: "_Markdown", scrubber: Scrubber, budget: int) -> list[str]:
    shown: list[str] = []
    for preview in previews:
        for error in preview.errors:
            block = page.fenced(f"{preview.stack}: {_cut(scrubber.text(error), min(budget // 2, _MAX_MESSAGE))}", "")
            budget -= _size(block) + 1
            if budget < 0:
                return [*shown, page.item("… more errors are in the job's log")]
            shown.append(block)
    return shown


def _cut(text: str, limit: int = _MAX_MESSAGE) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def _risk_lines(risks_by_stack: dict[str, list[Risk]], page: "_Markdown", scrubber: Scrubber, budget: int) -> list[str]:
    """The worst first over all stacks."""
    ordered = sorted(
        ((risk, stack) for stack, several in risks_by_stack.items() for risk in several),
        key=lambda entry: (LEVELS.index(entry[0].level), list(risks_by_stack).index(entry[1]), entry[0].order),
    )
    if not ordered:
        return []
    shown = [page.subheading("Risks")]
    for index, (risk, stack) in enumerate(ordered):
        text = page.prose(scrubber.text(risk.text))
        line = page.item(f"{page.strong(risk.level)} {page.prose(stack)}: {text}")
        budget -= _size(line) + 1
        if budget < 0:
            return [*shown, page.item(f"… {len(ordered) - index} more")]
        shown.append(line)
    return shown


def _blocks(preview: Preview, order: int, page: "_Markdown", scrubber: Scrubber) -> list[_Block]:
    worst = {risk.urn: LEVELS.index(risk.level) for risk in reversed(risks(preview))}
    blocks = []
    for number, step in enumerate(step for step in preview.steps if step.op not in ("create", "delete")):
        if shown := diffs.lines(step, scrubber):
            text = page.folded(f"{step.op} {_label(step)}", page.fenced("\n".join(shown), "diff"))
            blocks.append(_Block(preview.stack, (worst.get(step.urn, len(LEVELS)), order, number), text))
    for op, sign in (("delete", "-"), ("import", "="), ("create", "+")):
        if steps := [step for step in preview.steps if step.op == op and step.custom]:
            listed = "\n".join(f"{sign} {_label(step)}" for step in steps)
            text = page.folded(
                f"{'adopt' if op == 'import' else op} {len(steps)}", page.fenced(scrubber.text(listed), "diff")
            )
            blocks.append(_Block(preview.stack, (len(LEVELS), order, len(preview.steps)), text))
    if preview.warnings:
        listed = "\n".join(_cut(scrubber.text(warning)) for warning in preview.warnings)
        text = page.folded(f"warnings {len(preview.warnings)}", page.fenced(listed, ""))
        blocks.append(_Block(preview.stack, (len(LEVELS), order, len(preview.steps) + 1), text))
    return blocks


def _label(step: Step) -> str:
    return f"{step.kind} {step.name}{' (left by an interrupted update)' if step.leftover else ''}"


def _entities(found: re.Match[str]) -> str:
    return "".join(f"&#{ord(sign)};" for sign in found[0])


class _Markdown:
    """GitHub's and GitLab's Markdown."""

    def heading(self, text: str) -> str:
        return f"## {self.prose(text)}\n"

    def subheading(self, text: str) -> str:
        return f"\n### {self.prose(text)}\n"

    def strong(self, text: str) -> str:
        return f"**{self.prose(text)}**"

    def item(self, text: str) -> str:
        return f"- {text}"

    def prose(self, text: str) -> str:
        """Text that can't mention anybody, link, or become markup."""
        line = re.sub(r"\s+", " ", text).strip()
        line = re.sub(r"([\\`*_\[\]|~])", r"\\\1", line)
        return re.sub(r"[&<@#]|(?<=:)//|[!$%](?=\d)", _entities, line)

    def fenced(self, text: str, language: str) -> str:
        """A code block whose fence is longer than any inside of it."""
        longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"\n{fence}{language}\n{text}\n{fence}\n"

    def folded(self, title: str, body: str) -> str:
        # HTML, in which Markdown's signs stand for themselves.
        line = re.sub(r"\s+", " ", title).strip()
        line = re.sub(r"[&<>@#]|(?<=:)//", _entities, line)
        return f"<details><summary>{line}</summary>\n{body}\n</details>"

    def omitted(self, count: int) -> str:
        return f"\n{count} further blocks do not fit into a comment; they are in the job's log."


class _Text(_Markdown):
    """Plain text, for logs and hosts without Markdown."""

    def heading(self, text: str) -> str:
        return f"{text}\n{'=' * len(text)}"

    def subheading(self, text: str) -> str:
        return f"\n{text}\n{'-' * len(text)}"

    def strong(self, text: str) -> str:
        return text

    def prose(self, text: str) -> str:
        return re.sub(r"\s+", " ", text).strip()

    def fenced(self, text: str, language: str) -> str:
        return "\n".join(f"  {line}" for line in text.splitlines())

    def folded(self, title: str, body: str) -> str:
        return f"{title}\n{body}"
