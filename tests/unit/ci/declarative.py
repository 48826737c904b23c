"""Jenkins' declarative grammar, as its manual (“Pipeline Syntax”) has it: what may stand where in a Jenkinsfile.

Groovy itself is parsed by a real grammar. What Jenkins' own linter looks at on top of it is here: it runs inside of
Jenkins only, which is in no package registry.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dekobon_tree_sitter_groovy
from tree_sitter import Language, Node, Parser

PIPELINE = frozenset("agent environment libraries options parameters post stages tools triggers".split())
STAGE = frozenset("agent environment failFast input options post tools when".split())
CONTENT = frozenset("matrix parallel stages steps".split())
"""Of these a stage has exactly one."""
CONDITIONS = frozenset(
    "allOf anyOf branch buildingTag changeRequest changelog changeset environment equals expression isRestartedRun not "
    "tag triggeredBy".split()
)
WHEN = CONDITIONS | {"beforeAgent", "beforeInput", "beforeOptions"}
AGENT = frozenset("any docker dockerfile kubernetes label node none".split())
OPTIONS = frozenset(
    "buildDiscarder checkoutToSubdirectory disableConcurrentBuilds disableRestartFromStage disableResume "
    "newContainerPerStage overrideIndexTriggers parallelsAlwaysFailFast preserveStashes quietPeriod retry "
    "skipDefaultCheckout skipStagesAfterUnstable timeout timestamps".split()
)
TRIGGERS = frozenset("cron pollSCM upstream".split())
POST = frozenset(
    "aborted always changed cleanup failure fixed notBuilt regression success unstable unsuccessful".split()
)
_ANY_STEP = ("declaration", "for", "if", "switch", "throw", "try", "while", "function", "class", "assignment")
"""Statements of Groovy that Jenkins takes inside of `script` only."""


@dataclass(frozen=True)
class Entry:
    """A word with what follows it: `agent { … }`, `stage('dev') { … }`, `branch 'main'`."""

    name: str
    node: Node
    body: Node | None

    @property
    def line(self) -> int:
        return self.node.start_point[0] + 1


def problems(text: str) -> list[str]:
    """What Jenkins would refuse, each with its line."""
    tree = Parser(Language(dekobon_tree_sitter_groovy.language())).parse(text.encode())
    if tree.root_node.has_error:
        return [f"line {_first_error(tree.root_node).start_point[0] + 1}: not Groovy"]
    tops = [node for node in tree.root_node.named_children if node.type != "line_comment"]
    if len(tops) != 1 or tops[0].type != "pipeline_statement":
        return ["line 1: must have one `pipeline` and nothing beside it"]
    return list(_pipeline(_entries(tops[0].named_children[-1])))


def _pipeline(entries: list[Entry]) -> Iterator[str]:
    yield from _known("pipeline", entries, PIPELINE, required=("agent", "stages"))
    for entry in entries:
        yield from _section(entry)


def _section(entry: Entry) -> Iterator[str]:
    inside = _entries(entry.body) if entry.body is not None else []
    allowed = {"options": OPTIONS, "triggers": TRIGGERS, "when": WHEN, "agent": AGENT, "post": POST}
    if entry.name == "stages":
        yield from _stages(entry, inside)
    elif entry.name == "environment" and entry.body is not None:
        yield from _environment(entry.body)
    elif entry.name in allowed:
        if entry.body is not None and not inside:
            yield f"line {entry.line}: `{entry.name}` is empty"
        yield from _known(entry.name, inside, allowed[entry.name], repeated=entry.name == "when")
    if entry.name == "when":
        yield from (line for each in inside if each.name in ("not", "allOf", "anyOf") for line in _nested(each))


def _nested(entry: Entry) -> Iterator[str]:
    inside = _entries(entry.body) if entry.body is not None else []
    if not inside or (entry.name == "not" and len(inside) != 1):
        yield f"line {entry.line}: `{entry.name}` must have {'one condition' if entry.name == 'not' else 'conditions'}"
    yield from _known(entry.name, inside, CONDITIONS, repeated=True)


def _stages(section: Entry, entries: list[Entry]) -> Iterator[str]:
    if not entries:
        yield f"line {section.line}: `stages` is empty"
    names = [entry.node.text for entry in entries]
    for entry in entries:
        if entry.name != "stage" or entry.body is None:
            yield f"line {entry.line}: `{entry.name}` in `stages`, must be a stage with a body"
            continue
        if names.count(entry.node.text) > 1:
            yield f"line {entry.line}: a second stage of the same name"
        inside = _entries(entry.body)
        yield from _known("stage", inside, STAGE | CONTENT)
        if len(content := [each for each in inside if each.name in CONTENT]) != 1:
            yield f"line {entry.line}: a stage must have one of {', '.join(sorted(CONTENT))}, has {len(content)}"
        for each in inside:
            yield from _steps(each) if each.name == "steps" else _section(each)


def _steps(section: Entry) -> Iterator[str]:
    statements = section.body.named_children if section.body is not None else []
    if not statements:
        yield f"line {section.line}: `steps` is empty"
    for node in statements:
        kind = node.named_children[0].type if node.type == "expression_statement" else node.type
        if any(word in kind for word in _ANY_STEP):
            yield f"line {node.start_point[0] + 1}: {kind.replace('_', ' ')} in `steps`, must be in `script`"


def _environment(body: Node) -> Iterator[str]:
    for node in body.named_children:
        inner = node.named_children[0] if node.named_children else node
        value = inner.named_children[-1] if inner.type == "assignment_expression" else None
        called = value is not None and value.type == "method_invocation"
        if value is None or (called and (value.text or b"").split(b"(")[0] != b"credentials"):
            yield f"line {node.start_point[0] + 1}: `environment` takes NAME = a string or credentials(…)"


def _known(
    where: str,
    entries: list[Entry],
    allowed: frozenset[str],
    *,
    required: tuple[str, ...] = (),
    repeated: bool = False,
) -> Iterator[str]:
    names = [entry.name for entry in entries]
    for entry in entries:
        if entry.name not in allowed:
            yield f"line {entry.line}: `{entry.name}` is not known in `{where}`"
    if not repeated:
        yield from (f"`{name}` stands twice in `{where}`" for name in sorted({n for n in names if names.count(n) > 1}))
    yield from (f"`{name}` is missing in `{where}`" for name in required if name not in names)


def _entries(closure: Node) -> list[Entry]:
    """The words of a block. A call with arguments and its block come as two statements."""
    found: list[Entry] = []
    for node in closure.named_children:
        if node.type.endswith("comment"):
            continue
        inner = node.named_children[0] if node.type == "expression_statement" and node.named_children else node
        if inner.type == "closure" and found and found[-1].body is None:
            found[-1] = Entry(found[-1].name, found[-1].node, inner)
            continue
        body = next((child for child in inner.named_children if child.type == "closure"), None)
        word = inner if inner.type == "identifier" else inner.named_children[0] if inner.named_children else inner
        found.append(Entry((word.text or b"").decode(), inner, body))
    return found


def _first_error(node: Node) -> Node:
    for child in node.children:
        if child.is_error or child.is_missing:
            return child
        if child.has_error:
            return _first_error(child)
    return node
