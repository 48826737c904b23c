"""The types of columns that a text format has no types for: as declared, or as all of their values suggest.

Values come as text, whatever the format: a value's type never depends on the rows beside it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelops_runtime.data.nested import JSON, parsed

Type = Literal["number", "integer", "unsigned", "text", "boolean", "json"]
Kinds = frozenset[str]
"""What a column may be by the values seen so far: types, and WORDS, MIXED and COMMA."""
ARROW: dict[str, Any] = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "unsigned": pa.uint64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "json": JSON,
}
WORDS, MIXED, COMMA = "words", "mixed", "comma"
"""All values are words that often stand for a missing one; numbers or such words; numbers, some with a comma."""
ANY: Kinds = frozenset({*get_args(Type), WORDS, MIXED, COMMA})
OF_TEXT: Kinds = frozenset({"boolean", "integer", "unsigned", "number", "text", WORDS, MIXED, COMMA})
TEXT: Kinds = frozenset({"text"})
_MISSING_WORDS = "|".join(
    re.escape(word) for word in ("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "?", "-", "--", ".", "missing")
)
_NOT_FINITE = r"(?i)^[+-]?(nan|inf|infinity)$"
_WORD = rf"(?i)^([+-]?inf(inity)?|{_MISSING_WORDS})$"
_WITH_COMMA = r"^[+-]?(\d[\d.' ]*)?(,\d+)*(\.\d+)?$"
_BOOLEANS = pa.array(["true", "True", "TRUE", "false", "False", "FALSE"])
_PROBE = 64
_LONGEST_EXACT = 15
"""So many digits a float64 always keeps."""
_LONG_WHOLE = rf"^\s*[+-]?\d{{{_LONGEST_EXACT + 1},}}(\.0*)?\s*$"
_ROUNDED = "is a whole number that double precision would round: its type must be integer, unsigned or text"


class WrongValue(Exception):
    """A value does not fit its column's type."""

    def __init__(self, row: int, rule: str) -> None:
        super().__init__(rule)
        self.row, self.rule = row, rule


@dataclass(frozen=True)
class Numerals:
    """How numbers are written, and the words for a missing value."""

    decimal: str = "."
    thousands: str = ""
    missing: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether Arrow reads such numbers as they are."""
        return self.decimal == "." and not self.thousands

    @property
    def pattern(self) -> str:
        point = re.escape(self.decimal)
        grouped = rf"|\d{{1,3}}({re.escape(self.thousands)}\d{{3}})+" if self.thousands else ""
        return rf"^[+-]?((\d+{grouped})({point}\d*)?|{point}\d+)([eE][+-]?\d+)?$"

    @property
    def missing_numbers(self) -> list[Decimal]:
        """The numbers that a word for a missing value writes."""
        words = [word.strip() for word in self.missing if re.fullmatch(self.pattern, word.strip())]
        point = {self.decimal: ".", self.thousands: ""}
        return [Decimal("".join(point.get(sign, sign) for sign in word)) for word in words]

    def without_words(self, values: Any) -> Any:
        """Typed values without those that a word for a missing one says: numbers by their value, others by their
        text."""
        if not self.missing or pa.types.is_nested(values.type) or values.type == JSON:
            return values
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
            words = _of_type(self.missing_numbers, values.type)
        else:
            words = pa.array(self.missing, pa.string())
        try:
            compared = values if words.type == values.type else values.cast(pa.string())
        except pa.ArrowException:  # bytes that are no text
            return values
        if not len(words) or not _any(found := pc.is_in(compared, words)):
            return values
        return pc.if_else(found, pa.scalar(None, values.type), values)

    def without_blanks(self, values: Any) -> Any:
        """Without blanks around them; what is missing then is missing."""
        trimmed = pc.utf8_trim_whitespace(values)
        words = pc.is_in(trimmed, pa.array(self.missing, pa.string()))
        return pc.if_else(words, pa.scalar(None, pa.string()), trimmed)

    def in_plain_form(self, values: Any) -> Any:
        """Numbers of the pattern as Arrow reads them."""
        if self.thousands:
            values = pc.replace_substring(values, self.thousands, "")
        if self.decimal != ".":
            values = pc.replace_substring(values, self.decimal, ".")
        return values


def _of_type(numbers: list[Decimal], kind: pa.DataType) -> pa.Array:
    """Those of the numbers that a type has."""
    arrays = [pa.array([], kind)]
    for number in numbers:
        try:
            if pa.types.is_floating(kind):
                arrays.append(pa.array([float(number)], pa.float64()).cast(kind))
            elif pa.types.is_decimal(kind):
                arrays.append(pa.array([number], kind))
            elif number == number.to_integral_value():
                arrays.append(pa.array([int(number)], kind))
        except (pa.ArrowException, OverflowError):
            continue
    return pa.concat_arrays(arrays)


def typed(values: pa.Array, kind: str, numerals: Numerals) -> pa.Array:
    """Texts as values of a type, without those that stand for a missing one. Raises WrongValue with the first row that
    is none."""
    return numerals.without_words(_typed(values, kind, numerals))


def _typed(values: pa.Array, kind: str, numerals: Numerals) -> pa.Array:
    if kind == "text":
        return values
    if kind == "json":
        return _of_json(values)
    if kind == "boolean":
        return _booleans(numerals.without_blanks(values))
    if numerals.plain and (quick := _quick(values, kind)) is not None:
        return quick
    return _numbers(numerals.without_blanks(values), kind, numerals)


def _quick(values: pa.Array, kind: str) -> pa.Array | None:
    """All at once by Arrow where it finds nothing to object to."""
    try:
        pc.cast(values[:_PROBE], ARROW[kind])  # Arrow would look at all values before it refuses one.
        numbers = pc.cast(values, ARROW[kind])
    except pa.ArrowInvalid:
        return None
    if kind == "number":
        exact = (pc.max(pc.binary_length(values)).as_py() or 0) <= _LONGEST_EXACT or not _any(_inexact(values, numbers))
        return numbers if exact and _all(pc.is_finite(numbers)) else None
    # Arrow takes 0x10 for a whole number.
    return None if _any(pc.match_substring(_with_zero(values), "x", ignore_case=True)) else numbers


def _with_zero(values: pa.Array) -> pa.Array:
    """Those that begin with a zero: few, so that they can be looked at more closely."""
    return values.filter(
        pc.or_(pc.starts_with(values, "0"), pc.or_(pc.starts_with(values, "-0"), pc.starts_with(values, "+0")))
    )


def _inexact(values: pa.Array, numbers: pa.Array) -> pa.Array:
    """Where the text of a whole number has become another number."""
    long = pc.fill_null(pc.match_substring_regex(values, _LONG_WHOLE), False)
    rounded = np.zeros(len(values), dtype=bool)
    for row in pc.indices_nonzero(long).to_pylist():
        rounded[row] = Decimal(values[row].as_py()) != numbers[row].as_py()
    return pa.array(rounded)


def _numbers(values: pa.Array, kind: str, numerals: Numerals) -> pa.Array:
    _require(pc.invert(pc.match_substring_regex(values, _NOT_FINITE)), "must be a finite number")
    _require(pc.match_substring_regex(values, numerals.pattern), f"must be of the type {kind}")
    plain = numerals.in_plain_form(values)
    if kind == "number":
        numbers = pc.cast(plain, pa.float64())
        _require(pc.is_finite(numbers), "must be a finite number")
        _require(pc.invert(_inexact(plain, numbers)), _ROUNDED)
        return numbers
    return pa.array([_whole(row, value, kind) for row, value in enumerate(plain.to_pylist())], ARROW[kind])


def _whole(row: int, value: str | None, kind: str) -> int | None:
    if value is None:
        return None
    number = Decimal(value)
    if number and number.adjusted() > len(str(2**64)):
        raise WrongValue(row, "has more than 64 bits")
    if number != number.to_integral_value():
        raise WrongValue(row, f"must be of the type {kind}")
    whole = int(number)
    if kind == "integer" and 2**63 <= whole < 2**64:
        raise WrongValue(row, "has more than 63 bits and a sign: its type must be unsigned")
    if kind == "unsigned" and whole < 0:
        raise WrongValue(row, "must be of the type unsigned: without a sign")
    if not -(2**63) <= whole < 2**64:
        raise WrongValue(row, "has more than 64 bits")
    return whole


def _booleans(values: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(values)
    true = pc.is_in(lower, pa.array(["true", "1"]))
    known = pc.or_(true, pc.is_in(lower, pa.array(["false", "0"])))
    _require(pc.or_(known, pc.is_null(values)), "must be of the type boolean")
    return pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), true)


def _of_json(values: pa.Array) -> pa.Array:
    """JSON's text stays text: it becomes lists and objects together with the table."""
    for row, cell in enumerate(values.to_pylist()):
        try:
            fits = cell is None or isinstance(parsed(cell), list | dict)
        except ValueError:
            fits = False
        if not fits:
            raise WrongValue(row, "must be of the type json")
    return pa.ExtensionArray.from_storage(JSON, values)


def _require(fits: Any, rule: str) -> None:
    """Raises WrongValue when something isn't true; what is missing is neither."""
    if not _all(fits):
        raise WrongValue(pc.index(fits, False).as_py(), rule)


def possible(values: pa.Array, numerals: Numerals, still: Kinds = OF_TEXT) -> Kinds:
    """Of the kinds that a column may `still` be, those that all of these texts are."""
    present = pc.drop_null(values) if values.null_count else values
    if not len(present) or still == TEXT:
        return still
    if not _looks_special(present[0].as_py(), numerals):
        return still & TEXT
    tests: dict[str, Callable[[], bool]] = {
        "boolean": lambda: _all(pc.is_in(present, _BOOLEANS)),
        WORDS: lambda: _all(pc.match_substring_regex(present, _WORD)),
    }
    kinds = TEXT | {kind for kind, holds in tests.items() if kind in still and holds()}
    numbers = _number_kinds(present, numerals, still) or _number_kinds(
        numerals.without_blanks(present), numerals, still
    )
    if numbers or (MIXED in still and _numbers_and_words(numerals.without_blanks(present), numerals)):
        kinds |= numbers | {MIXED}
    if numbers or (
        COMMA in still
        and "," not in (numerals.decimal, numerals.thousands)
        and _all(pc.match_substring_regex(present, _WITH_COMMA))
    ):
        kinds |= {COMMA}
    return still & kinds


def _number_kinds(values: pa.Array, numerals: Numerals, still: Kinds) -> Kinds:
    """What all of these are: nothing, if a number would not keep what is written."""
    if not numerals.plain:
        if not _all(pc.match_substring_regex(values, numerals.pattern)):
            return frozenset()
        values = numerals.in_plain_form(values)
    for kind in ("integer", "unsigned"):
        whole = _quick(values, kind) if kind in still else None
        if whole is None or _any(pc.match_substring_regex(_with_zero(values), r"^-?0\d|^-0$")):
            continue
        if kind == "unsigned" or not len(whole):
            return frozenset({kind})
        ends = pc.min_max(whole).as_py()
        unsigned = {"unsigned"} if ends["min"] >= 0 else set()
        exact = {"number"} if max(-ends["min"], ends["max"]) < 10**_LONGEST_EXACT else set()
        return frozenset({kind, *unsigned, *exact})
    return frozenset({"number"}) if _quick(values, "number") is not None and _keeps_digits(values) else frozenset()


def _numbers_and_words(values: pa.Array, numerals: Numerals) -> bool:
    numbers = pc.drop_null(pc.if_else(pc.match_substring_regex(values, _WORD), pa.scalar(None, pa.string()), values))
    return _all(pc.match_substring_regex(numbers, numerals.pattern)) and _keeps_digits(numbers)


def _keeps_digits(values: pa.Array) -> bool:
    """Whether numbers keep what is written: not of 007, nor of an identifier with more digits than a number has."""
    if _any(pc.match_substring_regex(_with_zero(values), r"^[+-]?0\d")):
        return False
    if (pc.max(pc.binary_length(values)).as_py() or 0) <= _LONGEST_EXACT:
        return True
    return not _any(pc.match_substring_regex(values, rf"^[+-]?\d{{{_LONGEST_EXACT + 1},}}$"))


def _looks_special(value: str, numerals: Numerals) -> bool:
    value = value.strip()
    return any(re.match(pattern, value) for pattern in (numerals.pattern, _WORD, _WITH_COMMA)) or value.lower() in (
        "true",
        "false",
    )


def _all(fits: Any) -> bool:
    return bool(pc.all(fits, min_count=0).as_py())


def _any(fits: Any) -> bool:
    return bool(pc.any(fits, min_count=0).as_py())


def first_doubtful(values: pa.Array, numerals: Numerals) -> int | None:
    """The row of the first value among numbers that is a word, or too large for one."""
    words = pc.match_substring_regex(values, _WORD)
    numbers = pc.if_else(pc.match_substring_regex(values, numerals.pattern), values, pa.scalar(None, pa.string()))
    finite = pc.is_finite(pc.cast(numerals.in_plain_form(numbers), pa.float64()))
    row = pc.index(pc.or_(words, pc.invert(pc.fill_null(finite, True))), True).as_py()
    return None if row < 0 else int(row)


def first_comma(values: pa.Array, _numerals: Numerals) -> int | None:
    """The row of the first value that has a comma."""
    row = pc.index(pc.match_substring(values, ","), True).as_py()
    return None if row < 0 else int(row)


def chosen(kinds: Kinds) -> str | None:
    """The type of a column whose values all are of these kinds; None: of several types."""
    if kinds >= OF_TEXT or WORDS in kinds:  # nothing is there, or nothing but words
        return "text"
    return next((kind for kind in ("boolean", "integer", "unsigned", "number", "text", "json") if kind in kinds), None)
