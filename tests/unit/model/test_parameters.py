"""The sample's parameters and the contracts' environment."""

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelops_runtime.contract import (
    ConfigurationError,
    ContractError,
    Environment,
    Exit,
    FetchContract,
    PublishContract,
    ServeContract,
    TrainingContract,
)
from sample.parameters import Parameters
from tests.conftest import REPOSITORY
from tests.runtime import environment, run_module


def problems_of(values: dict[str, object]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        Parameters.parse(values)
    assert caught.value.code == Exit.CONFIGURATION
    return caught.value.problems


def test_defaults() -> None:
    assert Parameters.parse({}).model_dump() == {
        "task": "regression",
        "seed": 7,
        "samples": 100,
        "noise": 0.2,
        "classes": 3,
        "validation_fraction": 0.2,
        "test_fraction": 0.2,
        "epochs": 100,
        "batch_size": 10,
        "learning_rate": 0.02,
        "hidden_layers": 0,
        "hidden_units": 16,
        "activation": "relu",
        "loss": "auto",
    }


def test_a_loss_has_to_fit_the_task() -> None:
    assert problems_of({"loss": "cross_entropy"}) == (
        "MODELOPS_PARAMETERS: loss must be mse (or auto) for a regression: cross_entropy needs classes",
    )
    assert Parameters.parse({"task": "classification"}).loss_name == "cross_entropy"
    assert Parameters.parse({"task": "classification", "loss": "mse"}).loss_name == "mse"
    assert len(problems_of({"task": "ranking", "activation": "step", "loss": "hinge"})) == 3


def test_every_problem_is_named_with_its_value_and_rule() -> None:
    wrong = {"epochs": 0, "learning_rate": -1, "seed": "7", "noise": True, "batch_size": 2.5, "momentum": 0.9}
    text = "\n".join(problems_of(wrong))
    assert "epochs is 0, must be greater than or equal to 1" in text
    assert "learning_rate is -1, must be greater than 0" in text
    assert "seed is '7'" in text
    assert "noise is True" in text
    assert "batch_size is 2.5" in text
    assert "momentum is not a parameter; there are activation, batch_size, classes, epochs," in text
    assert len(problems_of(wrong)) == 6


def test_whole_floats_are_whole_numbers() -> None:
    assert Parameters.parse({"epochs": 50.0}).epochs == 50


def test_whole_numbers_are_numbers() -> None:
    assert Parameters.parse({"learning_rate": 1, "noise": 0}).learning_rate == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "x", [], {}])
def test_a_learning_rate_that_is_no_finite_number_is_refused(value: object) -> None:
    assert len(problems_of({"learning_rate": value})) == 1


def test_rows_have_to_be_left_for_training() -> None:
    assert problems_of({"validation_fraction": 0.5, "test_fraction": 0.45}) == (
        "MODELOPS_PARAMETERS: validation_fraction + test_fraction must be at most 0.9",
    )


REQUIRED = {"MODELOPS_RUN_ID": "abc", "MODELOPS_MODEL_NAME": "m", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}


def test_the_training_contract_s_defaults() -> None:
    contract = TrainingContract.read(Environment(REQUIRED))
    assert contract.framework == "tensorflow"
    assert (contract.data_uri, contract.data_version, contract.parameters) == ("", "", {})
    assert str(contract.output_dir) == "/modelops/output"
    assert str(contract.checkpoint_dir) == "/modelops/checkpoints"


def test_the_publisher_of_several_workers_needs_no_names_of_theirs() -> None:
    env = Environment({**REQUIRED, "MODELOPS_WORKERS": "2"})
    assert PublishContract.read(env).training.workers == 2
    assert env.problems == []


def test_the_publishing_contract_s_defaults() -> None:
    contract = PublishContract.read(Environment(REQUIRED))
    assert (contract.alias, contract.experiment_name, contract.wait_seconds) == ("run-abc", "m", 120)


def test_the_serving_contract_s_defaults() -> None:
    contract = ServeContract.read(Environment({}))
    assert (contract.port, contract.drain_seconds, contract.model_version) == (8080, 5, "unknown")
    assert (contract.max_body_bytes, contract.max_batch_rows, contract.max_concurrency) == (2**20, 1024, 64)
    assert str(contract.model_dir) == "/modelops/model"


@pytest.mark.parametrize(
    ("uri", "valid"),
    [
        ("models:/demo@run-abc", True),
        ("models:/demo/3", True),
        ("models:/demo", False),
        ("models:/demo/0", False),
        ("models:/demo/latest", False),
        ("models:/de/mo@x", False),
        ("models:/demo@", False),
        ("runs:/abc/model", True),
        ("runs:/abc", False),
        ("s3://models/line/3", True),
        ("hf://team/line@main", True),
        ("ftp://models/line", False),
        ("", False),
    ],
)
def test_model_uris(uri: str, valid: bool) -> None:
    env = Environment({**REQUIRED, "MODELOPS_MODEL_URI": uri})
    FetchContract.read(env)
    assert (env.problems == []) is valid


def test_every_problem_of_the_environment_is_named() -> None:
    env = Environment(
        {
            "MODELOPS_RUN_ID": "a b",
            "MODELOPS_PARAMETERS": "[1]",
            "MODELOPS_GATE": "{",
            "MLFLOW_TRACKING_URI": "mlflow:5000",
        }
    )
    PublishContract.read(env)
    with pytest.raises(ConfigurationError) as caught:
        env.check()
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "MODELOPS_RUN_ID",
        "MODELOPS_MODEL_NAME",
        "MODELOPS_PARAMETERS",
        "MODELOPS_GATE",
        "MLFLOW_TRACKING_URI",
    ]


@given(st.text(max_size=20))
def test_a_number_is_within_its_bounds_or_a_problem(text: str) -> None:
    env = Environment({"X": text})
    value = env.number("X", 5, minimum=1, maximum=10)
    assert 1 <= value <= 10
    try:
        inside = 1 <= float(text) <= 10
    except ValueError:
        inside = text == ""
    assert (env.problems == []) is inside


def test_training_names_environment_and_parameters_problems_together_and_soon() -> None:
    finished = run_module(
        "sample.train",
        MODELOPS_RUN_ID="abc",
        MODELOPS_FRAMEWORK="abacus",
        MODELOPS_PARAMETERS='{"epochs": 0, "learning_rate": "x"}',
    )
    assert finished.returncode == 2
    assert [line.split(" is ")[0] for line in finished.stderr.splitlines()] == [
        "error: MODELOPS_MODEL_NAME",
        "error: MODELOPS_FRAMEWORK",
        "error: MODELOPS_PARAMETERS: epochs",
        "error: MODELOPS_PARAMETERS: learning_rate",
    ]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("pass", 0, ""),
        ("raise contract.ContractError('one', 'two')", 1, "error: one\nerror: two\n"),
        ("raise contract.ConfigurationError('bad')", 2, "error: bad\n"),
        ("raise contract.ContractError('low', code=contract.Exit.GATE)", 3, "error: low\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143, ""),
    ],
)
def test_exit_codes(body: str, code: int, message: str) -> None:
    program = f"from modelops_runtime import contract\ndef main():\n    {body}\ncontract.run(main)"
    finished = subprocess.run(
        [sys.executable, "-c", program], env=environment(), cwd=REPOSITORY, capture_output=True, text=True, timeout=30
    )
    assert (finished.returncode, finished.stderr) == (code, message)


def test_an_unexpected_error_is_a_failure_with_its_trace() -> None:
    program = "from modelops_runtime import contract\ncontract.run(lambda: 1 / 0)"
    finished = subprocess.run(
        [sys.executable, "-c", program], env=environment(), cwd=REPOSITORY, capture_output=True, text=True, timeout=30
    )
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_contract_errors_say_all_their_problems() -> None:
    assert str(ContractError("a", "b")) == "a; b"
