"""Lists what a killed `pulumi up` left in a namespace: objects of a stack's components that its state doesn't know.

    pulumi stack export | python -m modelops.kubernetes.leftovers --namespace models [--context my-cluster]

Prints kind and name of each, as `kubectl delete` takes them. Only kinds whose names are generated: others are in the
next `up`'s way, which names them. Needs `kubectl`; changes nothing. A claim, or the Secret of a database, may also be
what a destroyed stack of these names was to keep: look before you delete.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

KINDS = ("configmap", "job", "persistentvolumeclaim", "secret")
_INSTANCE = "app.kubernetes.io/instance"
_OURS = "app.kubernetes.io/part-of=modelops,app.kubernetes.io/managed-by=pulumi"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the leftovers."""
    parser = argparse.ArgumentParser(
        prog="python -m modelops.kubernetes.leftovers", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--namespace", required=True, help="namespace of the stack")
    parser.add_argument("--context", help="context of the kubeconfig; default: its current one")
    options = parser.parse_args(arguments)
    try:
        state = json.load(sys.stdin)
    except ValueError:
        raise SystemExit("error: standard input is no JSON, must be what `pulumi stack export` prints") from None
    command = [
        "kubectl",
        "--namespace",
        options.namespace,
        *(["--context", options.context] if options.context else []),
    ]
    found = subprocess.run(
        [*command, "get", ",".join(KINDS), "--selector", _OURS, "--output", "json"], capture_output=True, text=True
    )
    if found.returncode != 0:
        raise SystemExit(found.stderr.strip())
    for line in leftovers(state, json.loads(found.stdout)["items"]):
        print(line)


def leftovers(state: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Those of the objects that are of a component in the state, and not in the state themselves."""
    resources = (state.get("deployment") or {}).get("resources") or []
    known = {resource.get("id") for resource in resources}
    components = {
        ((resource.get("inputs") or {}).get("metadata") or {}).get("labels", {}).get(_INSTANCE)
        for resource in resources
        if resource["type"].startswith("kubernetes:")
    } - {None}
    for each in objects:
        metadata = each["metadata"]
        is_controlled = "ownerReferences" in metadata
        if is_controlled or metadata["labels"].get(_INSTANCE) not in components:
            continue
        if f"{metadata['namespace']}/{metadata['name']}" not in known:
            yield f"{each['kind'].lower()}/{metadata['name']}"


if __name__ == "__main__":
    main()
