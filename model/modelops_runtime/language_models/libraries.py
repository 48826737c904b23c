"""Switches of Transformers, datasets and the Hub's client, to set before they are imported."""

import os
import tempfile
import warnings
from pathlib import Path


def prepare() -> None:
    """Nothing is asked of the Hub, or told to it; what is no error is not shown."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    warnings.simplefilter("ignore", FutureWarning)  # what the libraries have renamed among themselves
    # Not in HF_HOME, which may be a volume that other runs share: the texts are this run's own.
    os.environ["HF_DATASETS_CACHE"] = str(Path(tempfile.gettempdir(), "modelops-texts"))
