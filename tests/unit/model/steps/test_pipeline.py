"""A whole pipeline: order of its steps, leaks, shards, the version of its data, what is saved for serving."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelops_runtime.artifacts.preprocessing import Preprocessing
from modelops_runtime.contract import ConfigurationError, ContractError, Exit
from modelops_runtime.data import prepare
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.steps import Context, DataError
from modelops_runtime.data.table import InMemory

SALT = "0123456789abcdef"
SPLIT: dict[str, Any] = {"split": {"seed": 3}}


def rows(count: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "who": [f"person {n}" for n in range(count)],
            "age": rng.integers(18, 90, count).astype("float64"),
            "income": rng.normal(3000, 900, count),
            "city": rng.choice(["Rome", "Oslo", "Lima"], count),
            "note": ["mail me: a@example.com" if n % 5 == 0 else "fine" for n in range(count)],
            "y": rng.integers(0, 2, count),
        }
    )
    frame.loc[frame.index % 7 == 0, "income"] = np.nan
    return pd.concat([frame, frame.iloc[:20]], ignore_index=True)


def declared(folder: Path) -> dict[str, Any]:
    types = {"who": "text", "age": "number", "income": "number", "city": "text", "note": "text", "y": "number"}
    return {
        "sources": [{"uri": f"{folder}/raw-*.csv", "types": types}],
        "steps": [
            {"check": {"columns": {"age": {"type": "integer", "minimum": 18}}, "on_violation": "drop"}},
            {"pseudonymise": {"columns": ["who"], "domain": "person"}},
            {"scan_text": {"columns": ["note"]}},
            {"outliers": {"columns": ["income"], "rule": "bounds", "low": 0, "high": 6000}},
            {"deduplicate": {}},
            {"split": {"by": "stratified", "column": "y"}},
            {"drop": {"columns": ["who", "note"]}},
            {"fill": {"columns": ["income"], "by": "median"}},
            {"scale": {"columns": ["age", "income"]}},
            {"encode": {"columns": ["city"]}},
        ],
        "target": "y",
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELOPS_SALT", SALT)
    frame = rows(300)
    frame.iloc[:100].to_csv(tmp_path / "raw-1.csv", index=False)
    frame.iloc[100:].to_csv(tmp_path / "raw-2.csv", index=False)
    return tmp_path


def run(folder: Path, destination: str, *words: str, pipeline: dict[str, Any] | None = None) -> Path:
    content = json.dumps(pipeline or declared(folder))
    prepare.main(["--pipeline", content, "--destination", f"{folder}/{destination}", *words])
    out = folder / destination
    return out / json.loads((out / "latest.json").read_text())["data_version"]


def test_a_version_has_three_parts_preprocessing_and_a_report(folder: Path) -> None:
    out = run(folder, "out")
    parts = {name: pd.read_parquet(out / name) for name in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == 300
    assert list(parts["train"].columns) == ["age", "income", "city=Lima", "city=Oslo", "city=Rome", "y"]
    assert parts["train"]["age"].mean() == pytest.approx(0, abs=1e-12)
    assert not parts["test"].isna().any().any()
    report = json.loads((out / "report.json").read_text())
    assert report["rows"] == {name: len(part) for name, part in parts.items()}
    assert {"column": "note", "by": "scan_text", "action": "redact", "found": {"EMAIL_ADDRESS": 64}} in report[
        "protected"
    ]
    assert report["steps"][4] == {"step": 4, "name": "deduplicate", "rows_before": 320, "rows_after": 300}


def test_what_is_fitted_comes_from_the_training_split_alone(folder: Path) -> None:
    saved = Preprocessing.read(run(folder, "out") / "preprocessing.json")
    pipeline = Pipeline.parse({**declared(folder), "steps": declared(folder)["steps"][:6]})
    context = Context(salt=SALT.encode())
    raw = pipeline.finish(InMemory(pipeline.whole(context, lambda _line: None)), context, lambda _line: None)
    train = raw.parts["train"].frame
    mean = [operation["mean"] for operation in saved.operations if operation["kind"] == "standard"]
    assert mean == [
        pytest.approx(train["age"].mean()),
        pytest.approx(train["income"].fillna(train["income"].median()).mean()),
    ]
    whole = pd.concat(part.frame for part in raw.parts.values())["age"].mean()
    assert mean[0] != pytest.approx(whole, rel=1e-6)


def test_an_unchanged_pipeline_does_no_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(folder, "out")
    before = (first / "report.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run(folder, "out") == first
    assert "nothing to do" in capsys.readouterr().out
    assert (first / "report.json").stat().st_mtime_ns == before


def test_the_version_follows_inputs_steps_and_salt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [run(folder, "out").name]
    changed = declared(folder)
    changed["steps"][5]["split"]["seed"] = 99
    versions.append(run(folder, "out", pipeline=changed).name)
    monkeypatch.setenv("MODELOPS_SALT", SALT + "!")
    versions.append(run(folder, "out").name)
    with (folder / "raw-2.csv").open("a") as stream:
        stream.write("new,50,1000,Rome,hello,1\n")
    versions.append(run(folder, "out").name)
    assert len(set(versions)) == 4


@pytest.mark.parametrize("shards", [2, 3])
def test_shards_give_the_same_files_as_one_worker(folder: Path, shards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelops_runtime.data.sources.source.CHUNK_ROWS", 40)
    one = run(folder, "one")
    for shard in [*range(1, shards), 0]:
        content = json.dumps(declared(folder))
        words = ["--shards", str(shards), "--shard", str(shard)]
        prepare.main(["--pipeline", content, "--destination", f"{folder}/many", *words])
    many = folder / "many" / json.loads((folder / "many" / "latest.json").read_text())["data_version"]
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(many) for path in many.rglob("*") if path.is_file())
    for file in files:
        assert (one / file).read_bytes() == (many / file).read_bytes(), file
    assert [path.name for path in (folder / "many").iterdir() if path.name.startswith(".")] == []


def test_a_shard_that_never_ends_is_noticed(folder: Path) -> None:
    with pytest.raises(ContractError, match="1 of 2 shards are not done"):
        run(folder, "out", "--shards", "2", "--shard", "0", "--wait-seconds", "0.1")
    assert not (folder / "out" / "latest.json").exists()


def test_what_fails_after_the_shards_takes_their_pieces_away(folder: Path) -> None:
    pipeline = declared(folder)
    pipeline["steps"][8]["scale"]["columns"] = ["gone"]
    with pytest.raises(DataError, match="lacks column gone"):
        for shard in ("1", "0"):
            run_shard(folder, shard, pipeline)
    assert list((folder / "out").iterdir()) == []


def run_shard(folder: Path, shard: str, pipeline: dict[str, Any]) -> None:
    words = ["--shards", "2", "--shard", shard]
    prepare.main(["--pipeline", json.dumps(pipeline), "--destination", f"{folder}/out", *words])


@pytest.mark.parametrize("change", ["input", "steps", "salt"])
def test_what_a_worker_of_another_run_left_is_not_used(
    folder: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = declared(folder)
    run_shard(folder, "1", pipeline)
    if change == "input":
        raw = folder / "raw-2.csv"
        raw.write_text("".join(raw.read_text().splitlines(keepends=True)[:150]))
    elif change == "steps":
        pipeline["steps"][0]["check"]["columns"]["age"]["minimum"] = 40
    else:
        monkeypatch.setenv("MODELOPS_SALT", SALT[::-1])
    with pytest.raises(ContractError, match="1 of 2 shards are not done after 0 s"):
        run(folder, "out", "--shards", "2", "--shard", "0", "--wait-seconds", "0", pipeline=pipeline)
    run_shard(folder, "1", pipeline)
    many = run(folder, "out", "--shards", "2", "--shard", "0", pipeline=pipeline)
    one = run(folder, "one", pipeline=pipeline)
    assert (many / "report.json").read_bytes() == (one / "report.json").read_bytes()
    assert [path.name for path in (folder / "out").iterdir() if path.name.startswith(".")] == []


def test_what_a_killed_attempt_left_in_a_folder_is_removed(folder: Path) -> None:
    version = run(folder, "out")
    (left := folder / "out" / f".{version.name}-killed" / "train").mkdir(parents=True)
    (left / "part-00000.parquet").write_bytes(b"half")
    run(folder, "out")
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted([version.name, "latest.json"])


def test_a_folder_that_is_no_version_is_not_overwritten(folder: Path) -> None:
    (folder / "out" / "v1").mkdir(parents=True)
    (folder / "out" / "v1" / "notes.txt").write_text("mine")
    with pytest.raises(ContractError, match=r"/out/v1 is there without a report\.json: remove it"):
        run(folder, "out", "--data-version", "v1")
    assert [path.name for path in (folder / "out").iterdir()] == ["v1"]


def test_a_pattern_does_not_reach_into_folders(folder: Path) -> None:
    (folder / "deeper").mkdir()
    (folder / "deeper" / "raw-9.csv").write_text("nothing of this\n")
    assert len(Pipeline.parse(declared(folder)).files()) == 2
    assert len(Pipeline.parse({**declared(folder), "sources": [{"uri": f"{folder}/*/raw-?.csv"}]}).files()) == 1


def test_types_are_guessed_for_one_worker(folder: Path) -> None:
    pipeline = declared(folder)
    del pipeline["sources"][0]["types"]
    explicit = declared(folder)
    explicit["sources"][0]["types"]["y"] = "integer"
    pd.testing.assert_frame_equal(
        pd.read_parquet(run(folder, "guessed", pipeline=pipeline) / "train"),
        pd.read_parquet(run(folder, "declared", pipeline=explicit) / "train"),
    )


def test_a_failed_run_leaves_nothing(folder: Path) -> None:
    pipeline = declared(folder)
    pipeline["steps"][0]["check"] = {"columns": {"age": {"minimum": 60}}, "on_violation": "fail"}
    with pytest.raises(DataError) as caught:
        run(folder, "out", pipeline=pipeline)
    assert caught.value.code == Exit.BAD_ROW
    assert not (folder / "out").exists()


def test_a_crash_while_writing_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Preprocessing) -> str:
        raise OSError("disk full")

    monkeypatch.setattr(Preprocessing, "text", broken)
    with pytest.raises(OSError, match="disk full"):
        run(folder, "out")
    assert list((folder / "out").iterdir()) == []


def test_a_category_of_the_test_part_alone_is_named_with_its_row(tmp_path: Path) -> None:
    frame = pd.DataFrame({"t": range(10), "c": ["a"] * 9 + ["b"]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    pipeline = {
        "sources": [{"uri": f"{tmp_path}/x.csv"}],
        "steps": [{"split": {"by": "time", "column": "t"}}, {"encode": {"columns": ["c"]}}],
    }
    with pytest.raises(DataError, match=r"x\.csv, row 9, column c: has a category"):
        run(tmp_path, "out", pipeline=pipeline)


def test_nothing_left_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n")
    with pytest.raises(DataError) as caught:
        run(tmp_path, "out", pipeline={"sources": [{"uri": f"{tmp_path}/x.csv"}], "steps": [SPLIT]})
    assert caught.value.code == Exit.EMPTY


def test_no_planted_identifier_is_in_any_output_or_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = declared(folder)
    pipeline["steps"][6] = {"hash": {"columns": ["who"]}}
    pipeline["steps"][9] = {"encode": {"columns": ["city", "note"]}}
    out = run(folder, "out", pipeline=pipeline)
    everything = capsys.readouterr().out.encode()
    for path in out.rglob("*"):
        if path.is_file():
            everything += path.read_bytes()
    for part in ("train", "validation", "test"):
        everything += pd.read_parquet(out / part).to_csv().encode()
    for planted in (b"person 17", b"a@example.com", SALT.encode()):
        assert planted not in everything


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([{"scale": {"columns": ["a"]}}, SPLIT], r"steps\[0\] \(scale\) is fitted .* must be after split"),
        ([SPLIT, {"deduplicate": {}}], r"steps\[1\] \(deduplicate\) looks at all rows: must be before split"),
        ([SPLIT, {"scale": {"columns": ["a"]}}, {"drop": {"columns": ["b"]}}], r"steps\[2\] \(drop\) must be before"),
        ([SPLIT, {"scale": {"columns": ["y"]}}], r"must not change the target, y"),
        ([{"deduplicate": {}}], "steps has 0 split, must have one"),
        ([SPLIT, SPLIT], "steps has 2 split, must have one"),
        ([{"polish": {}}], r"steps\[0\] is 'polish', must be one of check, conversations, dates"),
        ([{"scale": {"by": "loud"}}], r"steps\[0\]\.scale\.columns is missing"),
        ([{"scale": {"columns": ["a"], "by": "loud"}}], r"steps\[0\]\.scale\.by is 'loud', must be 'standard' or"),
        ([{"scale": {"columns": ["a"], "bye": 1}}], r"steps\[0\]\.scale\.bye is not known"),
        ([{}], r"steps\[0\] has 0 names, must have one"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(steps: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Pipeline.parse({"sources": [{"uri": "x.csv"}], "steps": steps, "target": "y"})


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "--pipeline is not given"),
        (["--pipeline", "{", "--destination", "x"], "--pipeline is not JSON"),
        (["--pipeline", "@/nowhere.json", "--destination", "x"], "No such file"),
        (["--pipeline", "{}", "--destination", "x", "--shards", "2", "--shard", "2"], "--shard is 2, must be 0 to 1"),
        (["--pipeline", "{}", "--destination", "x", "--data-version", "../up"], "--data-version is '../up'"),
        (["--pipeline", "{}", "--destination", "nosuch://x"], "sources is missing"),
    ],
)
def test_a_wrong_command_line_is_refused(words: list[str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        prepare.main(words)


def test_help_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        prepare.main(["--help"])
    assert caught.value.code == 0
    assert "--destination" in capsys.readouterr().out
