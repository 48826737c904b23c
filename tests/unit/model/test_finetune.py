"""Fine-tuning, as far as it needs no PyTorch: its data, its order and its parameters. The rest runs on the cluster."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.contract import ConfigurationError
from sample.finetune import Parameters, base_model, batches, read_texts


@given(rows=st.integers(1, 60), batch=st.integers(1, 7), processes=st.integers(1, 5), epoch=st.integers(1, 3))
def test_each_text_is_taken_once_an_epoch_and_all_processes_make_as_many_steps(
    rows: int, batch: int, processes: int, epoch: int
) -> None:
    parameters = Parameters.parse({"base_model": "tiny", "batch_rows": batch})
    taken = [batches(rows, parameters, epoch, processes, rank) for rank in range(processes)]
    assert len({len(steps) for steps in taken}) == 1
    assert Counter(row for steps in taken for step in steps for row in step) == Counter(range(rows))
    alone = batches(rows, parameters.model_copy(update={"batch_rows": batch * processes}), epoch, 1, 0)
    assert [sorted(row for rows in step for row in rows) for step in zip(*taken, strict=True)] == [
        sorted(step) for step in alone
    ]


def test_no_text_is_on_both_sides(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(f"text {number % 30}" for number in range(90)) + "\n\n")
    training, test = read_texts(file.as_uri())
    assert len(training) == 27 and len(test) == 3 and not set(training) & set(test)


@pytest.mark.parametrize("content", [None, b"", b"one\none\n", b"\xff\xfe"])
def test_a_file_without_texts_is_a_wrong_configuration(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "texts.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"MODELOPS_DATA_URI .*texts\.txt"):
        read_texts(str(file))


def test_every_wrong_parameter_is_named() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Parameters.parse({"rank": 0, "lora": 3})
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "parameter base_model",
        "parameter rank",
        "parameter lora",
    ]


def test_weights_come_from_the_cache_where_they_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELOPS_CACHE_DIR", str(tmp_path))
    (tmp_path / "tiny").mkdir()
    named = {name: base_model(Parameters.parse({"base_model": name})) for name in ("tiny", "owner/large")}
    assert named == {"tiny": str(tmp_path / "tiny"), "owner/large": "owner/large"}
