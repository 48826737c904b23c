"""`make release VERSION=x.y.z`: a complete release up to its commit and tag, or no change at all. It pushes nothing."""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from devkit.dist import PACKAGES
from devkit.errors import DevkitError
from devkit.paths import REPOSITORY

CHANGELOG = "CHANGELOG.md"
TARGETS = ("generate", "record", "dist")
"""Targets of the Makefile that a release runs, once its version is written."""
_VERSION = r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)"
_UNRELEASED = re.compile(r"^## Unreleased\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_NEXT = """\
{version} is committed and tagged. Nothing is pushed. Check it, then publish it:
  git show
  git push --atomic --follow-tags
or undo it:
  git tag --delete v{version} && git reset --hard HEAD~1"""


def release(version: str, repository: Path = REPOSITORY) -> None:
    """Writes the version and the changelog's heading, renews what is generated, builds, commits and tags.

    Raises DevkitError when it refuses, or when a step fails; the repository is then unchanged.
    """
    if reasons := list(problems(version, repository)):
        raise DevkitError("\n  ".join([f"{version} can't be released:", *reasons]))
    before = _git(repository, "rev-parse", "HEAD")
    try:
        _write(version, repository)
        # Not `venv`, which would install the new version: the archives are built from the sources alone.
        command = ["make", "--no-print-directory", "--old-file=venv", *TARGETS]
        if subprocess.run(command, cwd=repository).returncode:
            raise DevkitError(f"`make {' '.join(TARGETS)}` failed", "see above; nothing is changed")
        _git(repository, "add", "--all")
        _git(repository, "commit", "--quiet", "--message", f"Release {version}")
        _git(repository, "tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    except BaseException:
        # The tree was clean: whatever differs comes from this release.
        _git(repository, "reset", "--quiet", "--hard", before)
        _git(repository, "clean", "--quiet", "-d", "--force")
        raise


def problems(version: str, repository: Path) -> Iterator[str]:
    """What prevents releasing the repository's present state as `version`."""
    if not re.fullmatch(_VERSION, version):
        yield "a version is three numbers, like 1.2.3"
        return
    changelog = (repository / CHANGELOG).read_text()
    tags = re.findall(rf"^v({_VERSION})$", _git(repository, "tag", "--list"), re.MULTILINE)
    released = [*tags, *_headings(changelog)]
    newest = max(released, key=_numbers, default="")
    if version in tags:
        yield f"the tag v{version} exists"
    elif newest and _numbers(version) <= _numbers(newest):
        yield f"it is not newer than {newest}"
    if changed := _git(repository, "status", "--porcelain", "--untracked-files=all"):
        yield f"there are changes that are not committed, the first of them {changed.splitlines()[0].split()[-1]}"
    section = _UNRELEASED.search(changelog)
    if section is None:
        yield f"{CHANGELOG} has no section Unreleased"
    elif not re.search(r"^[^#\s]", section[1], re.MULTILINE):
        yield f"{CHANGELOG} has nothing under Unreleased"


def check_tag(tag: str, repository: Path = REPOSITORY) -> None:
    """Raises DevkitError unless every distribution and the changelog have the version that the tag names."""
    mismatches = [f"{path} has {version}" for path, version in _versions(repository) if f"v{version}" != tag]
    if tag.removeprefix("v") not in _headings((repository / CHANGELOG).read_text()):
        mismatches.append(f"{CHANGELOG} has no heading for it")
    if mismatches:
        raise DevkitError("\n  ".join([f"the tag {tag} does not match this checkout:", *mismatches]))


def _write(version: str, repository: Path) -> None:
    for name, old in _versions(repository):
        text = (repository / name).read_text()
        (repository / name).write_text(text.replace(f'\nversion = "{old}"\n', f'\nversion = "{version}"\n', 1))
    if wrong := [name for name, written in _versions(repository) if written != version]:
        raise DevkitError(f"the version of {', '.join(wrong)} can't be found", 'write it as `version = "…"`')
    changelog = repository / CHANGELOG
    heading = f"## Unreleased\n\n## {version} - {datetime.now(UTC):%Y-%m-%d}\n"
    changelog.write_text(changelog.read_text().replace("## Unreleased\n", heading, 1))


def _versions(repository: Path) -> list[tuple[str, str]]:
    """The file of each distribution's version, and the version."""
    names = [f"{folder}/pyproject.toml" for folder in PACKAGES]
    return [(name, tomllib.loads((repository / name).read_text())["project"]["version"]) for name in names]


def _headings(changelog: str) -> list[str]:
    return re.findall(rf"^## ({_VERSION}) - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True)
    if done.returncode:
        raise DevkitError(f"`git {arguments[0]}` failed", done.stderr.strip() or done.stdout.strip())
    return done.stdout.strip()


def main(arguments: list[str] | None = None, repository: Path = REPOSITORY) -> int:
    """Returns the exit code: 0 done, 1 refused or failed with a message, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python3 -m devkit.release", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "version", nargs="?", metavar="VERSION", help="the version to release: x.y.z, newer than the last"
    )
    what.add_argument("--check-tag", metavar="TAG", help="only check that TAG is v and the version of this checkout")
    options = parser.parse_args(arguments)
    try:
        if options.check_tag is not None:
            check_tag(options.check_tag, repository)
        else:
            release(options.version, repository)
            print(_NEXT.format(version=options.version))
    except DevkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted — nothing is changed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
