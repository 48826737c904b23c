"""Renews what the library knows of the pinned vLLM, its flags and metrics, from a real one. `make generate-vllm`."""

import contextlib
import json
import re
import subprocess
import tempfile
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.environments import engine
from tests.llm import QUESTION, SMALL, environment, serving, write_models

FLAGS = REPOSITORY / "components" / "modelops" / "serving" / "assets" / "vllm-flags.json"
METRICS = REPOSITORY / "tests" / "assets" / "vllm-metrics.txt"
_PROGRAM = """
import json
from importlib.metadata import version
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
actions = make_arg_parser(FlexibleArgumentParser())._actions
flags = sorted({flag for action in actions for flag in action.option_strings})
print(json.dumps({"version": version("vllm").partition("+")[0], "flags": flags}))
"""


def flags() -> dict[str, object]:
    """The version, and every flag of `vllm serve`."""
    done = subprocess.run([engine(), "-c", _PROGRAM], capture_output=True, text=True, env=environment(), check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def metrics(folder: Path) -> str:
    """What the engine says of itself after some requests, without what every Python program says."""
    models = write_models(folder)
    adapters = [f"{name}={models / name}" for name in ("polite", "terse")]
    lora = ["--enable-lora", "--max-lora-rank", "8", "--lora-modules", *adapters]
    with serving(folder, [str(models / "base"), "--served-model-name", "base", *SMALL, *lora]) as server:
        for model in ("base", "polite", "terse", "base"):
            server.chat(model)
        server.post("/v1/completions", {"model": "base", "prompt": "hi", "max_tokens": 20})
        with contextlib.suppress(OSError):
            server.post("/v1/chat/completions", {**QUESTION, "model": "unknown"})
        lines = server.get("/metrics").splitlines()
    own = [line for line in lines if not re.match(r"(# \w+ )?(python|process)_|.*_created\b", line)]
    return "\n".join(own) + "\n"


if __name__ == "__main__":
    FLAGS.write_text(json.dumps(flags(), indent=0) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        METRICS.write_text(metrics(Path(folder)))
