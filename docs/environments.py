"""Writes the table in how-to/environments.md from the settings: `python -m docs.environments`."""

from pathlib import Path
from typing import Any

import yaml

from stacks.models import Settings

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER / "how-to" / "environments.md"
STACKS = ("dev", "staging", "prod")
BEGIN, END = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"
WHY = {
    "production": "only prod has real users: it refuses what is unsafe",
    "images": "a local stack uses the platform's registry, the others the team's own",
    "data": "dev goes from a raw file of the repository to a prediction; a team adds its own data",
    "model": "more data where the result counts; production trains nothing, and has a tighter gate",
    "service": "a fixed number on one machine, an autoscaler where load varies",
    "promote": "production serves staging's release: the same image, the same model",
    "registry": "production keeps every model: a database, an object store, back-ups, and protected from deletion",
    "monitoring": "longer retention, and volumes of that size, where history matters",
}
"""Why the environments differ, by the first word of a setting."""


def table() -> str:
    """Every setting in which the stacks differ, with the defaults where a stack says nothing."""
    settings = {stack: _settings(stack) for stack in STACKS}
    rows = ["| setting | dev | staging | prod | why |", "|---|---|---|---|---|"]
    told: set[str] = set()
    for key in sorted({key for found in settings.values() for key in found}):
        values = [settings[stack].get(key, "–") for stack in STACKS]
        area = key.split(".")[0]
        if len(set(values)) > 1 and area in WHY:
            rows.append(f"| `{key}` | {' | '.join(values)} | {'' if area in told else WHY[area]} |")
            told.add(area)
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """The page with its table renewed."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


def _settings(stack: str) -> dict[str, str]:
    config = yaml.safe_load((FOLDER.parent / "stacks" / f"Pulumi.{stack}.yaml").read_text())["config"]
    own = {key.removeprefix("modelops:"): value for key, value in config.items() if key.startswith("modelops:")}
    secrets = {key for key, value in own.items() if isinstance(value, dict) and "secure" in value}
    raw = {key: value for key, value in own.items() if key not in secrets}
    # A local stack's registry is the platform's.
    if "promote" not in raw:
        raw.setdefault("images", {"registry": "local"})
    settings = Settings.model_validate({"namespace": f"modelops-{stack}", **raw})
    return dict(_flat(settings.model_dump(exclude_none=True)))


def _flat(values: dict[str, Any], *path: str) -> list[tuple[str, str]]:
    found = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, *path, key)
        elif not isinstance(value, list):
            found.append((".".join((*path, key)), str(value)))
    return found


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
