"""Open Inference Protocol v2 over gRPC, with health and reflection. Imported with MODELOPS_GRPC_PORT alone.

Specification: kserve/open-inference-protocol, open_inference_grpc.proto. The same model, bounds and refusals as over
HTTP. An answer's tensors are raw if the request's are.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import msgspec
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from modelops_runtime.artifacts.runtimes import Array
from modelops_runtime.contract import ContractError, ServeContract
from modelops_runtime.serving.app import CLIENT_CLOSED, App
from modelops_runtime.serving.http import Refusal, identity
from modelops_runtime.serving.logs import Log
from modelops_runtime.serving.metrics import Metrics
from modelops_runtime.serving.open_inference import rest
from modelops_runtime.serving.open_inference.messages import METHODS, POOL, SERVICE, message
from modelops_runtime.serving.open_inference.tensors import (
    Parameter,
    Parameters,
    check_parameters,
    datatype_of,
    to_bytes,
)
from modelops_runtime.serving.served import Infer, Named, Served

if TYPE_CHECKING:
    from modelops_runtime.serving.tracing import RequestSpan, Tracing

UNTRACED = frozenset({"ServerLive", "ServerReady", "ModelReady"})
SPARE_CALLS = 128
"""How many calls there may be beyond MODELOPS_MAX_CONCURRENCY: watches, and those that get the refusal."""
CONNECTION_SECONDS = 300
CONNECTION_SHARE = 0.8
"""A client stays on its connection, and a server that stops drops the calls that it has not begun. So a connection gets
only so old, and less than the drain takes, even with the library's jitter of a tenth: its calls are answered, the next
ones go over a new connection, which leads elsewhere. New pods get their part of the calls by that too."""
REQUEST_ID = "x-request-id"
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field with a tensor's values, by datatype. FP16 and BF16 have none: they are raw."""
_CODES = {
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""By a refusal's status over HTTP; the others are INVALID_ARGUMENT."""
_CODES_OF_RULES = {
    "max_concurrency": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "max_seconds": grpc.StatusCode.DEADLINE_EXCEEDED,
}
_OWN_ERRORS = frozenset({grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE})
Context = grpc.aio.ServicerContext[bytes, bytes]
Inputs = Mapping[str, Array]


class Answered(NamedTuple):
    message: Any
    inputs: Inputs | None = None
    """What was predicted from, if anything was."""


class InferenceService:
    """The methods of the protocol."""

    def __init__(
        self, app: App, settings: ServeContract, log: Log, metrics: Metrics, tracing: "Tracing | None"
    ) -> None:
        self._app = app
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._tracing = tracing
        self._reader: _Reader | None = None
        self._response = message("ModelInferResponse")

    def serve(self, model: Served) -> None:
        self._reader = _Reader(model)

    def handlers(self) -> grpc.GenericRpcHandler:
        answers: dict[str, Callable[[Any, RequestSpan | None], Awaitable[Answered]]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            method: grpc.unary_unary_rpc_method_handler(self._call(method, answers[method])) for method in METHODS
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _call(self, method: str, answer: Callable[[Any, "RequestSpan | None"], Awaitable[Answered]]) -> Any:
        """The handler of a method: one log line and one observation a call. It gets bytes, since the library would
        answer what is no message before it gets here."""
        parse = message(f"{method}Request").FromString
        name = f"{SERVICE}/{method}"
        path = f"/{name}"

        async def handler(request: bytes, context: Context) -> bytes:
            started = time.perf_counter()
            self._metrics.started()
            metadata = tuple(context.invocation_metadata() or ())
            request_id, trace_id = _identity(metadata)
            span = None
            if self._tracing is not None and method not in UNTRACED:
                span = self._tracing.call(name, {key: value for key, value in metadata if isinstance(value, str)})
                trace_id = span.trace_id
            status, code, inputs = CLIENT_CLOSED, grpc.StatusCode.CANCELLED, None
            try:
                context.set_trailing_metadata(((REQUEST_ID, request_id),))
                answered, inputs = await answer(_parsed(parse, request), span)
                status, code = 200, grpc.StatusCode.OK
                content: bytes = answered.SerializeToString()
                return content
            except Refusal as refusal:
                status, code = refusal.status, _code(refusal)
                await context.abort(code, refusal.message)
            except Exception as error:  # the last resort: callers get no trace, the log gets the reason
                self._log.event("error", level="error", reason=f"{type(error).__name__}: {error}")
                status, code = 500, grpc.StatusCode.INTERNAL
                await context.abort(code, "internal error")
            finally:
                seconds = time.perf_counter() - started
                if span is not None:
                    span.called(code.name, code in _OWN_ERRORS)
                self._metrics.answered(path, status, seconds)
                logged = self._logged(inputs) if inputs is not None and self._settings.log_inputs else None
                self._log.request(request_id, "gRPC", path, status, seconds, logged, trace_id)

        return handler

    @staticmethod
    def _logged(inputs: Inputs) -> bytes:
        return msgspec.json.encode({name: array.tolist() for name, array in inputs.items()})

    async def _server_live(self, _request: Any, _span: "RequestSpan | None") -> Answered:
        return Answered(message("ServerLiveResponse")(live=_holds(self._app.check_alive)))

    async def _server_ready(self, _request: Any, _span: "RequestSpan | None") -> Answered:
        return Answered(message("ServerReadyResponse")(ready=_holds(self._app.taking_traffic)))

    async def _model_ready(self, request: Any, _span: "RequestSpan | None") -> Answered:
        ready = _holds(self._app.taking_traffic)
        if ready:
            self._model(request.name, request.version)
        return Answered(message("ModelReadyResponse")(ready=ready))

    async def _server_metadata(self, _request: Any, _span: "RequestSpan | None") -> Answered:
        metadata = rest.server_metadata()
        return Answered(message("ServerMetadataResponse")(name=metadata["name"], version=metadata["version"]))

    async def _model_metadata(self, request: Any, _span: "RequestSpan | None") -> Answered:
        model = self._model(request.name, request.version)
        return Answered(message("ModelMetadataResponse")(**rest.model_metadata(model)))

    async def _infer(self, request: Any, span: "RequestSpan | None") -> Answered:
        model = self._model(request.model_name, request.model_version)
        assert self._reader is not None
        asked = self._reader.read(request)
        prediction = self._app.infer(asked)
        outputs = await (prediction if span is None else span.prediction(prediction))
        return Answered(self._answer(model, outputs, request), asked.inputs)

    def _answer(self, model: Served, outputs: Named, request: Any) -> Any:
        answer = self._response(model_name=model.name, model_version=model.version, id=request.id)
        datatypes = {name: datatype_of(array) for name, array in outputs.items()}
        raw = bool(request.raw_input_contents) or any(datatype not in _CONTENTS for datatype in datatypes.values())
        for name, array in outputs.items():
            datatype = datatypes[name]
            tensor = answer.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if raw:
                answer.raw_output_contents.append(to_bytes(array))
            else:
                values = array.ravel().tolist()
                if datatype == "BYTES":
                    values = [str(text).encode() for text in values]
                getattr(tensor.contents, _CONTENTS[datatype]).extend(values)
        return answer

    def _model(self, name: str, version: str) -> Served:
        """Raises Refusal: it is still loading (503), or there is no such model (404)."""
        model = self._app.ready_model()
        if name != model.name:
            raise Refusal(404, "name", "known_model", f"there is no model {name[:100]!r} here but {model.name!r}")
        if version not in ("", model.version):
            known = f"there is no version {version[:100]!r} here but {model.version!r}"
            raise Refusal(404, "version", "known_version", known)
        return model


class _Reader:
    """Reads requests for one model."""

    def __init__(self, model: Served) -> None:
        self._inputs = rest.Inputs(model.inputs)
        self._outputs = rest.Outputs([output.name for output in model.outputs])

    def read(self, request: Any) -> Infer:
        """Raises Refusal."""
        tensors, raw = request.inputs, request.raw_input_contents
        if raw and len(raw) != len(tensors):
            message = f"raw_input_contents must have one entry a tensor, {len(tensors)}, this one has {len(raw)}"
            raise Refusal(422, "raw_input_contents", "length", message)
        readers = self._inputs.named([tensor.name for tensor in tensors])
        arrays: dict[str, Array] = {}
        for number, (reader, tensor) in enumerate(zip(readers, tensors, strict=True)):
            field = f"inputs[{number}]"
            if tensor.parameters:
                check_parameters(_parameters(tensor.parameters), field)
            shape: list[int | float] = list(tensor.shape)
            if raw:
                if tensor.HasField("contents") and tensor.contents.ByteSize():  # MLServer's client sends an empty one
                    message = f"{field} must have contents or raw_input_contents, not both"
                    raise Refusal(422, f"{field}.contents", "raw", message)
                data = f"raw_input_contents[{number}]"
                array = reader.read_bytes(tensor.datatype, shape, memoryview(raw[number]), field, data)
            else:
                contents = _CONTENTS.get(tensor.datatype)
                if contents is None and tensor.datatype in ("FP16", "BF16"):
                    message = f"{field} must come in raw_input_contents: there is no field for {tensor.datatype}"
                    raise Refusal(422, f"{field}.contents", "raw", message)
                data = f"{field}.contents.{contents}"
                values = list(getattr(tensor.contents, contents)) if contents else []
                if tensor.datatype == "BYTES":
                    values = _texts(values, data)
                array = reader.read_values(tensor.datatype, shape, values, field, data)
            arrays[reader.name] = array
        self._inputs.check_rows(arrays)
        outputs: list[str] = []
        for number, output in enumerate(request.outputs):
            self._outputs.check(output.name, number, outputs)
            if output.parameters:
                check_parameters(_parameters(output.parameters), f"outputs[{number}]")
            outputs.append(output.name)
        return Infer(arrays, _parameters(request.parameters) if request.parameters else {}, outputs)


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """The package's own servicer forgets all watchers of a service when one of them leaves, and never lets them go."""

    _SERVICES = ("", SERVICE)

    def __init__(self) -> None:
        self._serving = self._ended = False
        self._changed = asyncio.Condition()

    async def serving(self, value: bool) -> None:
        async with self._changed:
            self._serving = value
            self._changed.notify_all()

    async def end(self) -> None:
        """Ends the watches."""
        async with self._changed:
            self._serving, self._ended = False, True
            self._changed.notify_all()

    def _status(self, service: str) -> Any:
        statuses = health_pb2.HealthCheckResponse
        if service not in self._SERVICES:
            return statuses.SERVICE_UNKNOWN
        return statuses.SERVING if self._serving else statuses.NOT_SERVING

    async def Check(self, request: Any, context: Context) -> Any:
        if request.service not in self._SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:100]!r} here")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: Any, _context: Context) -> AsyncIterator[Any]:
        told = None
        while True:
            status = self._status(request.service)
            if status != told:
                yield health_pb2.HealthCheckResponse(status=status)
                told = status
            if self._ended:
                return
            async with self._changed:
                if not self._ended and told == self._status(request.service):
                    await self._changed.wait()


class Server:
    """Listens from the start, as the HTTP server does, and has a model from `serve` on."""

    def __init__(
        self, app: App, settings: ServeContract, log: Log, metrics: Metrics, tracing: "Tracing | None"
    ) -> None:
        """Call it in the event loop. Raises ContractError when the address can't be had."""
        self._inference = InferenceService(app, settings, log, metrics, tracing)
        self._health = Health()
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=settings.max_concurrency + SPARE_CALLS,
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_connection_age_ms", round(1000 * _connection_seconds(settings.drain_seconds))),
                ("grpc.so_reuseport", 0),
            ],
        )
        self._server.add_generic_rpc_handlers((self._inference.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for described in (health_pb2, reflection_pb2):
            POOL.AddSerializedFile(described.DESCRIPTOR.serialized_pb)
        services = (SERVICE, *(of.full_name for each in (health_pb2, reflection_pb2) for of in _services(each)))
        reflection.enable_server_reflection(services, self._server, POOL)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            self.port = self._server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError as error:
            raise ContractError(f"can't listen on {host}:{settings.grpc_port} for gRPC: {error}") from None

    async def start(self) -> None:
        await self._server.start()

    async def serve(self, model: Served) -> None:
        self._inference.serve(model)
        await self._health.serving(True)

    async def drain(self) -> None:
        """From now on: its health is bad, calls are still answered."""
        await self._health.serving(False)

    async def stop(self, grace: float) -> None:
        """Tells clients to go elsewhere, and waits for the calls that are being answered."""
        await self._health.end()
        await self._server.stop(grace)


def _connection_seconds(drain_seconds: float) -> float:
    return min(CONNECTION_SECONDS, CONNECTION_SHARE * drain_seconds or CONNECTION_SECONDS)


def _services(described: Any) -> Sequence[Any]:
    return list(described.DESCRIPTOR.services_by_name.values())


def _parsed(parse: Callable[[bytes], Any], request: bytes) -> Any:
    """Raises Refusal (400)."""
    try:
        return parse(request)
    except DecodeError:
        raise Refusal(400, "message", "protobuf", "the message is not the one of this method") from None


def _identity(metadata: Sequence[tuple[str, str | bytes]]) -> tuple[str, str]:
    headers = [(key.encode(), value.encode() if isinstance(value, str) else value) for key, value in metadata]
    return identity({"headers": headers})


def _code(refusal: Refusal) -> grpc.StatusCode:
    other = _CODES.get(refusal.status, grpc.StatusCode.INVALID_ARGUMENT)
    return _CODES_OF_RULES.get(refusal.rule, other)


def _holds(check: Callable[[], object]) -> bool:
    try:
        check()
    except Refusal:
        return False
    return True


def _parameters(parameters: Any) -> Parameters:
    return {name: _parameter(value) for name, value in parameters.items()}


def _parameter(value: Any) -> Parameter:
    chosen = value.WhichOneof("parameter_choice")
    plain: Parameter = None if chosen is None else getattr(value, chosen)
    return plain


def _texts(values: Sequence[bytes], data: str) -> list[str]:
    """Raises Refusal (422)."""
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        raise Refusal(422, data, "utf8", f"{data}: texts must be UTF-8") from None
