"""Records of any length in tags of a limited one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import MAX_BATCH_LOG_REQUEST_SIZE, MAX_TAG_VAL_LENGTH

from modelops_runtime.registry.publishing import records

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
CONTENT = st.dictionaries(st.text(st.characters()), st.one_of(NUMBERS, st.text(), st.none(), st.lists(st.integers())))


@given(CONTENT, CONTENT, st.integers(1, 20))
def test_a_record_comes_back_also_over_the_rest_of_a_longer_one(
    content: dict[str, Any], earlier: dict[str, Any], characters: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "TAG_CHARACTERS", characters)
        tags = {**records.tags("key", earlier), **records.tags("key", content)}
        assert max(map(len, tags.values())) <= characters
        assert records.read(tags, "key") == content


def test_a_tag_is_one_that_mlflow_does_not_cut() -> None:
    assert records.TAG_CHARACTERS <= MAX_TAG_VAL_LENGTH
    assert records.MOST_BYTES < MAX_BATCH_LOG_REQUEST_SIZE


@pytest.mark.parametrize("tag", ['{"mse": 0.03, "r', "[1]", "0.5"])
def test_of_a_record_that_was_cut_mlflows_own_metrics_are_taken(tag: str) -> None:
    assert records.final_metrics({records.METRICS: tag}, {"mse": 0.04}) == {"mse": 0.04}
    assert records.final_metrics({}, {"mse": 0.04}) == {"mse": 0.04}


@given(st.lists(st.text(max_size=60)), st.integers(1, 5))
def test_batches_have_everything_in_order_within_both_limits(texts: list[str], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MOST_BYTES", 1000)
        parts = list(records.batches(texts, most, lambda text: (text,)))
    assert [text for part in parts for text in part] == texts
    for part in parts:
        assert 1 <= len(part) <= most
        assert len(part) == 1 or sum(100 + 12 * len(text) for text in part) <= 1000
