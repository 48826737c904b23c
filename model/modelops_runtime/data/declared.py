"""Steps as they are declared: what each is, where it may stand, and what is wrong with them, in words."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from modelops_runtime.data import texts
from modelops_runtime.data.step import Step
from modelops_runtime.data.steps import STEPS
from modelops_runtime.data.steps.clean import Fill
from modelops_runtime.data.steps.generalise import Generalise, derived_beside
from modelops_runtime.data.steps.protect import Drop
from modelops_runtime.data.steps.split import Split

Declared = Sequence[dict[str, dict[str, Any]]]


def problems_of_steps(declared_steps: Declared, target: str | None) -> list[str]:
    """What is wrong with the steps of a pipeline, and with their order."""
    problems: list[str] = []
    kinds: list[str] = []
    names: list[str] = []
    split: Split | None = None
    for number, declared in enumerate(declared_steps):
        step = read_step(number, declared, problems)
        if step is None:
            continue
        kind = kind_of(step)
        if kind == "fitted" and "split" not in kinds:
            problems.append(f"steps[{number}] ({step.name}) is fitted on the training split: must be after split")
        if kind == "table" and "split" in kinds:
            problems.append(f"steps[{number}] ({step.name}) looks at all rows: must be before split")
        if kind == "part" and "split" not in kinds:
            problems.append(f"steps[{number}] ({step.name}) looks at neighbours: must be after split")
        split = step if isinstance(step, Split) else split
        if isinstance(step, Fill) and split is not None and (ahead := step.looks_ahead(split)):
            problems.append(f"steps[{number}] ({step.name}) {ahead}")
        if kind in ("row", "part") and "fitted" in kinds:
            problems.append(f"steps[{number}] ({step.name}) must be before the steps that are fitted")
        if kind == "fitted" and target in named(step):
            problems.append(f"steps[{number}] ({step.name}) must not change the target, {target}")
        if step.name == "conversations" and {*kinds} - {"row"}:
            problems.append(f"steps[{number}] (conversations) must be before the steps that look at all rows")
        if isinstance(step, Generalise):
            problems += _of_generalise(number, step, declared_steps)
        kinds.append(kind)
        problems += texts.misplaced(f"steps[{number}] ({step.name})", step, named(step), names)
        names.append(step.name)
    if not problems and kinds.count("split") != 1:
        problems.append(f"steps has {kinds.count('split')} split, must have one")
    return problems


def _of_generalise(number: int, step: Generalise, declared_steps: Declared) -> list[str]:
    """What else would tell what the step makes coarser."""
    said = f"steps[{number}] (generalise)"
    if any("generalise" in declared for declared in declared_steps[:number]):
        return [f"{said} must be there once, with all columns: what two steps promise holds for neither together"]
    others = [read_step(at, declared, []) for at, declared in enumerate(declared_steps)]
    dropped = {name for other in others if isinstance(other, Drop) for name in other.columns}
    beside = derived_beside(step, [other for other in others[:number] if other is not None], dropped)
    return [
        f"{said}.columns lacks {name}, which tells more exactly what it makes coarser: name it, or drop it"
        for name in beside
    ]


def named(step: Step) -> list[str]:
    """The columns that a step's declaration names."""
    return [*(getattr(step, "columns", None) or []), *filter(None, [getattr(step, "column", None)])]


def kind_of(step: Step) -> str:
    if isinstance(step, Split):
        return "split"
    return "row" if step.rowwise else "fitted" if step.fitted else "part" if step.in_part else "table"


def read_step(number: int, declared: dict[str, dict[str, Any]], problems: list[str]) -> Step | None:
    if len(declared) != 1:
        problems.append(f"steps[{number}] has {len(declared)} names, must have one")
        return None
    ((name, fields),) = declared.items()
    if name not in STEPS:
        problems.append(f"steps[{number}] is {name!r}, must be one of {', '.join(sorted(STEPS))}")
        return None
    try:
        return STEPS[name](**fields)
    except ValidationError as error:
        problems += [text for detail in error.errors() for text in problems_of(detail, f"steps[{number}].{name}")]
        return None


def problems_of(detail: Any, under: str = "") -> list[str]:
    """pydantic's problem in our words: field, value and rule."""
    path = under
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    rules = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if detail["type"] == "missing":
        return [f"{path} is missing"]
    if detail["type"] == "extra_forbidden":
        return [f"{path} is not known"]
    if detail["type"] == "value_error":
        return [f"{path}: {rule}" if path else rule for rule in rules.split("\n")]
    return [f"{path} is {detail['input']!r}, {rules}"]
