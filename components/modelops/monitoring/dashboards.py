"""The dashboards, with the prices that a team pays."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import pulumi

from modelops.core.assets import assets
from modelops.core.validation import Problems
from modelops.monitoring.args import Prices

_VARIABLES = {"cpu_price": "cpu", "memory_price": "memory", "gpu_price": "gpu"}
"""Variable of the dashboards → field of Prices."""
_CURRENCY = "currencyUSD"
"""Grafana's name for the unit in the files."""


def dashboards(prices: Prices | None) -> dict[str, pulumi.Input[str]]:
    """All of them, by their files' names."""
    texts = assets("monitoring/assets/dashboards")
    if not prices:
        return dict(texts)
    known: pulumi.Output[dict[str, Any]] = pulumi.Output.all(**prices)
    return {file: known.apply(partial(_priced, text)) if _CURRENCY in text else text for file, text in texts.items()}


def check_prices(problems: Problems, field: str, prices: Any) -> None:
    """Checks what is known while planning."""
    if not isinstance(prices, Mapping):
        return
    for name in _VARIABLES.values():
        problems.number(f"{field}.{name}", prices.get(name), 0)
    currency = prices.get("currency")
    if isinstance(currency, str) and not re.fullmatch("[A-Z]{3}", currency):
        problems.add(f"{field}.currency", currency, "must be a currency's three letters, such as EUR")


def _priced(text: str, prices: Mapping[str, Any]) -> str:
    document = json.loads(text.replace(_CURRENCY, f"currency{prices.get('currency', 'USD')}"))
    for variable in document["templating"]["list"]:
        price = prices.get(_VARIABLES.get(variable["name"], ""))
        if price is not None:
            choice = {"text": f"{price:g}", "value": f"{price:g}"}
            variable |= {"query": choice["value"], "current": choice, "options": [{**choice, "selected": True}]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
