"""`python -m modelops_runtime COMMAND`: the programs of the images, also installed as `modelops-<command>`."""

import sys
from functools import partial
from importlib import import_module

from modelops_runtime import contract

COMMANDS = {
    "prepare": ("data.prepare", "data", "turns raw data into a version of split training data"),
    "finetune": ("language_models.finetune.train", "finetune", "fine-tunes a language model"),
    "evaluate": ("language_models.evaluation.evaluate", "evaluate", "evaluates a language model, or compares two"),
    "publish": ("registry.publish", "publish", "checks the gate, logs a trained model to MLflow and registers it"),
    "watch": ("registry.watch", "publish", "shows a training's progress in MLflow"),
    "select": ("registry.select", "publish", "registers the best trial of a sweep"),
    "promote": ("registry.promote", "", "moves an alias to the version that serves"),
    "transfer": ("registry.transfer", "", "copies a model version to another registry"),
    "replicate": ("registry.replicate", "", "copies an image to another registry, by digest"),
    "fetch": ("registry.fetch", "", "downloads a model version, whole or not at all"),
    "fetch-base": ("language_models.base", "stores", "downloads the base model of a fine-tuning"),
    "assemble": ("language_models.assemble", "", "prepares a language model, its base and its adapters for vLLM"),
    "drain": ("serving.vllm.drain", "", "waits until vLLM has answered all its requests"),
    "hold": ("registry.hold", "", "keeps a model in the shared cache while its pod uses it"),
    "check": ("registry.check", "", "says whether the image has what a model of plain MLflow requires"),
    "convert": ("serving.mlflow.convert", "serve", "converts a model that plain MLflow logged to ONNX"),
    "serve": ("serving.serve", "serve", "serves a model folder over HTTP"),
}
"""Module, extra and purpose of each command. A module is imported when its command runs."""


def run(command: str) -> None:
    """Runs a command with the words of the command line; ends the process with the contract's exit code."""
    module, extra, purpose = COMMANDS[command]
    if command != "prepare" and sys.argv[1:] in (["-h"], ["--help"]):
        print(f"usage: modelops-{command}\n\nThis command {purpose}.")
        print("Its settings are environment variables; docs/model.md lists them.")
        sys.exit(0)

    def start() -> None:
        try:
            import_module(f"modelops_runtime.{module}").main()
        except ModuleNotFoundError as error:
            if not extra or (error.name or "").startswith("modelops_runtime"):
                raise
            install = f"pip install 'modelops-runtime[{extra}]'"
            raise contract.ConfigurationError(f"modelops-{command} needs {error.name}: {install}") from error

    contract.run(start)


# The entry points of the installed scripts.
prepare = partial(run, "prepare")
finetune = partial(run, "finetune")
evaluate = partial(run, "evaluate")
publish = partial(run, "publish")
watch = partial(run, "watch")
select = partial(run, "select")
promote = partial(run, "promote")
transfer = partial(run, "transfer")
replicate = partial(run, "replicate")
fetch = partial(run, "fetch")
fetch_base = partial(run, "fetch-base")
assemble = partial(run, "assemble")
drain = partial(run, "drain")
hold = partial(run, "hold")
check = partial(run, "check")
convert = partial(run, "convert")
serve = partial(run, "serve")


def main() -> None:
    """Reads the command from the first word."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print("usage: python -m modelops_runtime COMMAND\n")
        for name, (_, _, purpose) in COMMANDS.items():
            print(f"  {name:<9} {purpose}")
        sys.exit(0 if words else 2)
    if words[0] not in COMMANDS:
        print(f"error: {words[0]!r} is no command; commands are {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"modelops-{words[0]}", *words[1:]]
    run(words[0])


if __name__ == "__main__":
    main()
