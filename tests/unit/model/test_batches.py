"""Sharding: any number of workers takes each row once an epoch, and together the gradient of the whole batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops_runtime.contract import ContractError
from sample.batches import Seen, Shards
from sample.parameters import Parameters

NOTHING = np.empty(0, "int64")


def shards(rows: int, batch_size: int, workers: int) -> list[Shards]:
    inputs = np.arange(rows, dtype="float32").reshape(-1, 1)
    parameters = Parameters(batch_size=batch_size)
    return [Shards(inputs, inputs * 2, parameters, workers, index) for index in range(workers)]


@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(2, 200),
    batch_size=st.integers(1, 250),
    workers=st.integers(1, 8),
    epoch=st.integers(1, 5),
    data=st.data(),
)
def test_workers_take_each_row_once_and_their_weights_are_those_of_the_batch(
    rows: int, batch_size: int, workers: int, epoch: int, data: st.DataObject
) -> None:
    made = shards(rows, batch_size, workers)
    after = data.draw(st.integers(0, -(-rows // batch_size)))
    seen = Seen(rows, made[0].before(epoch, after))
    columns = [list(each.batches(epoch, after)) for each in made]
    assert len({len(column) for column in columns}) == 1  # all make the same number of steps
    for step in zip(*columns, strict=True):
        assert len({batch.inputs.shape for batch in step}) == 1
        assert sum(len(batch.rows) for batch in step) == step[0].whole
        assert sum(float(batch.weights.sum()) for batch in step) == pytest.approx(1, abs=1e-5)
        for batch in step:
            taken = batch.weights > 0
            np.testing.assert_array_equal(batch.inputs[taken, 0], batch.rows)
            np.testing.assert_array_equal(batch.targets, batch.inputs * 2)
            seen.add(batch.rows)
    seen.check(epoch)


def test_each_epoch_has_its_own_order() -> None:
    [shard] = shards(20, 20, 1)
    first, second = (next(shard.batches(epoch)).rows.tolist() for epoch in (1, 2))
    assert first != second and sorted(first) == sorted(second)


@pytest.mark.parametrize("taken", [[0, 1, 2, 3, 3], [0, 1, 2]])
def test_a_row_that_was_taken_twice_or_never_is_named(taken: list[int]) -> None:
    seen = Seen(4, NOTHING)
    seen.add(np.array(taken))
    with pytest.raises(ContractError, match=r"epoch 2: row 3 was trained on . times, 1 of 4 rows not once"):
        seen.check(2)
