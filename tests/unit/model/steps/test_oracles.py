"""Steps against plain Python and NumPy, for any values: checks, pseudonyms, word vectors, images."""

import hashlib
import hmac
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelops_runtime.artifacts.operations import apply
from modelops_runtime.data.steps import STEPS, Context, DataError

SALT = b"a salt of sixteen bytes or more"
numbers = st.none() | st.floats(-1e6, 1e6)
words = st.sampled_from(["soup", "rain", "Bread", "wine", "snow"])


@given(values=st.lists(numbers, min_size=1, max_size=30), low=st.floats(-1e6, 0), high=st.floats(0, 1e6))
def test_check_finds_just_the_rows_that_break_the_rule(values: list[float | None], low: float, high: float) -> None:
    frame = pd.DataFrame({"x": pd.array(values, dtype="float64")})
    columns = {"x": {"minimum": low, "maximum": high}}
    broken = [value is None or not low <= value <= high for value in values]
    context = Context()
    kept = STEPS["check"](columns=columns, on_violation="drop").apply(frame, context)
    assert list(kept.index) == [row for row, bad in enumerate(broken) if not bad]
    [found] = context.report
    assert [one["row"] for one in found["violations"]] == [row for row, bad in enumerate(broken) if bad]
    if any(broken):
        with pytest.raises(DataError):
            STEPS["check"](columns=columns).apply(frame, Context())


@given(left=st.lists(st.text(max_size=8), min_size=1, max_size=20), right=st.lists(st.text(max_size=8), max_size=20))
def test_pseudonyms_are_consistent_across_tables_and_differ_between_domains(left: list[str], right: list[str]) -> None:
    def made(values: list[str], domain: str) -> list[str]:
        step = STEPS["pseudonymise"](columns=["who"], domain=domain)
        return list(step.apply(pd.DataFrame({"who": values}, dtype="str"), Context(salt=SALT))["who"])

    known = dict(zip(left + right, made(left, "person") + made(right, "person"), strict=True))
    assert made(left, "person") == [known[value] for value in left]
    assert len(set(known.values())) == len(known)
    assert not set(made(left, "house")) & set(known.values())
    for value, pseudonym in known.items():
        assert pseudonym.startswith("person-") and len(pseudonym) == len("person-") + 16
        plain = hashlib.sha256(value.encode()).hexdigest(), hmac.new(b"", value.encode(), "sha256").hexdigest()
        assert not any(digest.startswith(pseudonym.removeprefix("person-")) for digest in plain)


@given(
    texts=st.lists(st.lists(words, max_size=6).map(" ".join), min_size=1, max_size=10),
    seed=st.integers(0, 1000),
)
def test_a_text_s_vector_is_the_mean_of_its_words(texts: list[str], seed: int) -> None:
    known = ("soup", "rain", "bread")
    vectors = {word: np.random.default_rng([seed, place]).normal(size=4) for place, word in enumerate(known)}
    operation = {"column": "t", "kind": "words", "size": 4, "vectors": {k: v.tolist() for k, v in vectors.items()}}
    result = np.stack(apply(operation, np.array(texts, dtype="object")), axis=1)
    for row, text in zip(result, texts, strict=True):
        found = [vectors[word] for word in text.lower().split() if word in vectors]
        np.testing.assert_array_equal(row, np.mean(found, axis=0) if found else np.zeros(4))


@settings(max_examples=20)
@given(pixels=st.lists(st.integers(0, 255), min_size=64, max_size=64), bins=st.integers(1, 64))
def test_pixels_and_histograms_are_what_numpy_counts(
    pixels: list[int], bins: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = np.array(pixels, dtype="uint8").reshape(8, 8)
    file: Path = tmp_path_factory.mktemp("image") / "grey.png"
    assert cv2.imwrite(str(file), image)
    fields: dict[str, Any] = {"features": ["pixels", "histogram"], "width": 8, "height": 8, "bins": bins}
    result = STEPS["image_features"](**fields).apply(pd.DataFrame({"uri": [str(file)]}), Context())
    np.testing.assert_array_equal(result.filter(regex="^pixels_").to_numpy()[0], image.ravel() / 255)
    counts = np.bincount(image.ravel().astype(int) * bins // 256, minlength=bins) / 64
    np.testing.assert_array_equal(result.filter(regex="^histogram_").to_numpy()[0], np.tile(counts, 3))
