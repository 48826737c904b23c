"""Personal data: dropped, masked, hashed, replaced by pseudonyms, found in free text.

No report, log line or error has a value.
"""

from collections.abc import Callable
from typing import ClassVar

import pandas as pd
from pydantic import Field

from modelops_runtime.artifacts.operations import Operation
from modelops_runtime.artifacts.preprocessing import SENT
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.contract.data import SALT
from modelops_runtime.data.context import Context
from modelops_runtime.data.replacing import keyed_hash, replaced
from modelops_runtime.data.step import Step, step

SHORTEST_SALT = 16
"""Bytes."""


def _salt(context: Context, what: str) -> bytes:
    if len(context.salt) < SHORTEST_SALT:
        raise ConfigurationError(f"{what} needs a secret salt of at least {SHORTEST_SALT} bytes in {SALT}")
    return context.salt


class _Replacing(Step):
    """A step that replaces each value that is there by a text made of it alone."""

    changes_text: ClassVar[bool] = True
    protects: ClassVar[bool] = True
    sent_as: ClassVar[str]
    """What a model's client sends, in words: no server does this step."""
    columns: list[str] = Field(min_length=1)

    @property
    def rowwise(self) -> bool:
        return True

    def replacement(self, context: Context) -> Callable[[str], str]:
        raise NotImplementedError

    def operations(self) -> list[Operation]:
        return [{"column": column, "kind": SENT, "as": self.sent_as} for column in self.columns]

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, self.columns)
        replace, protected = self.replacement(context), frame.copy()
        for column in self.columns:
            protected[column] = replaced(frame[column], replace)
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

    sent_as: ClassVar[str] = "masked text, as the step mask makes it"
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

    sent_as: ClassVar[str] = "the hash, as the step hash makes it"
    salted: ClassVar[bool] = True

    def replacement(self, context: Context) -> Callable[[str], str]:
        keyed = keyed_hash(_salt(context, "hash"))
        return lambda text: keyed(text.encode())


@step
class Pseudonymise(_Replacing):
    """`<domain>-<16 hex digits>`, made by HMAC under the secret salt: the same value has the same pseudonym in every
    column, table and run with this `domain` and salt, and another one in another domain. No table of them is kept."""

    sent_as: ClassVar[str] = "the pseudonym, as the step pseudonymise makes it"
    salted: ClassVar[bool] = True
    domain: str = Field(pattern=r"[a-z][a-z0-9_]*")

    def replacement(self, context: Context) -> Callable[[str], str]:
        keyed, domain = keyed_hash(_salt(context, "pseudonymise"), f"{self.domain}\0".encode()), self.domain
        return lambda text: f"{domain}-{keyed(text.encode())[:16]}"
