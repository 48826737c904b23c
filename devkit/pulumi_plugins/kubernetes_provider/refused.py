"""What the official provider does and this one does not. `docs/reference/provider.md` shows the same table."""

from dataclasses import dataclass

from .errors import Refused

_HINT = "install the official Kubernetes plugin, or name it in MODELOPS_PLUGIN_KUBERNETES"


@dataclass(frozen=True)
class Feature:
    """A feature that is refused."""

    name: str
    """Its name in errors."""
    instead: str
    """What to use here."""


HELM = Feature("Helm releases and charts", "plain resources")
YAML = Feature("YAML manifests (ConfigFile, ConfigGroup)", "plain resources")
KUSTOMIZE = Feature("Kustomize directories", "plain resources")
LIST = Feature("List kinds", "one resource for each item")
CLIENT_SIDE_APPLY = Feature("client-side apply (enableServerSideApply=false)", "server-side apply, the default")
RENDER = Feature("renderYamlToDirectory", "a cluster")
PARAMETERIZE = Feature("packages generated from CRDs (parameterization)", "CustomResource")

FEATURES = (HELM, YAML, KUSTOMIZE, LIST, CLIENT_SIDE_APPLY, RENDER, PARAMETERIZE)


def message(feature: Feature) -> str:
    """The one error that names the feature."""
    return f"{feature.name}: not supported by the stand-in Kubernetes provider. Use {feature.instead}, or {_HINT}."


def refuse(feature: Feature) -> Refused:
    """The error to raise for `feature`."""
    return Refused(message(feature))


def refused_type(type_token: str) -> Feature | None:
    """The feature that a resource type or function belongs to, if that feature is refused."""
    parts = type_token.split(":")
    module, kind = (parts[1], parts[2]) if len(parts) == 3 else ("", "")
    if module.startswith("helm"):
        return HELM
    if module.startswith("kustomize"):
        return KUSTOMIZE
    if module.startswith("yaml"):
        return YAML
    if "/" not in module:
        return None
    # Only built-in groups have generated List kinds; a custom resource may have any name.
    group = module.split("/")[0]
    if (group.count(".") == 0 or group.endswith(".k8s.io")) and kind.endswith("List"):
        return LIST
    return None


def table() -> str:
    """The features as a Markdown table."""
    rows = [f"| {feature.name} | {feature.instead} |" for feature in FEATURES]
    return "\n".join(["| not supported | use instead |", "|---|---|", *rows]) + "\n"
