"""The ASGI application: routes, bounds, one log line and one observation a request."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from modelops_runtime.artifacts.manifest import Manifest
from modelops_runtime.artifacts.preprocessing import Preprocessing, UnknownCategory
from modelops_runtime.artifacts.runtimes import Array, Preprocessed, Runtime
from modelops_runtime.contract import ServeContract
from modelops_runtime.serving import open_inference
from modelops_runtime.serving.batching import Prediction, predictor
from modelops_runtime.serving.cors import Cors
from modelops_runtime.serving.http import (
    ANSWER,
    SPAN,
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
from modelops_runtime.serving.validation import InputReader, all_finite
from modelops_runtime.serving.worker import Worker

if TYPE_CHECKING:  # at run time with MODELOPS_TRACING alone
    from modelops_runtime.serving.tracing import Tracing

PREDICT = "/api/predict"
LIVE, READY, METRICS = "/healthz/live", "/healthz/ready", "/metrics"
OPEN_LIVE, OPEN_READY = "/v2/health/live", "/v2/health/ready"
UNTRACED = frozenset({LIVE, READY, METRICS, OPEN_LIVE, OPEN_READY})
"""Asked every few seconds by machines; their spans would bury the others."""
RETRY_AFTER_SECONDS = "1"
CLIENT_CLOSED = 499
STUCK_SECONDS = 60.0
"""The shortest time after which a prediction counts as stuck; it is twice MODELOPS_PREDICT_SECONDS, if that is longer.
Nobody waits for its answer by then."""
Handler = Callable[[Scope, Receive], Awaitable[Response]]


class Service:
    """One loaded model."""

    def __init__(self, manifest: Manifest, runtime: Runtime, settings: ServeContract, *, inline: bool) -> None:
        self.manifest = manifest
        self.version = settings.model_version
        self._one_column = manifest.outputs.shape[1:] == (1,)
        # A model that needs longer than a moment must not hold up the event loop: probes are answered on it too.
        self._worker = None if inline else Worker("predict")
        self.stuck_seconds = max(STUCK_SECONDS, 2 * settings.predict_seconds)
        self.preprocessing: Preprocessing | None = None
        prepare = None
        if isinstance(runtime, Preprocessed):
            self.preprocessing, runtime = runtime.preprocessing, runtime.model
            prepare = partial(_preprocessed, self.preprocessing)
        texts = self.preprocessing.text_inputs() if self.preprocessing else ()
        self.reader = InputReader(manifest.inputs, settings.max_batch_rows, texts)
        self.infer_reader = open_inference.InferReader(manifest, settings.max_batch_rows, self.preprocessing)
        self._predict = predictor(runtime, self._worker, settings.batch_rows, settings.predict_seconds, prepare)

    async def predict(self, inputs: Array) -> Prediction:
        """Of a client's rows. Raises Refusal: a category is unknown, a prediction isn't finite or takes too long."""
        prediction = await self._predict(inputs)
        if not all_finite(prediction[1]):
            raise Refusal(422, "inputs", "finite", "the prediction for these inputs is not a finite number")
        return prediction

    def check_alive(self) -> None:
        """Raises Refusal when a prediction doesn't end. One on the event loop would keep this from being asked."""
        seconds = 0.0 if self._worker is None else self._worker.busy_seconds()
        if seconds > self.stuck_seconds:
            message = f"a prediction has been running for {seconds:.0f} s"
            raise Refusal(503, "server", "stuck", message, retry_after=RETRY_AFTER_SECONDS)

    def answer(self, outputs: Array) -> Response:
        values = (outputs[:, 0] if self._one_column else outputs).tolist()
        return json_response(200, {"outputs": values})


def _preprocessed(preprocessing: Preprocessing, inputs: Array) -> Array:
    """A client's rows as the model takes them. Raises Refusal when a category is unknown."""
    try:
        return preprocessing.transform(inputs)
    except UnknownCategory as error:
        field = f"inputs[{error.rows[0]}][{preprocessing.inputs.index(error.column)}]"
        message = f"{field} ({error.column}) is a category that the model was not trained with"
        raise Refusal(422, field, "category", message) from None


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
        self._service: Service | None = None
        self._draining = False
        self._predicting = 0
        self._openapi = document(None, settings)
        self._routes: dict[str, dict[str, Handler]] = {
            LIVE: {"GET": self._live},
            READY: {"GET": self._readiness},
            METRICS: {"GET": self._exposition},
            "/openapi.json": {"GET": self._document},
            PREDICT: {"POST": self._predict},
            "/v2": {"GET": self._server_metadata},
            OPEN_LIVE: {"GET": self._live},
            OPEN_READY: {"GET": self._server_ready},
            **{path: {"GET": _fixed(page)} for path, page in pages().items()},
        }

    def serve(self, service: Service) -> None:
        model = f"/v2/models/{service.manifest.name}"
        for base in (model, f"{model}/versions/{service.version}"):
            self._routes[base] = {"GET": self._model_metadata}
            self._routes[f"{base}/ready"] = {"GET": self._model_ready}
            self._routes[f"{base}/infer"] = {"POST": self._infer}
        self._openapi = document(service.manifest, self._settings, service.preprocessing, service.infer_reader.tensors)
        self._service = service
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

    def _ready_service(self) -> Service:
        if self._service is None:
            raise Refusal(503, "model", "loaded", "the model is still loading", retry_after=RETRY_AFTER_SECONDS)
        return self._service

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        check_media_type(scope)
        limit, seconds = self._settings.max_body_bytes, self._settings.body_seconds
        return await read_body(scope, receive, limit=limit, seconds=seconds)

    async def _predicted(self, scope: Scope, receive: Receive, open_protocol: bool) -> Response:
        service = self._ready_service()
        if self._predicting >= self._settings.max_concurrency:
            message = f"{self._predicting} predictions are being made, that is the most at a time"
            raise Refusal(503, "server", "max_concurrency", message, retry_after=RETRY_AFTER_SECONDS)
        self._predicting += 1
        try:
            body = await self._body(scope, receive)
            length = None
            if open_protocol:
                length = header(scope, open_inference.JSON_LENGTH)
                inputs, wanted = service.infer_reader.read(body, length)
            else:
                inputs, wanted = service.reader.read(body), None
            with _prediction(scope):
                inputs, outputs = await service.predict(inputs)
        finally:
            self._predicting -= 1
        self._metrics.predicted(inputs, outputs)
        if self._mirror is not None:
            headers = scope[SPAN].passed_on(scope["headers"]) if SPAN in scope else scope["headers"]
            self._mirror.offer(scope["path"], body, headers)
        if wanted is not None:
            response = open_inference.inferred(service.manifest, service.version, outputs, wanted)
        else:
            response = service.answer(outputs)
        if self._settings.log_inputs:
            response.inputs = body if length is None else body[: int(length)]
        return response

    async def _predict(self, scope: Scope, receive: Receive) -> Response:
        return await self._predicted(scope, receive, open_protocol=False)

    async def _infer(self, scope: Scope, receive: Receive) -> Response:
        return await self._predicted(scope, receive, open_protocol=True)

    async def _live(self, _scope: Scope, _receive: Receive) -> Response:
        if self._service is not None:
            try:
                self._service.check_alive()
            except Refusal as refusal:
                self._log.event("stuck", level="error", reason=refusal.message)
                raise
        return json_response(200, {"live": True})

    def _taking_traffic(self) -> Service:
        service = self._ready_service()
        if self._draining:
            raise Refusal(503, "server", "not_draining", "shutting down", retry_after=RETRY_AFTER_SECONDS)
        return service

    async def _readiness(self, _scope: Scope, _receive: Receive) -> Response:
        service = self._taking_traffic()
        return json_response(200, {"ready": True, "model": service.manifest.name, "version": service.version})

    async def _server_ready(self, _scope: Scope, _receive: Receive) -> Response:
        self._taking_traffic()
        return json_response(200, open_inference.SERVER_READY)

    async def _model_ready(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, {"name": self._taking_traffic().manifest.name, "ready": True})

    async def _exposition(self, _scope: Scope, _receive: Receive) -> Response:
        return self._metrics.response()

    async def _document(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, self._openapi)

    async def _server_metadata(self, _scope: Scope, _receive: Receive) -> Response:
        return json_response(200, open_inference.server_metadata())

    async def _model_metadata(self, _scope: Scope, _receive: Receive) -> Response:
        service = self._ready_service()
        return json_response(
            200, open_inference.model_metadata(service.manifest, service.version, service.infer_reader)
        )


def _prediction(scope: Scope) -> AbstractContextManager[None]:
    """Within it, the model predicts."""
    if SPAN not in scope:
        return nullcontext()
    prediction: AbstractContextManager[None] = scope[SPAN].prediction()
    return prediction


def _is_open(path: str) -> bool:
    return path == "/v2" or path.startswith("/v2/")


def _fixed(response: Response) -> Handler:
    async def answer(_scope: Scope, _receive: Receive) -> Response:
        return response

    return answer
