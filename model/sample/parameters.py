"""The sample's parameters, as `MODELOPS_PARAMETERS` gives them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from modelops_runtime.contract import ConfigurationError

SMALLEST_SPLIT = 2
"""Rows that each split needs: R² is not defined on fewer."""


def _whole(value: object) -> object:
    # Numbers that came through Pulumi's engine are floating point: 200.0 means 200.
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber = Annotated[int, BeforeValidator(_whole)]


class Parameters(BaseModel):
    """Every field has a default; a name that is not here is refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    task: Literal["regression", "classification"] = "regression"
    """A line to find, or clouds of points to tell apart."""
    seed: WholeNumber = Field(default=7, ge=0, le=2**32 - 1)
    """Seed of the sample data, the split, the initial weights and the order of the batches."""
    samples: WholeNumber = Field(default=100, ge=10, le=1_000_000)
    """Rows of sample data; not used when `MODELOPS_DATA_URI` names data."""
    noise: float = Field(default=0.2, ge=0, le=10)
    """Standard deviation of the noise in the sample data: of y, or of the points around their cloud's middle."""
    classes: WholeNumber = Field(default=3, ge=2, le=100)
    """Classes of a classification; of prepared data, as many as its training split has labels."""
    validation_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows that only watches the training."""
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the rows that training never sees; the metrics come from it."""
    epochs: WholeNumber = Field(default=100, ge=1, le=100_000)
    """Passes over the training rows."""
    batch_size: WholeNumber = Field(default=10, ge=1, le=100_000)
    """Rows a step of the optimiser."""
    learning_rate: float = Field(default=0.02, gt=0, le=1)
    """Step size of Adam."""
    hidden_layers: WholeNumber = Field(default=0, ge=0, le=16)
    """Layers between input and output; without any the model is linear."""
    hidden_units: WholeNumber = Field(default=16, ge=1, le=4096)
    """Units of each hidden layer."""
    activation: Literal["sigmoid", "relu", "tanh"] = "relu"
    """What follows each hidden layer."""
    loss: Literal["auto", "mse", "cross_entropy"] = "auto"
    """What training makes small; `auto` is mse for a regression and cross_entropy for a classification."""

    _columns: int = PrivateAttr(default=0)

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> "Parameters":
        if self.validation_fraction + self.test_fraction > 0.9:
            raise ValueError("validation_fraction + test_fraction must be at most 0.9")
        if self.task == "regression" and self.loss == "cross_entropy":
            raise ValueError("loss must be mse (or auto) for a regression: cross_entropy needs classes")
        return self

    @property
    def loss_name(self) -> str:
        """The loss, `auto` resolved."""
        by_task = {"regression": "mse", "classification": "cross_entropy"}
        return by_task[self.task] if self.loss == "auto" else self.loss

    @property
    def inputs(self) -> int:
        """Numbers in a row of input."""
        return self._columns or (1 if self.task == "regression" else 2)

    @property
    def outputs(self) -> int:
        """Numbers in a prediction."""
        return 1 if self.task == "regression" else self.classes

    def for_rows(self, columns: int, classes: int) -> "Parameters":
        """The same for rows of so many numbers and, of a classification, so many classes.

        Raises ConfigurationError when the parameters declare another number of classes.
        """
        if self.task == "classification" and "classes" in self.model_fields_set and classes != self.classes:
            raise ConfigurationError(f"parameter classes is {self.classes}, the training split has {classes} labels")
        shaped = self.model_copy(update={"classes": classes} if self.task == "classification" else {})
        shaped._columns = columns
        return shaped

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "Parameters":
        """Raises ConfigurationError with every problem at once."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(*(_problem(detail) for detail in error.errors())) from None


def _problem(detail: Any) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"MODELOPS_PARAMETERS: {name} is not a parameter; there are {', '.join(sorted(Parameters.model_fields))}"
    rule = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"MODELOPS_PARAMETERS: {name} is {detail['input']!r}, {rule}" if name else f"MODELOPS_PARAMETERS: {rule}"
