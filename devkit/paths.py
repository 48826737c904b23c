"""Where the devkit keeps things. ``down`` removes the state; caches, and the states of kept stacks, outlive it."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def _base(variable: str, xdg: str, default: str) -> Path:
    if value := os.environ.get(variable):
        return Path(value).expanduser()
    return Path(os.environ.get(xdg) or Path.home() / default) / "modelops"


def cache_root() -> Path:
    """Builds, packages, image layers: expensive, reusable, kept by ``down``. ``MODELOPS_CACHE`` moves it."""
    return _base("MODELOPS_CACHE", "XDG_CACHE_HOME", ".cache")


def state_root() -> Path:
    """The running cluster, kubeconfig, Pulumi home and state: removed by ``down``. ``MODELOPS_STATE`` moves it."""
    return _base("MODELOPS_STATE", "XDG_STATE_HOME", ".local/state")


def stacks_root() -> Path:
    """States of stacks that outlive ``down``, and the passphrase that encrypts them. ``MODELOPS_STACKS`` moves it."""
    return _base("MODELOPS_STACKS", "XDG_DATA_HOME", ".local/share")


def virtualenv() -> Path:
    """The project's own virtual environment, the one that Pulumi.yaml names."""
    return REPOSITORY / ".venv"


def kubeconfig() -> Path:
    """The devkit's own kubeconfig; the user's is never written."""
    return state_root() / "kubeconfig"


def pulumi_home() -> Path:
    """The devkit's own PULUMI_HOME: plugins and credentials, separate from the user's."""
    return state_root() / "pulumi-home"


def state_backend() -> Path:
    """The file back end of stacks on the embedded cluster, which go with it."""
    return state_root() / "backend"


def platform_facts() -> Path:
    """What this machine's platform offers, for stacks/settings.py (see docs/reference/local-platform.md)."""
    return state_root() / "platform.json"
