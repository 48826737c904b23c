"""Checkov's rules for Kubernetes, unmodified, on manifests that the tests make."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.environments import environment_of


@dataclass(frozen=True, order=True)
class Finding:
    """A check that an object fails."""

    check: str
    kind: str
    resource: str

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Finding":
        kind, _, name = found["resource"].split(".")[:3]
        return cls(found["check_id"], kind, name)


@dataclass(frozen=True)
class Grade:
    """What checkov says of a set of manifests."""

    objects: int
    passed: int
    findings: Sequence[Finding]


def grade(manifests: Sequence[Mapping[str, Any]], folder: Path) -> Grade:
    """Runs every rule on the manifests."""
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    checkov = environment_of("checkov").parent / "checkov"
    command = [checkov, "--file", file, "--framework", "kubernetes", "--output", "json", "--soft-fail", "--quiet"]
    done = subprocess.run([*command, "--skip-download"], capture_output=True, text=True, check=True, cwd=folder)
    report = json.loads(done.stdout)
    summary = report["summary"]
    assert summary["parsing_errors"] == 0
    findings = sorted(Finding.of(each) for each in report["results"]["failed_checks"])
    return Grade(summary["resource_count"], summary["passed"], findings)
