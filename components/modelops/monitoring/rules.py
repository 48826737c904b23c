"""Prometheus' rules, whose alerts have the runbook's address."""

import json
import re
from collections.abc import Mapping
from functools import partial

import pulumi

from modelops.core.assets import assets

_RUNBOOK = re.compile(r"runbook: docs/runbook\.md(#\w+)")


def rule_files(runbook_url: pulumi.Input[str] | None) -> Mapping[str, pulumi.Input[str]]:
    """The files by name. Alerts have their section's address as `runbook_url`, which notifications make a link of."""
    files = assets("monitoring/assets/rules")
    if runbook_url is None:
        return files
    url = pulumi.Output.from_input(runbook_url)
    return {name: url.apply(partial(_linked, text)) for name, text in files.items()}


def _linked(text: str, address: str) -> str:
    return _RUNBOOK.sub(lambda found: f"runbook_url: {json.dumps(address + found[1])}", text)
