"""What is in a namespace, and what of it no stack knows."""

from collections.abc import Collection

from tests.cluster.support import objects

KINDS = (
    "configmaps",
    "cronjobs",
    "daemonsets",
    "deployments",
    "horizontalpodautoscalers",
    "jobs",
    "networkpolicies",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "rolebindings",
    "roles",
    "secrets",
    "serviceaccounts",
    "services",
    "statefulsets",
)
_OURS = "app.kubernetes.io/part-of=modelops,app.kubernetes.io/managed-by=pulumi"


def leavings(namespace: str, known: Collection[str]) -> list[tuple[str, str]]:
    """Kind and name of each object of the library that is in no state: `known` are a state's ids."""
    found = []
    for kind in KINDS:
        for each in objects(kind, namespace, "--selector", _OURS):
            name = each["metadata"]["name"]
            if "ownerReferences" not in each["metadata"] and f"{namespace}/{name}" not in known:
                found.append((kind, name))
    return found
