"""The hyperparameters of a fine-tuning."""

import re
from typing import Annotated, Any, Literal, Self

import pydantic

from modelops_runtime.contract import ConfigurationError
from modelops_runtime.language_models.base import problem_of
from modelops_runtime.language_models.evaluation.parameters import Evaluation

# JSON from Pulumi has whole numbers as 3 or as 3.0.
WholeNumber = Annotated[
    int,
    pydantic.BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value),
]


_OF_LORA = ("rank", "alpha", "dropout", "target_modules")


def _no_expression(text: str) -> str | None:
    try:
        re.compile(text)
    except re.error as error:
        return str(error)
    return None


class Parameters(pydantic.BaseModel):
    """What a fine-tuning does. The same parameters, data and base end with the same weights."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    base_model: str = pydantic.Field(min_length=1)
    """The model to tune, by a reference that never moves: `hf://<organization>/<model>@<commit>`, `oci://…@sha256:…`,
    `models:/<name>/<version>`, `s3://…`, `gs://…`, `az://…` or `pvc://…`."""
    base_digest: str | None = pydantic.Field(None, pattern="^sha256:[0-9a-f]{64}$")
    """What the base's files must be, all together. Required where the reference itself doesn't say it."""

    method: Literal["lora", "full"] = "lora"
    objective: Literal["sft", "dpo"] = "sft"
    rank: WholeNumber = pydantic.Field(16, ge=1, le=1024)
    """Rank r of LoRA's update: W + (alpha / r) · B A."""
    alpha: float = pydantic.Field(32, gt=0)
    dropout: float = pydantic.Field(0.0, ge=0, lt=1)
    """Share of an adapter's inputs that a step leaves out."""
    target_modules: str = pydantic.Field("all-linear", min_length=1)
    """Layers that get an adapter: `all-linear`, names with commas between, or a regular expression over whole names."""
    beta: float = pydantic.Field(0.1, gt=0)
    """Of preference tuning: how little the model may move away from the base."""

    epochs: WholeNumber = pydantic.Field(1, ge=1)
    steps: WholeNumber | None = pydantic.Field(None, ge=1)
    """Optimizer's steps, instead of epochs."""
    learning_rate: float = pydantic.Field(2e-4, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: float = pydantic.Field(0.03, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    weight_decay: float = pydantic.Field(0.0, ge=0)
    max_grad_norm: float = pydantic.Field(1.0, gt=0)
    batch_size: WholeNumber = pydantic.Field(4, ge=1)
    """Rows at a time and process."""
    gradient_accumulation: WholeNumber = pydantic.Field(1, ge=1)
    """Batches a step and process."""
    max_length: WholeNumber = pydantic.Field(1024, ge=8)
    """Tokens of a row; what is longer is cut, or with packing of preferences never joined."""
    packing: bool = False
    """Whether several texts share a row, none of which sees another."""
    assistant_only: bool | None = None
    """Whether only the assistant's turns are learned. Default: where rows are messages and the template marks them."""
    chat_template: str | None = pydantic.Field(None, min_length=1)
    """Jinja template in place of the base's own."""

    end_token: str | None = pydantic.Field(None, min_length=1)
    """Token that ends a text, in place of the base's own: where its chat template ends a turn with another."""

    precision: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Of the arithmetic; what is trained is kept in float32."""
    sharding: Literal["none", "fsdp"] = "none"
    """`fsdp`: each process has a part of the weights. `none`: each has them all."""
    gradient_checkpointing: bool = True
    """Whether activations are computed again for the gradient, instead of kept."""
    seed: WholeNumber = pydantic.Field(0, ge=0, le=2**32 - 1)
    evaluation: Evaluation | None = None
    """Of the tuned model, at the end; its metrics join those of the test split."""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [problem_of(self.base_model, self.base_digest)]
        if self.objective == "dpo" and self.packing:
            problems.append("packing is for the objective sft: a pair of answers can't share its row")
        if self.objective == "dpo" and self.assistant_only:
            problems.append("assistant_only is for the objective sft: preferences are about the answers alone anyway")
        if self.objective == "dpo" and self.dropout:
            problems.append("dropout is for the objective sft: preferences are compared without it")
        if self.method == "full" and (given := [name for name in _OF_LORA if name in self.model_fields_set]):
            problems.append(f"{', '.join(given)}: for the method lora, full has no adapter")
        if self.steps is not None and "epochs" in self.model_fields_set:
            problems.append("steps and epochs exclude each other")
        if isinstance(self.layers, str) and (wrong := _no_expression(self.layers)):
            problems.append(f"target_modules is no regular expression: {wrong}")
        if found := [problem for problem in problems if problem]:
            raise ConfigurationError(*found)
        return self

    @property
    def recorded(self) -> dict[str, Any]:
        """All of them, with the defaults; the evaluation as it was given, since the registry has that one already."""
        given = self.evaluation and self.evaluation.model_dump(exclude_unset=True, by_alias=True)
        return {**self.model_dump(exclude={"evaluation"}), "evaluation": given}

    @property
    def layers(self) -> str | list[str]:
        """`target_modules` as PEFT takes it."""
        plain = self.target_modules.replace(",", "").replace("_", "").replace(" ", "").isalnum()
        if self.target_modules == "all-linear" or not plain:
            return self.target_modules
        return [name.strip() for name in self.target_modules.split(",")]

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "Parameters":
        """Raises ConfigurationError naming every parameter that is wrong."""
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise ConfigurationError(
                *(f"parameter {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            ) from None
        except ConfigurationError as error:
            raise ConfigurationError(*(f"parameter {problem}" for problem in error.problems)) from None
