"""Waits: until an object is ready, and until it is gone."""

from ..objects import annotations, kinds
from . import conditions
from .base import Awaiter, Object, Verdict
from .jobs import JobAwaiter
from .pods import PodAwaiter
from .services import IngressAwaiter, ServiceAwaiter
from .storage import ClaimAwaiter, QuotaAwaiter, TokenSecretAwaiter, VolumeAwaiter
from .workloads import DaemonSetAwaiter, DeploymentAwaiter, StatefulSetAwaiter

_AWAITERS: dict[tuple[str, str], type[Awaiter]] = {
    ("apps", "DaemonSet"): DaemonSetAwaiter,
    ("apps", "Deployment"): DeploymentAwaiter,
    ("apps", "StatefulSet"): StatefulSetAwaiter,
    ("batch", "Job"): JobAwaiter,
    ("", "PersistentVolume"): VolumeAwaiter,
    ("", "PersistentVolumeClaim"): ClaimAwaiter,
    ("", "Pod"): PodAwaiter,
    ("", "ResourceQuota"): QuotaAwaiter,
    ("", "Secret"): TokenSecretAwaiter,
    ("", "Service"): ServiceAwaiter,
    ("networking.k8s.io", "Ingress"): IngressAwaiter,
}


def awaiter_for(inputs: Object, obj: Object, last: Object | None = None) -> Awaiter | None:
    """How to wait for `obj` to be ready; None when there is nothing to wait for.

    `inputs` are what the program wrote: its annotations decide. `last` is the live object before the change.
    """
    if annotations.is_true(inputs, annotations.SKIP_AWAIT):
        return None
    expressions = [conditions.parse(text) for text in annotations.wait_expressions(inputs)]
    if expressions:
        return conditions.ConditionsAwaiter(obj, expressions)
    gvk = kinds.of_object(obj)
    awaiter = _AWAITERS.get((gvk.group, gvk.kind))
    return awaiter(obj, last) if awaiter else None


__all__ = ["Awaiter", "Object", "Verdict", "awaiter_for"]
