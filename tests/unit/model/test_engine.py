"""vLLM itself, on this machine's processor: what the library relies on."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from modelops_runtime.contract import AdapterPart, AssembleContract, FetchContract
from modelops_runtime.language_models.assemble import assemble
from modelops_runtime.serving.vllm import transcript
from modelops_runtime.serving.vllm.drain import drain
from modelops_runtime.serving.vllm.front import READ_SECONDS
from tests.conftest import REPOSITORY
from tests.llm import QUESTION, SMALL, Engine, serving, write_models
from tests.llm_record import FLAGS, METRICS, flags

pytestmark = pytest.mark.long

SMOKE_TEST = FLAGS.parent / "smoke_test.py"
ASSETS = REPOSITORY / "components" / "modelops"
ASKING = (
    ASSETS / "serving" / "assets" / "prometheus-adapter.yaml",
    ASSETS / "serving" / "assets" / "analyst.py",
    ASSETS / "monitoring" / "assets" / "dashboards" / "large-model.json",
    ASSETS / "monitoring" / "assets" / "rules" / "large-model.yaml",
)
LONG = 200
"""Tokens of an answer that takes a while."""
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Engine]:
    arguments = ["--served-model-name", "base", "--enable-lora", "--lora-modules", f"polite={models / 'polite'}"]
    with serving(models, [str(models / "base"), *arguments, *SMALL]) as found:
        yield found


def test_the_model_and_its_adapter_answer_a_chat_each_in_its_own_way(server: Engine) -> None:
    assert server.models.keys() == {"base", "polite"}
    assert server.chat("base") == server.chat("base") != server.chat("polite")


def test_a_text_is_completed(server: Engine) -> None:
    answer = server.post("/v1/completions", {"model": "base", "prompt": "hi", "max_tokens": 3, "ignore_eos": True})
    assert answer["usage"]["completion_tokens"] == 3


def test_its_metrics_are_those_that_were_recorded(server: Engine) -> None:
    server.chat("polite")
    known = _names(METRICS.read_text())
    assert _names(server.get("/metrics")) >= known
    assert {"vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "vllm:lora_requests_info"} <= known


@pytest.mark.parametrize("file", ASKING, ids=lambda file: file.name)
def test_it_has_every_metric_that_is_asked_of_it(server: Engine, file: Path) -> None:
    """By autoscalers, the canary's analyst, dashboards and alerts; and when it began, by which they see a restart."""
    server.chat("polite")
    had = _names(server.get("/metrics"))
    asked = set(re.findall(r"vllm:\w*[a-z]|process_start_time_seconds", file.read_text()))
    assert len(asked) >= 4
    assert {name for name in asked if not any(each.startswith(name) for each in had)} == set()


def test_the_flags_that_a_plan_knows_are_the_engines() -> None:
    assert json.loads(FLAGS.read_text()) == flags()


def test_texts_are_in_no_log_even_if_they_are_refused(server: Engine) -> None:
    marked: Mapping[str, Any] = {"model": "base", "messages": [{"role": "user", "content": "zebra-quartz"}]}
    server.chat(**marked)
    mistakes: list[dict[str, Any]] = [
        {"max_tokens": "zebra-quartz"},
        {"messages": ["zebra-quartz"]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "zebra-quartz"}}]}]},
        {"structured_outputs": {"regex": "(zebra-quartz"}},
        {"tools": [{"zebra-quartz": 1}]},
        {"model": "nobody"},
    ]
    for mistake in mistakes:
        with pytest.raises(HTTPError, match=r"40[04]"):
            server.post("/v1/chat/completions", {**marked, **mistake})
    with pytest.raises(HTTPError, match="400"):
        server.post("/v1/completions", {"model": "base", "prompt": "zebra-quartz" * 100})
    assert "POST /v1/chat/completions" in server.log.read_text()
    assert "zebra-quartz" not in server.log.read_text()


@pytest.fixture(scope="module")
def behind(models: Path) -> Iterator[Engine]:
    """An engine as a pod has it: prepared from an adapter, behind the library's front, with a key."""
    folder, keys = models / "pod", models / "keys"
    keys.mkdir()
    (keys / "team").write_text("first")
    fetched = FetchContract(f"file://{models / 'polite'}", "", models / "polite", None, 0, 2**30)
    terse = AdapterPart("terse", f"file://{models / 'terse'}", "terse/2")
    settings = AssembleContract(fetched, "models:/chat/1", "chat", folder, f"file://{models / 'base'}", (terse,))
    folder.mkdir()
    config = folder / "vllm.yaml"
    config.write_text(json.dumps(assemble(settings)))
    arguments = ["--config", str(config), "--middleware", "modelops_runtime.serving.vllm.front.Front"]
    variables = {
        "PYTHONPATH": str(REPOSITORY / "model"),
        "MODELOPS_API_KEYS_DIR": str(keys),
        "MODELOPS_DRAINING_FILE": str(folder / "draining"),
        "MODELOPS_LOG_TEXTS": "true",
    }
    with serving(models, [*arguments, "--shutdown-timeout", "5", *SMALL], **variables) as found:
        # It counts as ready when each of its models has answered once.
        assert len(re.findall(r"^vllm:request_success_total\{.*\} [1-9]", found.get("/metrics"), re.MULTILINE)) >= 1
        yield replace(found, headers={"Authorization": "Bearer first"})


def test_an_adapter_is_served_beside_its_base_and_another_one(behind: Engine, server: Engine) -> None:
    assert behind.models.keys() == {"chat", "terse", "tests/tiny-llama"}
    assert behind.models["terse"]["root"].endswith("adapters/terse/2")
    assert behind.chat("chat") == server.chat("polite")
    assert behind.chat("tests/tiny-llama") == server.chat("base")


def test_a_key_is_rotated_while_the_engine_runs(behind: Engine, models: Path) -> None:
    strange = replace(behind, headers={"Authorization": "Bearer second"})
    with pytest.raises(HTTPError, match="401"):
        strange.chat("chat")
    (models / "keys" / "next").write_text("second")
    time.sleep(READ_SECONDS + 0.1)
    assert strange.chat("chat") == behind.chat("chat")
    assert "vllm:num_requests_running" in replace(behind, headers={}).get("/metrics")


@pytest.mark.parametrize("stream", [False, True])
def test_texts_are_logged_masked_if_it_is_asked_for(behind: Engine, stream: bool) -> None:
    name = f"a question {'streamed' if stream else 'whole'}"
    question = {"role": "user", "content": f"{name}: I am ann@example.com"}
    body = json.dumps({**QUESTION, "model": "terse", "messages": [question], "stream": stream}).encode()
    request = urllib.request.Request(f"{behind.url}/v1/chat/completions", body, {**JSON, **behind.headers})
    with urllib.request.urlopen(request) as answer:
        said = answer.read().decode()
    (line,) = eventually(lambda: [json.loads(each) for each in behind.log.read_text().splitlines() if name in each])
    assert (line["model"], line["prompt"]) == ("terse", f"{name}: I am <EMAIL_ADDRESS>")
    assert line["answer"] == transcript.mask(stream_text(said) if stream else text_of(said))


def eventually(find: Callable[[], list[Any]]) -> list[Any]:
    deadline = time.monotonic() + 10
    while not (found := find()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def text_of(answer: str) -> str:
    return str(json.loads(answer)["choices"][0]["message"]["content"])


def stream_text(answer: str) -> str:
    pieces = (json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {"))
    return "".join(each["choices"][0]["delta"].get("content") or "" for each in pieces if each["choices"])


def test_the_smoke_test_asks_it_a_prompt(behind: Engine, models: Path) -> None:
    """With one of its keys, as beside it in a pod."""
    right, prompt = behind.chat("chat"), {"prompt": "hi", "model": "chat", "max_tokens": QUESTION["max_tokens"]}
    for answer, code in ((right, 0), (f"not {right}", 1)):
        variables = {
            "MODELOPS_SMOKE_TEST": json.dumps({"prompts": [{**prompt, "answer": answer, "required": ["."]}]}),
            "MODELOPS_SMOKE_URL": f"{behind.url}/v1/chat/completions",
            "MODELOPS_API_KEYS_DIR": str(models / "keys"),
        }
        done = subprocess.run([sys.executable, SMOKE_TEST], env=variables, capture_output=True, text=True)
        assert done.returncode == code, done.stderr


def test_a_pod_that_stops_breaks_no_stream_and_loses_no_request(behind: Engine, models: Path) -> None:
    """The last test of this engine, which it stops as Kubernetes does. Clients keep their connections, as most do."""
    streams = ThreadPoolExecutor(9)
    running = [streams.submit(_stream, behind) for _ in range(8)]
    kept = HTTPConnection("127.0.0.1", behind.port)
    assert _answer(kept, behind) == (200, None)
    time.sleep(0.5)
    draining = streams.submit(drain, behind.url, models / "pod" / "draining", 1, 60)
    time.sleep(0.5)
    assert _answer(kept, behind) == (200, "close")
    assert draining.result()
    behind.process.terminate()
    assert [each.result() for each in running] == [LONG] * 8


def test_without_the_drain_requests_are_lost(server: Engine) -> None:
    """The control, and the last test of that engine."""
    with ThreadPoolExecutor(16) as streams:
        running = [streams.submit(_stream, server, "base") for _ in range(16)]
        time.sleep(0.2)
        server.process.terminate()
        broken = [each.exception() for each in running]
    assert any(isinstance(error, OSError | HTTPException | AssertionError) for error in broken)


def _stream(server: Engine, model: str = "chat") -> int:
    """How many tokens of a long answer came, by its last event; an event may have several."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = {**QUESTION, "model": model, "max_tokens": LONG, "ignore_eos": True, "stream": True}
    body["stream_options"] = {"include_usage": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {**JSON, **server.headers})
    text = connection.getresponse().read().decode()
    *events, end = re.findall("^data: (.+)$", text, re.MULTILINE)
    assert end == "[DONE]" and '"finish_reason":"length"' in text, text[-1000:]
    return int(json.loads(events[-1])["usage"]["completion_tokens"])


def _answer(connection: HTTPConnection, server: Engine, model: str = "chat") -> tuple[int, str | None]:
    """The status of an answer, and what it says of the connection."""
    body = json.dumps({**QUESTION, "model": model})
    connection.request("POST", "/v1/chat/completions", body, {**JSON, **server.headers})
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.headers["Connection"]


def _names(metrics: str) -> set[str]:
    return {line.partition("{")[0].partition(" ")[0] for line in metrics.splitlines() if not line.startswith("#")}
