"""What building the serving image costs once it has been built, and whether it is the same image wherever it is built.

    eval "$(python3 -m devkit env)" && .venv/bin/python -m bench.images [--rounds 10]

BuildKit builds it as ModelImage has it built. Each round copies the sources to another folder, with other times and
modes, and builds three times: without the cache, though with the packages that pip has kept; once more, with nothing
changed; and with a line of code more. What is pushed of an image are the layers and the configuration that the
registry has of no image before it; it has the base.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.image import manifest_of, platform_base
from bench.services import REPOSITORY, machine
from devkit.embedded import buildkit_address
from modelops.image.model_image import exported
from stacks.arguments import SOURCE_DATE_EPOCH

RESULTS = Path(__file__).parent / "results" / "images.json"
TARGET = "serve"
CODE = "modelops_runtime/serving/__init__.py"
MODES = ((0o600, 0o700), (0o664, 0o775), (0o644, 0o755))
"""Of files and folders, as three umasks leave them."""


@dataclass(frozen=True)
class Built:
    """A build: how long it took, and what it made."""

    seconds: float
    digest: str
    blobs: Mapping[str, int]
    """Bytes of the configuration and each layer, by digest."""


def copied(folder: Path, number: int) -> Path:
    """The sources in another place, with other times and modes."""
    copy = folder / f"place-{number}" / "sources"
    shutil.copytree(REPOSITORY / "model", copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    of_file, of_folder = MODES[number % len(MODES)]
    for path in [copy, *copy.rglob("*")]:
        path.chmod(of_folder if path.is_dir() else of_file)
        os.utime(path, (1e9 + 1e7 * number,) * 2)
    return copy


def build(context: Path, repository: str, base: str, *options: str) -> Built:
    """Builds and pushes the image."""
    arguments = {"BASE_IMAGE": base, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH}
    command = ["buildctl", "--addr", buildkit_address(), "build", "--frontend", "dockerfile.v0", *options]
    command += ["--local", f"context={context}", "--local", f"dockerfile={context}", "--opt", f"target={TARGET}"]
    for name, value in arguments.items():
        command += ["--opt", f"build-arg:{name}={value}"]
    # What buildx makes of the export's type.
    output = exported(arguments, push=True).replace("type=registry,", f"type=image,name={repository}:{TARGET},")
    started = time.perf_counter()
    with tempfile.NamedTemporaryFile() as metadata:
        command += ["--metadata-file", metadata.name, "--output", output]
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"the image can't be built: {done.stderr.strip()[-2000:]}")
        digest = str(json.loads(Path(metadata.name).read_text())["containerimage.digest"])
    return Built(round(seconds, 3), digest, blobs(f"{repository}@{digest}"))


def blobs(image: str) -> dict[str, int]:
    """What a registry has of an image, but for its manifest."""
    manifest = manifest_of(image)
    return {each["digest"]: each["size"] for each in [manifest["config"], *manifest["layers"]]}


def pushed(after: Mapping[str, int], *before: Mapping[str, int]) -> int:
    """Bytes of an image that none of the others has."""
    known = {digest for image in before for digest in image}
    return sum(size for digest, size in after.items() if digest not in known)


def measured(rounds: int, registry: str, base: str) -> dict[str, list[Any]]:
    """Seconds, digests and pushed bytes, by round."""
    repository = f"{registry}/bench/{TARGET}"
    has = blobs(base)
    found: dict[str, list[Any]] = {"cold": [], "unchanged": [], "digests": [], "cold bytes": [], "changed bytes": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            context = copied(Path(folder), number)
            cold = build(context, repository, base, "--no-cache")
            unchanged = build(context, repository, base)
            with (context / CODE).open("a") as code:
                code.write(f"_CHANGE = {number}\n")
            changed = build(context, repository, base)
            found["cold"].append(cold.seconds)
            found["unchanged"].append(unchanged.seconds)
            found["digests"].append(cold.digest)
            found["cold bytes"].append(pushed(cold.blobs, has))
            found["changed bytes"].append(pushed(changed.blobs, has, cold.blobs))
            print({name: values[-1] for name, values in found.items()}, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    facts = json.loads(Path(os.environ["MODELOPS_PLATFORM"]).read_text())
    found = measured(rounds, facts["registry"], platform_base())
    RESULTS.write_text(json.dumps({"machine": machine(), **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
