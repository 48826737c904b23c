"""What one entry of `preprocessing.json` does to one column, in the pipeline and in the server alike. NumPy alone.

Values come as float64, or as objects: texts and dates, `None` or NaN where one is missing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from modelops_runtime.artifacts.manifest import takes_text
from modelops_runtime.contract import is_number

Array = npt.NDArray[Any]
Operation = Mapping[str, Any]
"""`column`, `kind`, and what KINDS lists for its kind."""
Apply = Callable[[Array], list[Array]]
Numbers = Mapping[str, Array]
KINDS: Mapping[str, Sequence[str]] = {
    "fill": (),
    "clip": ("low", "high"),
    "interval": ("width",),
    "first": ("characters",),
    "dates": (),
    "standard": ("mean", "deviation"),
    "minmax": ("minimum", "maximum"),
    "one_hot": (),
    "ordinal": (),
    "words": ("size",),
}
"""Each with the numbers that it needs. `fill` has a `value`, number or text; `dates` has `parts`, maybe a `zone` and
`keep`; `one_hot` and `ordinal` have `categories`, `unknown` and `missing`; `words` has `vectors`: `size` numbers for
each known word."""
PARTS: Mapping[str, Callable[[datetime], int]] = {
    "year": lambda time: time.year,
    "month": lambda time: time.month,
    "day": lambda time: time.day,
    "weekday": lambda time: time.weekday(),
    "hour": lambda time: time.hour,
    "minute": lambda time: time.minute,
    "day_of_year": lambda time: time.timetuple().tm_yday,
}
RULES = {
    "category": "is a category that the model was not trained with",
    "missing": "is missing",
    "date": "must be an ISO 8601 date or time",
}
_WORD = re.compile(r"\w+")
_YEAR_OR_MONTH = re.compile(r"\d{4}(-\d{2})?")


class BadValue(ValueError):
    """A value that an operation doesn't take. `rows` are the positions where one stands, `rule` is a key of RULES."""

    def __init__(self, column: str, rows: Sequence[int], rule: str) -> None:
        super().__init__(f"column {column}: {RULES[rule]}")
        self.column, self.rows, self.rule = column, rows, rule


def columns_of(operation: Operation) -> list[str]:
    """The columns that replace an operation's column."""
    column, kind = operation["column"], operation["kind"]
    if kind == "one_hot":
        names = [f"{column}={category}" for category in operation["categories"]]
        return [*names, f"{column}_missing"] if on_missing(operation) == "category" else names
    if kind == "words":
        return [f"{column}_{number}" for number in range(operation["size"])]
    if kind == "dates":
        return [*([column] if operation.get("keep") else []), *(f"{column}_{part}" for part in operation["parts"])]
    return [column]


def on_missing(operation: Operation) -> str:
    """What an encoding makes of a missing value: `category`, `zeros` or `error`."""
    unknown = operation.get("unknown", "error")
    return str(operation.get("missing", unknown))


def apply(operation: Operation, values: Array) -> list[Array]:
    """The columns (see `columns_of`) that `values`, one column of any length, becomes: float64, but for texts.

    standard: z = (x − μ)/σ, σ being the population's. minmax: (x − min)/(max − min). A constant column becomes 0.
    interval: the lower end of x's interval. words: the mean of the known words' vectors, zeros where there is none.
    Missing values stay missing but in fill, the encodings and words.

    Raises BadValue.
    """
    return applied([operation])([values])


def are_alike(first: Operation, second: Operation) -> bool:
    """Whether two operations, on columns of their own, are one on both columns: it calculates each number by others."""
    return first["kind"] == second["kind"] and first["kind"] in _BY_NUMBERS


def applied(operations: Sequence[Operation]) -> Callable[[Sequence[Array]], list[Array]]:
    """What `apply` does by an operation, or by alike ones to a column each. What follows from the operations alone is
    done once, here."""
    [kind] = {operation["kind"] for operation in operations}
    if kind in _BY_NUMBERS:
        calculate = _BY_NUMBERS[kind]
        # Of each operation, in a column that NumPy spreads over the rows.
        by = {key: np.array([[each[key]] for each in operations], dtype="float64") for key in KINDS[kind]}
        return lambda columns: list(calculate(by, np.array(columns, dtype="float64")))
    [operation] = operations
    does, is_text = _BY_VALUES[kind](operation), takes_text(operation)
    return lambda columns: does(columns[0] if is_text else columns[0].astype("float64"))


def is_missing(values: Array) -> Array:
    """Where there is no value."""
    missing: Array = values != values
    return missing | (values == None) if values.dtype == object else missing  # noqa: E711  # of each element


def as_text(value: object) -> str:
    """One text a value, however its table has it: 7.0 in a column with missing values is the 7 of one without."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def moment(value: object, zone: ZoneInfo | None = None) -> datetime:
    """A date or time as it is written, in the zone that it has itself; one with a zone or offset in `zone`, if given.

    Raises ValueError.
    """
    if isinstance(value, str):
        text = value.strip()
        text += "-01-01"[len(text) - 4 :] if _YEAR_OR_MONTH.fullmatch(text) else ""
        time = datetime.fromisoformat(text)
    elif isinstance(value, datetime):
        time = value
    elif isinstance(value, date):
        time = datetime(value.year, value.month, value.day)
    else:
        raise ValueError("no date")
    try:
        return time if zone is None or time.tzinfo is None else time.astimezone(zone)
    except OverflowError as error:
        raise ValueError("no date in this zone") from error


def words(text: object) -> list[str]:
    """The words of a text, in lower case; none of a missing one."""
    return [] if text is None or text != text else _WORD.findall(str(text).lower())


def _clip(by: Numbers, values: Array) -> Array:
    clipped: Array = np.clip(values, by["low"], by["high"])
    return clipped


def _interval(by: Numbers, values: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        ends = np.floor(values / by["width"]) * by["width"]
    return np.where(np.isinf(ends), values, ends)  # an interval narrower than the distance to the next number


def _standard(by: Numbers, values: Array) -> Array:
    return (values - by["mean"]) / _or_one(by["deviation"])


def _minmax(by: Numbers, values: Array) -> Array:
    return (values - by["minimum"]) / _or_one(by["maximum"] - by["minimum"])


def _or_one(divisors: Array) -> Array:
    return np.where(divisors == 0, 1.0, divisors)


_BY_NUMBERS: Mapping[str, Callable[[Numbers, Array], Array]] = {
    "clip": _clip,
    "interval": _interval,
    "standard": _standard,
    "minmax": _minmax,
}
"""By the operations' numbers, one row for each (operations × 1), the columns' new values (operations × rows)."""


def _fill(operation: Operation) -> Apply:
    filler = operation["value"]

    def fill(values: Array) -> list[Array]:
        filled = values.astype(object) if isinstance(filler, str) else values.copy()
        filled[is_missing(values)] = filler
        return [filled]

    return fill


def _first(operation: Operation) -> Apply:
    def first(values: Array) -> list[Array]:
        missing, cut = is_missing(values), np.full(len(values), None, dtype=object)
        cut[~missing] = [as_text(value)[: operation["characters"]] for value in values[~missing].tolist()]
        return [cut]

    return first


def _dates(operation: Operation) -> Apply:
    zone = ZoneInfo(operation["zone"]) if operation.get("zone") else None
    parts = [PARTS[part] for part in operation["parts"]]

    def dates(values: Array) -> list[Array]:
        rows = np.flatnonzero(~is_missing(values))
        times: dict[Any, list[int]] = {}
        for row, value in zip(rows.tolist(), values[rows].tolist(), strict=True):
            if value in times:
                continue
            try:
                time = moment(value, zone)
            except ValueError:
                raise BadValue(operation["column"], [row], "date") from None
            times[value] = [part(time) for part in parts]
        table = np.full((len(parts), len(values)), np.nan)
        if len(rows):
            table[:, rows] = np.array([times[value] for value in values[rows].tolist()], dtype="float64").T
        return [*([values] if operation.get("keep") else []), *table]

    return dates


def _encode(operation: Operation) -> Apply:
    """Unknown and missing categories are zeros in each column, or −1 in order; a missing one may be the last."""
    places = {category: place for place, category in enumerate(operation["categories"])}
    is_ordinal, width = operation["kind"] == "ordinal", len(columns_of(operation))

    def encode(values: Array) -> list[Array]:
        codes = np.array([places.get(value, -1) for value in values.tolist()], dtype="int64")
        if codes.min(initial=0) < 0:
            codes = _with_unknown(operation, values, codes)
        if is_ordinal:
            return [codes.astype("float64")]
        known = np.flatnonzero(codes >= 0)
        table = np.zeros((width, len(values)))
        table[codes[known], known] = 1
        return list(table)

    return encode


def _with_unknown(operation: Operation, values: Array, codes: Array) -> Array:
    """The codes, where some are −1: those of missing values may be another."""
    missing = is_missing(values)
    codes[missing] = len(operation["categories"]) if on_missing(operation) == "category" else -1
    for rule, bad, treatment in (
        ("missing", missing, on_missing(operation)),
        ("category", ~missing & (codes < 0), operation.get("unknown", "error")),
    ):
        if treatment == "error" and bad.any():
            raise BadValue(operation["column"], np.flatnonzero(bad).tolist(), rule)
    return codes


def _words(operation: Operation) -> Apply:
    def mean_words(values: Array) -> list[Array]:
        return list(np.array([_mean_vector(operation, text) for text in values]).reshape(len(values), -1).T)

    return mean_words


def _mean_vector(operation: Operation, text: object) -> Array:
    vectors = operation["vectors"]
    known_vectors = [vectors[word] for word in words(text) if word in vectors]
    return np.mean(np.array(known_vectors, dtype="float64"), axis=0) if known_vectors else np.zeros(operation["size"])


_BY_VALUES: Mapping[str, Callable[[Operation], Apply]] = {
    "fill": _fill,
    "first": _first,
    "dates": _dates,
    "one_hot": _encode,
    "ordinal": _encode,
    "words": _words,
}


def problem_of(operation: object, columns: set[str]) -> str:
    """What is wrong with an entry where there are these columns; nothing: empty."""
    if not isinstance(operation, dict) or operation.get("kind") not in KINDS:
        return f"must have a kind of {', '.join(sorted(KINDS))}"
    kind = operation["kind"]
    if operation.get("column") not in columns:
        return "must name a column that is there"
    if kind == "words":
        return _words_problem(operation.get("size"), operation.get("vectors"))
    if not all(is_number(operation.get(key)) for key in KINDS[kind]):
        return f"must have the number{'s' * (len(KINDS[kind]) > 1)} {' and '.join(KINDS[kind])}"
    if kind == "fill" and not (isinstance(operation.get("value"), str) or is_number(operation.get("value"))):
        return "must have a number or text as its value"
    if kind == "dates":
        return _dates_problem(operation.get("parts"), operation.get("zone"))
    if kind in ("one_hot", "ordinal"):
        return _categories_problem(operation.get("categories"))
    return ""


def _dates_problem(parts: object, zone: object) -> str:
    if not isinstance(parts, list) or not parts or not set(parts) <= set(PARTS):
        return f"must have parts of {', '.join(PARTS)}"
    return "" if zone is None or zone_of(zone) else f"must have a zone of the IANA database, not {zone!r}"


def zone_of(name: object) -> ZoneInfo | None:
    """The time zone of a name in the IANA database; None where it has none, or is not there."""
    try:
        return ZoneInfo(str(name))
    except (OSError, ValueError, LookupError):
        return None


def _categories_problem(categories: object) -> str:
    if not isinstance(categories, list) or not categories:
        return "must have a list of categories"
    if not all(isinstance(category, str) or is_number(category) for category in categories):
        return "must have text or numbers as categories"
    return ""


def _words_problem(size: object, vectors: object) -> str:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return "must have a size of at least 1"
    if not isinstance(vectors, dict) or not vectors:
        return "must have vectors by word"
    if not all(
        isinstance(vector, list) and len(vector) == size and all(map(is_number, vector)) for vector in vectors.values()
    ):
        return f"must have {size} numbers for each word"
    return ""
