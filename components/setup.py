"""Brings `modelops_runtime` into the wheel and the source archive: modelops/kubernetes/runtime.py puts it into pods."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
PACKAGE = "modelops_runtime"


def copy_into(folder: Path) -> None:
    """Copies the package from the checkout, or from an unpacked source archive."""
    for place in (HERE / "model", HERE.parent / "model"):
        if (place / PACKAGE).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "data", "training")
            shutil.copytree(place / PACKAGE, folder / PACKAGE, ignore=ignored, dirs_exist_ok=True)
            return
    print(f"without {PACKAGE}, which is not beside {HERE.name}: modelops-runtime has to be installed too")


class Build(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            copy_into(Path(self.build_lib) / "modelops" / "kubernetes" / "assets" / "runtime")


class SourceArchive(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        copy_into(Path(base_dir) / "model")


setup(cmdclass={"build_py": Build, "sdist": SourceArchive})
