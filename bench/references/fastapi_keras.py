"""FastAPI on uvicorn, the Keras model as a tf.function, no logs, no metrics."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

model = keras.models.load_model(f"{os.environ['MODELOPS_MODEL_DIR']}/model.keras")
predict_rows = tf.function(model, input_signature=[tf.TensorSpec([None, 1], tf.float32)])
app = FastAPI()


class PredictRequest(BaseModel):
    inputs: list[list[float]]


@app.get("/healthz/ready")
def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/api/predict")
async def predict(request: PredictRequest) -> dict[str, list[float]]:
    outputs = predict_rows(tf.constant(request.inputs, tf.float32))
    return {"outputs": outputs.numpy()[:, 0].tolist()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["MODELOPS_PORT"]), log_level="critical", access_log=False)
