"""Personal data: dropped, masked, hashed, replaced by pseudonyms, made coarser, found in free text.

No report, log line or error has a value.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from modelops_runtime.contract import ConfigurationError
from modelops_runtime.contract.data import SALT
from modelops_runtime.data import errors, nested
from modelops_runtime.data.context import Context
from modelops_runtime.data.step import Step, step
from modelops_runtime.data.table import InMemory, Rows, added, counted, hashes

SHORTEST_SALT = 16
"""Bytes."""
Entity = Literal["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN"]
ENTITIES: tuple[Entity, ...] = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN")


def _salt(context: Context, what: str) -> bytes:
    if len(context.salt) < SHORTEST_SALT:
        raise ConfigurationError(f"{what} needs a secret salt of at least {SHORTEST_SALT} bytes in {SALT}")
    return context.salt


class _Replacing(Step):
    """A step that replaces each value that is there by a text made of it alone."""

    changes_text: ClassVar[bool] = True
    columns: list[str] = Field(min_length=1)

    @property
    def rowwise(self) -> bool:
        return True

    def replacement(self, context: Context) -> Callable[[str], str]:
        raise NotImplementedError

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, self.columns)
        replace, protected = self.replacement(context), frame.copy()
        for column in self.columns:
            values = [value if pd.isna(value) else replace(_text(value)) for value in frame[column]]
            protected[column] = pd.Series(values, index=frame.index, dtype="str")
            context.report.append({"protected": column, "by": self.name, "values": int(frame[column].notna().sum())})
        return protected


@step
class Drop(Step):
    """Leaves columns out."""

    takes_nested: ClassVar[bool] = True
    columns: list[str] = Field(min_length=1)

    @property
    def rowwise(self) -> bool:
        return True

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, self.columns)
        context.report += [
            {"protected": column, "by": "drop", "values": int(frame[column].notna().sum())} for column in self.columns
        ]
        return frame.drop(columns=self.columns)


@step
class Mask(_Replacing):
    """Every character but the last `keep_last` becomes `character`; a text that is no longer than that, all of it."""

    keep_last: int = Field(default=0, ge=0)
    character: str = Field(default="*", min_length=1, max_length=1)

    def replacement(self, context: Context) -> Callable[[str], str]:
        def masked(text: str) -> str:
            kept = self.keep_last if len(text) > self.keep_last else 0
            return self.character * (len(text) - kept) + text[len(text) - kept :]

        return masked


@step
class Hash(_Replacing):
    """HMAC-SHA-256 (RFC 2104) under the secret salt, as 64 hex digits."""

    def replacement(self, context: Context) -> Callable[[str], str]:
        salt = _salt(context, "hash")
        return lambda text: hmac.new(salt, text.encode(), hashlib.sha256).hexdigest()


@step
class Pseudonymise(_Replacing):
    """`<domain>-<16 hex digits>`, made by HMAC under the secret salt: the same value has the same pseudonym in every
    column, table and run with this `domain` and salt, and another one in another domain. No table of them is kept."""

    domain: str = Field(pattern=r"[a-z][a-z0-9_]*")

    def replacement(self, context: Context) -> Callable[[str], str]:
        salt, prefix = _salt(context, "pseudonymise"), f"{self.domain}\0".encode()
        return lambda text: f"{self.domain}-{hmac.new(salt, prefix + text.encode(), hashlib.sha256).hexdigest()[:16]}"


class Coarser(BaseModel):
    """How one column is made coarser: numbers to the lower end of intervals, texts to their beginning, or anything to
    nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    width: float | None = Field(default=None, gt=0)
    """Width of the intervals; they begin at multiples of it."""
    first: int | None = Field(default=None, ge=0)
    """Characters that stay."""

    @model_validator(mode="after")
    def _one_of_them(self) -> "Coarser":
        if (self.width is None) == (self.first is None):
            raise ValueError("must have one of width and first")
        return self


@step
class Generalise(Step):
    """Makes columns coarser, so that each combination of their values is shared by at least `k` rows (k-anonymity:
    Sweeney 2002), and checks that. Rows of rarer combinations fail the run, or are left out (`rare: remove`)."""

    columns: dict[str, Coarser] = Field(min_length=1)
    k: int = Field(ge=2)
    rare: Literal["fail", "remove"] = "fail"

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        [left] = self.on(InMemory(frame), context).frames()
        return left

    def on(self, rows: Rows, context: Context) -> Rows:
        context.require(rows, list(self.columns))
        coarse = rows.map(self._coarser, context)
        sizes = coarse.select(list(self.columns)).fold(_combinations, added)
        rare = {combination for combination, size in sizes.items() if size < self.k}
        of_rare, names = sum(sizes[combination] for combination in rare), ", ".join(self.columns)
        if rare and self.rare == "fail":
            raise errors.privacy(
                f"{of_rare} of {rows.count()} rows have a combination of {names} that fewer than {self.k} share:"
                " make them coarser, or say rare: remove"
            )
        smallest = min((size for size in sizes.values() if size >= self.k), default=0)
        report = {"protected": names, "by": "generalise", "k": self.k, "smallest_group": smallest}
        context.report.append({**report, "removed_rows": of_rare})
        return coarse.map(partial(_without, columns=list(self.columns), combinations=rare), context) if rare else coarse

    def _coarser(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        coarse = frame.copy()
        for column, rule in self.columns.items():
            if rule.width is not None:
                coarse[column] = np.floor(context.numbers(frame, column) / rule.width) * rule.width
            else:
                values = [value if pd.isna(value) else _text(value)[: rule.first] for value in frame[column]]
                coarse[column] = pd.Series(values, index=frame.index, dtype="str")
        return coarse


def _combinations(frame: pd.DataFrame) -> dict[int, int]:
    """How many rows have each combination of values, by its hash."""
    return counted(hashes(frame))


def _without(frame: pd.DataFrame, _context: Context, *, columns: list[str], combinations: set[int]) -> pd.DataFrame:
    return frame[~np.isin(hashes(frame[columns]), np.array(list(combinations), dtype="uint64"))]


@step
class ScanText(Step):
    """Looks in free text for mail addresses, phone numbers, cards, IBANs, IP addresses and US social security numbers,
    by Presidio's patterns and checksums. What is found is replaced by its kind in angle brackets (`redact`), fails the
    run (`fail`), or is reported only (`report`). Names of people are not found: that would take a language model.

    In a column of lists or objects, such as `messages`, it looks into every text but that of `role`. In JSON that is a
    text, such as the arguments of a tool call, it looks at names and numbers too, and what it leaves is JSON. Redacted
    numbers are texts."""

    takes_nested: ClassVar[bool] = True
    changes_text: ClassVar[bool] = True
    columns: list[str] = Field(min_length=1)
    entities: list[Entity] = Field(default=list(ENTITIES), min_length=1)
    action: Literal["redact", "fail", "report"] = "redact"
    least_score: float = Field(default=0.4, ge=0, le=1)
    """Presidio's own certainty from which a finding counts. A phone number without context has 0.4."""

    @property
    def rowwise(self) -> bool:
        return True

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, self.columns)
        find, scanned = _finder(self.entities, self.least_score), frame.copy()
        for column in self.columns:
            counts: dict[str, int] = {}
            # What is an object until a step reads it, or the end comes, is JSON.
            scan = partial(
                self._scanned, find=find, counts=counts, context=context, of_json=frame[column].dtype == object
            )
            texts = [scan(value, place=place) for place, value in _placed(frame[column])]
            if self.action == "redact":
                scanned[column] = nested.like(frame[column], texts)
            context.report.append({"scanned": column, "action": self.action, "found": counts})
        return scanned

    def _scanned(
        self,
        value: Any,
        *,
        find: "Find",
        counts: dict[str, int],
        context: Context,
        of_json: bool,
        place: tuple[Any, str],
    ) -> Any:
        def scan(value: Any) -> Any:
            spans = find(_text(value))
            if spans and self.action == "fail":
                (file, row), column = context.origin(place[0]), place[1]
                raise errors.privacy(f"{file}, row {row}, column {column}: has personal data ({spans[0][2]})")
            for _start, _end, kind in spans:
                counts[kind] = counts.get(kind, 0) + 1
            return _redacted(_text(value), spans) if spans and self.action == "redact" else value

        if nested.absent(value):
            return value
        if not isinstance(value, list | dict | str):
            return _text(scan(value))
        try:
            return nested.each_text(value, scan, of_json=of_json)
        except RecursionError:
            raise context.bad_row(*place, "is nested too deeply") from None


Span = tuple[int, int, str]
Find = Callable[[str], list[Span]]


def _placed(column: pd.Series) -> Iterator[tuple[tuple[Any, str], Any]]:
    for index, value in zip(column.index, column, strict=True):
        yield (index, str(column.name)), value


def _finder(entities: list[Entity], least_score: float) -> Find:
    """What finds personal data in a text: spans that do not overlap, in their order."""
    import tldextract
    from presidio_analyzer import predefined_recognizers

    # Of itself it would fetch the list of domains' ends; data that is looked at here causes no traffic.
    domain_of = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    kinds = {
        "EMAIL_ADDRESS": predefined_recognizers.EmailRecognizer,
        "PHONE_NUMBER": predefined_recognizers.PhoneRecognizer,
        "CREDIT_CARD": predefined_recognizers.CreditCardRecognizer,
        "IBAN_CODE": predefined_recognizers.IbanRecognizer,
        "IP_ADDRESS": predefined_recognizers.IpRecognizer,
        "US_SSN": predefined_recognizers.UsSsnRecognizer,
    }
    recognizers = [(entity, kinds[entity]()) for entity in ENTITIES if entity in entities]
    for entity, recognizer in recognizers:
        if entity == "EMAIL_ADDRESS":
            recognizer.validate_result = lambda text: bool(domain_of(text).fqdn)

    def find(text: str) -> list[Span]:
        candidates = [
            (-result.score, result.start, result.end, entity)
            for entity, recognizer in recognizers
            for result in recognizer.analyze(text, [entity], None)
            if result.score >= least_score
        ]
        spans: list[Span] = []
        for _score, start, end, entity in sorted(candidates):
            if all(end <= other[0] or start >= other[1] for other in spans):
                spans.append((start, end, entity))
        return sorted(spans)

    return find


def _redacted(text: str, spans: list[Span]) -> str:
    for start, end, kind in reversed(spans):
        text = f"{text[:start]}<{kind}>{text[end:]}"
    return text


def _text(value: object) -> str:
    """One text a value, however its table has it: 7.0 in a column with missing values is the 7 of one without."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
