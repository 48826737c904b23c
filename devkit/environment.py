"""The environment in which `pulumi` and `kubectl` work on the platform."""

import os
import shlex

from devkit.clusters import Cluster
from devkit.engine import bin_folder, plugins_can_be_downloaded
from devkit.paths import platform_facts, pulumi_home, state_backend, virtualenv

LOCAL_PASSPHRASE = "modelops-local"
"""Encrypts the dev stack's state on a developer's machine, where file permissions are the real protection. A stack with
anything of value has its own passphrase: a PULUMI_CONFIG_PASSPHRASE that is set is left alone."""


def variables(cluster: Cluster) -> dict[str, str]:
    """The variables to set, by name. PATH is complete, the devkit's folders first."""
    first = [str(bin_folder()), str(virtualenv() / "bin")]
    rest = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry not in first]
    result = {
        "PATH": os.pathsep.join([*first, *rest]),
        "PULUMI_HOME": str(pulumi_home()),
        "PULUMI_BACKEND_URL": f"file://{state_backend()}",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "MODELOPS_PLATFORM": str(platform_facts()),
        **cluster.environment(),
    }
    if not plugins_can_be_downloaded():
        # Without this the engine tries, in vain, to download a plugin for every SDK in the virtual environment.
        result["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    if "PULUMI_CONFIG_PASSPHRASE" not in os.environ and "PULUMI_CONFIG_PASSPHRASE_FILE" not in os.environ:
        result["PULUMI_CONFIG_PASSPHRASE"] = LOCAL_PASSPHRASE
    return result


def complete(cluster: Cluster) -> dict[str, str]:
    """The caller's environment with `variables` added, for child processes."""
    return dict(os.environ) | variables(cluster)


def export_lines(cluster: Cluster) -> str:
    """`variables` as lines for a POSIX shell's `eval`."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables(cluster).items())
