"""Read: refresh, get and import."""

from ..awaiting import Verdict, awaiter_for
from ..awaiting.waiting import waiter_for
from ..cluster.connection import Cluster
from ..errors import ApiError, NoMatchError, PartialFailure, Refused, Unreachable
from ..objects import annotations, checkpoint
from ..objects.naming import random_suffix
from ..objects.normalize import normalize, prune
from ..objects.properties import Map, from_object, to_object
from ..objects.secrets import annotate_secrets
from .host import Host
from .requests import Resource, Written

GONE = Written("", {})
"""The object does not exist."""

_NOT_INPUTS = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
_NOT_INPUT_ANNOTATIONS = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")


def read(cluster: Cluster, host: Host, resource: Resource, state: Map, inputs: Map) -> Written:
    """The object as it is now. `state` and `inputs` are empty for one that Pulumi does not manage yet."""
    if cluster.unreachable:
        return _unreachable(cluster, host, resource, state, inputs)
    namespace, name = annotations.parse_id(resource.id)
    if not name:
        raise Refused(f"failed to read resource: its ID names no object: {resource.id!r}")
    last = _shape(resource, inputs, namespace, name)
    foreign = not (inputs or state)
    try:
        live = cluster.client.get(cluster.discovery.path_of(last, name))
    except NoMatchError:
        return GONE
    except ApiError as error:
        if error.not_found:
            return GONE
        raise
    verdict = Verdict(ready=True) if foreign else _verdict(cluster, last, live)
    live_inputs = _foreign_inputs(live) if foreign else prune(live, last)
    manager = checkpoint.text_of(state, checkpoint.FIELD_MANAGER) or f"pulumi-kubernetes-{random_suffix()}"
    api_version = checkpoint.text_of(state, checkpoint.API_VERSION) or str(last.get("apiVersion") or "")
    packed = checkpoint.pack(live_inputs, live, inputs, api_version=api_version, field_manager=manager)
    new_inputs = from_object(live_inputs)
    annotate_secrets(new_inputs, inputs)
    problem = "" if verdict.ready else f"Resource '{name}' was created but failed to initialize"
    return Written(resource.id or annotations.full_name(live), packed, new_inputs, problem, verdict.reasons)


def _unreachable(cluster: Cluster, host: Host, resource: Resource, state: Map, inputs: Map) -> Written:
    host.warn(resource.urn, f"configured Kubernetes cluster is unreachable: {cluster.unreachable}")
    if cluster.settings.delete_unreachable:
        host.info(resource.urn, "deleteUnreachable is enabled: the unreachable resource is deleted from Pulumi state")
        return GONE
    if cluster.settings.skip_update_unreachable:
        host.info(resource.urn, "skipUpdateUnreachable is enabled: the data may not reflect the cluster")
        return Written(resource.id, state, inputs)
    raise Unreachable(
        "failed to read resource state due to unreachable cluster. If the cluster was deleted, you can remove this "
        "resource from Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE environment "
        'variable set to "true"'
    )


def _shape(resource: Resource, inputs: Map, namespace: str, name: str) -> Map:
    """The inputs that made the object; for one that the program only reads, what names it."""
    last = normalize(to_object(inputs))
    if last.get("kind"):
        return last
    last |= {"apiVersion": resource.gvk.api_version, "kind": resource.gvk.kind}
    meta = last.setdefault("metadata", {})
    meta.setdefault("name", name)
    if namespace:
        meta.setdefault("namespace", namespace)
    return last


def _verdict(cluster: Cluster, last: Map, live: Map) -> Verdict:
    try:
        awaiter = awaiter_for(last, live)
    except ValueError as error:
        raise PartialFailure(str(error), live) from error
    if awaiter is None or not awaiter.waits_on_read:
        return Verdict(ready=True)
    return waiter_for(cluster).judge_once(awaiter)


def _foreign_inputs(live: Map) -> Map:
    """Inputs that would make the object as it is."""
    result = {key: value for key, value in live.items() if key not in ("status", "metadata")}
    meta = {key: value for key, value in live.get("metadata", {}).items() if key not in _NOT_INPUTS}
    kept = {key: text for key, text in (meta.get("annotations") or {}).items() if key not in _NOT_INPUT_ANNOTATIONS}
    if "annotations" in meta:
        meta["annotations"] = kept
    return {**result, "metadata": meta}
