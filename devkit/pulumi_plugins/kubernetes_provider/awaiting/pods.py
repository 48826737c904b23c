"""What is wrong with a pod, according to its conditions and containers."""

from collections.abc import Iterable, Mapping
from typing import Any

from .base import Awaiter, Object, Verdict, at, condition

_NOISE_BEFORE = "rpc error: code = Unknown desc = Error response from daemon: "
_NOISE_AFTER = ": manifest unknown"


def full_name(obj: Object) -> str:
    """`namespace/name`; the name alone in the default namespace."""
    namespace, name = at(obj, "metadata", "namespace"), str(at(obj, "metadata", "name"))
    return name if namespace in (None, "", "default") else f"{namespace}/{name}"


def _waiting(status: Mapping[str, Any]) -> Iterable[str]:
    state = at(status, "state", "waiting")
    if state is not None and state.get("reason") != "ContainerCreating":
        yield f"[{state.get('reason', '')}] {_trim(state.get('message'))}"


def _terminated(status: Mapping[str, Any]) -> Iterable[str]:
    state = at(status, "state", "terminated")
    if state is None or not state.get("reason"):
        return
    if state.get("message"):
        yield f"[{state['reason']}] {_trim(state['message'])}"
    else:
        yield f'container "{status.get("name")}" completed with exit code {state.get("exitCode", 0)}'


def _ended_before(status: Mapping[str, Any]) -> Iterable[str]:
    state = at(status, "lastState", "terminated")
    if state is None:
        return
    yield (
        f'container "{status.get("name")}" terminated at {state.get("finishedAt")} '
        f"({state.get('reason')}: exit code {state.get('exitCode', 0)})"
    )
    if state.get("message"):
        yield str(state["message"])


def _trim(message: Any) -> str:
    return str(message or "").removeprefix(_NOISE_BEFORE).removesuffix(_NOISE_AFTER)


def container_errors(pod: Object) -> list[str]:
    """The errors of containers that are not ready. Init containers are left out, as in the official provider."""
    errors: list[str] = []
    for status in at(pod, "status", "containerStatuses") or []:
        if not status.get("ready"):
            errors += [*_waiting(status), *_terminated(status), *_ended_before(status)]
    return errors


def _condition_reasons(pod: Object, kind: str) -> list[str]:
    state = condition(pod, kind)
    errors = container_errors(pod)
    if not errors and not state.get("message"):
        return []
    message = str(state["message"]) if state.get("reason") and state.get("message") else ""
    return [f"[Pod {full_name(pod)}]: {message}" + "\n".join(errors)]


def pod_verdict(pod: Object) -> Verdict:
    """Whether a pod is scheduled, initialized and ready (or has succeeded), in that order."""
    name = full_name(pod)
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") != "True":
        message = str(scheduled.get("message") or "")
        return Verdict(status=message or f'Waiting for Pod "{name}" to be scheduled')
    initialized = condition(pod, "Initialized")
    if initialized.get("status") != "True":
        reasons = _condition_reasons(pod, "Initialized") if initialized else []
        return Verdict(status=f'Waiting for Pod "{name}" to be initialized', reasons=reasons)
    ready = condition(pod, "Ready")
    if ready and (ready.get("status") == "True" or at(pod, "status", "phase") == "Succeeded"):
        return Verdict(ready=True)
    reasons = _condition_reasons(pod, "Ready") if ready else []
    return Verdict(status=f'Waiting for Pod "{name}" to be ready', reasons=reasons)


def pod_reasons(pods: Iterable[Object]) -> list[str]:
    """What is wrong with each of `pods`."""
    return [reason for pod in pods for reason in pod_verdict(pod).reasons]


class PodAwaiter(Awaiter):
    """A bare pod: ready, or completed."""

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        return pod_verdict(obj)
