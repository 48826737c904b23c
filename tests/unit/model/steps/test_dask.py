"""Rows in pieces on Dask: the same result as one worker's, to the last row and bit, and memory that does not grow."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data import prepare, quantiles, storage
from modelops_runtime.data.steps import Context, DataError
from modelops_runtime.data.table import InMemory, hashes
from tests.unit.model.steps.test_pipeline import SALT, declared, rows

PARTS = ("train", "validation", "test")
FIRST: list[dict[str, Any]] = [
    {"check": {"columns": {"age": {"type": "integer", "minimum": 19}}, "on_violation": "drop"}},
    {"pseudonymise": {"columns": ["who"], "domain": "person"}},
    {"scan_text": {"columns": ["note"]}},
]
RANDOM: list[dict[str, Any]] = [
    *FIRST,
    {"deduplicate": {"columns": ["city", "age", "income"], "keep": "last"}},
    {"split": {}},
    {"drop": {"columns": ["who"]}},
    {"outliers": {"columns": ["income"], "rule": "iqr", "factor": 1.0}},
    {"fill": {"columns": ["income"], "by": "mean"}},
    {"scale": {"columns": ["age", "income"], "by": "minmax"}},
    {"encode": {"columns": ["city"], "by": "ordinal"}},
    {"word_vectors": {"column": "note", "size": 4, "epochs": 1}},
]
GROUPED: list[dict[str, Any]] = [
    *FIRST,
    {"generalise": {"columns": {"age": {"width": 20}, "city": {"first": 1}}, "k": 12, "rare": "remove"}},
    {"split": {"by": "grouped", "column": "who", "seed": 3}},
    {"drop": {"columns": ["note"]}},
    {"outliers": {"columns": ["income"], "rule": "zscore", "factor": 1.5}},
    {"fill": {"columns": ["income"], "by": "most_frequent"}},
    {"scale": {"columns": ["income"]}},
    {"encode": {"columns": ["city"], "unknown": "zeros"}},
    {"drop": {"columns": ["who"]}},
]
GROUPED.insert(5, GROUPED.pop())
TIME: list[dict[str, Any]] = [
    *FIRST,
    {"deduplicate": {}},
    {"split": {"by": "time", "column": "age", "validation": 0.3}},
    {"fill": {"columns": ["income"], "by": "median"}},
    {"hash": {"columns": ["note"]}},
    {"scale": {"columns": ["income"]}},
]
TIME.insert(5, TIME.pop(6))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MODELOPS_SALT", SALT)
    monkeypatch.setattr("modelops_runtime.data.sources.source.CHUNK_ROWS", 40)
    for module in ("table", "dask_table"):
        monkeypatch.setattr(f"modelops_runtime.data.{module}.BLOCK_ROWS", 64)
    frame = rows(300)
    frame.iloc[:100].to_csv(tmp_path / "raw-1.csv", index=False)
    frame.iloc[100:].to_csv(tmp_path / "raw-2.csv", index=False)
    yield tmp_path
    logging.getLogger("distributed").setLevel(logging.WARNING)


def run(folder: Path, destination: str, pipeline: dict[str, Any], *words: str) -> Path:
    prepare.main(["--pipeline", json.dumps(pipeline), "--destination", f"{folder}/{destination}", *words])
    return latest(folder / destination)


def latest(out: Path) -> Path:
    return out / json.loads((out / "latest.json").read_text())["data_version"]


def assert_same(one: Path, other: Path) -> None:
    for part in PARTS:
        expected, found = pd.read_parquet(one / part), pd.read_parquet(other / part)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert (one / "preprocessing.json").read_text() == (other / "preprocessing.json").read_text()
    # Each part is in several files.
    reports = [json.loads((version / "report.json").read_text()) | {"files": []} for version in (one, other)]
    assert reports[0] == reports[1]


@pytest.mark.parametrize("steps", [None, RANDOM, GROUPED, TIME], ids=["stratified", "random", "grouped", "time"])
def test_dask_gives_the_same_rows_and_numbers_as_one_worker(folder: Path, steps: list[dict[str, Any]] | None) -> None:
    pipeline = declared(folder) | ({} if steps is None else {"steps": steps})
    one = run(folder, "one", pipeline)
    other = run(folder, "other", pipeline, "--engine", "dask")
    assert_same(one, other)
    assert len(list((other / "train").iterdir())) > 1
    assert [path.name for path in (folder / "other").iterdir() if path.name.startswith(".")] == []


def start(folder: Path, pipeline: dict[str, Any], shard: int, **variables: str) -> "subprocess.Popen[str]":
    command = [
        sys.executable,
        "-m",
        "modelops_runtime",
        "prepare",
        "--pipeline",
        json.dumps(pipeline),
        "--engine",
        "dask",
    ]
    command += ["--destination", f"{folder}/many", "--shards", "2", "--shard", str(shard), "--wait-seconds", "60"]
    out = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **variables}, stdout=out, stderr=subprocess.STDOUT, text=True)


def certificates(folder: Path) -> dict[str, str]:
    from tests.certificates import make

    folder.mkdir()
    for name, content in make({"worker": ["worker"]}).items():
        (folder / name).write_bytes(content)
    return {"MODELOPS_ENGINE_TLS": str(folder)}


def test_two_workers_meet_over_tls_and_end_together(folder: Path) -> None:
    pipeline, variables = declared(folder), certificates(folder / "tls")
    workers = [start(folder, pipeline, shard, **variables) for shard in (1, 0)]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert "distributed" not in "".join(said), "Dask's own log lines are off"
    one = run(folder, "one", pipeline)
    other = latest(folder / "many")
    for part in PARTS:
        pd.testing.assert_frame_equal(pd.read_parquet(other / part), pd.read_parquet(one / part), check_exact=True)
    assert (one / "preprocessing.json").read_text() == (other / "preprocessing.json").read_text()


IPV6_ONLY = """
import errno, socket

look_up = socket.getaddrinfo

class Socket(socket.socket):
    def bind(self, address):
        if self.family == socket.AF_INET and not address[0].startswith("127."):
            raise OSError(errno.EADDRNOTAVAIL, "there is no IPv4 here")
        super().bind(address)

    def connect(self, address):
        if self.family == socket.AF_INET:
            raise OSError(errno.ENETUNREACH, "there is no IPv4 here")
        super().connect(address)

def of_ipv6(host, *more, **named):
    return look_up("::1" if host == socket.gethostname() else host, *more, **named)

def of_ipv4(host):
    raise socket.gaierror(socket.EAI_NONAME, "there is no IPv4 here")

socket.socket, socket.getaddrinfo, socket.gethostbyname = Socket, of_ipv6, of_ipv4
"""
"""A pod of a cluster with IPv6 alone, as Python's programs see it: of IPv4 it has its own loopback address, where no
other pod answers."""


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_workers_meet_where_there_is_no_ipv4(folder: Path) -> None:
    (folder / "ipv6").mkdir()
    (folder / "ipv6" / "sitecustomize.py").write_text(IPV6_ONLY)
    path = os.pathsep.join([str(folder / "ipv6"), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {**certificates(folder / "tls"), "PYTHONPATH": path}
    workers = [start(folder, declared(folder), shard, **variables) for shard in (1, 0)]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    expected = pd.read_parquet(run(folder, "one", declared(folder)) / "train")
    pd.testing.assert_frame_equal(pd.read_parquet(latest(folder / "many") / "train"), expected, check_exact=True)


def test_a_pod_with_both_families_is_met_at_its_ipv4_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelops_runtime.data import dask_cluster

    found: list[Any] = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::7", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert dask_cluster._own_address() == "10.0.0.7"
    found.pop()
    assert dask_cluster._own_address() == "fd00::7"


def test_what_a_killed_worker_had_is_done_by_the_others(folder: Path) -> None:
    other, leader = (start(folder, declared(folder), shard) for shard in (1, 0))
    work, deadline = folder / "many" / ".work", time.monotonic() + 100
    while not ((work / "engine.json").exists() and (work / "done-0001.json").exists()):
        assert time.monotonic() < deadline and leader.poll() is None
        time.sleep(0.05)
    time.sleep(1.5)  # it has joined by now, mostly; before or after, the result is the same
    other.kill()
    other.wait()
    said = leader.communicate(timeout=120)[0]
    assert leader.returncode == 0, said
    expected = pd.read_parquet(run(folder, "one", declared(folder)) / "train")
    pd.testing.assert_frame_equal(pd.read_parquet(latest(folder / "many") / "train"), expected, check_exact=True)


def test_what_is_wrong_ends_both_workers_and_no_line_has_a_value(folder: Path) -> None:
    steps = [{"split": {"by": "time", "column": "age"}}, {"encode": {"columns": ["who"]}}]
    workers = [start(folder, {**declared(folder), "steps": steps}, shard) for shard in (1, 0)]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 10], said
    assert "column who: has a category that the training split does not have" in said[1]
    assert "distributed" not in "".join(said)
    assert "person " not in "".join(said) and "a@example.com" not in "".join(said)
    assert not any((folder / "many").iterdir())


def test_an_unforeseen_error_says_no_value(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # Of its own, Dask would log the arguments of what failed.
    frame = pd.DataFrame({"a": [1, 2]}, index=[0, 1])
    storage.Place(f"{folder}/out").write_table(".work/part.parquet", frame, index=True)
    from modelops_runtime.data import dask_table

    def broken(frame: pd.DataFrame) -> int:
        raise RuntimeError("no value")

    with dask_table.engine(storage.Place(f"{folder}/out"), ".work", 1) as engine:
        pieces = engine.open([(".work/part.parquet", 2, 0)], Context(salt=SALT.encode()))
        with pytest.raises(RuntimeError):
            pieces.fold(broken, int.__add__)
    said = "".join(capfd.readouterr())
    assert SALT not in said and "Reading(" not in said


def test_a_shuffle_has_little_in_memory(folder: Path) -> None:
    # Of itself up to 1.1 GiB a worker.
    from modelops_runtime.data import dask_table

    def limits(dask_worker: Any) -> tuple[int, int]:
        shuffle = dask_worker.plugins["shuffle"]
        return shuffle.memory_limiter_comms.limit, shuffle.memory_limiter_disk.limit

    with dask_table.engine(storage.Place(f"{folder}/out"), ".work", 1) as engine:
        assert list(engine.client.run(limits).values()) == [(16 * 2**20, 16 * 2**20)]


def test_a_step_that_needs_all_rows_is_refused(folder: Path) -> None:
    pipeline = {**declared(folder), "steps": [{"split": {}}, {"fill": {"columns": ["income"], "by": "interpolate"}}]}
    with pytest.raises(ConfigurationError, match=r"steps\[1\] \(fill\) needs all rows in one memory"):
        run(folder, "out", pipeline, "--engine", "dask")


def test_no_rows_left_is_an_error_of_its_own(folder: Path) -> None:
    steps = [{"check": {"columns": {"age": {"minimum": 99}}, "on_violation": "drop"}}, {"split": {}}]
    with pytest.raises(DataError, match="leaves no rows"):
        run(folder, "out", {**declared(folder), "steps": steps}, "--engine", "dask")
    assert not any((folder / "out").iterdir())


def test_files_of_different_types_become_one_type(folder: Path) -> None:
    pd.DataFrame({"a": range(100), "t": "x"}).to_parquet(folder / "p1.parquet")
    pd.DataFrame({"a": [0.5, None] * 50, "t": None}).to_parquet(folder / "p2.parquet")
    pipeline = {
        "sources": [{"uri": f"{folder}/p?.parquet", "format": "parquet"}],
        "steps": [{"deduplicate": {}}, {"split": {}}, {"fill": {"columns": ["a"], "by": "mean"}}],
    }
    assert_same(run(folder, "one", pipeline), run(folder, "other", pipeline, "--engine", "dask"))


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 20), FLOATS), min_size=1, max_size=60), st.integers(0, 70))
def test_a_rank_is_found_as_by_sorting(rows: list[tuple[int, float]], rank: int) -> None:
    groups, numbers = np.array([group for group, _ in rows], "uint64"), np.array([number for _, number in rows]) + 0.0
    found = quantiles.at(
        InMemory(quantiles.table(groups, quantiles.of_floats(numbers))), lambda count: [rank, count // 2]
    )
    for group in set(groups.tolist()):
        ordered = sorted(numbers[groups == group])
        for at, result in zip((rank, len(ordered) // 2), found[group], strict=True):
            value = ordered[min(at, len(ordered) - 1)]
            assert quantiles.to_float(result.key) == value and result.rank == at
            assert (result.below, result.same) == (sum(n < value for n in ordered), ordered.count(value))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=9))
def test_keys_of_integers_have_their_order(numbers: list[int]) -> None:
    keys = quantiles.of_integers(np.array(numbers, dtype="int64"))
    assert [numbers[place] for place in np.argsort(keys, kind="stable")] == sorted(numbers)


CELLS = st.sampled_from([None, 0.0, -0.0, 1.0, float("nan")])


@given(st.lists(st.tuples(CELLS, st.sampled_from(["", "a", "b"])), min_size=1, max_size=30))
def test_rows_have_the_same_hash_where_groupby_has_them_in_one_group(cells: list[tuple[float | None, str]]) -> None:
    frame = pd.DataFrame(cells, columns=["n", "t"]).astype({"n": "float64"})
    groups = frame.groupby(["n", "t"], dropna=False, sort=False).ngroup()
    for key in (None, "another key, 16 b"[:16]):
        np.testing.assert_array_equal(pd.factorize(hashes(frame, key))[0], groups)


PEAK = """
import sys
from pathlib import Path
from modelops_runtime.data import dask_table, prepare, table
from modelops_runtime.data.sources import source
source.CHUNK_ROWS = table.BLOCK_ROWS = dask_table.BLOCK_ROWS = 5_000
prepare.main(sys.argv[1:])
# Not getrusage's: that begins at what pytest, which this was forked from, had in memory.
[peak] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print("PEAK", int(peak) / 1024)
"""


def peak_mebibytes(folder: Path, count: int, engine: str) -> float:
    name = f"{engine}-{count}"
    place = np.arange(count)
    frame = pd.DataFrame({"text": [f"{row} " * 40 for row in place], "n": place % 97 / 7, "y": place % 2})
    frame.to_csv(folder / f"{name}.csv", index=False)
    pipeline = {
        "sources": [{"uri": f"{folder}/{name}.csv", "types": {"text": "text", "n": "number", "y": "number"}}],
        "steps": [
            *({"deduplicate": {}}, {"split": {"by": "stratified", "column": "y"}}),
            *({"fill": {"columns": ["n"], "by": "median"}}, {"scale": {"columns": ["n"]}}),
        ],
    }
    command = [sys.executable, "-c", PEAK, "--pipeline", json.dumps(pipeline), "--engine", engine]
    done = subprocess.run([*command, "--destination", f"{folder}/{name}"], capture_output=True, text=True, check=True)
    return float(done.stdout.rpartition("PEAK")[2])


def test_memory_of_a_worker_does_not_grow_with_its_rows(tmp_path: Path) -> None:
    few, many = 20_000, 240_000
    of_memory, of_dask = (
        peak_mebibytes(tmp_path, many, engine) - peak_mebibytes(tmp_path, few, engine) for engine in ("memory", "dask")
    )
    assert of_memory > 100, "with all rows in memory it does, or this test would show nothing"
    assert of_dask < of_memory / 5
