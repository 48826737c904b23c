"""Kubernetes quantities as numbers."""

import re

_FACTORS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
}


def bytes_of(quantity: str) -> int:
    """`10Gi` in bytes. Raises ValueError when it is not a quantity of bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGTPE]i?|Ki)?", quantity)
    if found is None:
        raise ValueError(f"{quantity!r} is not a quantity of bytes")
    return int(float(found[1]) * _FACTORS[found[2] or ""])
