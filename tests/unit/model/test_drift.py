"""What is predicted is counted, and compared with what was predicted when the model was tested."""

import dataclasses
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.artifacts.manifest import (
    BASELINE_COLUMNS,
    MOST_FEATURES,
    Bins,
    Golden,
    Manifest,
    Tensor,
    baseline_of,
    features_of,
)
from modelops_runtime.artifacts.preprocessing import FILE_NAME, Preprocessing
from modelops_runtime.artifacts.stability import population_stability_index
from modelops_runtime.contract import ContractError
from modelops_runtime.serving.drift import EDGES, Column, watch_of
from tests.models import write_model
from tests.unit.model.support import start_server

floats = st.floats(-1e6, 1e6, width=32)


def manifest(*baseline: Bins, outputs: int = 1) -> Manifest:
    golden = Golden([[0.0]], [[0.0] * outputs], 0)
    tensors = Tensor((-1, 1), "float32"), Tensor((-1, outputs), "float32")
    return Manifest("m", "r", "tensorflow", "litert", "f", *tensors, golden, baseline=baseline)


def normal(count: int, mean: float = 0.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, (count, 1)).astype("float32")


def test_the_index_is_the_published_formula() -> None:
    expected, counts = np.array([0.2, 0.3, 0.5]), np.array([30, 30, 40])
    actual = counts / 100
    assert population_stability_index(expected.tolist(), counts.tolist()) == pytest.approx(
        float(np.sum((actual - expected) * np.log(actual / expected)))
    )


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=10).filter(any))
def test_the_index_is_zero_for_the_same_spread_and_never_negative(counts: list[int]) -> None:
    same = [count / sum(counts) for count in counts]
    assert population_stability_index(same, counts) == pytest.approx(0, abs=1e-12)
    assert population_stability_index([1 / len(counts)] * len(counts), counts) >= 0


def test_the_index_of_an_empty_bin_is_finite() -> None:
    assert math.isfinite(population_stability_index([0.0, 1.0], [10, 0]))


@given(st.lists(floats, min_size=1, max_size=300))
def test_a_baseline_has_every_prediction_in_one_bin(values: list[float]) -> None:
    (bins,) = baseline_of([[value] for value in values])
    assert sum(bins.fractions) == pytest.approx(1)
    assert len(bins.edges) + 1 == len(bins.fractions)
    assert list(bins.edges) == sorted(set(bins.edges))
    column = Column(bins.edges, bins.fractions)
    column.many(np.array(values))
    assert [count / len(values) for count in column.counts] == pytest.approx(list(bins.fractions))


def test_a_small_test_split_makes_few_bins() -> None:
    assert len(baseline_of([[float(row)] for row in range(20)])[0].fractions) == 2
    assert len(baseline_of([[float(row)] for row in range(1000)])[0].fractions) == 10


def test_a_wide_output_has_a_baseline_of_its_first_columns() -> None:
    assert len(baseline_of([[float(number) for number in range(40)]] * 3)) == BASELINE_COLUMNS
    assert len(watch_of(manifest(outputs=40)).columns) == BASELINE_COLUMNS


@given(st.lists(st.one_of(floats, st.sampled_from(EDGES)), min_size=1, max_size=50))
def test_one_by_one_or_together_is_counted_the_same(values: list[float]) -> None:
    one, together = Column(EDGES), Column(EDGES)
    for value in values:
        one.one(value)
    together.many(np.array(values))
    assert (
        one.counts
        == together.counts
        == [
            sum(low < value <= high for value in values)
            for low, high in zip([-math.inf, *EDGES], [*EDGES, math.inf], strict=True)
        ]
    )
    assert one.total == pytest.approx(together.total)


def test_the_same_predictions_are_no_drift_and_others_are() -> None:
    baseline = baseline_of(normal(2000).tolist())
    same, other = watch_of(manifest(*baseline)), watch_of(manifest(*baseline))
    same.predicted(normal(900, seed=2))
    other.predicted(normal(900, mean=1.0, seed=2))
    assert (same.columns["0"].drift() or math.inf) < 0.1
    assert (other.columns["0"].drift() or 0) > 0.25


def test_few_predictions_say_nothing() -> None:
    watch = watch_of(manifest(*baseline_of(normal(2000).tolist())))
    watch.predicted(normal(199))
    assert watch.columns["0"].drift() is None
    watch.predicted(normal(1))
    assert watch.columns["0"].drift() is not None


def test_drift_that_is_over_is_forgotten() -> None:
    watch = watch_of(manifest(*baseline_of(normal(2000).tolist())))
    watch.predicted(normal(1000, mean=5))
    assert (watch.columns["0"].drift() or 0) > 1
    for seed in range(20):
        watch.predicted(normal(100, seed=seed))
    assert (watch.columns["0"].drift() or 9) < 0.1
    assert sum(watch.columns["0"].counts) == 3000


def test_each_column_is_watched_by_itself() -> None:
    both = np.hstack([normal(500), normal(500, mean=3)])
    watch = watch_of(manifest(*baseline_of(np.hstack([normal(2000), normal(2000)]).tolist()), outputs=2))
    watch.predicted(both)
    first, second = (column.drift() or 0 for column in watch.columns.values())
    assert first < 0.1 < 0.25 < second


def test_a_manifest_keeps_its_baseline(tmp_path: Path) -> None:
    written = manifest(*baseline_of(normal(300).tolist()))
    written.write(tmp_path)
    assert Manifest.read(tmp_path) == written


@pytest.mark.parametrize(
    "bad",
    [
        Bins((1.0, 1.0), (0.2, 0.3, 0.5)),
        Bins((1.0,), (1.0,)),
        Bins((1.0,), (0.5, 0.4)),
        Bins((1.0,), (1.5, -0.5)),
        Bins((), (1.0,)),
    ],
)
def test_a_broken_baseline_is_refused(tmp_path: Path, bad: Bins) -> None:
    manifest(bad).write(tmp_path)
    with pytest.raises(ContractError, match="baseline must be"):
        Manifest.read(tmp_path)


def test_the_server_tells_what_it_predicted_and_how_far_that_is_from_the_baseline(tmp_path: Path) -> None:
    random.seed(7)
    line = lambda mean: [[random.gauss(mean, 1) * 2 + 1] for _row in range(1000)]  # noqa: E731
    write_model(tmp_path / "model", baseline=baseline_of(line(0)))
    with start_server(tmp_path / "model", tmp_path / "log") as server:
        before = server.metrics()
        assert 'modelops_prediction_drift{output="0"}' not in before
        assert before['modelops_prediction_value_count{output="0"}'] == 0
        server.post({"inputs": [[random.gauss(0, 1)] for _row in range(500)]})
        near = server.metrics()
        assert near['modelops_prediction_drift{output="0"}'] < 0.1
        for _request in range(3):
            server.post({"inputs": [[random.gauss(2, 1)] for _row in range(1000)]})
        server.post({"inputs": [["x"]]})  # refused, so not predicted
        far = server.metrics()
        assert far['modelops_prediction_drift{output="0"}'] > 0.25
        assert far['modelops_prediction_value_count{output="0"}'] == 3500
        assert far['modelops_prediction_value_bucket{le="+Inf",output="0"}'] == 3500
        assert 3 < far['modelops_prediction_value_sum{output="0"}'] / 3500 < 5


def test_features_that_move_are_told_from_those_that_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    train = rng.normal(size=(2000, 2))
    model, preprocessing = tmp_path / "model", Preprocessing(("a", "b"), ("a", "b"), ())
    plain = write_model(model, weights=((1.0, 1.0),), bias=(0.0,))
    preprocessing.write(model)
    manifest = dataclasses.replace(
        plain,
        inputs=dataclasses.replace(plain.inputs, dtype="float64"),
        extra_files=(FILE_NAME,),
        features=features_of(("a", "b"), train.tolist()),
    )
    manifest.write(model)
    assert Manifest.read(model).features == manifest.features
    with start_server(model, tmp_path / "log") as server:
        drift = 'modelops_feature_drift{feature="%s"}'
        assert drift % "a" not in server.metrics()
        asked = rng.normal((0, 1), size=(1000, 2))
        assert server.post({"inputs": asked.tolist()}).status == 200
        found = server.metrics()
        assert found[drift % "a"] < 0.1 and found[drift % "b"] > 0.25


def test_only_the_first_features_are_watched() -> None:
    names = [f"x{number}" for number in range(40)]
    assert list(features_of(names, [[0.0] * 40] * 3)) == names[:MOST_FEATURES]
