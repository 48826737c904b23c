"""Raw files for three small models, and what a program declares for each.

`python raw_data.py tabular FOLDER` writes the files and prints the declaration. Tables and digits are scikit-learn's
copies of public data sets, the texts are made up.
"""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEED = 7
DIGITS = 600
TEXTS = 300
MEASURES = ("radius", "texture", "perimeter", "area", "smoothness", "concavity")
CLINICS = ("north", "south", "harbour")
GOOD = ("excellent", "friendly", "quick", "tasty", "clean", "generous")
BAD = ("awful", "rude", "slow", "bland", "dirty", "stingy")
SUBJECTS = ("the service", "the kitchen", "the waiter", "our table", "the soup", "the whole evening")


def write_tables(folder: Path) -> None:
    """Two CSV files: measures of 569 breast tumours (Wolberg et al., UCI 1995), some missing, some rows twice."""
    from sklearn.datasets import load_breast_cancer

    loaded, chance = load_breast_cancer(), random.Random(SEED)
    names = [str(name).replace("mean ", "") for name in loaded.feature_names]
    columns = [names.index(measure) for measure in MEASURES]
    lines = []
    for number, (values, benign) in enumerate(zip(loaded.data, loaded.target, strict=True)):
        measured = ["" if chance.random() < 0.03 else repr(float(values[column])) for column in columns]
        diagnosis = "benign" if benign else "malignant"
        lines.append(",".join([f"Patient {number}", chance.choice(CLINICS), *measured, diagnosis]))
    lines += lines[:20]
    header = ",".join(["patient", "clinic", *MEASURES, "diagnosis"])
    half = len(lines) // 2
    for number, part in enumerate((lines[:half], lines[half:])):
        (folder / f"tumours-{number}.csv").write_text("\n".join([header, *part]) + "\n")


def write_texts(folder: Path) -> None:
    """A file of JSON lines: reviews of a restaurant, some of them with a mail address."""
    chance = random.Random(SEED)
    lines = []
    for number in range(TEXTS):
        label, words = ("good", GOOD) if number % 2 else ("bad", BAD)
        first, second = chance.sample(SUBJECTS, 2)
        review = f"{first} was {chance.choice(words)} and {second} {chance.choice(words)}, visit {number}"
        if number % 10 == 0:
            review += f"; write to guest{number}@example.com"
        lines.append(json.dumps({"review": review, "opinion": label}))
    (folder / "reviews.jsonl").write_text("\n".join(lines) + "\n")


def write_images(folder: Path) -> None:
    """A folder a digit with PNG files of 8 × 8 pixels (Alpaydin and Kaynak, UCI 1998)."""
    import cv2
    from sklearn.datasets import load_digits

    loaded = load_digits()
    for number, (image, digit) in enumerate(zip(loaded.images[:DIGITS], loaded.target, strict=False)):
        (folder / str(digit)).mkdir(exist_ok=True)
        if not cv2.imwrite(str(folder / str(digit) / f"{number:04}.png"), (image / 16 * 255).astype("uint8")):
            raise OSError(f"{folder / str(digit)} can't be written to")


@dataclass(frozen=True)
class Example:
    """What a program declares for one of them, and a request with its answer."""

    write: Callable[[Path], None]
    """Writes the raw files."""
    source: dict[str, Any]
    """Its `uri` is relative to the folder of the raw files."""
    steps: list[dict[str, Any]]
    target: str
    parameters: dict[str, Any]
    gate: dict[str, dict[str, float]]
    question: list[Any]
    """One raw row, as a client sends it."""
    answer: str
    """The label to which the model must give the highest probability."""
    secrets: list[str] = field(default_factory=list)
    """Text in the raw files that must not be in anything made from them."""

    def sources(self, folder: str) -> list[dict[str, Any]]:
        """DataPipeline's `sources`, for raw files in `folder`."""
        return [{**self.source, "uri": f"{folder}/{self.source['uri']}".rstrip("/")}]


NUMBERS = dict.fromkeys(MEASURES, "number")
CLASSIFICATION = {"task": "classification", "hidden_layers": 1, "batch_size": 20}
EXAMPLES = {
    "tabular": Example(
        write=write_tables,
        source={
            "uri": "tumours-*.csv",
            "types": {"patient": "text", "clinic": "text", **NUMBERS, "diagnosis": "text"},
        },
        steps=[
            {"check": {"columns": {"radius": {"minimum": 0, "required": False}}}},
            {"deduplicate": {}},
            {"drop": {"columns": ["patient"]}},
            {"split": {"by": "stratified", "column": "diagnosis"}},
            {"fill": {"columns": list(MEASURES), "by": "median"}},
            {"outliers": {"columns": ["area"], "rule": "iqr", "factor": 3}},
            {"scale": {"columns": list(MEASURES)}},
            {"encode": {"columns": ["clinic"]}},
        ],
        target="diagnosis",
        parameters={**CLASSIFICATION, "activation": "tanh", "epochs": 40},
        gate={"accuracy": {"min": 0.88}, "recall": {"min": 0.85}, "f1": {"min": 0.85}},
        question=["harbour", 20.6, 25.7, 135.0, 1320.0, 0.1, 0.22],
        answer="malignant",
        secrets=["Patient 7"],
    ),
    "text": Example(
        write=write_texts,
        source={"uri": "reviews.jsonl", "format": "jsonl", "types": {"review": "text", "opinion": "text"}},
        steps=[
            {"scan_text": {"columns": ["review"]}},
            {"split": {"by": "stratified", "column": "opinion"}},
            {"word_vectors": {"column": "review", "size": 16, "epochs": 60}},
        ],
        target="opinion",
        parameters={**CLASSIFICATION, "activation": "relu", "epochs": 40},
        gate={"accuracy": {"min": 0.9}, "f1": {"min": 0.9}},
        question=["The soup was awful and the waiter rude"],
        answer="bad",
        secrets=["guest10@example.com"],
    ),
    "images": Example(
        write=write_images,
        source={"uri": "", "format": "images"},
        steps=[
            {"image_features": {"features": ["pixels"], "width": 8, "height": 8}},
            {"split": {"by": "stratified", "column": "label"}},
        ],
        target="label",
        parameters={**CLASSIFICATION, "activation": "sigmoid", "hidden_units": 64, "epochs": 60, "learning_rate": 0.01},
        gate={"accuracy": {"min": 0.85}},
        # The pixels of a zero, row by row, from 0 (black) to 1.
        question=[
            pixel / 16
            for row in (
                (0, 0, 5, 13, 9, 1, 0, 0),
                (0, 0, 13, 15, 10, 15, 5, 0),
                (0, 3, 15, 2, 0, 11, 8, 0),
                (0, 4, 12, 0, 0, 8, 8, 0),
                (0, 5, 8, 0, 0, 9, 8, 0),
                (0, 4, 11, 0, 1, 12, 7, 0),
                (0, 2, 14, 5, 10, 12, 0, 0),
                (0, 0, 6, 13, 10, 0, 0, 0),
            )
            for pixel in row
        ],
        answer="0",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("example", choices=sorted(EXAMPLES))
    parser.add_argument("folder", type=Path, help="where the raw files go")
    given = parser.parse_args()
    example = EXAMPLES[given.example]
    given.folder.mkdir(parents=True, exist_ok=True)
    example.write(given.folder)
    declared = {"sources": example.sources(str(given.folder)), "steps": example.steps, "target": example.target}
    print(json.dumps({"pipeline": declared, "parameters": example.parameters}, indent=2))


if __name__ == "__main__":
    main()
