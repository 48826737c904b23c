"""The Open Inference Protocol over gRPC, as other projects' clients and a client of our own see it."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelops_runtime.serving.open_inference.messages import METHODS, SERVICE, message
from tests.conftest import REPOSITORY
from tests.environments import environment_of, extra
from tests.models import write_model
from tests.runtime import PYTHONPATH, environment
from tests.unit.model.support import SLOW_MODEL, RunningServer, start_server
from tests.unit.model.test_clients import RIGHT, TABLE
from tests.unit.model.test_preprocessing import GAPS, with_preprocessing
from tests.unit.model.test_tracing import PARENT, TRACE, Collector, attributes

INFER = f"/{SERVICE}/ModelInfer"
WATCH = "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
"""Messages of health: the field 1 with 1 or 2."""
Code = grpc.StatusCode


@dataclass
class Served:
    """A server and its port for gRPC."""

    http: RunningServer
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(self.address) as channel:
            grpc.channel_ready_future(channel).result(20)
            yield channel

    def call(self, method: str, request: Any = None, **more: Any) -> Any:
        """The answer to one call. Bytes are sent as they are."""
        with self.channel() as channel:
            ask = channel.unary_unary(
                f"/{SERVICE}/{method}",
                None if isinstance(request, bytes) else _bytes,
                message(f"{method}Response").FromString,
            )
            return ask(message(f"{method}Request")() if request is None else request, timeout=20, **more)

    def refused(self, method: str, request: Any = None, **more: Any) -> tuple[Code, str]:
        with pytest.raises(grpc.RpcError) as caught:
            self.call(method, request, **more)
        return caught.value.code(), caught.value.details()


def _bytes(request: Any) -> bytes:
    content: bytes = request.SerializeToString()
    return content


@contextlib.contextmanager
def served(model_dir: Path, log: Path, *extras: str, **variables: object) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = ":".join([*(str(extra(name)) for name in ("grpc", *extras)), PYTHONPATH])
    with start_server(model_dir, log, PYTHONPATH=path, MODELOPS_GRPC_PORT=port, **variables) as running:
        yield Served(running, port)


@pytest.fixture(scope="module")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of y = 2x + 1 for tests that leave it as it was."""
    with served(model_dir, tmp_path_factory.mktemp("grpc") / "log") as running:
        yield running


def asked(
    values: Any = (1.0, 0.0), datatype: str = "FP32", shape: Any = (2, 1), raw: bytes | None = None, **more: Any
) -> Any:
    request = message("ModelInferRequest")(model_name="line", **more)
    tensor = request.inputs.add(name="input", datatype=datatype, shape=shape)
    if raw is not None:
        request.raw_input_contents.append(raw)
    elif values:
        getattr(tensor.contents, FIELDS.get(datatype, f"{datatype.lower()}_contents")).extend(values)
    return request


FIELDS = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
}


def answers(client: str, program: str, address: str = "", **variables: object) -> Any:
    asking = Path(__file__).parent / "clients" / program
    command = [environment_of(f"clients-{client}"), "-W", "ignore", asking, address]
    env = environment(**variables) if variables else None
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_the_messages_are_those_of_the_protocol() -> None:
    got = answers("grpc", "described.py", PYTHONPATH=PYTHONPATH)
    assert got["ours"] == got["theirs"]
    assert len(got["ours"]["methods"]) == len(METHODS) == 6


def test_triton_s_client_is_answered(server: Served) -> None:
    got = answers("grpc", "triton_grpc.py", server.address)
    assert got["health"] == [True, True, True]
    assert (got["server"], got["platform"], got["versions"]) == ("modelops", "litert", ["run-abc123def456"])
    assert got["inputs"] == [["input", "FP32", [-1, 1]]]
    assert len(got["values"]) == 12
    assert {str(rows) for rows in got["values"].values()} == {str(RIGHT)}
    assert got["in the background"] == got["aio"] == RIGHT
    assert got["named"] == ["7", "run-abc123def456", RIGHT]
    assert got["dtype"] == "float32"
    half, brain, single = (rows[0][0] for rows in got["halves"])
    assert half == pytest.approx(2 * 0.0999755859375 + 1, abs=1e-6)
    assert brain == pytest.approx(2 * 0.10009765625 + 1, abs=1e-6)
    assert single == pytest.approx(1.2, abs=1e-6)
    assert got["no model"] == ["StatusCode.NOT_FOUND", "there is no model 'other' here but 'line'"]
    assert got["nan"] == ["StatusCode.INVALID_ARGUMENT", "raw_input_contents[0][1] must fit into float32"]
    assert got["shape"] == ["StatusCode.INVALID_ARGUMENT", "inputs[0].shape must be [1..1024, 1]"]


def test_triton_s_client_sends_text_where_the_model_takes_text(tmp_path: Path) -> None:
    with_preprocessing(tmp_path / "model", TABLE, [[40.0, "Rome"]])
    with served(tmp_path / "model", tmp_path / "log") as table:
        assert answers("grpc", "triton_grpc_text.py", table.address) == [[51.0], [2.0]]
        request = message("ModelInferRequest")(model_name="sum")
        request.inputs.add(name="age", datatype="FP64", shape=[1]).contents.fp64_contents.append(50)
        city = request.inputs.add(name="city", datatype="BYTES", shape=[1])
        city.contents.bytes_contents.append(b"Rome")
        assert list(table.call("ModelInfer", request).outputs[0].contents.fp32_contents) == [51.0]
        city.contents.bytes_contents[0] = b"\xff"
        assert table.refused("ModelInfer", request) == (
            Code.INVALID_ARGUMENT,
            "inputs[1].contents.bytes_contents: texts must be UTF-8",
        )


def test_a_missing_value_comes_as_nan_or_as_an_empty_text(tmp_path: Path) -> None:
    with_preprocessing(tmp_path / "model", GAPS, [[40.0, 1.0, "Rome"]])
    with served(tmp_path / "model", tmp_path / "log") as table:
        request = message("ModelInferRequest")(model_name="sum")
        age = request.inputs.add(name="age", datatype="FP64", shape=[1]).contents.fp64_contents
        height = request.inputs.add(name="height", datatype="FP32", shape=[1]).contents.fp32_contents
        request.inputs.add(name="city", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"")
        age.append(float("nan"))
        height.append(1)
        assert list(table.call("ModelInfer", request).outputs[0].contents.fp32_contents) == [42.0]
        height[0] = float("nan")
        code, said = table.refused("ModelInfer", request)
        assert code == Code.INVALID_ARGUMENT and said.startswith("inputs[1].contents.fp32_contents[0] must")
        del age[:], height[:], request.inputs[2].contents.bytes_contents[:]
        for tensor in request.inputs:
            tensor.ClearField("contents")
        raw = (np.float64("nan").tobytes(), np.float32(1).tobytes(), bytes(4))
        request.raw_input_contents.extend(raw)
        answer = table.call("ModelInfer", request)
        assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [42.0]


def test_kserve_s_client_is_answered(server: Served) -> None:
    got = answers("kserve", "kserve_grpc.py", server.address)
    assert got["health"] == [True, True, True]
    assert {str(answer) for answer in (*got["typed"].values(), *got["raw"].values())} == {str(["7", RIGHT])}


def test_mlserver_s_types_and_converters_make_calls_that_are_answered(server: Served) -> None:
    got = answers("mlserver", "mlserver_grpc.py", server.address)
    assert got["platform"] == "litert"
    assert (len(got["typed"]), len(got["raw"])) == (5, 6)
    assert {str(answer) for answer in (*got["typed"].values(), *got["raw"].values())} == {str(["7", RIGHT])}


def test_a_client_that_knows_nothing_asks_by_reflection_and_for_health(server: Served) -> None:
    got = answers("grpc", "reflected.py", server.address)
    assert got["services"] == got["described"]
    assert got["services"] == ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", SERVICE]
    assert got["methods"] == list(METHODS)
    assert got["outputs"] == [3.0, 1.0]
    assert got["health"] == ["SERVING", "SERVING"]
    assert (got["watched"], got["unknown"]) == ("SERVING", "NOT_FOUND")


@pytest.mark.parametrize(
    "datatype", ["BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32", "FP64"]
)
def test_values_by_type_are_answered_by_type(server: Served, datatype: str) -> None:
    whole = [True, False] if datatype == "BOOL" else [1, 0]
    answer = server.call("ModelInfer", asked(whole, datatype, id="7"))
    assert (answer.model_name, answer.model_version, answer.id) == ("line", "run-abc123def456", "7")
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("output", "FP32", [2, 1])
    assert list(output.contents.fp32_contents) == [3.0, 1.0]
    assert not answer.raw_output_contents


def test_raw_values_are_answered_raw(server: Served) -> None:
    answer = server.call("ModelInfer", asked(raw=b"\x00\x00\x80\x3f\x00\x00\x00\x00"))
    assert list(answer.raw_output_contents) == [b"\x00\x00\x40\x40\x00\x00\x80\x3f"]
    assert not answer.outputs[0].HasField("contents")


def _with(change: Any) -> Any:
    request = asked()
    change(request)
    return request


@pytest.mark.parametrize(
    ("request_", "code", "problem"),
    [
        (b"\xff", Code.INVALID_ARGUMENT, "the message is not the one of this method"),
        (message("ModelInferRequest")(), Code.NOT_FOUND, "there is no model '' here but 'line'"),
        (asked(model_version="2"), Code.NOT_FOUND, "there is no version '2' here but 'run-abc123def456'"),
        (message("ModelInferRequest")(model_name="line"), Code.INVALID_ARGUMENT, "inputs must have one tensor"),
        (asked(datatype="FP128", values=()), Code.INVALID_ARGUMENT, "inputs[0].datatype must be FP32, or another"),
        (asked(datatype="FP16", values=()), Code.INVALID_ARGUMENT, "must come in raw_input_contents"),
        (asked(datatype="BYTES", values=[b"1", b"0"]), Code.INVALID_ARGUMENT, "inputs[0].datatype must be FP32"),
        (asked(shape=(3, 1)), Code.INVALID_ARGUMENT, "inputs[0].contents.fp32_contents must have 3 numbers"),
        (asked(shape=(1025, 1)), Code.INVALID_ARGUMENT, "inputs[0].shape must be [1..1024, 1]"),
        (asked(shape=(-1, 1)), Code.INVALID_ARGUMENT, "inputs[0].shape must be [1..1024, 1]"),
        (asked(values=()), Code.INVALID_ARGUMENT, "inputs[0].contents.fp32_contents must have 2 numbers"),
        (asked([1.0, float("inf")]), Code.INVALID_ARGUMENT, "inputs[0].contents.fp32_contents[1] must fit"),
        (asked([1, 300], "INT8"), Code.INVALID_ARGUMENT, "inputs[0].contents.int_contents must fit into int8"),
        (asked([1e300, 0], "FP64"), Code.INVALID_ARGUMENT, "inputs[0].contents.fp64_contents must fit into float32"),
        (asked([3e38, 0]), Code.INVALID_ARGUMENT, "the prediction for these inputs is not a finite number"),
        (asked(raw=b"123"), Code.INVALID_ARGUMENT, "raw_input_contents[0] must be 8 bytes"),
        (_with(lambda r: r.raw_input_contents.append(b"12345678")), Code.INVALID_ARGUMENT, "not both"),
        (_with(lambda r: r.raw_input_contents.extend([b"", b""])), Code.INVALID_ARGUMENT, "one entry a tensor, 1"),
        (_with(lambda r: r.outputs.add(name="other")), Code.INVALID_ARGUMENT, "look at outputs[0].name"),
        (
            _with(lambda r: r.inputs[0].parameters["shared_memory_region"].__setattr__("string_param", "a")),
            Code.INVALID_ARGUMENT,
            "inputs[0].parameters.shared_memory_region is not supported",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_the_reason(server: Served, request_: Any, code: Code, problem: str) -> None:
    got, details = server.refused("ModelInfer", request_)
    assert got is code
    assert problem in details


def test_other_methods_name_the_model_too(server: Served) -> None:
    assert server.refused("ModelReady", message("ModelReadyRequest")(name="other"))[0] is Code.NOT_FOUND
    assert server.refused("ModelMetadata", message("ModelMetadataRequest")(name="other"))[0] is Code.NOT_FOUND


def test_a_call_is_logged_and_counted_with_its_identity(model_dir: Path, tmp_path: Path) -> None:
    with served(model_dir, tmp_path / "log", MODELOPS_LOG_INPUTS="true") as running:
        metadata = (("x-request-id", "call-1"), ("traceparent", f"00-{TRACE}-{PARENT}-01"))
        with running.channel() as channel:
            ask = channel.unary_unary(INFER, _bytes)
            _answer, call = ask.with_call(asked(), metadata=metadata)
            assert dict(call.trailing_metadata())["x-request-id"] == "call-1"
        assert running.refused("ModelInfer", asked(shape=(0, 1)))[0] is Code.INVALID_ARGUMENT
        first, second = running.http.requests(2)
        assert {key: first[key] for key in ("request_id", "trace_id", "method", "path", "status", "model")} == {
            "request_id": "call-1",
            "trace_id": TRACE,
            "method": "gRPC",
            "path": INFER,
            "status": 200,
            "model": "line",
        }
        assert json.loads(first["inputs"]) == {"input": [[1.0], [0.0]]}
        assert second["status"] == 422
        assert "inputs" not in second
        metrics = running.http.metrics()
        assert metrics[f'modelops_requests_total{{code="200",path="{INFER}"}}'] == 1
        assert metrics[f'modelops_requests_total{{code="422",path="{INFER}"}}'] == 1
        assert metrics["modelops_predictions_total"] == 2


def test_unknown_methods_make_no_new_series(server: Served) -> None:
    with server.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/Other")(b"", timeout=20)
    assert caught.value.code() is Code.UNIMPLEMENTED
    assert not [series for series in server.http.metrics() if "Other" in series]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_that_is_too_large_is_refused(model_dir: Path, tmp_path: Path, compression: grpc.Compression) -> None:
    """Compressed or not: what counts is its size in memory."""
    with served(model_dir, tmp_path / "log", MODELOPS_MAX_BODY_BYTES=4096, MODELOPS_MAX_BATCH_ROWS=10**6) as running:
        assert running.call("ModelInfer", asked(raw=bytes(4000), shape=(1000, 1)))
        too_large = asked(raw=bytes(4 * 2**20), shape=(2**20, 1))
        channel = grpc.insecure_channel(running.address, compression=compression)
        with channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(INFER, _bytes)(too_large, timeout=20)
        assert caught.value.code() is Code.RESOURCE_EXHAUSTED
        assert running.call("ModelInfer", asked())


def test_a_model_that_is_slow_bounds_calls_and_predictions(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    bounds = {"MODELOPS_MAX_CONCURRENCY": 2, "MODELOPS_PREDICT_SECONDS": 1}
    with served(tmp_path / "model", tmp_path / "log", program=SLOW_MODEL, **bounds) as running:
        with running.channel() as channel:
            ask = channel.unary_unary(INFER, _bytes)
            calls = [ask.future(asked([0.5, 0]), timeout=20) for _call in range(6)]
            codes = sorted(call.code().name for call in calls)
            assert codes.count("RESOURCE_EXHAUSTED") == 4
            assert codes.count("OK") + codes.count("DEADLINE_EXCEEDED") == 2
            refusal = next(call for call in calls if call.code() is Code.RESOURCE_EXHAUSTED)
            assert "that is the most at a time" in refusal.details()
            slow = ask.future(asked([1.5, 0]), timeout=20)
            assert (slow.code(), slow.details()) == (Code.DEADLINE_EXCEEDED, "the prediction took longer than 1 s")
            time.sleep(0.7)
            late = ask.future(asked([0.8, 0]), timeout=0.2)
            assert late.code() is Code.DEADLINE_EXCEEDED
        lines = running.http.requests(8)
        assert sorted(line["status"] for line in lines)[-1] == 503
        assert 499 in [line["status"] for line in lines]


def _states(running: Served, stack: contextlib.ExitStack) -> "tuple[list[bytes], threading.Thread, Any]":
    """The answers to a watch of the server's health, a thread that listens, and the watch."""
    watch = stack.enter_context(grpc.insecure_channel(running.address)).unary_stream(WATCH)(b"")
    told: list[bytes] = []

    def listen() -> None:
        with contextlib.suppress(grpc.RpcError):
            for status in watch:
                told.append(status)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    return told, thread, watch


def _until(check: Any) -> None:
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_while_it_loads_and_drains_its_health_is_bad_and_every_watch_is_told(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    program = """
import sys, os, time
from modelops_runtime.serving import lifecycle
load = lifecycle.load_model
def slow(settings, note):
    while not os.path.exists(settings.model_dir / "go"): time.sleep(0.05)
    return load(settings, note)
lifecycle.load_model = slow
from modelops_runtime.__main__ import main
sys.argv = ["modelops", "serve"]
main()
"""
    with (
        contextlib.ExitStack() as stack,
        served(
            tmp_path / "model",
            tmp_path / "log",
            program=("-c", program),
            wait_for="listening",
            MODELOPS_DRAIN_SECONDS=1,
        ) as running,
    ):
        assert running.call("ServerLive").live
        assert not running.call("ServerReady").ready
        assert not running.call("ModelReady", message("ModelReadyRequest")(name="line")).ready
        assert running.refused("ModelInfer", asked()) == (Code.UNAVAILABLE, "the model is still loading")
        told, listening, _watch = _states(running, stack)
        _told, _other, leaving = _states(running, stack)
        _until(lambda: told and _told)
        leaving.cancel()  # the package's own servicer would tell nobody from here on
        (tmp_path / "model" / "go").touch()
        _until(lambda: told == [NOT_SERVING, SERVING])
        assert running.call("ServerReady").ready
        running.http.process.send_signal(signal.SIGTERM)
        _until(lambda: told == [NOT_SERVING, SERVING, NOT_SERVING])
        assert not running.call("ServerReady").ready
        assert running.call("ModelInfer", asked()).outputs
        stopped = time.monotonic()
        assert running.http.process.wait(20) == 0
        assert time.monotonic() - stopped < 5  # a watch that stays doesn't keep it
        listening.join(10)
        assert told == [NOT_SERVING, SERVING, NOT_SERVING]


class Balancer:
    """What a Service is to gRPC: each new connection goes to one of the servers that it knows of."""

    def __init__(self, *servers: Served) -> None:
        self.servers = list(servers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._place = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                self._place += 1
                server = socket.create_connection(("127.0.0.1", self.servers[self._place % len(self.servers)].port))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)


def test_no_call_is_lost_when_a_server_stops_and_clients_move_on_while_it_drains(
    model_dir: Path, tmp_path: Path
) -> None:
    with (
        served(model_dir, tmp_path / "one", MODELOPS_DRAIN_SECONDS=2) as one,
        served(model_dir, tmp_path / "two", MODELOPS_DRAIN_SECONDS=2) as two,
        contextlib.closing(Balancer(one, two)) as balancer,
    ):
        failed: list[str] = []
        counts = [0] * 4
        going = True

        def ask_on(number: int) -> None:
            with grpc.insecure_channel(balancer.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                ask = channel.unary_unary(INFER, _bytes)
                while going:
                    try:
                        ask(asked(), timeout=10)
                        counts[number] += 1
                    except grpc.RpcError as error:
                        failed.append(f"{error.code()} {error.details()}")

        threads = [threading.Thread(target=ask_on, args=(number,)) for number in range(len(counts))]
        for thread in threads:
            thread.start()
        time.sleep(1)
        balancer.servers.remove(one)
        assert one.http.terminate() == 0
        time.sleep(0.5)
        going = False
        for thread in threads:
            thread.join()
        assert failed == []
        assert two.http.terminate() == 0  # so that every line is written
        both = [[line["status"] for line in each.http.log() if line.get("path") == INFER] for each in (one, two)]
        assert min(map(len, both)) > 100
        assert sum(map(len, both)) == sum(counts)
        assert {status for statuses in both for status in statuses} == {200}


def test_a_call_has_a_span_with_the_prediction_in_it(model_dir: Path, tmp_path: Path) -> None:
    collector = Collector()
    tracing = {"MODELOPS_TRACING": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": 50}
    with served(model_dir, tmp_path / "log", "tracing", **tracing) as running:
        metadata = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "a=b"))
        assert running.call("ModelInfer", asked(), metadata=metadata)
        assert running.call("ServerLive").live
        assert running.refused("ModelInfer", asked(shape=(0, 1)))
        spans = collector.named(f"{SERVICE}/ModelInfer", 2)
        (within,) = collector.named("predict")
    collector.close()
    good = next(span for span in spans if span.parent_span_id)
    (bad,) = [span for span in spans if span is not good]
    assert (good.trace_id.hex(), good.parent_span_id.hex(), good.trace_state) == (TRACE, PARENT, "a=b")
    assert within.parent_span_id == good.span_id
    assert attributes(good) == {
        "rpc.system.name": "grpc",
        "rpc.method": f"{SERVICE}/ModelInfer",
        "rpc.response.status_code": "OK",
    }
    assert attributes(bad)["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert bad.status.code == 0
    assert len(collector.spans) == 3


def test_a_port_that_is_taken_is_said(model_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = f"{extra('grpc')}:{PYTHONPATH}"
        settings = {"MODELOPS_HOST": "127.0.0.1", "MODELOPS_PORT": 0, "MODELOPS_GRPC_PORT": port}
        env = environment(PYTHONPATH=path, MODELOPS_MODEL_DIR=model_dir, **settings)
        command = [sys.executable, "-m", "modelops_runtime", "serve"]
        done = subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"can't listen on 127.0.0.1:{port} for gRPC" in done.stderr


def test_without_the_packages_the_server_says_what_is_missing(model_dir: Path) -> None:
    program = "import sys; sys.modules['grpc'] = None; sys.argv = ['modelops', 'serve']\n"
    program += "from modelops_runtime.__main__ import main; main()"
    env = environment(MODELOPS_MODEL_DIR=model_dir, MODELOPS_GRPC_PORT=9, MODELOPS_PORT=0)
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert "MODELOPS_GRPC_PORT needs grpc" in done.stderr
    assert "modelops-runtime[grpc]" in done.stderr
    assert "EXTRAS=grpc" in done.stderr
