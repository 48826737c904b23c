"""The processes of one fine-tuning: torchrun's, or one by itself."""

import os
import signal
import sys
from types import FrameType
from typing import Any

from modelops_runtime.contract import ContractError, Exit
from modelops_runtime.training.stop import Stop


class Processes:
    """What this process is among all, as the launcher's variables say, and what it tells the others."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def first_of_machine(self) -> bool:
        return self.local_rank == 0

    def most(self, *values: float) -> list[float]:
        """The largest of each value that any process has."""
        return self._reduced("MAX", *values)

    def sums(self, *values: float) -> list[float]:
        return self._reduced("SUM", *values)

    def _reduced(self, operation: str, *values: float) -> list[float]:
        if self.count == 1:
            return list(values)
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(tensor, getattr(torch.distributed.ReduceOp, operation))
        return [float(value) for value in tensor]

    def wait(self) -> None:
        """Until all are here."""
        self.sums(0.0)

    def from_first(self, text: str) -> str:
        """What the first process has, at every process."""
        if self.count == 1:
            return text
        import torch

        box = [text]
        torch.distributed.broadcast_object_list(box, device="cuda" if torch.cuda.is_available() else "cpu")
        return box[0]


def wants_launcher() -> bool:
    """Whether this pod is to run several processes, and this one is not one of them."""
    return "LOCAL_RANK" not in os.environ and os.environ.get("PET_NPROC_PER_NODE", "1") != "1"


def launch(stop: Stop) -> None:
    """Runs torchrun in this process, with its variables (PET_*).

    torchrun itself ends with 1 however its processes ended; this ends as the first of them that failed. It would kill
    them 30 s after SIGTERM, too; here they get the time that the pod has, to write their checkpoint.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    words = ["--signals-to-handle", "SIGINT", "--max-restarts", "0", "--module", "modelops_runtime", "finetune"]
    config, command, arguments = config_from_args(parse_args(words))

    def forward(number: int, frame: FrameType | None) -> None:
        import psutil

        stop.request()
        for child in psutil.Process().children():
            child.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    try:
        elastic_launch(config, command)(*arguments)
    except ChildFailedError as error:
        codes: dict[int, Any] = {rank: failure.exitcode for rank, failure in error.failures.items()}
        code = error.get_first_failure()[1].exitcode
        if stop.requested:
            code = Exit.TERMINATED
        sys.stdout.flush()
        if code in set(Exit):
            raise ContractError(f"its processes ended with {codes}", code=Exit(code)) from None
        raise ContractError(f"a process ended with {code}: {codes}") from None
