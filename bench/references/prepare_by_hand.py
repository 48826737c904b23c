"""The steps of bench/data_pipeline.py by plain pandas and scikit-learn, as one writes them by hand.

MODELOPS_SALT=… python prepare_by_hand.py FOLDER_OF_CSV DESTINATION
"""

import hashlib
import hmac
import json
import os
import sys
from pathlib import Path

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

files, out = sorted(Path(sys.argv[1]).glob("*.csv")), Path(sys.argv[2])
salt = os.environ["MODELOPS_SALT"].encode()
inputs = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def pseudonym(value: str) -> str:
    return "person-" + hmac.new(salt, b"person\0" + value.encode(), hashlib.sha256).hexdigest()[:16]


rows = pd.concat([pd.read_csv(file, dtype={"who": "str", "city": "str"}) for file in files], ignore_index=True)
read, missing = len(rows), rows.isna().sum()
ages = pd.to_numeric(rows["age"], errors="coerce")
if (bad := ~((ages >= 18) & (ages == ages.round()))).any():
    raise SystemExit(f"row {bad.idxmax()}, column age: must be a whole number from 18")
rows["who"] = rows["who"].map(pseudonym)
rows["income"] = rows["income"].clip(0, 6000)
rows = rows.drop_duplicates()
train, rest = train_test_split(rows, test_size=0.4, stratify=rows["y"], random_state=7)
validation, test = train_test_split(rest, test_size=0.5, stratify=rest["y"], random_state=7)
parts = {"train": train, "validation": validation, "test": test}
parts = {name: part.drop(columns="who") for name, part in parts.items()}
transformer = ColumnTransformer(
    [
        ("age", StandardScaler(), ["age"]),
        ("income", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["income"]),
        ("city", OneHotEncoder(sparse_output=False), ["city"]),
    ],
    remainder="passthrough",
    verbose_feature_names_out=False,
).set_output(transform="pandas")
transformer.fit(parts["train"])
out.mkdir(parents=True)
for name, part in parts.items():
    transformer.transform(part).to_parquet(out / f"{name}.parquet", index=False)
report = {
    "inputs": inputs,
    "rows_read": read,
    "missing": {column: int(count) for column, count in missing.items()},
    "rows": {name: len(part) for name, part in parts.items()},
    "median": float(transformer.named_transformers_["income"]["simpleimputer"].statistics_[0]),
}
(out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
