"""Filebeat's probe: a shell script that reads Filebeat's own counters."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "components/modelops/monitoring/logs/assets/filebeat/flowing.sh"


@pytest.fixture
def probe(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Runs the script with what `curl` would say; the state is the test's own."""
    (tmp_path / "curl").write_text('#!/bin/sh\ncat "$STATS"\n')
    (tmp_path / "curl").chmod(0o755)
    script = SCRIPT.read_text().replace("/tmp/flow", str(tmp_path / "flow"))

    def ask(taken: int, come: int) -> bool:
        stats = (
            '{"beat":{"info":{}},"filebeat":{"events":{"active":3,"added":7}},"libbeat":{"config":{},"output":{"events":'
            f'{{"acked":{taken},"active":0,"batches":4}},"type":"elasticsearch"}},"pipeline":{{"clients":2,"events":'
            f'{{"active":0,"dropped":0,"filtered":1,"published":{come},"retry":2}},"queue":{{"acked":1}}}}}}}}'
        )
        (tmp_path / "stats.json").write_text(stats)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STATS": str(tmp_path / "stats.json")}
        return subprocess.run(["/bin/sh", "-c", script], env=environment, check=False).returncode == 0

    return ask


def test_lines_that_flow_are_fine(probe) -> None:  # type: ignore[no-untyped-def]
    assert [probe(taken, come) for taken, come in ((0, 0), (5, 6), (9, 9), (9, 9), (10, 12))] == [True] * 5


def test_lines_that_nobody_takes_are_not(probe) -> None:  # type: ignore[no-untyped-def]
    assert probe(5, 5)
    assert not probe(5, 8)
    assert not probe(5, 8), "the queue is still full although nothing new comes"
    assert probe(6, 8)
    assert probe(6, 8)


def test_what_an_earlier_process_left_is_no_matter(probe) -> None:  # type: ignore[no-untyped-def]
    assert probe(100, 3)
    assert probe(150, 3)
    assert not probe(150, 4)
