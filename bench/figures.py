"""How each figure is read from what the programs have left in bench/results."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Results = Mapping[str, Any]
"""What the files have, by their names."""


@dataclass(frozen=True)
class Measured:
    """What a line's figure is, and what it is made from. Without a figure, `note` says why."""

    value: float | None
    runs: int = 0
    ours: str = "–"
    reference: str = "–"
    note: str = ""


def rows(results: Results, file: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a file of servers' figures."""
    found = results.get(file, [])
    return found if isinstance(found, list) else found["rows"]


def spread(numbers: Mapping[str, float] | None, unit: str) -> str:
    """Median and quartiles."""
    if not numbers:
        return "–"
    middle, low, high = (f"{numbers[name]:,.{_digits(numbers['median'])}f}" for name in ("median", "low", "high"))
    return f"{middle} {unit}" if low == high else f"{middle} ({low}–{high}) {unit}"


def _digits(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2


def served(file: str, title: str) -> Callable[[Results], Measured | None]:
    """A row of a server's figures: its ratio where there is a reference, else its median."""

    def read(results: Results) -> Measured | None:
        row = next((each for each in rows(results, file) if each["row"].startswith(title)), None)
        if row is None:
            return None
        if row["ours"] is None:
            return Measured(None, note=row["error"])
        value = row["ours"]["median"] if row["ratio"] is None else row["ratio"]
        ours, reference = spread(row["ours"], row["unit"]), spread(row["reference"], row["unit"])
        return Measured(
            value, len(row["runs"]["ours"]), ours, reference, row["row"][len(title) :].strip(" ,()").replace("),", ",")
        )

    return read


def in_turns(ours: Sequence[float], others: Sequence[float], unit: str, note: str) -> Measured:
    """How many times the others' figures ours are: the median of the turns' ratios."""
    ratio = statistics.median(mine / other for mine, other in zip(ours, others, strict=True))
    cells = (spread(quartiles(each), unit) for each in (ours, others))
    return Measured(round(ratio, 3), len(ours), *cells, note)


def prepared(program: str) -> Callable[[Results], Measured | None]:
    """How many times as fast as the script a number of workers is."""

    def read(results: Results) -> Measured | None:
        beside = results.get("data_pipeline", {}).get("beside", {})
        if program not in beside:
            return None
        ours, script = ([turn["seconds"] for turn in beside[each]] for each in (program, "by hand"))
        found = in_turns(ours, script, "s", f"{beside['rows']:,} rows")
        speed = statistics.median(other / mine for mine, other in zip(ours, script, strict=True))
        return replace(found, value=round(speed, 3))

    return read


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles; of one value, that."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return {"low": low, "median": middle, "high": high}


def launched(results: Results) -> Measured | None:
    """From a training's Job to its pods, beside a plain Job of the same pods."""
    if not (found := results.get("training_job")):
        return None
    seconds = found["seconds_from_the_job"]
    return in_turns(
        seconds["TrainingJob"], seconds["plain Indexed Job of the same pods"], "s", "from the Job to its pods"
    )


def imported(results: Results) -> Measured | None:
    """The import of the library and of what it builds on, beside the latter alone."""
    found = results.get("imports")
    return found and in_turns(found["ours"], found["alone"], "processor s", "")


def trained(results: Results) -> Measured | None:
    """What the most trainings in one stack cost beside as many plain Jobs."""
    if not (counts := results.get("trainings")):
        return None
    count = max(counts, key=int)
    found = counts[count]["medians"]
    cells = (f"{found[kind]['work']:.3g} processor s" for kind in ("training", "plain"))
    return Measured(found["training"]["ratio"], len(counts[count]["runs"]["training"]), *cells, f"{count} trainings")


def previewed(results: Results) -> Measured | None:
    """A preview of each number of services, beside the plain program: the worst of the ratios."""
    if not (found := results.get("service_previews")):
        return None
    by_count = {int(count): in_turns(each["ours"], each["plain"], "s", "") for count, each in found["seconds"].items()}
    ratios = {count: each.value or 0 for count, each in by_count.items()}
    low, high = min(ratios), max(ratios)
    note = ", ".join(f"{count}: {ratio:.3g} ×" for count, ratio in sorted(ratios.items()))
    if low != high:
        medians = [
            [statistics.median(found["seconds"][str(n)][side]) for n in (low, high)] for side in ("ours", "plain")
        ]
        ours, plain = (last - first for first, last in medians)
        note += f"; each service more: {ours / plain:.3g} ×"
    worst = by_count[max(ratios, key=lambda count: ratios[count])]
    return replace(worst, note=note)


def rendering_time(results: Results) -> Measured | None:
    """One of the last tenth of the renderings beside one of the first."""
    if not (found := results.get("rendering")):
        return None
    seconds = found["seconds"]
    tenth = len(seconds) // 10
    ours, first = seconds[-tenth:], seconds[:tenth]
    ratio = statistics.median(ours) / statistics.median(first)
    cells = (spread(quartiles(each), "processor s") for each in (ours, first))
    return Measured(round(ratio, 3), tenth, *cells, _times(found))


def rendering_memory(results: Results) -> Measured | None:
    """Memory after all renderings beside that after the first tenth."""
    if not (found := results.get("rendering")):
        return None
    first, *_, last = found["megabytes"]
    return Measured(round(last / first, 3), len(found["seconds"]), f"{last:.0f} MB", f"{first:.0f} MB", _times(found))


def _times(found: Mapping[str, Any]) -> str:
    return f"{len(found['seconds']):,} times, {found['resources']} resources"


def image_unchanged(results: Results) -> Measured | None:
    """A build of unchanged sources beside one without the cache."""
    found = results.get("images")
    return found and in_turns(found["unchanged"], found["cold"], "s", "the serving image, by buildctl")


def image_pushed(results: Results) -> Measured | None:
    """Bytes pushed after a line of code more, beside those of the whole image."""
    if not (found := results.get("images")):
        return None
    changed, cold = ([size / 1000 for size in found[name]] for name in ("changed bytes", "cold bytes"))
    return in_turns(changed, cold, "kB", "the serving image")


def image_digests(results: Results) -> Measured | None:
    """How many images builds without the cache have made of the same sources."""
    if not (found := results.get("images")):
        return None
    return Measured(
        len(set(found["digests"])), len(found["digests"]), note="in other folders, with other times and modes"
    )


def updated(ours: str, other: str, without: str = "") -> Callable[[Results], Measured | None]:
    """An `up` of many services beside another tool with the same objects; `without` says why there may be none."""

    def read(results: Results) -> Measured | None:
        if not (found := results.get("service_updates")):
            return None
        seconds, note = found["seconds"], f"{found['services']} services, nothing of them runs"
        return in_turns(seconds[ours], seconds[other], "s", note) if other in seconds else Measured(None, note=without)

    return read


def larger_models(results: Results) -> Measured | None:
    """Larger models beside their bare runtimes: the worst of the ratios."""
    if not (found := rows(results, "larger")):
        return None
    worst = min(found, key=lambda each: each["ratio"])
    ours, reference = (spread(worst[side], worst["unit"]) for side in ("ours", "reference"))
    note = "; ".join(f"{each['row']}: {each['ratio']:.3g} ×" for each in found)
    return Measured(worst["ratio"], len(worst["runs"]["ours"]), ours, reference, note)
