"""The ASGI application: routes, bounds, one log line and one observation a request."""

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from modelops_runtime.contract import ServeContract
from modelops_runtime.serving.cors import Cors
from modelops_runtime.serving.http import (
    ANSWER,
    RETRY_AFTER_SECONDS,
    SPAN,
    Answer,
    Arriving,
    Disconnected,
    Receive,
    Refusal,
    Response,
    Scope,
    Send,
    check_media_type,
    header,
    identity,
    json_response,
    new_request_id,
    read_body,
    refused,
)
from modelops_runtime.serving.logs import Log
from modelops_runtime.serving.metrics import Metrics
from modelops_runtime.serving.mirror import Mirror
from modelops_runtime.serving.open_inference import rest
from modelops_runtime.serving.openapi import document
from modelops_runtime.serving.page import pages
from modelops_runtime.serving.served import PREDICT, Call, Infer, Named, Observed, Served

if TYPE_CHECKING:  # at run time with MODELOPS_TRACING alone
    from modelops_runtime.serving.tracing import RequestSpan, Tracing

LIVE, READY, METRICS = "/healthz/live", "/healthz/ready", "/metrics"
OPEN_LIVE, OPEN_READY = "/v2/health/live", "/v2/health/ready"
UNTRACED = frozenset({LIVE, READY, METRICS, OPEN_LIVE, OPEN_READY})
"""Asked every few seconds by machines; their spans would bury the others."""
CLIENT_CLOSED = 499
Handler = Callable[[Scope, Receive], Awaitable[Response]]
T = TypeVar("T")


class App:
    """Answers 503 on readiness until `serve` was given a model, and again from `drain` on."""

    def __init__(
        self,
        settings: ServeContract,
        log: Log,
        metrics: Metrics,
        mirror: Mirror | None = None,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._mirror = mirror
        self._tracing = tracing
        self._cors = Cors(settings.cors_origins) if settings.cors_origins else None
        self._model: Served | None = None
        self._draining = False
        self._predicting = 0
        self._arriving = Arriving(settings.max_concurrency * settings.max_body_bytes)
        self._openapi = document(None, settings)
        self._routes: dict[str, dict[str, Handler]] = {
            LIVE: {"GET": self._live},
            READY: {"GET": self._readiness},
            METRICS: {"GET": self._exposition},
            "/openapi.json": {"GET": self._document},
            PREDICT: {"POST": self._loading},
            "/v2": {"GET": self._server_metadata},
            OPEN_LIVE: {"GET": self._live},
            OPEN_READY: {"GET": self._server_ready},
            **{path: {"GET": _fixed(page)} for path, page in pages().items()},
        }

    def serve(self, model: Served) -> None:
        for path, call in model.calls.items():
            self._routes[path] = {"POST": self._called(call)}
        path = f"/v2/models/{model.name}"
        infer = self._inferring(model)
        for base in (path, f"{path}/versions/{model.version}"):
            self._routes[base] = {"GET": self._model_metadata}
            self._routes[f"{base}/ready"] = {"GET": self._model_ready}
            self._routes[f"{base}/infer"] = {"POST": infer}
        self._openapi = document(model, self._settings)
        self._model = model
        self._metrics.ready(not self._draining)

    def drain(self) -> None:
        """From now on: not ready, every answer closes its connection, requests are still answered."""
        self._draining = True
        self._metrics.ready(False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served")
        started = time.perf_counter()
        self._metrics.started()
        path = scope["path"]
        if path not in self._routes:
            path = path.removesuffix("/")
        request_id, trace_id = identity(scope)
        span = None
        if self._tracing is not None and path not in UNTRACED:
            span = scope[SPAN] = self._tracing.request(scope, path if path in self._routes else None)
            trace_id = span.trace_id
        status, inputs = CLIENT_CLOSED, None
        try:
            response = await self._answer(path, scope, receive)
            status, inputs = response.status, response.inputs
            await self._send(scope, response, request_id, send)
        except Disconnected:
            pass
        finally:
            seconds = time.perf_counter() - started
            if span is not None:
                span.answered(status)
            self._metrics.answered(path if path in self._routes else "other", status, seconds)
            self._log.request(request_id, scope["method"], scope["path"], status, seconds, inputs, trace_id)

    def turned_away(self, status: int, seconds: float) -> None:
        """Log and count an answer to what did not get as far as being a request."""
        self._metrics.started()
        self._metrics.answered("other", status, seconds)
        self._log.request(new_request_id(), "", "", status, seconds)

    async def _answer(self, path: str, scope: Scope, receive: Receive) -> Response:
        method = scope["method"]
        try:
            handlers = self._routes.get(path)
            if method == "OPTIONS" and handlers and self._cors is not None and self._cors.asked(scope):
                return self._cors.preflight(handlers)
            if handlers is None:
                raise Refusal(404, "path", "known_path", "there is nothing here; /openapi.json lists what there is")
            handler = handlers.get("GET" if method == "HEAD" else method)
            if handler is None:
                allowed = ", ".join(sorted({*handlers, *(["HEAD"] if "GET" in handlers else [])}))
                raise Refusal(405, "method", "allowed_method", f"{path} takes {allowed}", allow=allowed)
            return await handler(scope, receive)
        except Refusal as refusal:
            return refused(refusal, open_protocol=_is_open(path))
        except Disconnected:
            raise
        except Exception as error:  # the last resort: callers get no trace, the log gets the reason
            self._log.event("error", level="error", reason=f"{type(error).__name__}: {error}")
            return refused(Refusal(500, "", "internal", "internal error"), open_protocol=_is_open(path))

    async def _send(self, scope: Scope, response: Response, request_id: str, send: Send) -> None:
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", str(len(response.body)).encode()),
            (b"x-request-id", request_id.encode()),
            *response.headers,
        ]
        if self._cors is not None:
            headers += self._cors.headers(scope)
        if self._draining and not any(name == b"connection" for name, _value in response.headers):
            headers.append((b"connection", b"close"))
        answer: Answer | None = scope.get(ANSWER)
        if answer is not None and answer(response.status, headers, response.body):
            return
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    @staticmethod
    def _not_loaded() -> Refusal:
        return Refusal(503, "model", "loaded", "the model is still loading", retry_after=RETRY_AFTER_SECONDS)

    def ready_model(self) -> Served:
        """Raises Refusal (503) while there is none."""
        if self._model is None:
            raise self._not_loaded()
        return self._model

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        check_media_type(scope)
        limit, seconds = self._settings.max_body_bytes, self._settings.body_seconds
        return await read_body(scope, receive, limit=limit, seconds=seconds, arriving=self._arriving)

    def _take(self) -> None:
        """A place among the predictions that are being made. Raises Refusal (503) when there is none."""
        if self._predicting >= self._settings.max_concurrency:
            message = f"{self._predicting} predictions are being made, that is the most at a time"
            raise Refusal(503, "server", "max_concurrency", message, retry_after=RETRY_AFTER_SECONDS)
        self._predicting += 1

    async def infer(self, request: Infer) -> Named:
        """A request that came by another transport than HTTP. Raises Refusal."""
        model = self.ready_model()
        self._take()
        try:
            outputs, observed = await model.infer(request)
        finally:
            self._predicting -= 1
        self._metrics.predicted(observed)
        return outputs

    def _called(self, call: Call) -> Handler:
        async def handler(scope: Scope, receive: Receive) -> Response:
            body = await self._body(scope, receive)
            self._take()
            try:
                response, observed = await _traced(scope, call(body))
            finally:
                self._predicting -= 1
            self._observe(scope, body, observed)
            if self._settings.log_inputs:
                response.inputs = body
            return response

        return handler

    def _inferring(self, model: Served) -> Handler:
        reader = rest.InferReader(model)

        async def handler(scope: Scope, receive: Receive) -> Response:
            body = await self._body(scope, receive)
            self._take()
            try:
                length = header(scope, rest.JSON_LENGTH)
                request, wanted = reader.read(body, length)
                outputs, observed = await _traced(scope, model.infer(request))
            finally:
                self._predicting -= 1
            self._observe(scope, body, observed)
            response = rest.inferred(model, outputs, wanted)
            if self._settings.log_inputs:
                response.inputs = body if length is None else body[: int(length)]
            return response

        return handler

    def _observe(self, scope: Scope, body: bytes, observed: Observed) -> None:
        self._metrics.predicted(observed)
        if self._mirror is not None:
            headers = scope[SPAN].passed_on(scope["headers"]) if SPAN in scope else scope["headers"]
            self._mirror.offer(scope["path"], body, headers)

    async def _loading(self, _scope: Scope, _receive: Receive) -> Response:
        raise self._not_loaded()

    def check_alive(self) -> None:
        """Raises Refusal (503) when a prediction doesn't end."""
        if self._model is not None:
            try:
                self._model.check_alive()
            except Refusal as refusal:
                self._log.event("stuck", level="error", reason=refusal.message)
                raise

    async def _live(self, _scope: Scope, _receive: Receive) -> Response:
        self.check_alive()
        return json_response(200, {"live": True})

    def taking_traffic(self) -> Served:
        """Raises Refusal (503) when no new requests should come."""
        model = self.ready_model()
        if self._draining:
            raise Refusal(503, "server", "not_draining", "shutting down", retry_after=RETRY_AFTER_SECONDS)
        return model

    async def _readiness(self, _scope: Scope, _receive: Receive) -> Response:
        model = self.taking_traffic()
        return json_response(200, {"ready": True, "model": model.name, "version": model.version})

    async def _server_ready(self, _scope: Scope, _receive: Receive) -> Response:
        self.taking_traffic()
        return json_response(200, rest.SERVER_READY)

    async def _model_ready(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, {"name": self.taking_traffic().name, "ready": True})

    async def _exposition(self, _scope: Scope, _receive: Receive) -> Response:
        return self._metrics.response()

    async def _document(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, self._openapi)

    async def _server_metadata(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, rest.server_metadata())

    async def _model_metadata(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, rest.model_metadata(self.ready_model()))


def _traced(scope: Scope, prediction: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    """The same, within a span if the request has one."""
    span: RequestSpan | None = scope.get(SPAN)
    return prediction if span is None else span.prediction(prediction)


def _is_open(path: str) -> bool:
    return path == "/v2" or path.startswith("/v2/")


def _fixed(response: Response) -> Handler:
    async def answer(_scope: Scope, _receive: Receive) -> Response:
        return response

    return answer
