"""Deployment, StatefulSet and DaemonSet: rolled out, every replica ready."""

from collections.abc import Mapping

from .base import Awaiter, Feed, Object, Verdict, at, condition, number, owned_by, selector_text
from .pods import pod_reasons

_REVISION = "deployment.kubernetes.io/revision"


def _revision(obj: Object | None) -> str:
    return str(at(obj, "metadata", "annotations", _REVISION) or "")


def _observed(obj: Object) -> bool:
    return number(obj, "status", "observedGeneration", default=-1) == number(obj, "metadata", "generation")


class DeploymentAwaiter(Awaiter):
    """The new replica set has its replicas, the Deployment is available, and the claims of its pods are bound."""

    def feeds(self) -> list[Feed]:
        selector = selector_text(at(self.first, "spec", "selector"))
        feeds = [Feed("replica_sets", "apps/v1", "ReplicaSet", selector), Feed("pods", "v1", "Pod", selector)]
        if self._claim_names():
            feeds.append(Feed("claims", "v1", "PersistentVolumeClaim"))
        return feeds

    def _claim_names(self) -> set[str]:
        volumes = at(self.first, "spec", "template", "spec", "volumes") or []
        names = {at(volume, "persistentVolumeClaim", "claimName") for volume in volumes}
        return {str(name) for name in names if name}

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        if not _observed(obj):
            return Verdict(status="Waiting for the Deployment controller", reasons=self._reasons(obj, None, related))
        current = self._current(obj, related)
        unbound = self._unbound(related)
        if current is not None and not unbound and self._rolled_out(obj) and self._complete(obj, current):
            return Verdict(ready=True)
        desired = number(current, "spec", "replicas", default=1)
        have = number(current, "status", "readyReplicas")
        return Verdict(
            status=f"Waiting for app ReplicaSet to be available ({have}/{desired} Pods available)",
            reasons=self._reasons(obj, current, related),
        )

    def _current(self, obj: Object, related: Mapping[str, list[Object]]) -> Object | None:
        revision = _revision(obj)
        for replica_set in related["replica_sets"]:
            if revision and owned_by(replica_set, obj) and _revision(replica_set) == revision:
                return replica_set
        return None

    @staticmethod
    def _rolled_out(obj: Object) -> bool:
        available = condition(obj, "Available").get("status") == "True"
        if _revision(obj) == "1":
            # The first revision is created, not rolled out: nothing progresses.
            return available
        progress = condition(obj, "Progressing")
        return available and progress.get("status") == "True" and progress.get("reason") == "NewReplicaSetAvailable"

    def _complete(self, obj: Object, current: Object) -> bool:
        desired = number(current, "spec", "replicas", default=1)
        ready = at(current, "status", "readyReplicas")
        return desired == 0 if ready is None else number(current, "status", "readyReplicas") >= desired

    def _unbound(self, related: Mapping[str, list[Object]]) -> list[str]:
        names = self._claim_names()
        return [
            str(at(claim, "metadata", "name"))
            for claim in related.get("claims", [])
            if at(claim, "metadata", "name") in names and at(claim, "status", "phase") != "Bound"
        ]

    def _reasons(self, obj: Object, current: Object | None, related: Mapping[str, list[Object]]) -> list[str]:
        reasons = []
        for kind in ("Progressing", "Available"):
            state = condition(obj, kind)
            if state and state.get("status") != "True" and state.get("reason") and state.get("message"):
                reasons.append(f"[{state['reason']}] {state['message']}")
        if unbound := self._unbound(related):
            reasons.append(f'Failed to bind PersistentVolumeClaim(s): "{",".join(unbound)}"')
        if condition(obj, "Available").get("status") != "True":
            reasons.append("Minimum number of live Pods was not attained")
        elif current is None or not self._complete(obj, current):
            reasons.append("Minimum number of Pods to consider the application live was not attained")
        if current is not None:
            reasons += pod_reasons(pod for pod in related["pods"] if owned_by(pod, current))
        return reasons


class StatefulSetAwaiter(Awaiter):
    """Every replica is ready and of the current revision."""

    def feeds(self) -> list[Feed]:
        return [Feed("pods", "v1", "Pod", selector_text(at(self.first, "spec", "selector")))]

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        desired = number(obj, "spec", "replicas")
        status = {field: number(obj, "status", field) for field in ("replicas", "readyReplicas", "currentReplicas")}
        updated = number(obj, "metadata", "generation") > 1
        on_delete = updated and at(obj, "spec", "updateStrategy", "type") == "OnDelete"
        revision = at(obj, "status", "currentRevision") or ""
        target = at(obj, "status", "updateRevision") or ""
        revised = on_delete or (revision != "" and revision == target)
        counted = ("replicas", "readyReplicas") if on_delete else tuple(status)
        complete = all(status[field] == desired for field in counted)
        if revised and complete and _observed(obj):
            return Verdict(ready=True)
        have = status["readyReplicas"]
        if not revised:
            have = min(have, number(obj, "status", "updatedReplicas"))
        reasons = [] if complete else [f"{have} out of {desired} replicas succeeded readiness checks"]
        if not revised:
            reasons.append(
                f'StatefulSet controller failed to advance from revision "{revision}" to revision "{target}"'
            )
        reasons += pod_reasons(pod for pod in related["pods"] if owned_by(pod, obj))
        return Verdict(status=f"Waiting for StatefulSet to create Pods ({have}/{desired} Pods ready)", reasons=reasons)


class DaemonSetAwaiter(Awaiter):
    """Every node that should run a pod runs an up-to-date, available one."""

    def feeds(self) -> list[Feed]:
        return [Feed("pods", "v1", "Pod", selector_text(at(self.first, "spec", "selector")))]

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        desired = number(obj, "status", "desiredNumberScheduled", default=-1)
        counts = {
            "scheduled": number(obj, "status", "currentNumberScheduled"),
            "updated": number(obj, "status", "updatedNumberScheduled"),
            "available": number(obj, "status", "numberAvailable"),
            "ready": number(obj, "status", "numberReady"),
        }
        if _observed(obj) and desired >= 0 and all(count >= desired for count in counts.values()):
            return Verdict(ready=True)
        lacking = next((word for word, count in counts.items() if count < desired), "scheduled")
        status = f"{lacking.capitalize()}: {counts[lacking]}/{max(desired, 0)}"
        reasons = pod_reasons(pod for pod in related["pods"] if owned_by(pod, obj))
        return Verdict(status=status, reasons=[status, *reasons])
