"""What stands in front of vLLM's API: keys that change, a drain that clients notice, copies for a shadow."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.serving.vllm import drain, front, transcript, warm_up
from modelops_runtime.serving.vllm.front import Front


async def app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def ask(
    served: Front, path: str = "/v1/chat/completions", key: str | None = None, body: bytes = b"{}", **scope: Any
) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of the answer."""
    sent: list[Any] = []
    parts = [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    asyncio.run(served({"type": "http", "method": "POST", "path": path, "headers": headers, **scope}, receive, send))
    return sent[0]["status"], dict(sent[0].get("headers", ()))


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(front, "DRAINING", tmp_path / "draining")
    monkeypatch.setattr(front, "READ_SECONDS", 0.0)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As the kubelet mounts a Secret."""
    folder = tmp_path / "keys"
    (folder / "..data").mkdir(parents=True)
    (folder / "team-a").write_text("first\n")
    monkeypatch.setenv("MODELOPS_API_KEYS_DIR", str(folder))
    return folder


def test_without_keys_everybody_is_let_in() -> None:
    assert ask(Front(app))[0] == 200


@pytest.mark.parametrize(("key", "status"), [("first", 200), ("second", 401), ("", 401), (None, 401)])
def test_a_key_of_the_secret_is_needed(keys: Path, key: str | None, status: int) -> None:
    assert ask(Front(app), key=key)[0] == status


def test_keys_are_rotated_without_a_restart(keys: Path) -> None:
    served = Front(app)
    (keys / "team-b").write_text("second")
    assert (ask(served, key="first")[0], ask(served, key="second")[0]) == (200, 200)
    (keys / "team-a").unlink()
    assert (ask(served, key="first")[0], ask(served, key="second")[0]) == (401, 200)


def test_every_name_that_a_secret_may_have_is_a_keys(keys: Path) -> None:
    (keys / ".team-b").write_text("second")
    assert ask(Front(app), key="second")[0] == 200


def test_a_key_that_is_removed_while_it_is_read_is_none(keys: Path) -> None:
    (keys / "team-b").symlink_to("..data/team-b")
    assert (ask(Front(app), key="first")[0], ask(Front(app), key="second")[0]) == (200, 401)


def test_a_secret_without_keys_lets_nobody_in(keys: Path) -> None:
    (keys / "team-a").write_text("")
    assert ask(Front(app), key="")[0] == 401


def test_probes_and_prometheus_need_no_key_and_everything_else_does(keys: Path) -> None:
    for path in ("/ping", "/metrics"):
        assert ask(Front(app), path)[0] == 200
    assert ask(Front(app), "/health")[0] == 503  # not ready yet
    for path in ("/tokenize", "/v1/models", "/metrics/other"):
        assert ask(Front(app), path)[0] == 401
    assert ask(Front(app), method="OPTIONS")[0] == 200


def test_another_scheme_is_no_key(keys: Path) -> None:
    assert ask(Front(app), headers=[(b"authorization", b"Basic first")])[0] == 401


class TwoModels:
    """Serves two models, one of which can't chat; notes what it is asked beside probes."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.asked: list[tuple[str, str]] = []
        self._hangs = hangs

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        model = json.loads(body)["model"] if body else ""
        if scope["path"] != "/health":
            self.asked.append((scope["path"], model))
            if self._hangs:
                await receive()
        status = 400 if (scope["path"], model) == ("/v1/chat/completions", "base") else 200
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": b'{"data": [{"id": "base"}, {"id": "support"}]}'})


def probed(engine: Any) -> list[int]:
    """What probes get, one after the other, until there is nothing left to wait for."""

    async def probe(served: Front) -> int:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        await served({"type": "http", "method": "GET", "path": "/health", "headers": []}, receive, send)
        return int(sent[0]["status"])

    async def go() -> list[int]:
        served, found = Front(engine), list[int]()
        while 200 not in found and len(found) < 100:
            found.append(await probe(served))
            await asyncio.sleep(0.01)
        return [*found, await probe(served)]

    return asyncio.run(go())


def test_an_engine_is_ready_when_each_of_its_models_has_answered_once(keys: Path) -> None:
    engine = TwoModels()
    found = probed(engine)
    assert (found[0], found[-2:]) == (503, [200, 200])
    chat, completion = "/v1/chat/completions", "/v1/completions"
    assert engine.asked == [("/v1/models", ""), (chat, "base"), (completion, "base"), (chat, "support")]


def test_an_engine_whose_first_answer_does_not_end_is_ready_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_up, "SECONDS", 0.1)
    found = probed(TwoModels(hangs=True))
    assert (found[0], found[-1]) == (503, 200)


def test_an_engine_that_lists_no_models_is_ready() -> None:
    assert probed(app)[-1] == 200  # it says "ok" to everything


def test_a_draining_pod_ends_each_connection_with_its_answer() -> None:
    served = Front(app)
    assert b"connection" not in ask(served)[1]
    front.DRAINING.touch()
    status, headers = ask(served)
    assert (status, headers[b"connection"], headers[b"content-length"]) == (200, b"close", b"2")


def test_an_engine_that_starts_again_in_its_pod_does_not_drain() -> None:
    front.DRAINING.touch()
    assert b"connection" not in ask(Front(app))[1]


def test_a_copy_asks_for_a_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"model": "chat", "stream": True, "stream_options": {"include_usage": True}, "temperature": 0}
    assert json.loads(front.whole_answer(json.dumps(asked).encode())) == {"model": "chat", "temperature": 0}
    assert front.whole_answer(b"no JSON") == b"no JSON"


def test_what_was_answered_goes_to_the_shadow_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[Any] = []

    class Recorder:
        def start(self) -> None:
            offered.append("start")

        def offer(self, path: str, body: bytes, headers: Any) -> None:
            offered.append((path, body, dict(headers)))

    monkeypatch.setattr(front, "_mirror", Recorder)
    served = Front(app)
    ask(served, key="first", body=b'{"prompt": "hi"}')
    ask(served, "/v1/models", method="GET")
    ask(served, body=b"x" * (front.QUEUE_BYTES + 1))
    assert offered == ["start", ("/v1/chat/completions", b'{"prompt": "hi"}', {b"authorization": b"Bearer first"})]


class Engine:
    """Answers with metrics, in which requests get fewer."""

    def __init__(self) -> None:
        self.left = [2.0, 1.0, 0.0]
        self.asked = 0


@pytest.fixture
def engine() -> Iterator[tuple[Engine, str]]:
    fake = Engine()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked += 1
            left = fake.left.pop(0) if len(fake.left) > 1 else fake.left[0]
            text = f'vllm:num_requests_running{{engine="0"}} {left}\nvllm:num_requests_waiting{{engine="0"}} {left}\n'
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield fake, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_drain_ends_with_the_last_answer(
    engine: tuple[Engine, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "POLL_SECONDS", 0.01)
    fake, url = engine
    assert drain.drain(url, tmp_path / "mark", 0, 30)
    assert fake.asked == 4 and (tmp_path / "mark").exists()


def test_the_drain_is_bounded(engine: tuple[Engine, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "POLL_SECONDS", 0.01)
    fake, url = engine
    fake.left = [1.0]
    assert not drain.drain(url, tmp_path / "mark", 0, 0.05)


def test_a_dead_engine_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "POLL_SECONDS", 0.01)
    assert drain.drain("http://127.0.0.1:9", tmp_path / "mark", 0, 30)


def logged(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], request: dict[str, Any], *answer: bytes
) -> dict[str, Any]:
    """The line that is logged for a request that is answered in these pieces."""

    async def engine(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in answer:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setenv("MODELOPS_LOG_TEXTS", "true")
    monkeypatch.setenv("MODELOPS_MODEL_VERSION", "7")
    ask(Front(engine), body=json.dumps(request).encode())
    (line,) = capfd.readouterr().out.splitlines()
    return dict(json.loads(line))


CHAT = {
    "model": "chat",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "I am ann@example.com"}, {"image_url": {"url": "data:x"}}],
        },
    ],
}


def test_texts_are_in_no_log_unless_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    ask(Front(app), body=json.dumps(CHAT).encode())
    assert capfd.readouterr() == ("", "")


def test_a_whole_answer_is_logged_masked(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Call +49 30 901820"}}]}
    line = logged(monkeypatch, capfd, CHAT, json.dumps(answer).encode())
    assert line["prompt"] == "Be kind.\nI am <EMAIL_ADDRESS>"
    assert line["answer"] == "Call <NUMBER>"
    assert (line["event"], line["model"], line["model_version"], line["status"]) == ("texts", "chat", "7", 200)


def test_what_a_stream_spreads_over_its_pieces_is_masked(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pieces = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Mail ann@exa", "mple.com", " now")]
    stream = [f"data: {json.dumps(piece)}\n\n".encode() for piece in pieces]
    # The network cuts where it likes.
    content = b"".join([*stream, b"data: [DONE]\n\n"])
    line = logged(monkeypatch, capfd, {**CHAT, "stream": True}, content[:70], content[70:])
    assert line["answer"] == "Mail <EMAIL_ADDRESS> now"


def test_choices_of_a_stream_are_told_apart(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    pieces = [{"choices": [{"index": at, "text": text}]} for at, text in ((0, "a"), (1, "x"), (0, "b"), (1, "y"))]
    content = b"".join(f"data: {json.dumps(piece)}\n\n".encode() for piece in pieces)
    assert logged(monkeypatch, capfd, {"prompt": "say"}, content)["answer"] == "ab\nxy"


def test_the_events_of_the_responses_api_are_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    events: list[dict[str, Any]] = [
        {"type": "response.output_text.delta", "delta": "Hel"},
        {"type": "response.output_text.delta", "delta": "lo"},
        {"type": "response.completed", "response": {"output": [{"content": [{"text": "Hello"}]}]}},
    ]
    content = b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events)
    line = logged(monkeypatch, capfd, {"input": "hi"}, content)
    assert (line["prompt"], line["answer"]) == ("hi", "Hello")


@pytest.mark.parametrize("body", [b"", b"[1]", b'"text"', b"{", b"data: {", b"data: []\n\n", b"[" * 100_000])
def test_an_answer_of_any_other_kind_is_logged_without_a_text(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], body: bytes
) -> None:
    assert logged(monkeypatch, capfd, CHAT, body)["answer"] == ""


def test_the_log_has_the_beginning_of_a_long_text(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = logged(monkeypatch, capfd, {"prompt": "word " * 10_000}, b"{}")
    assert len(line["prompt"]) == transcript.LONGEST + 1


def test_the_copy_for_a_log_is_bounded(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(front, "QUEUE_BYTES", 100)
    assert logged(monkeypatch, capfd, {"prompt": "word " * 50}, b"{}")["prompt"] == ""


PERSONAL = st.sampled_from(
    [
        "ann.lee+shop@mail.example.co.uk",
        "+49 (30) 901-820",
        "030/9018200",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "DE89 3704 0044 0532 0130 00",
        "GB82WEST12345698765432",
        "078-05-1120",
        "192.168.17.4",
        "2001:db8:85a3::8a2e:370:7334",
    ]
)


@given(st.lists(st.tuples(st.text(), PERSONAL), min_size=1, max_size=4))
def test_personal_data_between_any_texts_is_masked(parts: list[tuple[str, str]]) -> None:
    masked = transcript.mask("".join(f"{text} {personal} " for text, personal in parts))
    assert all(personal not in masked for _, personal in parts)


@pytest.mark.parametrize("text", ["It costs 1,250.00 for 3 to 12 people", "At 10:15, v1.2.3", "a@b", "", "in 2026"])
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert transcript.mask(text) == text


@pytest.mark.parametrize("piece", ["a", "1", "1.", ":", "@", "a@", "A1", "DE89 ", " ", "1 ", "é", "a@b", "."])
def test_a_long_text_is_masked_in_time(piece: str) -> None:
    began = time.process_time()
    transcript.mask(piece * (2**20 // len(piece)))
    assert time.process_time() - began < 5
