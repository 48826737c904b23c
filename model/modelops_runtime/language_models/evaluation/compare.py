"""Two evaluations, answer by answer: `modelops-evaluate compare A B`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from modelops_runtime.contract import ConfigurationError, Environment
from modelops_runtime.contract.environment import HTTP_URL
from modelops_runtime.language_models.evaluation import tables
from modelops_runtime.language_models.evaluation.metrics import means
from modelops_runtime.language_models.evaluation.tables import Table

RUN = "runs:/"
LONGEST = 200
"""Characters of an answer that are printed."""
_LESS_IS_BETTER = ("forbidden",)


def main(words: list[str]) -> None:
    if len(words) != 2:
        raise ConfigurationError("usage: modelops-evaluate compare A B: output folders, files or runs:/<MLflow run id>")
    first, second = (_folder(word) for word in words)
    names = [
        name for name in (tables.ANSWERS, tables.HARNESS) if all((each / name).exists() for each in (first, second))
    ]
    if not names:
        raise ConfigurationError(f"{words[0]} and {words[1]} have no table of the same name")
    for name in names:
        for line in compared(tables.read(first / name), tables.read(second / name)):
            print(line)


def compared(before: Table, after: Table) -> Iterator[str]:
    """Each metric's mean and how many answers got better and worse, then the answers whose scores changed."""
    old, new = ({row["id"]: row for row in table} for table in (before, after))
    both = [key for key in old if key in new]
    pairs = [(key, tables.scores(old[key]), tables.scores(new[key])) for key in both]
    earlier, later = means([each for _, each, _ in pairs]), means([each for _, _, each in pairs])
    yield f"{len(both)} answers in both, {len(old) - len(both)} in the first alone, {len(new) - len(both)} in the other"
    shared = [name for name in earlier if name in later]
    width = max(map(len, shared), default=0)
    for name in shared:
        sign = -1 if name in _LESS_IS_BETTER else 1
        steps = [sign * (b[name] - a[name]) for _, a, b in pairs if name in a and name in b]
        better, worse = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
        yield f"{name:<{width}}  {earlier[name]:.4f} → {later[name]:.4f}  {better} better, {worse} worse"
    for key, a, b in pairs:
        changes = [f"{name} {a[name]:.4g} → {b[name]:.4g}" for name in a if name in b and a[name] != b[name]]
        if changes:
            yield ""
            yield f"{key}: {', '.join(changes)}"
            yield f"  prompt     {_short(old[key].get('prompt'))}"
            yield f"  reference  {_short(old[key].get('reference'))}"
            yield f"  first      {_short(old[key].get('answer'))}"
            yield f"  second     {_short(new[key].get('answer'))}"


def _short(value: object) -> str:
    """One line without what would steer a terminal."""
    text = " ".join(str("" if value is None else value).split())
    text = "".join(character if character.isprintable() else "�" for character in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _folder(word: str) -> Path:
    """The folder with an evaluation's tables."""
    if word.startswith(RUN):
        return _of_run(word.removeprefix(RUN))
    path = Path(word)
    if path.is_file():
        scratch = Path(tempfile.mkdtemp(prefix="evaluation-"))
        (scratch / tables.ANSWERS).write_bytes(path.read_bytes())
        return scratch
    inner = path / tables.FOLDER
    return inner if inner.is_dir() else path


def _of_run(run_id: str) -> Path:
    from modelops_runtime.registry.publishing.tracking import client_of

    env = Environment()
    url = env.text("MLFLOW_TRACKING_URI", pattern=HTTP_URL, rule="an http:// or https:// URL")
    env.check()
    with client_of(url) as client:
        return Path(client.download_artifacts(run_id, tables.FOLDER, tempfile.mkdtemp(prefix="evaluation-")))
