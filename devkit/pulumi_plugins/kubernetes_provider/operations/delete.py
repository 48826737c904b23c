"""Delete an object and wait until it is gone."""

from ..awaiting.waiting import waiter_for
from ..cluster.connection import Cluster
from ..errors import ApiError, NoMatchError, PartialFailure, Unreachable
from ..objects import annotations, checkpoint
from ..objects.properties import Map
from .host import Host
from .requests import Resource, Written

_DEFAULT_SECONDS = 300.0
_SECONDS_BY_KIND = {"Deployment": 600.0, "StatefulSet": 600.0, "DaemonSet": 600.0}


def delete(cluster: Cluster, host: Host, resource: Resource, state: Map, timeout: float) -> Written | None:
    """Delete the object and wait until it is gone. Returns the state to keep if it is still there, else None."""
    if cluster.unreachable:
        host.warn(resource.urn, f"configured Kubernetes cluster is unreachable: {cluster.unreachable}")
        if cluster.settings.delete_unreachable:
            host.info(resource.urn, "deleteUnreachable is enabled: the resource is deleted from Pulumi state")
            return None
        raise Unreachable(
            "configured Kubernetes cluster is unreachable. If the cluster was deleted, you can remove this resource "
            "from Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE environment variable "
            'set to "true"'
        )
    inputs, live = checkpoint.unpack(state)
    _, name = annotations.parse_id(resource.id)
    try:
        path = cluster.discovery.path_of(live, name)
        if resource.is_patch:
            _give_up(cluster, path, state)
            return None
        cluster.client.delete(path, propagation=annotations.propagation_policy(inputs))
        if not annotations.skips_deletion_wait(inputs):
            seconds = annotations.timeout_seconds(
                inputs, timeout, _SECONDS_BY_KIND.get(str(live.get("kind")), _DEFAULT_SECONDS)
            )
            waiter_for(cluster).until_gone(
                live, path, timeout_seconds=seconds, status=lambda line: host.status(resource.urn, line)
            )
    except NoMatchError:
        # The kind is gone, and the object with it.
        return None
    except ApiError as error:
        if error.not_found:
            return None
        raise
    except PartialFailure as failure:
        return _still_there(state, failure)
    host.status(resource.urn, "")
    return None


def _give_up(cluster: Cluster, path: str, state: Map) -> None:
    """Give up a patch's fields: those that nobody else owns are removed, and the object stays."""
    inputs, live = checkpoint.unpack(state)
    identity = {"name": annotations.name(live), "namespace": annotations.namespace(live)}
    bare = {
        "apiVersion": inputs["apiVersion"],
        "kind": inputs["kind"],
        "metadata": {key: value for key, value in identity.items() if value},
    }
    manager = checkpoint.text_of(state, checkpoint.FIELD_MANAGER)
    cluster.client.apply(path, bare, field_manager=manager, force=False, dry_run=False)


def _still_there(state: Map, failure: PartialFailure) -> Written:
    inputs, _ = checkpoint.unpack(state)
    packed = checkpoint.pack(
        inputs,
        failure.object,
        state,
        api_version=checkpoint.text_of(state, checkpoint.API_VERSION),
        field_manager=checkpoint.text_of(state, checkpoint.FIELD_MANAGER),
    )
    return Written(annotations.full_name(failure.object), packed, problem=str(failure), reasons=failure.reasons)
