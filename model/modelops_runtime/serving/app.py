"""The ASGI application: routes, bounds, one log line and one observation a request."""

import time
from collections.abc import Awaitable, Callable

from modelops_runtime.contract import ServeContract
from modelops_runtime.serving import open_inference
from modelops_runtime.serving.cors import Cors
from modelops_runtime.serving.http import (
    ANSWER,
    RETRY_AFTER_SECONDS,
    Answer,
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
from modelops_runtime.serving.openapi import document
from modelops_runtime.serving.page import pages
from modelops_runtime.serving.served import PREDICT, Call, Infer, Named, Served

CLIENT_CLOSED = 499
Handler = Callable[[Scope, Receive], Awaitable[Response]]


class App:
    """Answers 503 on readiness until `serve` was given a model, and again from `drain` on."""

    def __init__(self, settings: ServeContract, log: Log, metrics: Metrics, mirror: Mirror | None = None) -> None:
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._mirror = mirror
        self._cors = Cors(settings.cors_origins) if settings.cors_origins else None
        self._model: Served | None = None
        self._draining = False
        self._predicting = 0
        self._openapi = document(None, settings)
        self._routes: dict[str, dict[str, Handler]] = {
            "/healthz/live": {"GET": self._live},
            "/healthz/ready": {"GET": self._readiness},
            "/metrics": {"GET": self._exposition},
            "/openapi.json": {"GET": self._document},
            PREDICT: {"POST": self._loading},
            "/v2": {"GET": self._server_metadata},
            "/v2/health/live": {"GET": self._live},
            "/v2/health/ready": {"GET": self._server_ready},
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
        status, inputs = CLIENT_CLOSED, None
        try:
            response = await self._answer(path, scope, receive)
            status, inputs = response.status, response.inputs
            await self._send(scope, response, request_id, send)
        except Disconnected:
            pass
        finally:
            seconds = time.perf_counter() - started
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

    def _ready_model(self) -> Served:
        if self._model is None:
            raise self._not_loaded()
        return self._model

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        check_media_type(scope)
        limit, seconds = self._settings.max_body_bytes, self._settings.body_seconds
        return await read_body(scope, receive, limit=limit, seconds=seconds)

    def _take(self) -> None:
        """A place among the predictions that are being made. Raises Refusal (503) when there is none."""
        if self._predicting >= self._settings.max_concurrency:
            message = f"{self._predicting} predictions are being made, that is the most at a time"
            raise Refusal(503, "server", "max_concurrency", message, retry_after=RETRY_AFTER_SECONDS)
        self._predicting += 1

    async def infer(self, request: Infer) -> Named:
        """A request that came by another transport than HTTP. Raises Refusal."""
        model = self._ready_model()
        self._take()
        try:
            outputs, observed = await model.infer(request)
        finally:
            self._predicting -= 1
        self._metrics.predicted(observed)
        return outputs

    def _called(self, call: Call) -> Handler:
        async def handler(scope: Scope, receive: Receive) -> Response:
            self._take()
            try:
                body = await self._body(scope, receive)
                response, observed = await call(body)
            finally:
                self._predicting -= 1
            self._metrics.predicted(observed)
            if self._mirror is not None:
                self._mirror.offer(scope["path"], body, scope["headers"])
            if self._settings.log_inputs:
                response.inputs = body
            return response

        return handler

    def _inferring(self, model: Served) -> Handler:
        reader = open_inference.InferReader(model)

        async def handler(scope: Scope, receive: Receive) -> Response:
            self._take()
            try:
                body = await self._body(scope, receive)
                length = header(scope, open_inference.JSON_LENGTH)
                request, wanted = reader.read(body, length)
                outputs, observed = await model.infer(request)
            finally:
                self._predicting -= 1
            self._metrics.predicted(observed)
            if self._mirror is not None:
                self._mirror.offer(scope["path"], body, scope["headers"])
            response = open_inference.inferred(model, outputs, wanted)
            if self._settings.log_inputs:
                response.inputs = body if length is None else body[: int(length)]
            return response

        return handler

    async def _loading(self, _scope: Scope, _receive: Receive) -> Response:
        raise self._not_loaded()

    async def _live(self, _scope: Scope, _receive: Receive) -> Response:
        if self._model is not None:
            try:
                self._model.check_alive()
            except Refusal as refusal:
                self._log.event("stuck", level="error", reason=refusal.message)
                raise
        return json_response(200, {"live": True})

    def _taking_traffic(self) -> Served:
        model = self._ready_model()
        if self._draining:
            raise Refusal(503, "server", "not_draining", "shutting down", retry_after=RETRY_AFTER_SECONDS)
        return model

    async def _readiness(self, _scope: Scope, _receive: Receive) -> Response:
        model = self._taking_traffic()
        return json_response(200, {"ready": True, "model": model.name, "version": model.version})

    async def _server_ready(self, _scope: Scope, _receive: Receive) -> Response:
        self._taking_traffic()
        return json_response(200, open_inference.SERVER_READY)

    async def _model_ready(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, {"name": self._taking_traffic().name, "ready": True})

    async def _exposition(self, _scope: Scope, _receive: Receive) -> Response:
        return self._metrics.response()

    async def _document(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, self._openapi)

    async def _server_metadata(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, open_inference.server_metadata())

    async def _model_metadata(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, open_inference.model_metadata(self._ready_model()))


def _is_open(path: str) -> bool:
    return path == "/v2" or path.startswith("/v2/")


def _fixed(response: Response) -> Handler:
    async def answer(_scope: Scope, _receive: Receive) -> Response:
        return response

    return answer
