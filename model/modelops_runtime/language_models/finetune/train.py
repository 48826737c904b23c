"""The fine-tuning container: `modelops-finetune`, one process or, with torchrun's variables, one of several.

Keeps the training contract (docs/model.md). LoRA: Hu et al., 2021, https://arxiv.org/abs/2106.09685; direct preference
optimization: Rafailov et al., 2023, https://arxiv.org/abs/2305.18290.
"""

import os
import sys

from modelops_runtime.artifacts.results import write_json, write_metrics
from modelops_runtime.contract import ConfigurationError, ContractError, Environment, Exit, TrainingContract
from modelops_runtime.language_models import base, libraries
from modelops_runtime.language_models.evaluation.evaluate import after_training
from modelops_runtime.language_models.finetune import workers
from modelops_runtime.language_models.finetune.checkpoints import Checkpoints
from modelops_runtime.language_models.finetune.parameters import Parameters
from modelops_runtime.language_models.finetune.workers import Processes
from modelops_runtime.training.rendezvous import Peers
from modelops_runtime.training.stop import Stop


def read_settings(env: Environment) -> tuple[TrainingContract, Parameters, base.Settings]:
    """Raises ConfigurationError with the problems of the environment and of the parameters together."""
    settings = TrainingContract.read(env)
    if env.integer("MODELOPS_TENSOR_PARALLEL", 1, minimum=1, maximum=4096) > 1:
        env.problems.append("tensor_parallel is more than 1, and this program is data parallel: use sharding fsdp")
    parameters = None
    try:
        parameters = Parameters.parse(settings.parameters)
    except ConfigurationError as error:
        env.problems.extend(error.problems)
    source = parameters and base.Settings.read(env, parameters.base_model, parameters.base_digest)
    env.check()
    assert parameters and source
    return settings, parameters, source


def train(settings: TrainingContract, parameters: Parameters, source: base.Settings, stop: Stop) -> dict[str, float]:
    """From texts to the model's folder and its metrics, which the first process has."""
    from modelops_runtime.language_models.finetune import data, tuning
    from modelops_runtime.language_models.finetune.measure import measured
    from modelops_runtime.language_models.finetune.reporting import Contract

    processes = Processes()
    rows = data.read(settings.data_uri, parameters.objective, source.wait_seconds)
    place = base.fetched(source)
    described = base.described(source, place) if processes.first_of_machine else None
    checkpoints = Checkpoints(settings, parameters.model_dump(), processes.count)
    trainer = tuning.trainer(base.model_in(place, source.uri), rows, parameters, checkpoints.writing)
    if processes.first:
        sizes = ", ".join(f"{len(split)} {name}" for name, split in rows.items())
        print(f"run {settings.run_id} of {settings.model_name}: rows: {sizes}; {tuning.size(trainer)}", flush=True)
    test = tuning.prepared(trainer, rows["test"], parameters)  # what is wrong with it is said now, not at the end
    contract = Contract(trainer, settings, parameters, processes, checkpoints, stop)
    trainer.add_callback(contract.callback())
    resumed = processes.from_first(checkpoints.last() if processes.first else "")
    if resumed and processes.first:
        print(f"resuming from {resumed}", flush=True)
    result = trainer.train(resume_from_checkpoint=str(checkpoints.folder(resumed)) if resumed else None)
    contract.end(result)
    metrics = measured(trainer, test, parameters.objective, processes)
    metrics |= contract.throughput()
    output = settings.output_dir
    tuning.save(trainer, parameters, described, output / "model", processes)
    if processes.first:
        write_json(output / "history.json", contract.history)
        write_json(output / "parameters.json", parameters.recorded)
        write_metrics(metrics, output)
    processes.wait()  # none ends before the first has written
    return metrics


def _prepare_libraries() -> None:
    libraries.prepare()
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"


def main() -> None:
    stop = Stop()
    stop.listen()
    settings, parameters, source = read_settings(Environment())
    if source.mounted is None and int(os.environ.get("LOCAL_RANK", 0)) == 0:
        base.fetched(source)
    if workers.wants_launcher():
        workers.launch(stop)
        return
    _prepare_libraries()
    processes = Processes()
    hosts = settings.worker_hosts or ("localhost",)
    count = settings.workers if processes.first_of_machine else 1
    peers = Peers(settings.run_id, count, settings.worker_index, hosts[0], settings.peer_port, stop)
    peers.meet()
    try:
        metrics = train(settings, parameters, source, stop)
    except ContractError:
        peers.leave()
        raise
    except Exception:
        peers.wait_for_verdict()
        raise
    if processes.first:
        print("test split: " + "  ".join(f"{name} {value:.5f}" for name, value in metrics.items()), flush=True)
    peers.finish()
    if processes.first and parameters.evaluation:
        after_training(parameters.evaluation)
    if processes.count > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(Exit.DONE)  # a process group takes leave of peers that may have gone already
