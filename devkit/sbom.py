"""Writes bills of materials, in CycloneDX, into build/sbom: `python -m devkit.sbom`.

One for each target of model/Dockerfile, of what its locks add to the base image, and one for each distribution, of
what pip installs with it today. The same locks give the same files.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from devkit.dist import PACKAGES
from devkit.errors import DevkitError
from devkit.locks import LOCKS, MODEL, hashed
from devkit.paths import REPOSITORY

_STAGE = re.compile(r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", re.MULTILINE | re.DOTALL)
_PARTS = ("base", "-packages", "-sources", "-extras")
"""Ends of the names of stages that are no image of their own."""


def images() -> dict[str, list[str]]:
    """The Dockerfile's targets, each with its locks. What the build argument EXTRAS adds has an entry of its own.

    `serve-framework` has none: its base is a build argument, one of the others.
    """
    stages = {name: (base, text) for base, name, text in _STAGE.findall((MODEL / "Dockerfile").read_text())}

    def locks(stage: str) -> Iterator[str]:
        if stage.endswith("-extras") or stage not in stages:
            return
        base, text = stages[stage]
        yield from locks(base)
        for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE):
            yield from re.findall(r"locks/(\S+)\.txt", line)
            for source in re.findall(r"--from=(\S+)", line):
                yield from locks(source)

    found = {
        name: list(dict.fromkeys(locks(name)))
        for name, (base, _) in stages.items()
        if not name.endswith(_PARTS) and not base.startswith("$")
    }
    extras = [name for stage, (_, text) in stages.items() if stage.endswith("-extras")
              for name in re.findall(r"locks/(\S+)\.txt", text)]  # fmt: skip
    return found | {name: [name] for name in extras}


def write(out: Path) -> list[Path]:
    """Empties `out`, writes all bills into it and returns the files. Raises DevkitError when one can't be made."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    files = []
    for name, locks in images().items():
        files.append(bill(requirements(locks), out / f"image-{name}.cdx.json"))
    for folder in PACKAGES:
        project = REPOSITORY / folder / "pyproject.toml"
        options = ("--mc-type=library", f"--pyproject={project}")
        files.append(bill(hashed(project), out / f"{folder}.cdx.json", *options))
    return files


def requirements(locks: Sequence[str]) -> str:
    """What is installed after these locks, one after the other: the last one's version of a package is what stays."""
    lines = [line for lock in locks for line in (LOCKS / f"{lock}.txt").read_text().splitlines()]
    return "\n".join({re.split(r"[=\[]", line)[0]: line for line in lines}.values())


def bill(text: str, file: Path, *options: str) -> Path:
    """Writes the bill of a list with hashes. Raises DevkitError when it can't be made."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "-", "--output-reproducible", "--no-validate"]
    done = subprocess.run([*command, f"--output-file={file}", *options], input=text, capture_output=True, text=True)
    if done.returncode:
        raise DevkitError(f"{file.name} can't be made: {done.stderr.strip().splitlines()[-1]}")
    return file


def main() -> int:
    """Returns the exit code: 0 done, 1 failed with a message."""
    try:
        for file in write(REPOSITORY / "build" / "sbom"):
            print(file.relative_to(REPOSITORY))
    except DevkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
