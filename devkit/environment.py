"""The environment in which `pulumi` and `kubectl` work on the platform."""

import os
import shlex

from devkit import backend
from devkit.clusters import Cluster
from devkit.engine import bin_folder, plugins_can_be_downloaded
from devkit.paths import platform_facts, pulumi_home, virtualenv


def variables(cluster: Cluster) -> dict[str, str]:
    """The variables to set, by name. PATH is complete, the devkit's folders first."""
    first = [str(bin_folder()), str(virtualenv() / "bin")]
    rest = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry not in first]
    result = {
        "PATH": os.pathsep.join([*first, *rest]),
        "PULUMI_HOME": str(pulumi_home()),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "MODELOPS_PLATFORM": str(platform_facts()),
        **backend.of(cluster).variables(),
        **cluster.environment(),
    }
    if not plugins_can_be_downloaded():
        # Without this the engine tries, in vain, to download a plugin for every SDK in the virtual environment.
        result["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return result


def complete(cluster: Cluster) -> dict[str, str]:
    """The caller's environment with `variables` added, for child processes."""
    unset = backend.of(cluster).unset_variables()
    return {name: value for name, value in os.environ.items() if name not in unset} | variables(cluster)


def export_lines(cluster: Cluster) -> str:
    """`variables` as lines for a POSIX shell's `eval`."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables(cluster).items()]
    return "\n".join([*(f"unset {name}" for name in backend.of(cluster).unset_variables()), *lines])
