"""A regression that predicts how diabetes progresses, from the data that scikit-learn brings.

TrainingJob says in variables which parameters to use, and where it looks for the model and the metrics.
"""

import json
import os
from pathlib import Path

import mlflow.sklearn
from mlflow.models import infer_signature
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

parameters = {"alpha": 1.0} | json.loads(os.environ.get("MODELOPS_PARAMETERS", "{}"))
output = Path(os.environ.get("MODELOPS_OUTPUT_DIR", "output"))

rows, progress = load_diabetes(return_X_y=True, scaled=False)
rows_train, rows_test, progress_train, progress_test = train_test_split(rows, progress, random_state=7)
model = make_pipeline(StandardScaler(), Ridge(**parameters)).fit(rows_train, progress_train)
predicted = model.predict(rows_test)

mlflow.sklearn.save_model(
    model,
    output / "model",
    signature=infer_signature(rows_test, predicted),
    input_example=rows_test[:2],
    pip_requirements="requirements.txt",
)
metrics = {"mae": mean_absolute_error(progress_test, predicted), "r2": r2_score(progress_test, predicted)}
(output / "metrics.json").write_text(json.dumps(metrics))
print(metrics)
