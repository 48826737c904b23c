"""Admission policies that change what is written in a namespace, as others' webhooks do."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.cluster.support import apply, remove

_API = "admissionregistration.k8s.io/v1"


@contextmanager
def mutating(name: str, namespace: str, rule: Mapping[str, Any], patches: str) -> Iterator[None]:
    """What the rule names and is written in the namespace gets the JSON patches, a list in CEL."""
    policy = {
        "apiVersion": _API,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "resourceRules": [rule],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            },
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patches}}],
        },
    }
    binding = {
        "apiVersion": _API,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    apply(policy, binding)
    try:
        yield
    finally:
        remove(binding, policy)


def cel(value: Any) -> str:
    """The value in the language of admission policies, which has no mixed lists and maps."""
    if isinstance(value, Mapping):
        return f"dyn({{{', '.join(f'{json.dumps(key)}: {cel(entry)}' for key, entry in value.items())}}})"
    return f"dyn([{', '.join(map(cel, value))}])" if isinstance(value, list) else f"dyn({json.dumps(value)})"
