"""Kubernetes quantities as numbers, following Kubernetes' own grammar."""

import re
from decimal import Decimal

_DECIMAL = {suffix: Decimal(1000) ** power for power, suffix in enumerate(["n", "u", "m", "", *"kMGTPE"], -3)}
_BINARY = {f"{prefix}i": Decimal(1024) ** power for power, prefix in enumerate("KMGTPE", 1)}
_FACTORS = {**_DECIMAL, **_BINARY}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")


def number_of(quantity: str) -> Decimal:
    """`500m` as 0.5. Raises ValueError if it is not a quantity."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a Kubernetes quantity")
    number, exponent, suffix = match.groups()
    return Decimal(number + (exponent or "")) * _FACTORS[suffix or ""]


def bytes_of(quantity: str) -> int:
    """`10Gi` in bytes. Raises ValueError if it is not a quantity of bytes."""
    number = number_of(quantity)
    if number < 0 or quantity.endswith(("n", "u", "m")):
        raise ValueError(f"{quantity!r} is not a quantity of bytes")
    return int(number)
