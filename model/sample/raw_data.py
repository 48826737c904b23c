"""Writes raw/measurements.csv, which the dev stack's data pipeline reads: `python -m sample.raw_data`.

The sample's line (y = 2x + 1 + noise) as two sensors would report it: some readings lack x, some come twice.
"""

from pathlib import Path

import numpy as np

from sample import data
from sample.parameters import Parameters

FILE = Path(__file__).resolve().parent / "raw" / "measurements.csv"
ROWS = 100
LACKING, TWICE = 6, 8


def text() -> str:
    """The same lines always."""
    rows = data.sample(Parameters(samples=ROWS))
    rng = np.random.default_rng(7)
    lines = [f"{rng.choice(['north', 'south'])},{x:.4f},{y:.4f}" for x, y in zip(rows["x"], rows["y"], strict=True)]
    lines += [lines[at] for at in rng.choice(ROWS, TWICE, replace=False)]
    lines += [f"north,,{y:.4f}" for y in rng.normal(1, 1, LACKING)]
    rng.shuffle(lines)
    return "\n".join(["sensor,x,y", *lines]) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
