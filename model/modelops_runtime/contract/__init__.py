"""The container contracts: every environment variable and exit code that the images know.

Standard library only: the slim images import it too.
"""

from modelops_runtime.contract.data import DataContract
from modelops_runtime.contract.environment import Environment, is_number
from modelops_runtime.contract.exits import ConfigurationError, ContractError, Exit, run
from modelops_runtime.contract.publishing import PublishContract
from modelops_runtime.contract.serving import ServeContract
from modelops_runtime.contract.training import SweepContract, TrainingContract
from modelops_runtime.contract.transport import (
    AdapterPart,
    AssembleContract,
    FetchContract,
    HoldContract,
    PromoteContract,
    ReplicateContract,
    TransferContract,
)

__all__ = [
    "AdapterPart",
    "AssembleContract",
    "ConfigurationError",
    "ContractError",
    "DataContract",
    "Environment",
    "Exit",
    "FetchContract",
    "HoldContract",
    "PromoteContract",
    "PublishContract",
    "ReplicateContract",
    "ServeContract",
    "SweepContract",
    "TrainingContract",
    "TransferContract",
    "is_number",
    "run",
]
