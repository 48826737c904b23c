"""Draws the dashboards: `python -m tests.cluster.monitoring.render PROMETHEUS NAMESPACE FOLDER [MINUTES]`.

A rendering, not Grafana: the panels' places, queries, kinds and units are the dashboards', the drawing is matplotlib's,
which has to be installed (`pip install matplotlib`).
"""

import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import dates, pyplot, ticker
from matplotlib.axes import Axes

from modelops.core.assets import assets
from tests.cluster.monitoring.panels import Query, ask, over_time, queries, search, series

ROW_INCHES, WIDTH_INCHES, DOTS_PER_INCH = 0.30, 15.0, 72
_SCALES = {
    "bytes": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")),
    "s": ((60, "min"), (1, "s"), (1e-3, "ms")),
}


def shown(value: float, unit: str) -> str:
    """A value as a person reads it."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    for size, name in _SCALES.get(unit.removesuffix("ps").replace("B", "bytes"), _SCALES.get(unit, ())):
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    suffix = {"reqps": "/s", "currencyUSD": " $", "ms": " ms"}.get(unit, "")
    return f"{value:.3g}{suffix}"


def legend(text: str, labels: Mapping[str, str]) -> str:
    """Grafana's `{{label}}` filled in."""
    for key, value in labels.items():
        text = text.replace("{{" + key + "}}", value)
    return text


def single(axes: Axes, unit: str, results: list[dict[str, Any]]) -> None:
    """A stat: one value, large."""
    text = shown(float(results[0]["value"][1]), unit) if results else "no data"
    axes.text(0.5, 0.42, text, ha="center", va="center", fontsize=20, transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def bars(axes: Axes, query: Query, results: list[dict[str, Any]]) -> None:
    """A bar gauge."""
    names = [legend(query.legend, each["metric"]) for each in results]
    values = [float(each["value"][1]) for each in results]
    axes.barh(names, values, color="C0")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: shown(value, query.unit)))


def lines(axes: Axes, asked: list[Query], results: list[list[dict[str, Any]]]) -> None:
    """A time series, one line for each series."""
    for query, found in zip(asked, results, strict=True):
        for each in found:
            when = [datetime.fromtimestamp(float(at), UTC) for at, _ in each["values"]]
            axes.plot(when, [float(value) for _, value in each["values"]], linewidth=1.2, marker=".", markersize=2,
                      label=legend(query.legend, each["metric"]))  # fmt: skip
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: shown(value, asked[0].unit)))
    handles = axes.get_legend_handles_labels()[0]
    if not handles:
        axes.text(0.5, 0.5, "no data", ha="center", va="center", color="grey", transform=axes.transAxes)
    elif len(handles) <= 6:
        axes.legend(fontsize=6, loc="upper left", framealpha=0.6)
    axes.grid(alpha=0.3)


def words(axes: Axes, found: list[str]) -> None:
    """The newest lines."""
    axes.text(0.005, 0.97, "\n".join(line[:220] for line in found[:30]), ha="left", va="top", fontsize=6,
              family="monospace", transform=axes.transAxes)  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])


def draw(
    name: str, url: str, asked: list[Query], minutes: float, target: Path, logs: Callable[[Any], Any] | None = None
) -> None:
    """One dashboard. `logs` asks Elasticsearch a search, where it is there to be asked."""
    document = json.loads(assets("monitoring/assets/dashboards")[f"{name}.json"])
    end = time.time()
    start = end - 60 * minutes
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in document["panels"]) + 2
    figure = pyplot.figure(figsize=(WIDTH_INCHES, height * ROW_INCHES), dpi=DOTS_PER_INCH)
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    note = f"{document['title']}: rendered by matplotlib from a test run's data ({day}, UTC), not by Grafana"
    figure.text(0.01, 1 - 0.8 / height, note, fontsize=10)
    by_panel = {title: list(group) for title, group in itertools.groupby(asked, lambda query: query.panel)}
    for panel in document["panels"]:
        place = panel["gridPos"]
        top = 1 - (place["y"] + 1.5) / height
        if panel["type"] == "row":
            figure.text(0.01, top - 0.8 / height, panel["title"], fontsize=10, weight="bold")
            continue
        box = (place["x"] / 24 + 0.035, top - (place["h"] - 1.0) / height)
        axes = figure.add_axes((*box, place["w"] / 24 - 0.045, (place["h"] - 2.2) / height))
        axes.set_title(panel["title"], fontsize=8, loc="left")
        axes.tick_params(labelsize=6)
        wanted = by_panel.get(panel["title"], [])
        if "metrics" in wanted[0].target:
            if logs is None:
                axes.text(0.5, 0.5, "from Elasticsearch", ha="center", color="grey", transform=axes.transAxes)
                continue
            answer = logs(search(wanted[0], start, end))
            if panel["type"] == "logs":
                # An empty line has no message.
                words(axes, [hit["_source"].get("message", "") for hit in answer["hits"]["hits"]])
            else:
                lines(axes, wanted, [series(wanted[0], answer)])
        elif panel["type"] == "stat":
            single(axes, wanted[0].unit, ask(url, wanted[0].expression))
        elif panel["type"] == "bargauge":
            bars(axes, wanted[0], ask(url, wanted[0].expression))
        else:
            lines(axes, wanted, [over_time(url, query.expression, start, end) for query in wanted])
    figure.savefig(target / f"{name}.png")
    pyplot.close(figure)


def asked_by(name: str, namespace: str) -> list[Query]:
    """All that a dashboard asks, of either data source."""
    both = itertools.chain(queries(namespace), queries(namespace, "elasticsearch"))
    return [query for query in both if query.dashboard == name]


def main(url: str, namespace: str, folder: str, minutes: str = "10") -> None:
    """Draws all of them into a folder."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name in (file.removesuffix(".json") for file in assets("monitoring/assets/dashboards")):
        draw(name, url, asked_by(name, namespace), float(minutes), target)


if __name__ == "__main__":
    main(*sys.argv[1:])
