"""Kubernetes quantities as numbers, following Kubernetes' own grammar."""

import re
from decimal import ROUND_UP, Decimal, DecimalException, localcontext

_DECIMAL = {suffix: Decimal(1000) ** power for power, suffix in enumerate(["n", "u", "m", "", *"kMGTPE"], -3)}
_BINARY = {f"{prefix}i": Decimal(1024) ** power for power, prefix in enumerate("KMGTPE", 1)}
_FACTORS = {**_DECIMAL, **_BINARY}
_EXPONENTS = {f"e{power}" if power else "": Decimal(10) ** power for power in range(-9, 19, 3)}
_DIGITS = 60
"""Enough for any quantity in nano."""
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")


def number_of(quantity: str) -> Decimal:
    """`500m` as 0.5. Raises ValueError if it is not a quantity."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a Kubernetes quantity")
    number, exponent, suffix = match.groups()
    try:
        return Decimal(number + (exponent or "")) * _FACTORS[suffix or ""]
    except DecimalException:
        raise ValueError(f"{quantity!r} is out of range") from None


def canonical(quantity: str) -> str:
    """As the API server writes it: `1000m` is `1`, `1024Mi` is `1Gi`. Raises ValueError if it is not a quantity."""
    match = _QUANTITY.fullmatch(quantity)
    with localcontext(prec=_DIGITS):
        # Nothing is smaller than a nano; the server rounds up.
        amount = number_of(quantity).quantize(Decimal("1e-9"), rounding=ROUND_UP)
        if match is not None and match[2]:
            units = _EXPONENTS
        elif quantity.endswith("i") and abs(amount) >= 1024 and amount % 1 == 0:
            units = {"": Decimal(1), **_BINARY}
        else:
            units = _DECIMAL
        largest = max((unit for unit in units if amount % units[unit] == 0), key=units.__getitem__)
        return f"{int(amount / units[largest])}{largest}" if amount else "0"


def bytes_of(quantity: str) -> int:
    """`10Gi` in bytes. Raises ValueError if it is not a quantity of bytes."""
    number = number_of(quantity)
    if number < 0 or quantity.endswith(("n", "u", "m")):
        raise ValueError(f"{quantity!r} is not a quantity of bytes")
    return int(number)
