"""Kubernetes quantities as numbers, by Kubernetes' own grammar."""

import re
from decimal import Decimal

_FACTORS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")


def number_of(quantity: str) -> Decimal:
    """`500m` as 0.5. Raises ValueError when it is not a quantity."""
    found = _QUANTITY.fullmatch(quantity)
    if found is None:
        raise ValueError(f"{quantity!r} is not a Kubernetes quantity")
    number, exponent, suffix = found.groups()
    return Decimal(number + (exponent or "")) * _FACTORS[suffix or ""]


def bytes_of(quantity: str) -> int:
    """`10Gi` in bytes. Raises ValueError when it is not a quantity of bytes."""
    number = number_of(quantity)
    if number < 0 or quantity.endswith(("n", "u", "m")):
        raise ValueError(f"{quantity!r} is not a quantity of bytes")
    return int(number)
