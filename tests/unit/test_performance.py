"""The table of `make bench`: every result is in it, judged by its goal, and docs/performance.md is made of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import __main__ as bench
from bench.figures import rows
from bench.goals import GOALS, Goal
from bench.serve import NAMED
from bench.table import RESULTS, TABLE, Line, fallen, judged, load
from docs import performance

KERAS = "throughput against FastAPI + Keras tf.function"
FIGURES = st.floats(0.01, 1000)


def served(ratio: float | None, runs: int = 10, title: str = KERAS) -> dict[str, Any]:
    """Results with one row of the server."""
    numbers = {"median": 10.0, "low": 9.0, "high": 11.0}
    row = {"row": title, "unit": "requests/s", "ours": numbers, "reference": numbers, "ratio": ratio}
    if ratio is None:
        row |= {"ours": None, "reference": None, "error": "it didn't start"}
    return {"latest": [{**row, "runs": {"ours": [10.0] * runs}}]}


def line_of(goal: str) -> Line:
    [line] = [each for each in TABLE if each.goal == goal]
    return line


def cells(results: dict[str, Any], goal: str) -> list[str]:
    """The page's row of a line."""
    line = line_of(goal)
    beginning = f"| {line.what} | {line.against} |"
    [row] = [each for each in performance.table(results) if each.startswith(beginning)]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_page_and_its_picture_are_up_to_date() -> None:
    text = performance.PAGE.read_text()
    assert performance.page(text, load()) == text, "run `python -m docs.performance`"
    assert performance.picture(load()) == performance.PICTURE.read_text(), "run `python -m docs.performance`"


@pytest.mark.parametrize("file", [path.stem for path in sorted(RESULTS.glob("*.json"))])
def test_every_result_is_on_the_page(file: str) -> None:
    text = performance.PAGE.read_text()
    if file in performance.SERVERS:
        missing = [row["row"] for row in rows(load(), file) if f"| {row['row']} |" not in text]
        assert missing == []
    else:
        line = next(line for line in TABLE if file in line.command)
        assert line.measured(load()).value is not None


def test_every_goal_is_a_lines() -> None:
    assert {line.goal for line in TABLE} == GOALS.keys()


@given(FIGURES, FIGURES, st.booleans())
def test_a_goal_is_met_where_the_figure_is_at_least_as_good(limit: float, value: float, at_most: bool) -> None:
    goal = Goal(limit, at_most=at_most)
    assert goal.met(value) == (value <= limit if at_most else value >= limit)
    if abs(value / limit - 1) > 1e-9:
        assert goal.met(value) == (goal.share(value) > 1)


def test_a_missed_goal_stays_with_its_figure() -> None:
    assert cells(served(14.54), "predict, Keras")[-4:] == ["14.5 ×", "≥ 15 ×", "**no**", "10"]
    assert cells(served(15.1), "predict, Keras")[-4:] == ["15.1 ×", "≥ 15 ×", "yes", "10"]


def test_fewer_runs_than_ten_are_said() -> None:
    assert cells(served(20, runs=9), "predict, Keras")[-1] == "9, too few"


def test_what_could_not_be_measured_has_the_reason() -> None:
    assert cells(served(None), "predict, Keras")[-4:] == ["it didn't start", "≥ 15 ×", "?", "–"]


def test_a_line_without_a_result_names_the_program_that_makes_one() -> None:
    assert cells({}, "predict, Keras")[-4:-1] == ["no result of `python -m bench.serve`", "≥ 15 ×", "?"]
    assert performance.summary({}).startswith("0 of 0 ")


def test_ratios_of_measurements_in_turns_are_of_each_turn() -> None:
    turns = {"by hand": [{"seconds": 6.0}, {"seconds": 9.0}, {"seconds": 8.0}]}
    ours = {"1 worker": [{"seconds": 4.0}, {"seconds": 3.0}, {"seconds": 4.0}]}
    found = line_of("data").measured({"data_pipeline": {"beside": {"rows": 10, **turns, **ours}}})
    assert (found.value, found.runs, found.note) == (2.0, 3, "10 rows")
    found = line_of("import").measured({"imports": {"ours": [1.0, 1.3, 1.2], "alone": [1.0, 1.0, 1.0]}})
    assert found.value == 1.2
    seconds = {"TrainingJob": [2.0, 2.2], "plain Indexed Job of the same pods": [2.0, 2.0]}
    assert line_of("training launch").measured({"training_job": {"seconds_from_the_job": seconds}}).value == 1.05


def test_of_previews_the_worst_count_is_the_figure_and_each_is_told() -> None:
    seconds = {
        "1": {"ours": [2.0, 2.0], "plain": [2.0, 2.0]},
        "10": {"ours": [6.0, 9.0], "plain": [4.0, 6.0]},
        "200": {"ours": [22.0, 24.0], "plain": [20.0, 20.0]},
    }
    found = line_of("preview").measured({"service_previews": {"seconds": seconds}})
    assert (found.value, found.runs) == (1.5, 2)
    assert found.note == "1: 1 ×, 10: 1.5 ×, 200: 1.15 ×; each service more: 1.17 ×"


def test_of_renderings_the_last_tenth_is_beside_the_first() -> None:
    seconds = [1.0, 1.0, 5.0, *[2.0] * 24, 1.2, 1.1, 1.1]
    results = {"rendering": {"resources": 60, "seconds": seconds, "megabytes": [100.0, *[150.0] * 8, 104.0]}}
    found = line_of("rendering, time").measured(results)
    assert (found.value, found.runs, found.note) == (1.1, 3, "30 times, 60 resources")
    assert line_of("rendering, memory").measured(results).value == 1.04


def test_of_images_each_round_is_beside_its_own_cold_build_and_digests_are_counted() -> None:
    images = {
        "cold": [40.0, 60.0],
        "unchanged": [2.0, 3.0],
        "digests": ["sha256:a", "sha256:a"],
        "cold bytes": [50_000_000, 50_000_000],
        "changed bytes": [250_000, 250_000],
    }
    values = [line_of(goal).measured({"images": images}).value for goal in ("unchanged image", "code-only change")]
    assert values == [0.05, 0.005]
    assert line_of("digests of ten builds").measured({"images": images}).value == 1
    images["digests"] = ["sha256:a", "sha256:b"]
    assert line_of("digests of ten builds").measured({"images": images}).value == 2


def test_updates_of_services_are_beside_the_tools_that_are_there() -> None:
    seconds = {"up": [8.0, 9.0], "unchanged up": [6.0, 6.0], "apply": [4.0, 6.0], "diff": [3.0, 2.0]}
    results: dict[str, Any] = {"service_updates": {"services": 50, "seconds": seconds}}
    found = {goal: line_of(goal).measured(results) for goal in ("first up, kubectl", "unchanged up", "first up, helm")}
    assert [each.value for each in found.values()] == [1.75, 2.5, None]
    assert found["unchanged up"].note == "50 services, nothing of them runs"
    assert found["first up, helm"].note == "no helm here"
    seconds["helm"] = [4.0, 4.5]
    assert line_of("first up, helm").measured(results).value == 2.0


def test_of_larger_models_the_worst_counts() -> None:
    numbers = {"median": 10.0, "low": 9.0, "high": 11.0}
    both = [
        {"row": name, "unit": "predictions/s", "ours": numbers, "reference": numbers, "ratio": ratio}
        for name, ratio in (("a model", 0.9), ("a table", 0.7))
    ]
    found = line_of("predict, larger models").measured(
        {"larger": [{**each, "runs": {"ours": [10.0]}} for each in both]}
    )
    assert (found.value, found.runs, found.note) == (0.7, 1, "a model: 0.9 ×; a table: 0.7 ×")


def test_of_trainings_the_largest_number_counts() -> None:
    def of(ratio: float) -> dict[str, Any]:
        medians = {"training": {"work": 4.0, "ratio": ratio}, "plain": {"work": 2.0, "ratio": 1.0}}
        return {"medians": medians, "runs": {"training": [{}]}}

    found = line_of("trainings").measured({"trainings": {"30": of(3.0), "100": of(2.0)}})
    assert (found.value, found.note) == (2.0, "100 trainings")


@pytest.mark.parametrize("name", NAMED)
def test_each_reference_with_a_goal_of_its_own_has_a_line(name: str) -> None:
    found = [line for line in TABLE if line.limit == NAMED[name]]
    assert [line.measured(served(2.5, title=f"throughput against {name}")).value for line in found] == [2.5]


@given(FIGURES, FIGURES)
def test_a_ratio_that_fell_by_more_than_a_tenth_is_noticed(before: float, after: float) -> None:
    found = fallen(served(before), served(after))
    if abs(after / before - 0.9) > 1e-6:
        assert bool(found) == (after < 0.9 * before)


@given(FIGURES, FIGURES)
def test_where_less_is_better_a_ratio_that_grew_is_noticed(before: float, after: float) -> None:
    old, new = ({"imports": {"ours": [value], "alone": [1.0]}} for value in (round(before, 3), round(after, 3)))
    found = fallen(old, new)
    if abs(before / after - 0.9) > 1e-3:
        assert bool(found) == (before / after < 0.9)


def test_a_figure_that_is_new_or_gone_is_not_worse() -> None:
    assert fallen({}, served(1)) == fallen(served(1), {}) == []


def test_a_run_without_a_cluster_leaves_out_what_needs_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MODELOPS_PLATFORM", raising=False)
    on_a_cluster = [name for name, each in bench.BENCHES.items() if each.on_a_cluster]
    assert on_a_cluster == ["images", "previews", "updates", "launch", "trainings"]
    assert bench.run(on_a_cluster) == []
    assert capsys.readouterr().out.count("left out, there is no cluster") == len(on_a_cluster)


def ended(monkeypatch: pytest.MonkeyPatch, after: dict[str, Any], program: str) -> int:
    """The exit code of a run of one bench, after which the results are these."""
    found = iter([served(20), after])
    monkeypatch.setattr(bench, "load", lambda: next(found))
    monkeypatch.setattr(bench.performance, "write", lambda results: None)
    monkeypatch.setattr(bench, "BENCHES", {"one": bench.Bench([program])})
    monkeypatch.setattr("sys.argv", ["bench", "--only=one"])
    return bench.main()


def test_a_run_prints_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, served(19), "this") == 0
    assert (
        "yes predict, sample model, beside FastAPI + Keras `tf.function`: 19 × (goal ≥ 15 ×)" in capsys.readouterr().out
    )


def test_a_bench_that_fails_fails_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, served(20), "bench.no_such_program") == 1
    assert "one failed, see above" in capsys.readouterr().err


def test_a_ratio_that_falls_fails_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, served(16), "this") == 1
    assert "worse: predict, sample model, beside FastAPI" in capsys.readouterr().err


def test_the_results_are_json_with_what_they_ran_on() -> None:
    for path in RESULTS.glob("*.json"):
        text = json.dumps(json.loads(path.read_text()))
        assert '"python"' in text, path.name


def test_the_page_is_named_where_people_look() -> None:
    root = Path(performance.FOLDER).parent
    assert "docs/performance.md" in (root / "README.md").read_text()
    assert "\nperformance\n" in (root / "docs" / "index.md").read_text()
    assert list(judged(load()))
