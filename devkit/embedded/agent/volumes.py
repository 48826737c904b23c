"""Dynamic volumes: a folder on the node for each claim, which grows with it and is removed with it (policy Delete)."""

import shutil
from pathlib import Path

from devkit.embedded.agent.api import MERGE_PATCH, Api, ApiError, Object

PROVISIONER = "modelops.local/folder"
CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
_NODE = "volume.kubernetes.io/selected-node"
_OWNER = "pv.kubernetes.io/provisioned-by"
_PROVISIONED = "volume.kubernetes.io/storage-provisioner"
"""Annotation that Kubernetes gives to claims of dynamic volumes."""


def reconcile_claims(api: Api, claims: list[Object], folder: Path) -> None:
    """Creates a volume for every pending claim of our classes, once the scheduler has chosen the node for its pod."""
    if not any(_is_pending(claim) for claim in claims):
        return
    classes = {entry["metadata"]["name"]: entry for entry in api.call("GET", CLASSES)["items"]}
    for claim in claims:
        kind = classes.get(claim["spec"].get("storageClassName", ""))
        if not _is_pending(claim) or kind is None or kind["provisioner"] != PROVISIONER:
            continue
        waits_for_consumer = kind.get("volumeBindingMode") == "WaitForFirstConsumer"
        node = claim["metadata"].get("annotations", {}).get(_NODE)
        if waits_for_consumer and not node:
            continue
        _provision(api, claim, kind, node, folder)


def reconcile_volumes(api: Api, volumes: list[Object], folder: Path) -> None:
    """Removes released volumes and their data."""
    for volume in volumes:
        spec, metadata = volume["spec"], volume["metadata"]
        released = volume.get("status", {}).get("phase") in ("Released", "Failed")
        ours = metadata.get("annotations", {}).get(_OWNER) == PROVISIONER
        if not (ours and released and spec["persistentVolumeReclaimPolicy"] == "Delete"):
            continue
        data = Path(spec.get("local", {}).get("path", ""))
        if data.parent == folder:
            shutil.rmtree(data, ignore_errors=True)
        try:
            api.call("DELETE", f"{VOLUMES}/{metadata['name']}")
        except ApiError as problem:
            if problem.status != 404:
                raise
        print(f"volume {metadata['name']} removed", flush=True)


def reconcile_sizes(api: Api, claims: list[Object]) -> None:
    """Grants larger requests of bound claims of our class: a folder has the size of its disk."""
    for claim in claims:
        metadata, status = claim["metadata"], claim.get("status", {})
        asked = claim["spec"]["resources"]["requests"]["storage"]
        ours = metadata.get("annotations", {}).get(_PROVISIONED) == PROVISIONER
        # The API server takes no smaller request, so what differs is larger.
        if not ours or status.get("phase") != "Bound" or status.get("capacity", {}).get("storage") == asked:
            continue
        volume = {"spec": {"capacity": {"storage": asked}}}
        api.call("PATCH", f"{VOLUMES}/{claim['spec']['volumeName']}", volume, MERGE_PATCH)
        grown = {"status": {"capacity": {"storage": asked}, "conditions": []}}
        path = f"/api/v1/namespaces/{metadata['namespace']}/persistentvolumeclaims/{metadata['name']}/status"
        api.call("PATCH", path, grown, MERGE_PATCH)
        print(f"claim {metadata['namespace']}/{metadata['name']}: {asked}", flush=True)


def volume_for(claim: Object, kind: Object, node: str, path: Path) -> Object:
    """The PersistentVolume for `claim`."""
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]
    metadata = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{metadata['uid']}", "annotations": {_OWNER: PROVISIONER}},
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": kind.get("reclaimPolicy", "Delete"),
            "storageClassName": kind["metadata"]["name"],
            "volumeMode": "Filesystem",
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        },
    }


def _provision(api: Api, claim: Object, kind: Object, node: str | None, folder: Path) -> None:
    metadata = claim["metadata"]
    problem = _refusal(claim)
    if problem:
        print(f"claim {metadata['namespace']}/{metadata['name']}: {problem}", flush=True)
        _record_event(api, claim, problem)
        return
    path = folder / f"pvc-{metadata['uid']}"
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o777)  # any user of a pod may write; only root gets as far as the folder above it
    chosen = node or api.call("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    try:
        api.call("POST", VOLUMES, volume_for(claim, kind, chosen, path))
    except ApiError as refused:
        if refused.status != 409:  # created before
            raise
    print(f"claim {metadata['namespace']}/{metadata['name']}: volume pvc-{metadata['uid']}", flush=True)


def _refusal(claim: Object) -> str:
    if claim["spec"].get("volumeMode", "Filesystem") != "Filesystem":
        return "only volumeMode Filesystem is supported here"
    if claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef"):
        return "volumes can't be made from snapshots or other volumes here"
    return ""


def _record_event(api: Api, claim: Object, message: str) -> None:
    metadata = claim["metadata"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{metadata['uid'][:8]}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": "Warning",
        "reason": "ProvisioningFailed",
        "message": message,
        "source": {"component": "modelops-agent"},
    }
    try:
        api.call("POST", f"/api/v1/namespaces/{metadata['namespace']}/events", event)
    except ApiError as problem:
        if problem.status != 409:  # reported before
            raise


def _is_pending(claim: Object) -> bool:
    spec, metadata = claim["spec"], claim["metadata"]
    return not spec.get("volumeName") and "deletionTimestamp" not in metadata
