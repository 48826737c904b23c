"""Builds the wheel and the source archive of each distribution into build/dist, and checks what is in them."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

from devkit.errors import DevkitError
from devkit.paths import REPOSITORY

PACKAGES = {
    "components": ("modelops", "modelops_pulumi"),
    "model": ("modelops_runtime",),
    "policies": ("modelops_policies",),
    "ci": ("previews",),
}
"""The folders with a distribution each, and the packages that it must contain completely."""
_BUILD = "import sys, setuptools.build_meta as b; out = sys.argv[1]; b.build_wheel(out); b.build_sdist(out)"


def build(out: Path, repository: Path = REPOSITORY) -> list[Path]:
    """Empties `out`, builds all distributions into it and returns the files."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for folder in PACKAGES:
        # From a copy: what an earlier build left beside the sources would get into the wheel.
        with tempfile.TemporaryDirectory() as temporary:
            source = Path(temporary) / folder
            ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".venv")
            shutil.copytree(repository / folder, source, ignore=ignored)
            if folder == "components":
                (Path(temporary) / "model").symlink_to(repository / "model")
            command = [sys.executable, "-c", _BUILD, str(out.resolve())]
            done = subprocess.run(command, cwd=source, capture_output=True, text=True)
            if done.returncode:
                raise DevkitError(f"building {folder} failed", done.stderr[-2000:] or "see above")
    return sorted(out.iterdir())


def missing(out: Path, repository: Path = REPOSITORY) -> list[str]:
    """What is missing from the archives in `out`: the licence, or a file of their packages."""
    missing_files = []
    for folder, packages in PACKAGES.items():
        project = tomllib.loads((repository / folder / "pyproject.toml").read_text())["project"]
        stem = f"{project['name'].replace('-', '_')}-{project['version']}"
        wheel, archive = out / f"{stem}-py3-none-any.whl", out / f"{stem}.tar.gz"
        with zipfile.ZipFile(wheel) as opened, tarfile.open(archive) as unpacked:
            in_wheel, in_archive = set(opened.namelist()), set(unpacked.getnames())
        expected = {
            path.relative_to(repository / folder).as_posix()
            for package in packages
            for path in (repository / folder / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        missing_files += [
            f"{wheel.name}: {name}" for name in (expected | {f"{stem}.dist-info/licenses/LICENSE"}) - in_wheel
        ]
        missing_files += [
            f"{archive.name}: {name}" for name in expected | {"LICENSE"} if f"{stem}/{name}" not in in_archive
        ]
    return sorted(missing_files)


def refused(files: list[Path]) -> str:
    """What PyPI would refuse in the archives' metadata and descriptions, as twine reports it; empty if nothing."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


def main() -> int:
    """`python -m devkit.dist`."""
    out = REPOSITORY / "build" / "dist"
    try:
        files = build(out)
    except DevkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in files:
        print(path.relative_to(REPOSITORY))
    if lacking := missing(out):
        print("error: not in the archives:", *lacking, sep="\n  ", file=sys.stderr)
    if refusals := refused(files):
        print("error: PyPI would refuse these:", refusals, sep="\n", file=sys.stderr)
    return 1 if lacking or refusals else 0


if __name__ == "__main__":
    sys.exit(main())
