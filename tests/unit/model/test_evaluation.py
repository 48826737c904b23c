"""Evaluation of language models, as far as it needs no PyTorch: the set, the scores, endpoints, MLflow, comparisons."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from modelops_runtime.artifacts import prepared as versions
from modelops_runtime.contract import ConfigurationError, ContractError, Exit
from modelops_runtime.language_models import base
from modelops_runtime.language_models.evaluation import evaluate, metrics, rows, tables
from modelops_runtime.language_models.evaluation.compare import compared
from modelops_runtime.language_models.evaluation.endpoint import EndpointModel
from modelops_runtime.language_models.evaluation.metrics import Scorer
from modelops_runtime.language_models.evaluation.parameters import Evaluation
from modelops_runtime.language_models.evaluation.rows import Row
from modelops_runtime.registry.publishing import gate
from tests.language_models import write_lines
from tests.unit.model.support import run_here

WITHOUT_ROUGE = ["exact_match", "f1", "valid_json", "required", "forbidden"]
"""What needs no package that this environment lacks."""
TEXTS = st.lists(st.sampled_from(["red", "green", "blue", "Red!", "the", "42"]), max_size=6).map(" ".join)


def scored(answer: str, **row: Any) -> dict[str, float]:
    return Scorer(WITHOUT_ROUGE).scores(Row("1", "?", **row), answer)


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "f1"),
    [
        ("The Eiffel Tower.", "eiffel tower", 1, 1),
        ("It's in Paris", "its in  paris", 1, 1),
        ("in Paris, France", "Paris", 0, 2 * (1 / 3) * 1 / (1 / 3 + 1)),
        ("red red blue", "red blue blue", 0, 2 / 3),
        ("a theatre", "theatre", 1, 1),
        ("yes", "no", 0, 0),
        ("the", "a", 1, 1),
        ("", "something", 0, 0),
    ],
)
def test_exact_match_and_f1_are_those_of_squad(answer: str, reference: str, exact: float, f1: float) -> None:
    assert metrics.exact_match(answer, reference) == exact
    assert metrics.f1(answer, reference) == pytest.approx(f1)


@given(answer=TEXTS, reference=TEXTS)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(answer: str, reference: str) -> None:
    ours, theirs = metrics.normalized(answer).split(), metrics.normalized(reference).split()
    rest = list(theirs)
    common = 0
    for word in ours:
        if word in rest:
            rest.remove(word)
            common += 1
    value = metrics.f1(answer, reference)
    assert value == metrics.f1(reference, answer) and metrics.exact_match(answer, reference) <= value <= 1
    if common:
        precision, recall = common / len(ours), common / len(theirs)
        assert value == pytest.approx(2 * precision * recall / (precision + recall))
    else:
        assert value == float(not ours and not theirs)


def test_the_best_reference_counts() -> None:
    assert scored("red and blue", references=("green", "blue and red")) == {"exact_match": 0, "f1": 1}


def test_a_row_has_the_scores_that_it_gives_cause_for() -> None:
    assert scored("anything") == {}
    assert metrics.means([{"f1": 1.0}, {"f1": 0.5, "required": 1.0}, {}]) == {"f1": 0.75, "required": 1.0}


@pytest.mark.parametrize(
    ("answer", "schema", "valid"),
    [
        ('{"age": 3}', {"properties": {"age": {"type": "integer"}}}, True),
        ('{"age": "3"}', {"properties": {"age": {"type": "integer"}}}, False),
        ("[1, 2]", True, True),
        ("```json\n[1]\n```", True, False),
        ("NaN", True, False),
        ("[" * 100_000, True, False),
        ("", True, False),
        ('{"name": 1}', {"$defs": {"n": {"type": "string"}}, "properties": {"name": {"$ref": "#/$defs/n"}}}, False),
    ],
)
def test_json_is_valid_when_it_keeps_to_its_schema(answer: str, schema: Any, valid: bool) -> None:
    assert scored(answer, schema=schema) == {"valid_json": float(valid)}


def test_all_required_patterns_must_be_there_and_no_forbidden_one() -> None:
    patterns: dict[str, Any] = {"required": (r"\bred\b", "blue$"), "forbidden": ("(?i)sorry", "never")}
    assert scored("red, then blue", **patterns) == {"required": 1, "forbidden": 0}
    assert scored("redder, then blue", **patterns) == {"required": 0, "forbidden": 0}
    assert scored("Sorry: red, then blue", **patterns) == {"required": 1, "forbidden": 1}


def test_rouge_knows_the_words_of_any_alphabet() -> None:
    assert metrics.words("Über_uns: 3 Äpfel!") == ["über", "uns", "3", "äpfel"]
    assert metrics.words("東京 タワー") == ["東", "京", "タ", "ワ", "ー"]


CONVERSATION = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def read(path: Path, lines: list[dict[str, Any]], **evaluation: Any) -> list[Row]:
    return rows.read(str(write_lines(path / "set.jsonl", lines)), Evaluation.parse(evaluation), 0)


def test_the_set_has_the_formats_of_trl(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        [
            {"messages": CONVERSATION},
            {"messages": CONVERSATION[:1], "reference": ["hello", "good day"]},
            {"prompt": "2 + 2 =", "completion": " 4"},
            {"prompt": CONVERSATION[:1], "completion": CONVERSATION[1:], "id": 7},
            {"prompt": "say anything", "forbidden": "never"},
        ],
        required=["."],
    )
    assert [row.prompt for row in found] == [
        CONVERSATION[:1],
        CONVERSATION[:1],
        "2 + 2 =",
        CONVERSATION[:1],
        "say anything",
    ]
    assert [row.references for row in found] == [("hello",), ("hello", "good day"), (" 4",), ("hello",), ()]
    assert (found[3].id, found[4].required, found[4].forbidden) == ("7", (".",), ("never",))


def test_a_row_keeps_its_id_in_another_order_and_no_two_have_the_same(tmp_path: Path) -> None:
    lines = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}]
    first, second = ({row.id: row.prompt for row in read(tmp_path, each)} for each in (lines, lines[::-1]))
    assert first == second and len(first) == 3


def test_a_schema_stays_as_it_is_beside_those_of_other_rows(tmp_path: Path) -> None:
    schemas = [{"type": "object"}, {"enum": [1, "b"]}, None]
    found = read(tmp_path, [{"prompt": "?", "schema": schema} for schema in schemas], schema=True)
    assert [row.schema for row in found] == [{"type": "object"}, {"enum": [1, "b"]}, True]


def test_a_version_gives_its_test_split(tmp_path: Path) -> None:
    for split, text in (("train", "learned"), ("test", "asked")):
        (tmp_path / split).mkdir()
        content = pandas.DataFrame({"prompt": [text, f"{text} too"], "schema": ['{"type": "array"}', None]})
        content.to_parquet(tmp_path / split / "part-0.parquet")
    found = rows.read(tmp_path.as_uri(), Evaluation.parse({}), 0)
    assert [(row.prompt, row.schema) for row in found] == [("asked", {"type": "array"}), ("asked too", None)]


def test_of_a_version_what_its_report_lists_is_asked(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    for number, text in enumerate(("published", "left by an attempt that was killed")):
        pandas.DataFrame({"prompt": [text]}).to_parquet(tmp_path / "test" / f"part-{number}.parquet")
    with (tmp_path / "test" / "part-0.parquet").open("rb") as stream:
        files = [versions.entry("test/part-0.parquet", stream.read)]
    (tmp_path / "report.json").write_text(json.dumps({"files": files}))
    assert [row.prompt for row in rows.read(tmp_path.as_uri(), Evaluation.parse({}), 0)] == ["published"]
    (tmp_path / "test" / "part-0.parquet").write_bytes(b"half")
    with pytest.raises(ContractError, match=r"test/part-0\.parquet has 4 bytes and another content"):
        rows.read(tmp_path.as_uri(), Evaluation.parse({}), 0)


def test_of_a_training_s_file_only_what_was_held_out_is_asked(tmp_path: Path) -> None:
    path = str(write_lines(tmp_path / "texts.jsonl", [{"prompt": str(number)} for number in range(25)]))
    found = rows.read(path, Evaluation.parse({}), 0, given=False)
    assert [row.prompt for row in found] == ["0", "10", "20"]
    plain = str(write_lines(tmp_path / "plain.jsonl", [{"text": "no question"}]))
    assert rows.read(plain, Evaluation.parse({}), 0, given=False) == []


def test_every_row_that_is_no_use_is_named(tmp_path: Path) -> None:
    lines = [
        {"text": "no prompt"},
        {"messages": [{"content": "whose?"}]},
        {"prompt": "?", "required": ["("]},
        {"prompt": "?", "schema": {"type": "nothing"}},
        {"prompt": "?", "schema": {"$ref": "https://example.com/schema"}},
        {"prompt": "?", "reference": 4},
        {"prompt": "fine"},
    ]
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, lines)
    assert [problem.split(": ")[0][-5:] for problem in refused.value.problems] == [
        f"row {number}" for number in range(6)
    ]


@pytest.mark.parametrize("content", [None, "", "{", "[1]"])
def test_a_file_that_is_no_set_is_a_wrong_configuration(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "set.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"set\.jsonl"):
        rows.read(str(path), Evaluation.parse({}), 0)


def test_every_wrong_parameter_is_named_and_whole_numbers_may_be_pulumi_s() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Evaluation.parse({"max_tokens": 0, "metrics": ["bleu"], "harness": {"tasks": ["x"]}, "what": 1})
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "evaluation metrics.0",
        "evaluation max_tokens",
        "evaluation harness.folder",
        "evaluation what",
    ]
    assert Evaluation.parse({"max_tokens": 3.0}).max_tokens == 3


class Stub(BaseHTTPRequestHandler):
    """Answers as vLLM does, in capital letters; the first request of all is told to come back."""

    requests: list[tuple[str, str | None, dict[str, Any]]]
    models = ("served",)
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._reply(200, {"data": [{"id": name} for name in self.models]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            self.requests.append((self.path, self.headers["Authorization"], request))
            number = len(self.requests)
        if request["model"] == "gone":
            return self._reply(404, {"error": "no such model"})
        if number == 1:
            return self._reply(503, {"error": "starting"})
        chat = self.path.endswith("/chat/completions")
        said = (request["messages"][-1]["content"] if chat else request["prompt"]).upper()
        choice = {"message": {"content": said}} if chat else {"text": said}
        reason = "length" if len(said) > request["max_tokens"] else "stop"
        content = {"choices": [{**choice, "finish_reason": reason}], "usage": {"completion_tokens": len(said)}}
        return self._reply(200, content)

    def _reply(self, code: int, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


@contextmanager
def stub(*models: str) -> Iterator[tuple[str, type[Stub]]]:
    handler = type("Handler", (Stub,), {"requests": [], "models": models or Stub.models})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", handler
    finally:
        server.shutdown()
        server.server_close()


def test_an_endpoint_is_asked_at_temperature_zero_and_again_where_it_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with stub() as (url, handler):
        model = EndpointModel(f"{url}/", "", 10)
        prompts: list[rows.Prompt] = [f"prompt {number}" for number in range(20)]
        answers = list(model.answers([*prompts, CONVERSATION[:1]], 8, 4))
    assert [answer.text for answer in answers] == [*(f"PROMPT {number}" for number in range(20)), "HI"]
    assert [answer.ended for answer in answers] == [*[True] * 10, *[False] * 10, True]
    assert {answer.tokens for answer in answers} == {8, 9, 2} and all(answer.seconds > 0 for answer in answers)
    assert len(handler.requests) == 22
    assert {path for path, _, _ in handler.requests} == {"/v1/completions", "/v1/chat/completions"}
    for _, key, request in handler.requests:
        assert key == "Bearer secret"
        assert (request["model"], request["temperature"], request["max_tokens"]) == ("served", 0, 8)


def test_an_endpoint_that_is_no_use_is_said_to_be_so() -> None:
    with stub("a", "b") as (url, _), pytest.raises(ConfigurationError, match="has the models a, b"):
        EndpointModel(url, "", 0)
    with stub() as (url, _), pytest.raises(ConfigurationError, match=r"404 .*no such model"):
        list(EndpointModel(url, "gone", 0).answers(["?"], 8, 1))
    with pytest.raises(ContractError, match="not reachable"):
        list(EndpointModel("http://127.0.0.1:9/v1", "served", 0).answers(["?"], 8, 1))


QUESTIONS = [
    {"id": "red", "prompt": "red", "completion": "Red"},
    {"id": "list", "messages": [{"role": "user", "content": "[1]"}], "schema": {"type": "array"}},
    {"id": "shy", "prompt": "sorry", "completion": "blue"},
]


def variables(folder: Path, url: str, **more: object) -> dict[str, object]:
    evaluation = {"data": str(write_lines(folder / "set.jsonl", QUESTIONS)), "metrics": WITHOUT_ROUGE}
    return {
        "MODELOPS_EVALUATION": json.dumps({**evaluation, "forbidden": ["SORRY"]}),
        "MODELOPS_EVALUATED": url,
        "MODELOPS_OUTPUT_DIR": folder / "output",
        **more,
    }


def test_without_a_registry_metrics_and_answers_are_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with stub() as (url, _):
        done = run_here(evaluate.main, capsys, **variables(tmp_path, url))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "output" / "metrics.json").read_text())
    assert found.pop("generated_tokens_per_second") > 0
    assert found == {
        "exact_match": 0.5,
        "f1": 0.5,
        "valid_json": 1,
        "forbidden": pytest.approx(1 / 3),
        "answer_tokens": pytest.approx(11 / 3),
        "answers_cut": 0,
    }
    table = tables.read(tmp_path / "output" / "evaluation" / "answers.json")
    assert [(row["id"], row["answer"], row["exact_match"]) for row in table] == [
        ("red", "RED", 1),
        ("list", "[1]", None),
        ("shy", "SORRY", 0),
    ]


def test_an_evaluation_is_an_mlflow_run_with_its_answers_as_a_table(
    tmp_path: Path, mlflow_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    named = {
        "MLFLOW_TRACKING_URI": mlflow_url,
        "MODELOPS_MODEL_NAME": "chat",
        "MODELOPS_MODEL_VERSION": "3",
        "MODELOPS_RUN_ID": "r7",
        "MODELOPS_DATA_URI": str(tmp_path / "version"),
        "MODELOPS_DATA_VERSION": "v5",
    }
    with stub() as (url, _):
        done = run_here(evaluate.main, capsys, **variables(tmp_path, url, **named))
    assert done.returncode == 0, done.stderr
    client = MlflowClient(mlflow_url)
    experiment = client.get_experiment_by_name("chat")
    assert experiment
    [run] = client.search_runs([experiment.experiment_id], "tags.`modelops.role` = 'evaluation'")
    assert run.info.status == "FINISHED" and run.info.run_name == "evaluation-chat-3"
    assert {name: run.data.tags[f"modelops.{name}"] for name in ("run_id", "model_version", "data_version")} == {
        "run_id": "r7",
        "model_version": "3",
        "data_version": "v5",
    }
    assert run.data.tags["modelops.evaluated"] == url
    assert len(run.data.tags["modelops.evaluation_version"]) == 12
    assert run.data.metrics["exact_match"] == 0.5 and run.data.params["max_tokens"] == "256"
    assert {each.dataset.name: each.dataset.digest for each in run.inputs.dataset_inputs}[
        named["MODELOPS_DATA_URI"]
    ] == "v5"
    table = client.load_table(experiment.experiment_id, "evaluation/answers.json", [run.info.run_id])
    assert table.set_index("id").loc["red", ["prompt", "reference", "answer", "exact_match"]].to_list() == [
        "red",
        "Red",
        "RED",
        1.0,
    ]
    words = [
        sys.executable,
        "-m",
        "modelops_runtime",
        "evaluate",
        "compare",
        f"runs:/{run.info.run_id}",
        str(tmp_path / "output"),
    ]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("3 answers in both, 0 in the first alone, 0 in the other\n")


def test_a_model_is_fetched_before_the_libraries_are_cut_off_from_the_hub(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(settings: base.Settings) -> Path:
        raise ContractError(f"asked for {settings.uri}, offline: {os.environ.get('HF_HUB_OFFLINE')}")

    monkeypatch.setattr(base, "fetched", fetched)
    uri = f"hf://owner/name@{'0' * 40}"
    done = run_here(evaluate.main, capsys, **variables(tmp_path, uri))
    assert f"asked for {uri}, offline: None" in done.stderr


def test_nothing_to_evaluate_on_is_a_wrong_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {**variables(tmp_path, "http://127.0.0.1:9/v1"), "MODELOPS_EVALUATION": "{}"}
    done = run_here(evaluate.main, capsys, **given)
    assert done.returncode == Exit.CONFIGURATION and "nothing to evaluate on" in done.stderr


def test_the_evaluation_of_a_training_is_no_longer_one_of_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: dict[str, str] = {}
    monkeypatch.setattr("os.execve", lambda program, words, environment: begun.update(environment))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "PET_NPROC_PER_NODE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MODELOPS_EVALUATED", "another")
    wanted = Evaluation.parse({"schema": {"type": "object"}, "limit": 3})
    evaluate.after_training(wanted)
    assert Evaluation.parse(json.loads(begun["MODELOPS_EVALUATION"])) == wanted
    gone = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "PET_", "TORCHELASTIC_", "MODELOPS_EVALUATED")
    assert [name for name in begun if name.startswith(gone)] == []


def test_gates_bound_the_metrics_of_an_evaluation_also_by_what_serves() -> None:
    found = {"exact_match": 0.8, "rougeL": 0.7, "valid_json": 1.0, "eval.colour.acc_norm": 0.5}
    bounds = gate.parse(
        {"rougeL": {"min_delta": 0}, "valid_json": {"min": 1}, "eval.colour.acc_norm": {"min_delta": -0.1}}
    )
    serving = gate.Serving("3", {**found, "eval.colour.acc_norm": 0.55})
    assert len(gate.check(bounds, found, serving)) == 3
    with pytest.raises(ContractError, match=r"eval\.colour\.acc_norm is 0\.4, must be at least 0\.45"):
        gate.check(bounds, {**found, "eval.colour.acc_norm": 0.4}, serving)


def test_a_comparison_shows_the_answers_whose_scores_changed() -> None:
    def row(name: str, answer: str, **scores: float | None) -> dict[str, Any]:
        return {"id": name, "prompt": "?", "reference": "r", "answer": answer, "tokens": len(answer), **scores}

    before = [row("a", "bad", f1=0.0, forbidden=1.0), row("b", "same", f1=1.0, forbidden=0.0), row("c", "gone", f1=1.0)]
    after = [row("b", "same\x1b[31m", f1=1.0, forbidden=0.0), row("a", "good", f1=1.0, forbidden=0.0), row("d", "new")]
    assert list(compared(before, after)) == [
        "2 answers in both, 1 in the first alone, 1 in the other",
        "f1         0.5000 → 1.0000  1 better, 0 worse",
        "forbidden  0.5000 → 0.0000  1 better, 0 worse",
        "",
        "a: f1 0 → 1, forbidden 1 → 0",
        "  prompt     ?",
        "  reference  r",
        "  first      bad",
        "  second     good",
    ]


def test_the_hub_is_off_however_little_of_it_was_loaded() -> None:
    program = """
import huggingface_hub
from modelops_runtime.language_models.evaluation.evaluate import _prepare_libraries
_prepare_libraries()
from huggingface_hub.constants import HF_HUB_OFFLINE
print(HF_HUB_OFFLINE)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
