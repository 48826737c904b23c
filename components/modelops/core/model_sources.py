"""Where a model comes from: the one rule for each form of `model_uri`.

A reference is fixed if what it stands for never changes. One that can move (`@champion`, `latest`, a branch, a tag) is
pinned before it gets to a pod; `pinning` does that.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

_SAFE = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_WORD = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_SEGMENTS = r"[^/\s?#@]+(?:/[^/\s?#@]+)*"
_DIGITS = 12
"""How much of an image's digest is its version: a whole one is too long for a label."""
OWN_ALIASES = "run-"
"""How the aliases begin that this library gives: each belongs to one run, and never moves."""


@dataclass(frozen=True)
class Source:
    """What a reference says."""

    uri: str
    form: str
    """Its scheme: `models`, `runs`, `s3`, `gs`, `az`, `pvc`, `hf` or `oci`."""
    name: str
    """The model's name in it."""
    version: str
    """The version in it, which the pods have as a label."""
    fixed: bool = True
    """Whether it always stands for the same files."""
    place: str = ""
    """A volume's claim, or an image's repository."""
    path: str = ""
    """Where the files are there."""

    @property
    def registered(self) -> bool:
        """Whether the MLflow server at `tracking_uri` has it."""
        return self.form in ("models", "runs")

    @property
    def mounted(self) -> bool:
        """Whether pods mount it instead of downloading it."""
        return self.form in ("pvc", "oci")

    @property
    def has_alias(self) -> bool:
        """Whether an alias of its registered model can lead to it."""
        return self.form == "models" and self.name != self.version

    def pinned(self, found: str) -> "Source":
        """The fixed reference to what it stands for now: a version's number, a commit or a digest."""
        if self.form == "oci":
            return parse(f"oci://{self.place}@{found}")
        return parse(f"hf://{self.name}@{found}" if self.form == "hf" else f"models:/{self.name}/{found}")


@dataclass(frozen=True)
class _Form:
    shape: str
    """How it is written, for errors."""
    pattern: str
    read: Callable[[re.Match[str], Source], Source]


def _alias(match: re.Match[str], source: Source) -> Source:
    return replace(source, fixed=match["version"].startswith(OWN_ALIASES))


def _number(match: re.Match[str], source: Source) -> Source:
    return replace(source, fixed=match["version"] != "latest")


def _logged(match: re.Match[str], source: Source) -> Source:
    return replace(source, name=match["version"])


def _run(match: re.Match[str], source: Source) -> Source:
    return replace(source, name=match["path"].rpartition("/")[2])


def _files(match: re.Match[str], source: Source) -> Source:
    """The last folder is the version, and the one before it is the model: `s3://models/linear/3`."""
    parent, _, version = match["path"].rpartition("/")
    name = parent.rpartition("/")[2] or match["place"]
    return replace(source, name=name, version=version, place=match["place"], path=match["path"])


def _commit(match: re.Match[str], source: Source) -> Source:
    revision = match["version"] or "main"
    return replace(source, version=revision, fixed=re.fullmatch("[0-9a-f]{40}", revision) is not None)


def _image(match: re.Match[str], source: Source) -> Source:
    digest, place = match["digest"], match["place"]
    version = digest[:_DIGITS] if digest else match["tag"]
    return replace(source, name=place.rpartition("/")[2], version=version, fixed=digest is not None, place=place)


_FORMS = (
    _Form("models:/<name>@<alias>", rf"models:/(?P<name>{_SAFE})@(?P<version>{_SAFE})", _alias),
    _Form("models:/<name>/<version>", rf"models:/(?P<name>{_SAFE})/(?P<version>[1-9][0-9]{{0,17}}|latest)", _number),
    _Form("models:/m-<id>", r"models:/(?P<version>m-[0-9a-f]{32})", _logged),
    _Form("runs:/<run id>/<path>", rf"runs:/(?P<version>[0-9a-f]{{32}})/(?P<path>{_SEGMENTS})", _run),
    _Form("s3://<bucket>/<path>", rf"s3://(?P<place>[^/\s?#@]+)/(?P<path>{_SEGMENTS})", _files),
    _Form("gs://<bucket>/<path>", rf"gs://(?P<place>[^/\s?#@]+)/(?P<path>{_SEGMENTS})", _files),
    _Form("az://<container>/<path>", rf"az://(?P<place>[^/\s?#@]+)/(?P<path>{_SEGMENTS})", _files),
    _Form("pvc://<claim>/<path>", rf"pvc://(?P<place>[a-z0-9]([-.a-z0-9]*[a-z0-9])?)/(?P<path>{_SEGMENTS})", _files),
    _Form(
        "hf://<organization>/<model>[@<revision>]",
        rf"hf://(?P<name>{_WORD}/{_WORD})(?:@(?P<version>{_WORD}(?:/{_WORD})*))?",
        _commit,
    ),
    _Form(
        "oci://<registry>/<repository>@sha256:<digest>",
        r"oci://(?P<place>[a-z0-9.-]+(?::[0-9]+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+)"
        r"(?:@sha256:(?P<digest>[0-9a-f]{64})|:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))",
        _image,
    ),
)
_SHAPES = [form.shape for form in _FORMS]


@cache
def parse(uri: str) -> Source:
    """What `uri` says. Raises ValueError with the rule that it breaks (“must …”)."""
    for form in _FORMS:
        if match := re.fullmatch(form.pattern, uri):
            groups = match.groupdict()
            source = Source(uri, uri.partition(":")[0], groups.get("name") or "", groups.get("version") or "")
            return _checked(form.read(match, source))
    raise ValueError(_instead(uri))


def _checked(source: Source) -> Source:
    if {".", ".."} & {*source.uri.split("/")}:
        raise ValueError("must be a path without `.` and `..`")
    if source.fixed and not _LABEL.fullmatch(source.version):
        raise ValueError(
            f"must have a version that can be a label: {source.version!r} isn't letters, digits, '.', '_' and '-', "
            "starting and ending with a letter or digit, at most 63 characters"
        )
    return source


def is_label(version: str) -> bool:
    """Whether pods can have the version as a label."""
    return _LABEL.fullmatch(version) is not None


def _instead(uri: str) -> str:
    """The rule for a reference that has no form of ours, with what to write where that is known."""
    if not uri:
        when = "`model_uri.apply(lambda uri: ModelService(…) if uri else None)`"
        return f"must not be empty: no run of a TrainingJob with `wait` false is published yet; make it then, by {when}"
    if match := re.fullmatch(rf"models:/({_SAFE})", uri):
        return f"must name a version: models:/{match[1]}/<version> or models:/{match[1]}@<alias>"
    if match := re.fullmatch(rf"models:/({_SAFE})/[A-Za-z]+", uri):
        version = f"models:/{match[1]}@<alias> or models:/{match[1]}/<version>"
        return f"must not name a stage, MLflow has dropped them: write {version}"
    if (match := re.fullmatch(r"models:/([^/@]+)[/@][^/@]+", uri)) and not re.fullmatch(_SAFE, match[1]):
        return "must have a name of letters, digits, '.', '_' and '-', starting and ending with a letter or digit"
    if re.fullmatch(r"oci://(?:[^@\s]*/)?[^@\s:/]+", uri):
        return "must end with the image's digest or tag: oci://<registry>/<repository>@sha256:<digest>"
    if re.match(r"oci://[^@:]*(?::[0-9]+/[^@:]*)?[A-Z]", uri):
        return "must have a repository in lower case"
    scheme = uri.partition(":")[0]
    shapes = [shape for shape in _SHAPES if shape.partition(":")[0] == scheme] or _SHAPES
    return f"must be {' or '.join(filter(None, (', '.join(shapes[:-1]), shapes[-1])))}"
