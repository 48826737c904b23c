"""Amounts of CPU, memory and the like, in the one form in which the API server writes them."""

import re
from decimal import ROUND_UP, Decimal, localcontext

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DIGITS = 60  # enough for any amount in nano
_FORM = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:([KMGTPE]i)|([numkMGTPE]?)|[eE]([+-]?\d+))$")


def canonical(value: object) -> object:
    """`value` as the server would write it: "1000m" → "1", 0.5 → "500m", "1024Mi" → "1Gi". Others unchanged."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    text = format(Decimal(str(value)), "f") if isinstance(value, int | float) else value
    match = _FORM.match(text)
    if match is None:
        return value
    number, binary, decimal, exponent = match.groups()
    with localcontext(prec=_DIGITS):
        amount = Decimal(number)
        if binary:
            return _binary(amount * 1024 ** _BINARY[binary])
        if exponent is not None:
            return _exponential(amount.scaleb(int(exponent)))
        return _decimal(amount.scaleb(_DECIMAL[decimal or ""]))


def _rounded(amount: Decimal) -> Decimal:
    # Nano is the smallest unit; the server rounds up.
    return amount.quantize(Decimal("1e-9"), rounding=ROUND_UP)


def _is_whole(amount: Decimal) -> bool:
    return amount == amount.to_integral_value()


def _binary(amount: Decimal) -> str:
    if not _is_whole(amount) or abs(amount) < 1024:
        return _decimal(amount)
    whole, power = int(amount), 0
    while whole and whole % 1024 == 0 and power < 6:
        whole, power = whole // 1024, power + 1
    return f"{whole}{('', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei')[power]}"


def _scaled(amount: Decimal) -> tuple[int, int]:
    """The whole number and the power of 1000 that write `amount`, with the power as large as possible."""
    power = 0
    while not _is_whole(amount) and power > -3:
        amount, power = amount * 1000, power - 1
    whole = int(amount)
    while whole and whole % 1000 == 0 and power < 6:
        whole, power = whole // 1000, power + 1
    return whole, power


def _decimal(amount: Decimal) -> str:
    whole, power = _scaled(_rounded(amount))
    if not whole:
        return "0"
    return f"{whole}{('n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E')[power + 3]}"


def _exponential(amount: Decimal) -> str:
    whole, power = _scaled(_rounded(amount))
    return f"{whole}e{power * 3}" if power and whole else str(whole)
