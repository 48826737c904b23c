"""OpenTelemetry: a span for each request and one for its prediction. Imported with MODELOPS_TRACING alone.

The SDK and its exporter read their settings from OpenTelemetry's own variables, OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_TRACES_SAMPLER and so on. Spans are sent by a thread of theirs from a bounded queue: a collector that is slow or
away costs spans, never an answer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.semconv.attributes import error_attributes as errors
from opentelemetry.semconv.attributes import http_attributes as http
from opentelemetry.semconv.attributes import url_attributes as url
from opentelemetry.semconv.attributes import user_agent_attributes as user_agent
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from modelops_runtime.serving.http import Headers, Refusal, Scope
from modelops_runtime.serving.logs import Log
from modelops_runtime.serving.worker import Worker

T = TypeVar("T")
FLUSH_SECONDS = 3.0
"""How long the last spans may take when the server ends."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
_OTHER = "_OTHER"
# The conventions for RPC are not stable yet, so the package has no public names for them.
_RPC_SYSTEM, _RPC_METHOD, _RPC_STATUS = "rpc.system.name", "rpc.method", "rpc.response.status_code"
_CONTEXT = (b"traceparent", b"tracestate")
_propagator = TraceContextTextMapPropagator()


class RequestSpan:
    """The span of one request, from its head to its answer."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self.trace_id = trace.format_trace_id(span.get_span_context().trace_id)

    async def prediction(self, made: Awaitable[T]) -> T:
        """Waits for it in a span within this one."""
        span = self._tracer.start_span("predict", trace.set_span_in_context(self._span))
        try:
            return await made
        except Refusal as refusal:
            if refusal.status >= 500:
                _failed(span, refusal.rule, refusal.message)
            raise
        except BaseException as error:
            _failed(span, type(error).__qualname__, str(error))
            raise
        finally:
            span.end()

    def passed_on(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        """The request's headers for a copy of it, which is a child of this span."""
        context: dict[str, str] = {}
        _propagator.inject(context, trace.set_span_in_context(self._span))
        own = [(name.encode(), value.encode()) for name, value in context.items()]
        return [*(header for header in headers if header[0] not in _CONTEXT), *own]

    def answered(self, status: int) -> None:
        """Ends the span of a request by HTTP. What is refused for the caller's fault is no error of this server."""
        self._span.set_attribute(http.HTTP_RESPONSE_STATUS_CODE, status)
        self._end(str(status) if status >= 500 else "")

    def called(self, status: str, own_error: bool) -> None:
        """Ends the span of a call by gRPC."""
        self._span.set_attribute(_RPC_STATUS, status)
        self._end(status if own_error else "")

    def _end(self, error: str) -> None:
        if error:
            _failed(self._span, error)
        self._span.end()


def _failed(span: trace.Span, kind: str, message: str | None = None) -> None:
    span.set_attribute(errors.ERROR_TYPE, kind)
    span.set_status(trace.StatusCode.ERROR, message)


class Tracing:
    """Starts spans, and has them sent."""

    def __init__(self, version: str, log: Log) -> None:
        """Call it in the event loop. What goes wrong with sending is logged."""
        own = {"service.name": "modelops-serve", "service.version": version}
        resource = Resource.create({**own, **OTELResourceDetector().detect().attributes})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("modelops_runtime")
        logger = logging.getLogger("opentelemetry")
        logger.handlers, logger.propagate = [_ToLog(log, asyncio.get_running_loop().call_soon_threadsafe)], False

    def request(self, scope: Scope, route: str | None) -> RequestSpan:
        """By HTTP. `route`: its path, if it is one that is known."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        attributes = {http.HTTP_REQUEST_METHOD: method, url.URL_PATH: scope["path"], url.URL_SCHEME: scope["scheme"]}
        if route is not None:
            attributes[http.HTTP_ROUTE] = route
        if "user-agent" in headers:
            attributes[user_agent.USER_AGENT_ORIGINAL] = headers["user-agent"]
        name = "HTTP" if method == _OTHER else method
        return self._started(name if route is None else f"{name} {route}", headers, attributes)

    def call(self, method: str, metadata: Mapping[str, str]) -> RequestSpan:
        """By gRPC. `method`: its full name, `package.Service/Method`."""
        return self._started(method, metadata, {_RPC_SYSTEM: "grpc", _RPC_METHOD: method})

    def _started(self, name: str, carrier: Mapping[str, str], attributes: Mapping[str, str]) -> RequestSpan:
        parent = _propagator.extract(carrier)
        span = self._tracer.start_span(name, parent, trace.SpanKind.SERVER, attributes)
        return RequestSpan(self._tracer, span)

    async def stop(self) -> None:
        """Send what is left, and not for long."""
        worker = Worker("spans")
        ending = asyncio.get_running_loop().run_in_executor(worker, self._provider.shutdown)
        worker.shutdown()
        await asyncio.wait([ending], timeout=FLUSH_SECONDS)


class _ToLog(logging.Handler):
    """What OpenTelemetry says, as one of our lines. It says it in a thread of its own."""

    def __init__(self, log: Log, soon: Callable[..., object]) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._soon = soon

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._soon(self._write, record.levelname.lower(), record.getMessage())
        except RuntimeError:  # the event loop has ended
            return

    def _write(self, level: str, reason: str) -> None:
        self._log.event("tracing", level=level, reason=reason)
