"""What a run says while it works."""

import json
import pickle
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelops_runtime.data import prepare, progress
from modelops_runtime.data.context import Context
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.sources import source
from modelops_runtime.data.steps.clean import Deduplicate


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CHUNK_ROWS", 1000)


def declared(*sources: dict[str, Any]) -> dict[str, Any]:
    return {"sources": list(sources), "steps": [{"deduplicate": {}}, {"split": {}}], "target": "y"}


def rows(count: int) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    return pd.DataFrame({"x": rng.normal(size=count), "y": rng.integers(0, 2, count)})


def states(pipeline: dict[str, Any], shard: int = 0, shards: int = 1) -> list[tuple[float | None, str]]:
    """How far the reading says it is, after each chunk."""
    context = Context()
    said = []
    for _ in Pipeline.parse(pipeline).shard(shard, shards, context):
        assert context.progress.line().startswith("reading, ")
        assert context.progress._far is not None
        said.append(context.progress._far())
    return said


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_files_and_rows_are_counted_up_to_the_last(tmp_path: Path, kind: str) -> None:
    frame = rows(4000)
    path = tmp_path / f"raw.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)
    declaration = {"uri": str(path), "format": kind, "types": {"x": "number", "y": "integer"}}
    said = states(declared(declaration))
    assert [words for _done, words in said] == [f"file 1 of 1, {count:,} rows" for count in (1000, 2000, 3000, 4000)]
    parts = [done for done, _words in said]
    assert parts == sorted(parts, key=lambda part: part or 0)
    assert parts[-1] == pytest.approx(1)


def test_half_of_a_file_is_half_of_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelops_runtime.data.sources.delimited.BLOCK_BYTES", 2**12)  # Arrow reads 32 of them ahead
    rows(100_000).to_csv(tmp_path / "raw.csv", index=False)
    said = states(declared({"uri": f"{tmp_path}/raw.csv", "types": {"x": "number", "y": "integer"}}))
    assert said[49][0] == pytest.approx(0.5, abs=0.15)  # a reader reads ahead


def test_files_count_by_their_bytes(tmp_path: Path) -> None:
    rows(9000).to_csv(tmp_path / "raw-1.csv", index=False)
    rows(1000).to_csv(tmp_path / "raw-2.csv", index=False)
    said = states(declared({"uri": f"{tmp_path}/raw-*.csv", "types": {"x": "number", "y": "integer"}}))
    assert said[8][0] == pytest.approx(0.9, abs=0.01)
    assert said[9] == (pytest.approx(1), "file 2 of 2, 10,000 rows")


@pytest.mark.parametrize("files", [1, 4])
def test_a_shard_counts_its_own_share(tmp_path: Path, files: int) -> None:
    for number in range(files):
        rows(8000 // files).to_csv(tmp_path / f"raw-{number}.csv", index=False)
    source_ = {"uri": f"{tmp_path}/raw-*.csv", "types": {"x": "number", "y": "integer"}}
    done, words = states(declared(source_), shard=1, shards=2)[-1]
    assert done == pytest.approx(1)
    assert words == f"file {2 if files == 4 else 1} of {2 if files == 4 else 1}, 4,000 rows"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes long, and lines come often."""
    on = Deduplicate.on

    def slowly(self: Deduplicate, rows: Any, context: Context) -> Any:
        time.sleep(0.5)
        return on(self, rows, context)

    monkeypatch.setattr(Deduplicate, "on", slowly)
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.1)


@pytest.mark.usefixtures("slow")
def test_a_long_step_says_so_at_a_steady_pace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows(2000).to_csv(tmp_path / "raw.csv", index=False)
    before = threading.active_count()
    content = json.dumps(declared({"uri": f"{tmp_path}/raw.csv"}))
    prepare.main(["--pipeline", content, "--destination", f"{tmp_path}/out"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "deduplicate" in line]
    assert 3 <= len(lines) <= 6
    assert all(re.fullmatch(r"steps\[0\] \(deduplicate\) of 2,000 rows, [01] s so far", line) for line in lines)
    assert threading.active_count() == before


def test_the_time_left_follows_from_the_part_that_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    going = progress.Progress()
    done = {"a"}
    going.doing("working", progress.those_done("abcd", lambda each: each in done, "parts"))
    now[0] = 110.0
    assert going.line() == "working, 1 of 4 parts, 30 s left"
    done.add("b")
    assert going.line() == "working, 2 of 4 parts, 10 s left"
    done.clear()
    assert going.line() == "working, 0 of 4 parts, 10 s so far"


def test_what_travels_to_a_worker_has_nothing_to_show() -> None:
    going = progress.Progress()
    going.doing("working", lambda: (0.5, "here alone"))
    assert "here alone" not in pickle.loads(pickle.dumps(Context(progress=going))).progress.line()


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("words", [["--shards", "2"], ["--engine", "dask"]])
def test_shards_and_dask_say_it_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    would_say = []
    of_these = progress.Progress.of_these

    def noted(self: progress.Progress, far: progress.Far | None) -> None:
        of_these(self, far)
        would_say.append(self.line())

    monkeypatch.setattr(progress.Progress, "of_these", noted)
    rows(4000).to_csv(tmp_path / "raw.csv", index=False)
    content = json.dumps(declared({"uri": f"{tmp_path}/raw.csv", "types": {"x": "number", "y": "integer"}}))
    options = ["--pipeline", content, "--destination", f"{tmp_path}/out", *words]
    if words[0] == "--shards":
        waiting = threading.Timer(0.5, prepare.main, [[*options, "--shard", "1"]])
        waiting.start()
    prepare.main([*options, "--data-version", "one", "--wait-seconds", "60"])
    said = capsys.readouterr().out
    if words[0] == "--shards":
        waiting.join()
        assert "waiting, 1 of 2 shards, " in said
    else:
        # Few rows take less time than from one line to the next.
        lines = "\n".join([said, *would_say])
        assert re.search(r"steps\[0\] \(deduplicate\) of 4,000 rows, \d of \d parts, \d s", lines)


def test_a_run_that_fails_ends_its_lines(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(Exception, match="can't be read"):
        prepare.main(["--pipeline", json.dumps(declared({"uri": f"{tmp_path}/no"})), "--destination", f"{tmp_path}/o"])
    assert threading.active_count() == before
