"""Serves the model that ModelService fetched. docs/tutorial/bring-your-own.md says what each part is for."""

import json
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType

import mlflow.sklearn
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel

FOLDER = Path(os.environ["MODELOPS_MODEL_DIR"])
MODEL = mlflow.sklearn.load_model(FOLDER)
MODEL.predict(json.loads((FOLDER / "input_example.json").read_text()))  # or fail before any client asks

REQUESTS = Counter("modelops_requests", "Requests answered.", ["path", "code"])
SECONDS = Histogram("modelops_request_duration_seconds", "Time to answer a request.", ["path"])
VALUES = Histogram("modelops_prediction_value", "What was predicted.", ["output"], buckets=range(25, 350, 25))
ROWS = Counter("modelops_predictions", "Rows predicted.")
IN_FLIGHT = Gauge("modelops_in_flight", "Requests being answered.")
INFO = Gauge("modelops_model_info", "The model served.", ["model", "version"])
INFO.labels(os.environ.get("MODELOPS_MODEL_NAME", ""), os.environ.get("MODELOPS_MODEL_VERSION", "")).set(1)

app = FastAPI()
draining = threading.Event()


class Rows(BaseModel):
    inputs: list[list[float]]


@app.middleware("http")
async def observe(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Counts the request and, while the server drains, asks its client to close the connection."""
    started, code = time.perf_counter(), 500
    try:
        with IN_FLIGHT.track_inprogress():
            response = await answer(request)
        code = response.status_code
        if draining.is_set():
            response.headers["Connection"] = "close"
        return response
    finally:
        route = request.scope.get("route")
        path = route.path if route else "other"
        REQUESTS.labels(path, code).inc()
        SECONDS.labels(path).observe(time.perf_counter() - started)


@app.post("/api/predict")
def predict(rows: Rows) -> dict[str, list[float]]:
    try:
        outputs = MODEL.predict(rows.inputs).tolist()
    except ValueError as error:  # rows that the model doesn't take
        raise HTTPException(422, str(error)) from error
    ROWS.inc(len(outputs))
    for value in outputs:
        VALUES.labels("0").observe(value)
    return {"outputs": outputs}


@app.get("/healthz/live")
async def live() -> str:
    return "live"


@app.get("/healthz/ready")
async def ready() -> str:
    if draining.is_set():
        raise HTTPException(503, "draining")
    return "ready"


@app.get("/metrics")
async def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class Server(uvicorn.Server):
    """Told to stop, it answers for MODELOPS_DRAIN_SECONDS more before it closes what is still open."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        draining.set()
        threading.Timer(float(os.environ.get("MODELOPS_DRAIN_SECONDS", "0")), self.stop).start()

    def stop(self) -> None:
        self.should_exit = True


if __name__ == "__main__":
    port = int(os.environ.get("MODELOPS_PORT", "8080"))
    # 75 seconds: a proxy in front closes idle connections first, usually after 60.
    Server(uvicorn.Config(app, host="0.0.0.0", port=port, timeout_keep_alive=75, access_log=False)).run()
