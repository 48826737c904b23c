"""Personal data in free text. No report, log line or error has a value of it."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import pandas as pd
from pydantic import Field

from modelops_runtime.artifacts.operations import Operation, as_text
from modelops_runtime.artifacts.preprocessing import SENT
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data import errors, nested
from modelops_runtime.data.context import Context
from modelops_runtime.data.step import Step, step

Entity = Literal["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN"]
ENTITIES: tuple[Entity, ...] = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN")


REGIONS = ("AT", "BE", "BR", "CA", "CH", "DE", "ES", "FR", "GB", "IE", "IL", "IN", "IT", "MX", "NL", "US")


@step
class ScanText(Step):
    """Looks in free text for mail addresses, phone numbers, cards, IBANs, IP addresses and US social security numbers,
    by Presidio's patterns and checksums. What is found is replaced by its kind in angle brackets (`redact`), fails the
    run (`fail`), or is reported only (`report`). Names and postal addresses are not found: that would take a language
    model. [What it finds](scan-text.md), measured by kind and language.

    In a column of lists or objects, such as `messages`, it looks into every text but that of `role`. In JSON that is a
    text, such as the arguments of a tool call, it looks at names and numbers too, and what it leaves is JSON. Redacted
    numbers are texts."""

    takes_nested: ClassVar[bool] = True
    changes_text: ClassVar[bool] = True
    protects: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("phonenumbers", "presidio-analyzer", "tldextract")
    columns: list[str] = Field(min_length=1)
    entities: list[Entity] = Field(default=list(ENTITIES), min_length=1)
    action: Literal["redact", "fail", "report"] = "redact"
    least_score: float = Field(default=0.4, ge=0, le=1)
    """Presidio's own certainty from which a finding counts. A phone number without context has 0.4."""
    regions: list[str] = Field(default=list(REGIONS), min_length=1)
    """Countries (ISO 3166, two letters) whose phone numbers count without the country's code. Each takes time, and
    makes more of what is no phone number look like one."""

    @property
    def rowwise(self) -> bool:
        return True

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, self.columns)
        find, scanned = finder(self.entities, self.least_score, self.regions), frame.copy()
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

    def operations(self) -> list[Operation]:
        sent_as = "text in which a kind in angle brackets stands for what the step scan_text finds"
        changes = self.action == "redact"
        return [{"column": column, "kind": SENT, "as": sent_as} for column in self.columns if changes]

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
            spans = find(as_text(value))
            if spans and self.action == "fail":
                (file, row), column = context.origin(place[0]), place[1]
                raise errors.privacy(f"{file}, row {row}, column {column}: has personal data ({spans[0][2]})")
            for _start, _end, kind in spans:
                counts[kind] = counts.get(kind, 0) + 1
            return _redacted(as_text(value), spans) if spans and self.action == "redact" else value

        if nested.absent(value):
            return value
        if not isinstance(value, list | dict | str):
            return as_text(scan(value))
        try:
            return nested.each_text(value, scan, of_json=of_json)
        except RecursionError:
            raise context.bad_row(*place, "is nested too deeply") from None


Span = tuple[int, int, str]
Find = Callable[[str], list[Span]]


def _placed(column: pd.Series) -> Iterator[tuple[tuple[Any, str], Any]]:
    for index, value in zip(column.index, column, strict=True):
        yield (index, str(column.name)), value


def finder(entities: Sequence[Entity], least_score: float, regions: Sequence[str] = REGIONS) -> Find:
    """What finds personal data in a text: spans that do not overlap, in their order."""
    import phonenumbers
    import tldextract
    from presidio_analyzer import predefined_recognizers

    if unknown := sorted({*regions} - phonenumbers.SUPPORTED_REGIONS):
        raise ConfigurationError(
            f"scan_text: regions has {', '.join(unknown)}, must have codes of countries, such as DE"
        )
    # Of itself it would fetch the list of domains' ends; data that is looked at here causes no traffic.
    domain_of = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    kinds: dict[Entity, Callable[[], Any]] = {
        "EMAIL_ADDRESS": predefined_recognizers.EmailRecognizer,
        "PHONE_NUMBER": partial(predefined_recognizers.PhoneRecognizer, supported_regions=list(regions)),
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
        has_phone = _DIGITS.search(text)
        candidates = [
            (-result.score, result.start, result.end, entity)
            for entity, recognizer in recognizers
            if has_phone or entity != "PHONE_NUMBER"
            for result in recognizer.analyze(text, [entity], None)
            if result.score >= least_score and not _is_other(text, result.start, result.end, entity)
        ]
        spans: list[Span] = []
        for _score, start, end, entity in sorted(candidates):
            if all(end <= other[0] or start >= other[1] for other in spans):
                spans.append((start, end, entity))
        return sorted(spans)

    return find


LEAST_DIGITS = 7
"""Of a phone number. Shorter ones, which are valid within a town, are taken for amounts, places and articles."""
_DIGITS = re.compile(rf"(?:\d\D{{0,3}}){{{LEAST_DIGITS - 1}}}\d")
_DATE = re.compile(
    r"(?:0?[1-9]|[12]\d|3[01])([./-])(?:0?[1-9]|1[0-2])\1(?:19|20)\d\d|(?:19|20)\d\d-(?:0\d|1[0-2])-[0-3]\d"
)
_MORE = re.compile(r"\.\d")
"""What stands after four numbers of a longer row, such as a phone number with dots."""
_VERSION = re.compile(r"(?:\bv|\bver|\bversi[oó]n[es]?|\bversie|\bversione|\brelease|\bbuild)[.:]?\s*$", re.IGNORECASE)
"""What stands before the numbers of a version, which four of them make look like an IPv4 address."""


def _is_other(text: str, start: int, end: int, entity: str) -> bool:
    """Whether what looks like personal data is a date, a version or a small number."""
    if entity == "PHONE_NUMBER":
        found = text[start:end]
        return sum(map(str.isdigit, found)) < LEAST_DIGITS or _DATE.fullmatch(found) is not None
    if entity != "IP_ADDRESS":
        return False
    longer = text[start - 1 : start] == "+" or _MORE.match(text, end) is not None
    return longer or _VERSION.search(text[max(start - 12, 0) : start]) is not None


def _redacted(text: str, spans: list[Span]) -> str:
    for start, end, kind in reversed(spans):
        text = f"{text[:start]}<{kind}>{text[end:]}"
    return text
