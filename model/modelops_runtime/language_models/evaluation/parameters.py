"""What an evaluation does."""

from typing import Annotated, Any, Literal, get_args

import pydantic

from modelops_runtime.contract import ConfigurationError

Metric = Literal["exact_match", "f1", "rouge1", "rouge2", "rougeL", "valid_json", "required", "forbidden"]
Pattern = Annotated[str, pydantic.Field(min_length=1)]


class Harness(pydantic.BaseModel):
    """Tasks of lm-evaluation-harness. Their files are trusted: they may name Python functions beside them."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    folder: str = pydantic.Field(min_length=1)
    """A folder, or an address in an object store, with the tasks' YAML files and their data; paths to data in them
    begin at this folder."""
    tasks: list[str] = pydantic.Field(default_factory=list)
    """Names of tasks or groups; none: all that the folder has."""
    few_shot: int | None = pydantic.Field(None, ge=0)
    """Examples in a prompt, in place of the task's own number."""
    chat: bool = False
    """Whether prompts go through the model's chat template."""
    limit: int | None = pydantic.Field(None, ge=1)
    """Rows of each task, the first ones; none: all."""
    tokenizer: str | None = pydantic.Field(None, min_length=1)
    """The folder with the tokenizer of a model behind an endpoint; none: the endpoint itself is asked, which with vLLM
    needs `--enable-tokenizer-info-endpoint`."""


class Evaluation(pydantic.BaseModel):
    """The same evaluation of the same model gives the same answers: a model takes its likeliest token each time."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    data: str | None = pydantic.Field(None, min_length=1)
    """The evaluation set: a file of JSON lines or Parquet, or the folder of a version, whose test split counts; at a
    path or in an object store."""
    metrics: list[Metric] = pydantic.Field(default_factory=lambda: list(get_args(Metric)))
    """Those to take, of rows that have what they need: a reference, a schema, patterns."""
    json_schema: dict[str, Any] | bool | None = pydantic.Field(None, alias="schema")
    """JSON Schema of the answers to rows without one of their own; true: any JSON."""
    required: list[Pattern] = pydantic.Field(default_factory=list)
    """Regular expressions that every answer must contain, besides its row's own."""
    forbidden: list[Pattern] = pydantic.Field(default_factory=list)
    """Regular expressions that no answer may contain."""
    max_tokens: int = pydantic.Field(256, ge=1)
    """Of an answer, which is cut there."""
    limit: int | None = pydantic.Field(None, ge=1)
    """Rows of the evaluation set, the first ones; none: all."""
    harness: Harness | None = None

    batch_size: int = pydantic.Field(8, ge=1)
    """Prompts at a time; at an endpoint, requests."""
    precision: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Of a model in a folder."""
    losses: bool = True
    """Whether the test split of MODELOPS_DATA_URI gives loss, perplexity and token accuracy. A fine-tuning has them
    anyway."""
    max_length: int = pydantic.Field(1024, ge=8)
    """Tokens of a text whose loss is taken, which is cut there."""
    assistant_only: bool | None = None
    """As for the fine-tuning: whether only the assistant's turns count for the loss."""

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "Evaluation":
        """Raises ConfigurationError naming everything that is wrong."""
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise ConfigurationError(
                *(f"evaluation {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            ) from None
