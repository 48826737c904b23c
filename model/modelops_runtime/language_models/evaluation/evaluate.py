"""The evaluation container: `modelops-evaluate`. By itself, of a model in a folder or a registry or behind an endpoint;
or at the end of a fine-tuning, whose metrics it adds to. `modelops-evaluate compare A B` compares two.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from modelops_runtime.artifacts import language_model
from modelops_runtime.artifacts.results import write_metrics
from modelops_runtime.contract import ConfigurationError, ContractError, Environment
from modelops_runtime.contract.environment import HTTP_URL, NAME, NAME_RULE
from modelops_runtime.language_models import base, libraries
from modelops_runtime.language_models.evaluation import compare, tables
from modelops_runtime.language_models.evaluation.metrics import Scorer, means
from modelops_runtime.language_models.evaluation.models import Answer, Model
from modelops_runtime.language_models.evaluation.parameters import Evaluation
from modelops_runtime.language_models.evaluation.rows import Row, local, read, version

LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
LAUNCHER_PREFIXES = ("PET_", "ROLE_", "GROUP_", "TORCHELASTIC_", "ACCELERATE_", "FSDP_")
"""Variables of a process among several."""
SAID_EVERY_SECONDS = 10


@dataclass(frozen=True)
class Settings:
    """What is evaluated, on what, and where the results go."""

    evaluation: Evaluation
    evaluated: str
    """A folder, a reference to a model or an endpoint's URL; empty: the model that a training left."""
    name: str
    """Of the model at an endpoint."""
    model_name: str
    model_version: str
    run_id: str
    """The training's."""
    data_uri: str
    data_version: str
    output_dir: Path
    tracking_uri: str
    experiment: str
    wait_seconds: float

    @classmethod
    def read(cls, env: Environment) -> "Settings":
        """Raises ConfigurationError with every problem."""
        evaluation = Evaluation.parse({})
        try:
            evaluation = Evaluation.parse(env.json_object("MODELOPS_EVALUATION"))
        except ConfigurationError as error:
            env.problems.extend(error.problems)
        model_name = env.text("MODELOPS_MODEL_NAME", "", pattern=NAME, rule=NAME_RULE)
        settings = cls(
            evaluation=evaluation,
            evaluated=env.text("MODELOPS_EVALUATED", ""),
            name=env.text("MODELOPS_EVALUATED_NAME", ""),
            model_name=model_name,
            model_version=env.text("MODELOPS_MODEL_VERSION", ""),
            run_id=env.text("MODELOPS_RUN_ID", "", pattern=NAME, rule=NAME_RULE),
            data_uri=env.text("MODELOPS_DATA_URI", ""),
            data_version=env.text("MODELOPS_DATA_VERSION", ""),
            output_dir=env.path("MODELOPS_OUTPUT_DIR", "/modelops/output"),
            tracking_uri=env.text("MLFLOW_TRACKING_URI", "", pattern=HTTP_URL, rule="an http:// or https:// URL"),
            experiment=env.text("MLFLOW_EXPERIMENT_NAME", model_name or "modelops"),
            wait_seconds=env.number("MODELOPS_REGISTRY_WAIT_SECONDS", 120, minimum=0, maximum=3600),
        )
        env.check()
        return settings

    @property
    def endpoint(self) -> bool:
        return self.evaluated.startswith(("http://", "https://"))

    @property
    def of_training(self) -> bool:
        """Whether a training has just ended: the results are its own, and its publishing takes them to MLflow."""
        return not self.evaluated

    @property
    def data(self) -> str:
        """The evaluation set."""
        return self.evaluation.data or self.data_uri


def after_training(evaluation: Evaluation) -> NoReturn:
    """Ends this process, a training's first one, and evaluates its model in its place: with all of its memory and GPUs,
    however long it takes."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in LAUNCHER and not name.startswith(LAUNCHER_PREFIXES)
    }
    environment["MODELOPS_EVALUATION"] = evaluation.model_dump_json(by_alias=True)
    environment.pop("MODELOPS_EVALUATED", None)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "modelops_runtime", "evaluate"], environment)


@dataclass(frozen=True)
class Result:
    """What an evaluation found, besides the tables in the output folder."""

    metrics: dict[str, float]
    version: str
    """Of the evaluation set."""


def evaluate(settings: Settings, env: Environment) -> Result:
    evaluation, wait = settings.evaluation, settings.wait_seconds
    rows = read(settings.data, evaluation, wait, given=evaluation.data is not None) if settings.data else []
    harness = local(evaluation.harness.folder, wait, texts=False) if evaluation.harness else None
    losses = bool(settings.data_uri) and evaluation.losses and not settings.of_training and not settings.endpoint
    if not (rows or harness or losses):
        raise ConfigurationError(
            "there is nothing to evaluate on: give evaluation.data, its harness or MODELOPS_DATA_URI"
        )
    files = None if settings.endpoint else _files(settings, env)
    _prepare_libraries()
    shutil.rmtree(settings.output_dir / tables.FOLDER, ignore_errors=True)  # an earlier evaluation's
    scorer = Scorer(evaluation.metrics)
    model = _model(settings, files)
    metrics: dict[str, float] = {}
    if losses:
        from modelops_runtime.language_models.evaluation.folder import FolderModel
        from modelops_runtime.language_models.evaluation.losses import of_test_split

        assert isinstance(model, FolderModel)
        metrics |= of_test_split(model, settings.data_uri, evaluation, wait)
    if rows:
        answers, seconds = _answers(model, rows, evaluation)
        scored = [scorer.scores(row, answer.text) for row, answer in zip(rows, answers, strict=True)]
        metrics |= means(scored) | _amounts(answers, seconds)
        table = [_line(*each) for each in zip(rows, answers, scored, strict=True)]
        tables.write(settings.output_dir / tables.FOLDER / tables.ANSWERS, table)
    if evaluation.harness and harness:
        from modelops_runtime.language_models.evaluation.harness import run

        found, table = run(model, evaluation.harness, harness, evaluation.batch_size)
        metrics |= found
        tables.write(settings.output_dir / tables.FOLDER / tables.HARNESS, table)
    return Result(metrics, version(rows) if rows else "")


def _model(settings: Settings, files: "tuple[Path, Path | None] | None") -> Model:
    if files is None:
        from modelops_runtime.language_models.evaluation.endpoint import EndpointModel

        return EndpointModel(settings.evaluated, settings.name, settings.wait_seconds)
    from modelops_runtime.language_models.evaluation.folder import FolderModel

    return FolderModel(*files, settings.evaluation.precision)


def _files(settings: Settings, env: Environment) -> tuple[Path, Path | None]:
    """The folder of the model, and of an adapter's base."""
    place = _place(settings, env)
    source = None
    if (place / language_model.FILE_NAME).exists() and (
        described := language_model.LanguageModel.read(place)
    ).kind == "adapter":
        source = base.Settings.read(env, described.base.uri, described.base.digest)
        env.check()
    elif not (place / language_model.MODEL).exists():
        raise ConfigurationError(
            f"{place} has neither {language_model.FILE_NAME} nor {language_model.MODEL}: it is no language model"
        )
    return place, base.model_in(base.fetched(source), source.uri) if source else None


def _place(settings: Settings, env: Environment) -> Path:
    """The folder with the model's files."""
    if settings.of_training:
        return settings.output_dir / "model"
    root = Path(settings.evaluated)
    if "://" in settings.evaluated or settings.evaluated.startswith(("models:/", "runs:/")):
        source = base.Settings.read(env, settings.evaluated, None)
        env.check()
        root = base.fetched(source)
    for name in (language_model.FILE_NAME, language_model.MODEL):
        if found := sorted(root.rglob(name), key=lambda path: len(path.parts)):
            return found[0].parent
    return root


def _answers(model: Model, rows: Sequence[Row], evaluation: Evaluation) -> tuple[list[Answer], float]:
    """The answers, and the seconds for all of them."""
    answers: list[Answer] = []
    started = said = time.monotonic()
    for answer in model.answers([row.prompt for row in rows], evaluation.max_tokens, evaluation.batch_size):
        answers.append(answer)
        if time.monotonic() - said > SAID_EVERY_SECONDS:
            said = time.monotonic()
            print(f"{len(answers)} of {len(rows)} prompts answered", flush=True)
    return answers, time.monotonic() - started


def _amounts(answers: Sequence[Answer], seconds: float) -> dict[str, float]:
    tokens = sum(answer.tokens for answer in answers)
    return {
        "answer_tokens": tokens / len(answers),
        "answers_cut": sum(not answer.ended for answer in answers) / len(answers),
        "generated_tokens_per_second": tokens / seconds,
    }


def _line(row: Row, answer: Answer, scores: dict[str, float]) -> dict[str, Any]:
    """A row of the table."""
    prompt = row.prompt if isinstance(row.prompt, str) else json.dumps(row.prompt, ensure_ascii=False)
    reference = row.references[0] if len(row.references) == 1 else json.dumps(row.references, ensure_ascii=False)
    return {
        "id": row.id,
        "prompt": prompt,
        "reference": reference if row.references else None,
        "answer": answer.text,
        **scores,
        "tokens": answer.tokens,
        "seconds": round(answer.seconds, 3),
        "ended": answer.ended,
    }


def _write(settings: Settings, metrics: dict[str, float]) -> None:
    """Into `metrics.json`; what a training has written there stays."""
    there: dict[str, Any] = {}
    if settings.of_training:
        path = settings.output_dir / "metrics.json"
        try:
            there = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ContractError(f"{path} can't be read, which the training has written: {error}") from error
    write_metrics({**there, **metrics}, settings.output_dir)


def _record(settings: Settings, result: Result) -> None:
    from modelops_runtime.language_models.evaluation import record
    from modelops_runtime.registry.publishing.runs import MODEL, RUN_ID

    tags = {
        MODEL: settings.model_name,
        RUN_ID: settings.run_id,
        "modelops.model_version": settings.model_version,
        "modelops.evaluated": settings.evaluated,
        "modelops.data_uri": settings.data_uri,
        "modelops.data_version": settings.data_version,
        "modelops.evaluation_data": settings.data,
        "modelops.evaluation_version": result.version,
    }
    data = {settings.data: result.version, settings.data_uri: settings.data_version}
    run_id = record.log(
        settings.tracking_uri,
        settings.experiment,
        tags,
        {uri: version for uri, version in data.items() if uri},
        settings.evaluation,
        result.metrics,
        settings.output_dir,
    )
    print(f"the evaluation is the MLflow run {run_id} in the experiment {settings.experiment}", flush=True)


def _prepare_libraries() -> None:
    if "huggingface_hub" in sys.modules:  # it has fetched the model, and has read its switches
        # By name: the package need not have loaded the module.
        import_module("huggingface_hub.constants").HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    libraries.prepare()
    os.environ["TQDM_DISABLE"] = "1"


def main() -> None:
    if sys.argv[1:2] == ["compare"]:
        compare.main(sys.argv[2:])
        return
    env = Environment()
    settings = Settings.read(env)
    result = evaluate(settings, env)
    _write(settings, result.metrics)
    print("evaluation: " + "  ".join(f"{name} {value:.5f}" for name, value in result.metrics.items()), flush=True)
    if settings.tracking_uri and not settings.of_training:
        _record(settings, result)
