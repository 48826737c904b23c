"""Elasticsearch's probes: a shell script that asks for the cluster's health."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelops.core.assets import asset

GREEN = {"status": "green", "initializing_shards": 0, "delayed_unassigned_shards": 0, "number_of_pending_tasks": 0}
Probe = Callable[..., bool]


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    """Runs the script as a probe does, with what the cluster says; None is no answer."""
    curl = '#!/bin/sh\nfor last; do :; done\necho "$last" >> "$ASKED"\ncat > /dev/null\n[ -s "$SAID" ] && cat "$SAID"\n'
    (tmp_path / "curl").write_text(curl)
    (tmp_path / "curl").chmod(0o755)
    script = asset("monitoring/logs/assets/elasticsearch/healthy.sh").replace("/tmp/recovered", str(tmp_path / "once"))
    (tmp_path / "healthy.sh").write_text(script)

    def ask(wanted: str, said: dict[str, Any] | None) -> bool:
        (tmp_path / "said").write_text("" if said is None else json.dumps(said, separators=(",", ":")))
        files = {"SAID": str(tmp_path / "said"), "ASKED": str(tmp_path / "asked")}
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SETUP_PASSWORD": "secret", **files}
        done = subprocess.run(["/bin/sh", tmp_path / "healthy.sh", wanted], env=environment, check=False)
        return done.returncode == 0

    return ask


def test_a_node_that_has_joined_has_started_whatever_the_cluster_is_like(probe: Probe, tmp_path: Path) -> None:
    assert probe("joined", {**GREEN, "status": "red"})
    assert (tmp_path / "asked").read_text().endswith("?local=true\n")
    assert not probe("joined", None)


def test_a_node_is_ready_once_the_cluster_is_green(probe: Probe) -> None:
    assert not probe("recovered", None)
    assert not probe("recovered", {**GREEN, "status": "red"})
    assert probe("recovered", GREEN)


@pytest.mark.parametrize("field", ["initializing_shards", "delayed_unassigned_shards", "number_of_pending_tasks"])
def test_a_node_is_not_ready_while_shards_come_back(probe: Probe, field: str) -> None:
    yellow = {**GREEN, "status": "yellow"}
    assert not probe("recovered", {**yellow, field: 10})
    assert probe("recovered", yellow), "a replica too many for the nodes is no reason to wait"


def test_a_node_that_was_ready_stays_so_when_another_one_is_lost(probe: Probe) -> None:
    assert probe("recovered", GREEN)
    assert probe("recovered", {**GREEN, "status": "red", "initializing_shards": 3})
    assert not probe("recovered", None)


def test_a_cluster_that_stays_red_is_used_as_it_is_after_half_an_hour(probe: Probe, tmp_path: Path) -> None:
    red = {**GREEN, "status": "red"}
    assert not probe("recovered", red)
    began = time.time() - 31 * 60
    os.utime(tmp_path / "once.since", (began, began))
    assert probe("recovered", red)
