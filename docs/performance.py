"""Writes performance.md and its picture from bench/results: `python -m docs.performance`."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from bench.figures import Measured, Results, rows, spread
from bench.table import LEAST_RUNS, Line, judged, load

FOLDER = Path(__file__).resolve().parent
PAGE, PICTURE = FOLDER / "performance.md", FOLDER / "performance.svg"
BEGIN, END = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"
SERVERS = {
    "latest": "The model server",
    "protocol": "Our HTTP protocol class, and uvicorn's own",
    "transports": "HTTP and gRPC",
    "larger": "Larger models and their bare runtimes",
    "mlflow": "Models of plain MLflow",
}
"""Files with rows of the same form, with their headings."""
WIDTH, LABEL, STEP, MOST = 940, 580, 22, 4.0
_DARK, _GOOD, _BAD = "#444", "#2a7f62", "#b3452c"


def table(results: Results) -> Iterator[str]:
    """The lines that have a goal."""
    yield "| what | beside | ours | the other | figure | goal | met | runs |\n" + "|---" * 8 + "|"
    for line, found, met in judged(results):
        runs = "" if not found.runs else f"{found.runs}" if found.runs >= LEAST_RUNS else f"{found.runs}, too few"
        cells = (
            line.what,
            line.against,
            found.ours,
            found.reference,
            _figure(line, found),
            line.limit,
            met,
            runs or "–",
        )
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def _figure(line: Line, found: Measured) -> str:
    figure = "" if found.value is None else f"{found.value:.3g} {line.limit.unit}"
    return ", ".join(part for part in (figure, found.note) if part)


def summary(results: Results) -> str:
    """How many goals are met."""
    states = [met for _, _, met in judged(results)]
    met, measured = states.count("yes"), len(states) - states.count("?")
    return f"{met} of {measured} measured goals are met; {len(states) - measured} of {len(states)} have no result yet."


def others(results: Results) -> Iterator[str]:
    """Everything that the files have besides."""
    for file, heading in SERVERS.items():
        if not rows(results, file):
            continue
        yield f"\n## {heading}\n\n`bench/results/{file}.json`\n"
        yield "| row | ours | the other | ratio |\n|---|---|---|---|"
        for row in rows(results, file):
            yield f"| {' | '.join(_cells(row))} |"
        if conditions := next((row["conditions"] for row in rows(results, file) if "conditions" in row), None):
            yield "\n" + "; ".join(f"{name} {value}" for name, value in conditions.items()) + "."
    if found := results.get("data_pipeline"):
        yield "\n## The data pipeline's engines and workers\n\n`bench/results/data_pipeline.json`\n"
        yield from _plain(found["figures"])
        yield "\n" + "; ".join(f"{name} {value}" for name, value in found["machine"].items()) + "."
    for count, made in sorted(results.get("trainings", {}).items(), key=lambda item: int(item[0])):
        yield f"\n## {count} trainings in one stack\n\n`bench/results/trainings.json`\n"
        yield from _plain([{"program": kind, **medians} for kind, medians in made["medians"].items()])
        yield "\n" + "; ".join(f"{name} {value}" for name, value in made["machine"].items()) + "."


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row["ours"] is None:
        return row["row"], row["error"], "–", "–"
    ratio = "–" if row["ratio"] is None else f"{row['ratio']:g} ×"
    return row["row"], spread(row["ours"], row["unit"]), spread(row["reference"], row["unit"]), ratio


def _plain(figures: list[dict[str, Any]]) -> Iterator[str]:
    names = list(figures[0])
    yield f"| {' | '.join(name.replace('_', ' ') for name in names)} |\n" + "|---" * len(names) + "|"
    for each in figures:
        cells = (f"{each[name]:,.4g}" if isinstance(each[name], float) else f"{each[name]}" for name in names)
        yield f"| {' | '.join(cells)} |"


def page(text: str, results: Results) -> str:
    """The page with what is generated renewed."""
    before, _, rest = text.partition(BEGIN)
    made = "\n".join([summary(results), "", *table(results), *others(results)])
    return before + BEGIN + made + "\n" + END + rest.partition(END)[2]


def picture(results: Results) -> str:
    """A bar for each figure, as long as it is times its goal; a line where the goal is."""
    found = [(line.title, line.limit.share(each.value)) for line, each, _ in judged(results) if each.value]
    height = STEP * (len(found) + 2)
    scale = (WIDTH - LABEL - 60) / MOST
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"',
        '  font-size="12">',
        "<title>Each figure as a multiple of its goal</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (what, share) in enumerate(found):
        y = STEP * (number + 1)
        bar = min(share, MOST) * scale
        label = escape(what.replace("`", ""))
        parts += [
            f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end" fill="{_DARK}">{label}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{bar:.1f}" height="16" fill="{_GOOD if share >= 1 else _BAD}"/>',
            f'<text x="{LABEL + bar + 5:.1f}" y="{y + 12}" fill="{_DARK}">{share:.2g} ×</text>',
        ]
    x = LABEL + scale
    parts += [
        f'<path d="M{x:.1f} {STEP - 6}V{height - STEP}" stroke="{_DARK}" stroke-dasharray="4 3"/>',
        f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle" fill="{_DARK}">goal</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def console(results: Results) -> Iterator[str]:
    """The table for a terminal."""
    for line, found, met in judged(results):
        yield f"{met.strip('*'):<4}{line.title}: {_figure(line, found)} (goal {line.limit})"
    yield summary(results)


def write(results: Results) -> None:
    """Renews the page and its picture."""
    PAGE.write_text(page(PAGE.read_text(), results))
    PICTURE.write_text(picture(results))


if __name__ == "__main__":
    write(load())
