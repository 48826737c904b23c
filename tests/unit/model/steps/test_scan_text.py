"""What `scan_text` finds in the labelled set of docs/scan_text.py: floors by kind and language, the docs' figures."""

from functools import cache

import pandas as pd
import pytest

from docs import scan_text
from modelops_runtime.contract import ConfigurationError
from modelops_runtime.data.steps import STEPS, Context
from modelops_runtime.data.steps.scan_text import ENTITIES, finder


@cache
def scores(seed: int) -> dict[tuple[str, str], scan_text.Score]:
    return scan_text.measured(seed)


LEAST = {"PHONE_NUMBER": (0.95, 0.85), "CREDIT_CARD": (1, 0.9), "EMAIL_ADDRESS": (1, 1), "IBAN_CODE": (1, 0.98)}
"""Recall and precision."""


@pytest.mark.parametrize("kind", ENTITIES)
@pytest.mark.parametrize("language", scan_text.REGIONS)
@pytest.mark.parametrize("seed", [scan_text.SEED, 7])
def test_recall_and_precision_are_no_worse_than_this(kind: str, language: str, seed: int) -> None:
    recall, precision = LEAST.get(kind, (0.98, 0.95))
    score = scores(seed)[kind, language]
    assert score.present == scan_text.POSITIVES
    assert score.recall >= recall and score.precision >= precision, score


def test_the_docs_have_these_figures() -> None:
    assert scan_text.PAGE.read_text() == scan_text.page(), "run make generate"


def test_the_set_is_the_same_each_time_and_its_labels_are_right() -> None:
    texts = list(scan_text.labelled())
    assert texts == list(scan_text.labelled())
    assert len({text.text for text in texts}) > 0.9 * len(texts)
    assert all(text.value in text.text for text in texts)
    with_value = [text for text in texts if text.value]
    assert len(with_value) == len(ENTITIES) * len(scan_text.REGIONS) * scan_text.POSITIVES


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("call +33.1.23.42.92.22 now", ["PHONE_NUMBER"]),
        ("from 10.20.30.40, port 80", ["IP_ADDRESS"]),
        ("version 10.20.30.40", []),
        ("v10.20.30.40", []),
        ("versione: 10.20.30.40", []),
        ("born 03.11.2013", []),
        ("on 2013-11-03", []),
        ("total 1.010.558,20 €", []),
        ("at 52.5200, 13.4050", []),
    ],
)
def test_what_looks_like_another_kind_is_told_apart(text: str, kinds: list[str]) -> None:
    assert [kind for _start, _end, kind in finder(ENTITIES, 0.4)(text)] == kinds


def test_numbers_without_a_countrys_code_count_in_the_regions_that_are_named() -> None:
    frame = pd.DataFrame({"t": ["call (212) 736-5000"]})
    assert STEPS["scan_text"](columns=["t"]).apply(frame, Context())["t"].tolist() == ["call <PHONE_NUMBER>"]
    spanish = STEPS["scan_text"](columns=["t"], regions=["ES"]).apply(frame, Context())
    assert spanish["t"].tolist() == frame["t"].tolist()
    with pytest.raises(ConfigurationError, match="regions has XX, must have codes of countries"):
        STEPS["scan_text"](columns=["t"], regions=["XX"]).apply(frame, Context())
