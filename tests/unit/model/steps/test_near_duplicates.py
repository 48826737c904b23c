"""The step `near_duplicates`: against the definition, and that no order of rows changes what is left."""

import random
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops_runtime.data.steps import STEPS, Context
from tests.texts import turns

WORDS = [f"w{number}" for number in range(200)]


def left(texts: list[str], **fields: Any) -> list[str]:
    result: list[str] = (
        STEPS["near_duplicates"](**fields).apply(pd.DataFrame({"text": texts}), Context())["text"].tolist()
    )
    return result


def text(seed: int, length: int = 80) -> str:
    chance = random.Random(seed)
    return " ".join(chance.choice(WORDS) for _word in range(length))


def changed(original: str, at: int) -> str:
    """With one word of it another."""
    words = original.split()
    words[at % len(words)] = f"other{at}"
    return " ".join(words)


def jaccard(one: str, other: str, size: int = 5) -> float:
    """The definition, of sets of words in a row."""
    sets = []
    for words in (one.lower().split(), other.lower().split()):
        sets.append({tuple(words[at : at + size]) for at in range(len(words) - size + 1)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@st.composite
def groups(draw: st.DrawFn) -> list[str]:
    """Texts, and for some of them others with one word changed."""
    texts = []
    for seed in draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=6, unique=True)):
        original = text(seed)
        texts.append(original)
        texts += [changed(original, at) for at in draw(st.lists(st.integers(0, 79), max_size=3))]
    return draw(st.permutations(texts))


@settings(max_examples=60, deadline=None)
@given(groups(), st.data())
def test_what_is_left_is_the_same_in_any_order_and_has_no_near_duplicates(
    texts: list[str], data: st.DataObject
) -> None:
    kept = left(texts)
    assert sorted(left(data.draw(st.permutations(texts)))) == sorted(kept)
    for place, one in enumerate(kept):
        assert all(jaccard(one, other) < 0.8 for other in kept[:place])
    for gone in set(texts) - set(kept):
        assert any(jaccard(gone, other) >= 0.8 for other in kept)


def test_rows_that_stay_are_in_their_order_and_the_longest_of_a_group_stays() -> None:
    one, other = text(1), text(2)
    longer = one + " and more"
    assert left([one, other, longer]) == [other, longer]


def test_the_threshold_is_exact() -> None:
    one = text(3)
    near = changed(one, 40)
    similarity = jaccard(one, near)
    assert len(left([one, near], threshold=similarity)) == 1
    assert len(left([one, near], threshold=similarity + 0.001)) == 2


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_the_seed_does_not_decide_what_is_left(seed: int) -> None:
    texts = [text(number) for number in range(30)]
    texts += [changed(one, at) for at, one in enumerate(texts)]
    assert left(texts, seed=seed) == left(texts)
    assert len(left(texts)) == 30


def test_case_and_punctuation_make_no_difference() -> None:
    one = text(4)
    assert len(left([one, one.upper().replace(" ", ", ")])) == 1


def test_characters_are_for_languages_without_spaces() -> None:
    one = "東京は日本の首都で、世界でも有数の大都市です。人口は約千四百万人です。"
    near = one.replace("約", "凡")
    assert len(left([one, near], unit="words", shingle=1)) == 2
    assert len(left([one, near], unit="characters", shingle=2)) == 1


def test_a_system_prompt_that_all_share_makes_no_near_duplicates() -> None:
    system = text(5, 400)
    frame = pd.DataFrame({"messages": [turns(text(n, 20), text(n + 50, 20), system=system) for n in range(5)]})
    frame = STEPS["conversations"]().apply(frame, Context())
    assert len(STEPS["near_duplicates"]().apply(frame, Context())) == 5


def test_given_columns_are_compared_together() -> None:
    frame = pd.DataFrame({"a": [text(1), text(1)], "b": [text(2), text(3)]})
    assert len(STEPS["near_duplicates"](columns=["a"]).apply(frame, Context())) == 1
    assert len(STEPS["near_duplicates"](columns=["a", "b"]).apply(frame, Context())) == 2


def test_texts_without_a_word_are_nobody_s_duplicates() -> None:
    assert left(["...", "...", "!"]) == ["...", "...", "!"]


def test_lists_of_anything_are_compared_as_their_text() -> None:
    kind = pd.ArrowDtype(pa.list_(pa.string()))
    frame = pd.DataFrame({"tags": pd.Series([["a", "b"], ["c"], ["a", "b"]], dtype=kind)})
    kept = STEPS["near_duplicates"](columns=["tags"]).apply(frame, Context())
    assert sorted(kept["tags"]) == [["a", "b"], ["c"]]
