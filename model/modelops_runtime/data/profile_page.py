"""The page of a profile: one file without scripts, that opens anywhere and asks nobody."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelops_runtime.data.profile import Column, Profile

LITTLE, MUCH = 0.1, 0.25
"""Population stability: below the first nothing has changed, above the second a lot has."""
WORDS = {
    "counted": "text, dates or lists: rows are counted, values are not shown",
    "protected": "protected by a step: values are not shown",
}
WIDTH, HEIGHT = 320, 90
TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Data {{ version }}</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere } p { margin: .3rem 0 }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(21rem, 1fr)); gap: 1rem }
article { border: 1px solid #ccc; border-radius: .5rem; padding: .8rem } article p, td, th { font-size: .85rem }
table { border-collapse: collapse; width: 100% } th { text-align: left; font-weight: normal } td { text-align: right }
svg { width: 100% } .train { fill: #9ec5e8 } .validation { stroke: #d9822b } .test { stroke: #2d7d46 }
polyline { fill: none; stroke-width: 1.5 } text { font-size: 10px }
.much { color: #b00020; font-weight: bold } .little { color: #8a5a00 } .key span { margin-right: 1rem }
.key i { display: inline-block; width: 1.2rem; height: .6rem; margin-right: .3rem }
</style></head><body>
<h1>Data {{ version }}</h1>
<p>{% for part, count in rows.items() -%}
{{ part }} {{ "{:,}".format(count) }} rows{{ ", " if not loop.last }}
{%- endfor %}.
{% if before %}Drift is the population stability index of the training split against version {{ before }}:
below {{ little }} nothing has changed, above {{ much }} a lot has.
{% else %}There is no version before to compare with.
{% endif %}
{% if left_out %}{{ left_out }} more columns are not shown.{% endif %}
Edges of numbers are round; values that fewer than {{ least }} rows have are among the others.</p>
<p class="key"><span><i style="background:#9ec5e8"></i>train</span>
<span><i style="background:#d9822b"></i>validation</span>
<span><i style="background:#2d7d46"></i>test</span></p>
<main>
{% for column in columns %}<article><h2>{{ column.name }}</h2>
<p>{% if column.drift is not none -%}
<span class="{{ column.class }}">drift {{ "%.3f" % column.drift }}</span>,
{%- elif before %}new or of another kind, {% endif %}
missing: {% for part, share in column.missing.items() -%}
{{ part }} {{ "%.1f" % (share * 100) }} %{{ ", " if not loop.last }}
{%- endfor %}</p>
{% if column.words %}<p>{{ column.words }}</p>{% endif %}
{% if column.bars %}<svg viewBox="0 0 {{ width }} {{ height + 14 }}" role="img" aria-label="{{ column.name }}">
{% for x, y, wide, high in column.bars -%}
<rect class="train" x="{{ x }}" y="{{ y }}" width="{{ wide }}" height="{{ high }}"/>
{%- endfor %}
{% for part, points in column.lines.items() %}<polyline class="{{ part }}" points="{{ points }}"/>{% endfor %}
<text x="0" y="{{ height + 12 }}">{{ column.low }}</text>
<text x="{{ width }}" y="{{ height + 12 }}" text-anchor="end">{{ column.high }}</text>
</svg>{% endif %}
{% if column.table %}<table><tr><th></th>{% for part in rows %}<td>{{ part }}</td>{% endfor %}</tr>
{% for name, shares in column.table -%}
<tr><th>{{ name }}</th>{% for share in shares %}<td>{{ "%.1f" % (share * 100) }} %</td>{% endfor %}</tr>
{% endfor %}</table>{% endif %}
</article>
{% endfor %}</main></body></html>
"""


def render(version: str, profile: "Profile") -> str:
    import jinja2

    from modelops_runtime.data.profile import LEAST_ROWS

    drift = profile.drift or {}
    columns = sorted(profile.columns, key=lambda column: -(drift.get(column.name) or 0))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE).render(
        version=version,
        rows=profile.rows,
        before=profile.before if profile.drift is not None else "",
        left_out=profile.left_out,
        columns=[_shown(column, drift.get(column.name)) for column in columns],
        **{"little": LITTLE, "much": MUCH, "least": LEAST_ROWS, "width": WIDTH, "height": HEIGHT},
    )


def _shown(column: "Column", drift: float | None) -> dict[str, Any]:
    """What the template has of a column."""
    shares = {part: column.shares(part) for part in column.counts}
    shown: dict[str, Any] = {
        "name": column.name,
        "drift": drift,
        "class": "" if drift is None or drift < LITTLE else "little" if drift < MUCH else "much",
        "missing": {part: found[-1] for part, found in shares.items()},
        "words": WORDS.get(column.kind, ""),
        "bars": [],
        "table": [],
    }
    if column.kind == "number":
        shown |= _chart(column, {part: found[:-1] for part, found in shares.items()})
    elif column.kind == "values":
        names = [*column.values, "others"]
        shown["table"] = [
            (name, of_parts)
            for place, name in enumerate(names)
            if any(of_parts := [found[place] for found in shares.values()])
        ]
    return shown


def _chart(column: "Column", shares: dict[str, list[float]]) -> dict[str, Any]:
    """Bars of the training split, and a line for each other part."""
    highest = max(max(found) for found in shares.values()) or 1
    wide = WIDTH / column.size
    heights = {part: [round(share / highest * HEIGHT, 1) for share in found] for part, found in shares.items()}
    return {
        "bars": [
            (round(place * wide, 1), round(HEIGHT - high, 1), round(wide - 1, 1), high)
            for place, high in enumerate(heights["train"])
        ],
        "lines": {
            part: " ".join(f"{(place + 0.5) * wide:.1f},{HEIGHT - high:.1f}" for place, high in enumerate(found))
            for part, found in heights.items()
            if part != "train"
        },
        "low": f"< {column.edges[0]:g}",
        "high": f"≥ {column.edges[-1]:g}",
    }
