"""Job: run to completion."""

from collections.abc import Mapping

from .base import Awaiter, Feed, Object, Verdict, at, condition, number, owned_by
from .pods import full_name, pod_verdict

_FINAL = ("BackoffLimitExceeded", "DeadlineExceeded")
"""Reasons that end a wait at once. For others (PodFailurePolicy, FailedIndexes …) the wait goes on until its timeout,
as in the official provider."""


def job_verdict(job: Object) -> Verdict:
    """Whether a Job has started, completed or failed."""
    name = full_name(job)
    failed = condition(job, "Failed")
    if failed.get("status") == "True" and failed.get("reason") in _FINAL:
        return Verdict(failed=True, reasons=[f"[{failed['reason']}] {failed.get('message', '')}"])
    if at(job, "status", "startTime") is None:
        return Verdict(status=f'Waiting for Job "{name}" to start')
    if condition(job, "Complete").get("status") == "True":
        return Verdict(ready=True)
    active, succeeded, bad = (number(job, "status", field) for field in ("active", "succeeded", "failed"))
    return Verdict(
        status=f'Waiting for Job "{name}" to succeed (Active: {active} | Succeeded: {succeeded} | Failed: {bad})'
    )


class JobAwaiter(Awaiter):
    """A Job, with the errors of its pods along the way: the pods may be gone when it fails."""

    def __init__(self, obj: Object, last: Object | None = None) -> None:
        super().__init__(obj, last)
        self._pod_reasons: dict[str, None] = {}

    def feeds(self) -> list[Feed]:
        name = at(self.first, "metadata", "name")
        return [Feed("pods", "v1", "Pod", f"batch.kubernetes.io/job-name={name}")]

    def observe(self, feed: str, obj: Object) -> None:
        if owned_by(obj, self.first):
            self._pod_reasons |= dict.fromkeys(pod_verdict(obj).reasons)

    def judge(self, obj: Object, related: Mapping[str, list[Object]]) -> Verdict:
        verdict = job_verdict(obj)
        return Verdict(verdict.ready, verdict.failed, verdict.status, [*self._pod_reasons, *verdict.reasons])
