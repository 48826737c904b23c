"""What was done to the data is done to a client's row: the same bits, whatever steps are declared. And what was learned
is learned from the training split."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from modelops_runtime.artifacts.manifest import MIXED, Tensor
from modelops_runtime.artifacts.preprocessing import SENT, Preprocessing
from modelops_runtime.contract import ConfigurationError, ContractError
from modelops_runtime.data import pipeline as pipelines
from modelops_runtime.data import running
from modelops_runtime.data.nested import settled
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.steps import STEPS, Context, DataError
from modelops_runtime.data.table import InMemory
from modelops_runtime.data.transform import transform
from modelops_runtime.serving.validation import InputReader

ROWS = 1000
SALT = b"a salt of sixteen bytes or more"
Step = dict[str, Any]


def raw_rows(seed: int) -> pd.DataFrame:
    """One of every ten values is missing, but for the id and the target."""
    rng = np.random.default_rng(seed)
    offsets = rng.choice(["", "Z", "+01:00", "-11:30"], ROWS)
    times = pd.Timestamp("2020-02-27") + pd.to_timedelta(rng.integers(0, 90_000, ROWS), "min")
    frame = pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "number": rng.normal(3, 700, ROWS),
            "skewed": rng.lognormal(0, 3, ROWS),
            "whole": pd.array(rng.integers(-5, 6, ROWS), dtype="Int64"),
            "flag": pd.array(rng.integers(0, 2, ROWS), dtype="Int64").astype("boolean"),
            "city": pd.array(rng.choice(["Rome", "Oslo", "Lima", "Łódź", ""], ROWS), dtype="str"),
            "code": pd.array(["".join(rng.choice(list("abc"), 2)) for _row in range(ROWS)], dtype="str"),
            "when": pd.array([time.isoformat() + offset for time, offset in zip(times, offsets, strict=True)], "str"),
            "note": pd.array([" ".join(rng.choice(["rain", "Sun", "snow,"], 3)) for _row in range(ROWS)], "str"),
        }
    )
    for name in frame.columns[1:]:
        frame.loc[rng.random(ROWS) < 0.1, name] = None
    return frame.assign(y=rng.integers(0, 2, ROWS))


NUMBERS = ("number", "skewed", "whole", "flag")
TEXTS = ("city", "code")
numbers, texts = st.sampled_from(NUMBERS), st.sampled_from(TEXTS)
parts = st.lists(st.sampled_from(["year", "month", "weekday", "hour", "minute"]), min_size=1, max_size=3, unique=True)


def made(name: str, **fields: st.SearchStrategy[Any] | Any) -> st.SearchStrategy[Step]:
    strategies = {
        key: field if isinstance(field, st.SearchStrategy) else st.just(field) for key, field in fields.items()
    }
    return st.fixed_dictionaries(strategies).map(lambda drawn: {name: drawn})


def some(columns: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(columns, min_size=1, max_size=2, unique=True)


ROW_STEPS = st.one_of(
    made("fill", columns=some(numbers), by="constant", value=st.sampled_from([0, -1.5, 1])),
    made("fill", columns=some(texts), by="constant", value=st.sampled_from(["Rome", "none"])),
    made("fill", columns=some(numbers), by="drop"),
    made("outliers", columns=some(numbers), rule="bounds", low=-100.5, high=st.sampled_from([1, 300])),
    made("outliers", columns=some(numbers), rule="bounds", low=-900, high=900, action="remove"),
    made("check", columns=st.just({"number": {"maximum": 2000, "required": False}}), on_violation="drop"),
    made("mask", columns=some(texts), keep_last=1),
    made("hash", columns=some(texts)),
    made("pseudonymise", columns=some(texts), domain="place"),
    made("drop", columns=st.just(["flag"])),
)
ALL_ROWS = st.one_of(
    made("deduplicate"),
    made("generalise", columns=st.just({"skewed": {"width": 0.7}}), k=2, rare="remove"),
    made("generalise", columns=st.just({"city": {"first": 2}, "whole": {"width": 3}}), k=2, rare="remove"),
)
OF_PART = st.one_of(
    ROW_STEPS,
    made("fill", columns=some(numbers), by=st.sampled_from(["interpolate", "previous"])),
    made("fill", columns=some(numbers), by="previous", order="id"),
)
FITTED = st.one_of(
    made("fill", columns=some(numbers), by=st.sampled_from(["mean", "median", "most_frequent"])),
    made("fill", columns=some(texts), by="most_frequent"),
    made("outliers", columns=some(numbers), rule=st.sampled_from(["zscore", "iqr"])),
    made("scale", columns=some(numbers), by=st.sampled_from(["standard", "minmax"])),
)
ENCODED = made(
    "encode",
    columns=st.just(list(TEXTS)),
    by=st.sampled_from(["one_hot", "ordinal"]),
    unknown=st.sampled_from(["zeros", "error"]),
    missing=st.sampled_from([None, "category", "zeros"]),
)
OF_NUMBERS = made(
    "encode",
    columns=some(st.sampled_from(["whole", "flag"])),
    unknown="zeros",
    missing=st.sampled_from([None, "category"]),
)


def at_most_one_promise(steps: list[Step]) -> bool:
    """Two of `generalise` are refused."""
    return sum("generalise" in step for step in steps) < 2


@st.composite
def declared(draw: st.DrawFn) -> list[Step]:
    dates = draw(made("dates", column="when", parts=parts, zone=st.sampled_from([None, "Europe/Rome"])))
    early = draw(st.lists(st.one_of(ROW_STEPS, ALL_ROWS), max_size=3).filter(at_most_one_promise))
    late = draw(st.lists(OF_PART, max_size=2))
    (early if draw(st.booleans()) else late).append(dates)
    fitted = draw(st.lists(FITTED, max_size=4)) + draw(st.lists(OF_NUMBERS, max_size=1))
    words = draw(made("word_vectors", column="note", size=2, epochs=1))
    return [*early, {"split": {"by": "grouped", "column": "id"}}, *late, *fitted, words, draw(ENCODED)]


def run(steps: list[Step], raw: pd.DataFrame) -> tuple[Pipeline, pipelines.Prepared]:
    pipeline = Pipeline.parse({"sources": [{"uri": "x"}], "steps": steps, "target": "y"})
    context, first = Context(files=["x.csv"], salt=SALT), pipeline.first_global()
    rows = settled(running.apply(pipeline.plan[:first], raw, context, 0), set())
    return pipeline, pipeline.finish(InMemory(rows), context, lambda _line: None)


def sent_by_clients(pipeline: Pipeline, preprocessing: Preprocessing, raw: pd.DataFrame) -> pd.DataFrame:
    """The raw columns; of those that are sent otherwise, what the steps made up to the last one that no server does."""
    sent = raw.copy()
    for column in preprocessing.sent_as:
        done = [(step, operation) for step in pipeline.plan for operation in step.operations()]
        done = [(step, operation) for step, operation in done if operation["column"] == column]
        while done[-1][1]["kind"] != SENT:
            done.pop()
        changed = raw[[column]]
        for step, operation in done:
            if operation["kind"] == SENT:
                alone = step.model_copy(update={"columns": [column]})
                changed = alone.apply(changed, Context(salt=SALT))
            else:
                changed = transform(operation, changed, Context())
        sent[column] = changed[column]
    return sent[list(preprocessing.inputs)]


def as_client(value: Any) -> Any:
    if pd.isna(value):
        return None
    return value if isinstance(value, str) else float(value)


@settings(max_examples=30, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
@given(steps=declared(), seed=st.integers(0, 3))
def test_1000_rows_are_the_same_to_the_last_bit_for_every_combination_of_steps(steps: list[Step], seed: int) -> None:
    raw = raw_rows(seed)
    try:
        pipeline, prepared = run(steps, raw)
    except ContractError as error:
        assert error.code in (2, 10, 11, 13), error  # two steps that don't fit, such as drop and then fill
        return
    preprocessing = Preprocessing.parse(prepared.preprocessing.text().encode(), "saved")
    rows = pd.concat(next(iter(part.frames())) for part in prepared.parts.values())
    clients = sent_by_clients(pipeline, preprocessing, raw).loc[rows.index]
    unfilled = {
        column
        for step in pipeline.plan
        if step.in_part
        for column in step.columns  # type: ignore[attr-defined]
    }
    refused = clients.isna().to_numpy()
    refused[:, [place for place in preprocessing.missing_inputs() if preprocessing.inputs[place] not in unfilled]] = (
        False
    )
    taken = ~refused.any(axis=1)
    body = [[as_client(value) for value in row] for row in clients[taken].to_numpy(dtype=object).tolist()]
    texts_at = preprocessing.text_inputs()
    reader = InputReader(
        Tensor((-1, len(preprocessing.inputs)), MIXED if texts_at else "float64"),
        ROWS,
        texts_at,
        preprocessing.missing_inputs(),
    )
    read = reader.read(json.dumps({"inputs": body}).encode())
    expected = rows.loc[taken, list(preprocessing.outputs)].to_numpy("float64", na_value=np.nan).astype("float32")
    np.testing.assert_array_equal(preprocessing.transform(read).view("uint32"), expected.view("uint32"))


LEARNED: list[Step] = [
    *({"fill": {"columns": ["number"], "by": by}} for by in ("mean", "median", "most_frequent")),
    {"fill": {"columns": ["city"], "by": "most_frequent"}},
    *({"outliers": {"columns": ["number"], "rule": rule}} for rule in ("zscore", "iqr")),
    *({"scale": {"columns": ["number"], "by": by}} for by in ("standard", "minmax")),
    {"word_vectors": {"column": "note", "size": 2, "epochs": 1, "least_count": 1}},
]
FROM_NEIGHBOURS: list[Step] = [
    {"fill": {"columns": ["number"], "by": "previous", "order": "id"}},
    {"fill": {"columns": ["number"], "by": "interpolate"}},
]


@settings(max_examples=20, deadline=None, phases=(Phase.generate,))
@given(
    seed=st.integers(0, 3),
    learned=st.sampled_from(LEARNED),
    filled=st.sampled_from([None, *FROM_NEIGHBOURS]),
    by_time=st.booleans(),
)
def test_what_only_test_and_validation_rows_have_is_nowhere_in_what_was_fitted(
    seed: int, learned: Step, filled: Step | None, by_time: bool
) -> None:
    """A marker in every value of the other rows: neither what is fitted nor a training row changes."""
    split: Step = {"split": {"by": "time" if by_time else "grouped", "column": "id"}}
    if by_time and filled == FROM_NEIGHBOURS[1]:
        filled = None
    steps = [split, *([filled] if filled else []), learned]
    if filled and "fill" in learned and "number" in learned["fill"]["columns"]:
        steps.pop()  # nothing is missing any more
    raw = raw_rows(seed)
    _pipeline, plain = run(steps, raw)
    train = next(iter(plain.parts["train"].frames()))
    others = ~raw.index.isin(train.index)
    marked = raw.copy()
    marked.loc[others, "number"] = 987_654_321.0
    marked.loc[others, ["city", "note"]] = "marker"
    _pipeline, with_marker = run(steps, marked)
    saved = with_marker.preprocessing.text()
    assert saved == plain.preprocessing.text() and "marker" not in saved and "987654321" not in saved
    pd.testing.assert_frame_equal(next(iter(with_marker.parts["train"].frames())), train)


def test_a_category_that_only_other_parts_have_is_not_learned() -> None:
    raw = raw_rows(0)
    raw.loc[raw.index >= 600, "city"] = "marker"
    split: Step = {"split": {"by": "time", "column": "id"}}
    _pipeline, prepared = run([split, {"encode": {"columns": ["city"], "unknown": "zeros"}}], raw)
    assert "marker" not in prepared.preprocessing.text()


def test_previous_fills_from_what_was_before_by_the_order_of_the_split_not_of_the_file() -> None:
    frame = pd.DataFrame({"id": [3, 1, 2, 0, *range(4, 10)], "x": [None, 10.0, None, None, *[7.0] * 6]})
    steps: list[Step] = [
        {"split": {"by": "time", "column": "id"}},
        {"fill": {"columns": ["x"], "by": "previous", "order": "id"}},
    ]
    pipeline = Pipeline.parse({"sources": [{"uri": "x"}], "steps": steps})
    prepared = pipeline.finish(InMemory(frame), Context(), lambda _line: None)
    train = next(iter(prepared.parts["train"].frames()))
    assert train["id"].tolist() == [3, 1, 2, 0, 4, 5]
    assert train["x"].fillna(-1).tolist() == [10.0, 10.0, 10.0, -1, 7.0, 7.0]


@pytest.mark.parametrize(
    ("fields", "split", "problem"),
    [
        ({"by": "interpolate"}, {}, "looks at neighbours: must be after split"),
        ({"by": "interpolate"}, {"by": "time", "column": "t"}, "looks at later rows, after a split by time"),
        ({"by": "previous"}, {"by": "time", "column": "t"}, "must have order: t, after a split by its time"),
        ({"by": "previous", "order": "u"}, {"by": "time", "column": "t"}, "must have order: t"),
        ({"by": "mean", "order": "u"}, {}, "order must be given with by: interpolate or previous only"),
    ],
)
def test_a_fill_that_would_look_ahead_is_refused(fields: Step, split: Step, problem: str) -> None:
    fill = {"fill": {"columns": ["x"], **fields}}
    steps = [{"split": split}, fill] if split else [fill, {"split": {}}]
    with pytest.raises(ConfigurationError, match=problem):
        Pipeline.parse({"sources": [{"uri": "x"}], "steps": steps})


def test_what_a_client_sends_where_no_server_does_a_step_is_said() -> None:
    raw = raw_rows(1)
    steps: list[Step] = [
        {"fill": {"columns": ["city"], "by": "constant", "value": "none"}},
        {"pseudonymise": {"columns": ["city"], "domain": "place"}},
        {"outliers": {"columns": ["number"], "rule": "bounds", "low": 0, "high": 1}},
        {"generalise": {"columns": {"skewed": {"width": 10}}, "k": 2, "rare": "remove"}},
        {"split": {}},
        {"drop": {"columns": ["id", "whole", "flag", "code", "when", "note"]}},
        {"fill": {"columns": ["number", "skewed"], "by": "mean"}},
        {"encode": {"columns": ["city"]}},
    ]
    _pipeline, prepared = run(steps, raw)
    preprocessing = prepared.preprocessing
    assert preprocessing.inputs == ("number", "skewed", "city")
    assert preprocessing.sent_as == {"city": "the pseudonym, as the step pseudonymise makes it"}
    assert [(operation["column"], operation["kind"]) for operation in preprocessing.operations] == [
        ("number", "clip"),
        ("skewed", "interval"),
        ("number", "fill"),
        ("skewed", "fill"),
        ("city", "one_hot"),
    ]
    assert preprocessing.missing_inputs() == {0, 1}


def test_a_column_with_mostly_one_value_is_not_made_constant() -> None:
    raw = raw_rows(0)
    raw["number"] = [0.0, 0.0, 0.0, 0.0, 5.0] * (ROWS // 5)
    with pytest.raises(DataError, match="column number: at least half of the training split has one value") as caught:
        run([{"split": {"by": "grouped", "column": "id"}}, {"outliers": {"columns": ["number"], "rule": "iqr"}}], raw)
    assert caught.value.code == 10


@pytest.mark.parametrize(
    ("step", "made"),
    [
        ({"encode_text": {"column": "text", "model": "m"}}, ["text_0", "text_1"]),
        ({"image_features": {"features": ["hog"]}}, ["hog_0", "hog_1"]),
    ],
)
def test_vectors_are_sent_as_vectors(step: Step, made: list[str]) -> None:
    [plan] = [STEPS[name](**fields) for name, fields in step.items()]
    before = {"column": "text", "kind": "fill", "value": "nothing"}
    preprocessing = Preprocessing.of([*made, "age"], [before, *plan.operations()])
    assert preprocessing.inputs == (*made, "age") and not preprocessing.operations
    assert list(preprocessing.sent_as) == made
    assert all(name in words for words in preprocessing.sent_as.values() for name in step)
