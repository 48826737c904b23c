"""The model of the iris flowers, as plain MLflow logs it and as the other servers take it.

python iris.py sklearn|xgboost FOLDER: makes FOLDER/mlflow, an MLflow model; and FOLDER/model.joblib.
"""

import sys
from pathlib import Path

import joblib
import mlflow
from sklearn.datasets import load_iris

kind, folder = sys.argv[1], Path(sys.argv[2])
rows, classes = load_iris(return_X_y=True, as_frame=True)
if kind == "xgboost":
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=50, n_jobs=1).fit(rows, classes)
    mlflow.xgboost.save_model(model, folder / "mlflow", input_example=rows[:5])
    model.save_model(folder / "model.json")
else:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(rows, classes)
    mlflow.sklearn.save_model(model, folder / "mlflow", input_example=rows[:5], serialization_format="cloudpickle")
joblib.dump(model, folder / "model.joblib")
