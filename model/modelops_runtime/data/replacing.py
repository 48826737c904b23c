"""Texts in place of values, one at a time: what hides values does to every row of a table."""

import hashlib
from collections.abc import Callable

import pandas as pd
import pyarrow as pa

from modelops_runtime.artifacts.operations import as_text

BLOCK_BYTES = hashlib.sha256().block_size
VALUES_AT_A_TIME = 50_000


def keyed_hash(salt: bytes, prefix: bytes = b"") -> Callable[[bytes], str]:
    """HMAC-SHA-256 (RFC 2104) of the prefix and a message, as hex digits.

    The key's blocks are hashed once: of short texts they cost more than the rest, and hmac would repeat them for each.
    """
    block = (salt if len(salt) <= BLOCK_BYTES else hashlib.sha256(salt).digest()).ljust(BLOCK_BYTES, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + prefix)
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def keyed(message: bytes) -> str:
        first, second = inner.copy(), outer.copy()
        first.update(message)
        second.update(first.digest())
        return second.hexdigest()

    return keyed


def replaced(column: pd.Series, replace: Callable[[str], str]) -> pd.Series:
    """The column with another text for each value that is there.

    Some values at a time: as Python's objects they need several times the memory.
    """
    pieces = []
    for start in range(0, max(len(column), 1), VALUES_AT_A_TIME):
        values = column.iloc[start : start + VALUES_AT_A_TIME]
        if isinstance(values.dtype, pd.StringDtype):
            texts = [None if value is None else replace(value) for value in pa.array(values).to_pylist()]
        else:
            texts = [None if pd.isna(value) else replace(as_text(value)) for value in values]
        pieces.append(pd.Series(texts, index=values.index, dtype="str"))
    return pd.concat(pieces)
