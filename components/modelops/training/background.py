"""A run that `pulumi up` doesn't wait for: what the updates after it know of it.

The run's watch writes into the report's ConfigMap which run trains, which one was published last, and which one failed.
Each plan reads that before anything is made: the version stays the last published one until a run is, and a run that
failed gets another Job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from modelops.core.validation import Problems
from modelops.kubernetes.run_report import RunReport, outputs_of
from modelops.training.args import Backend, TrainingJobArgs
from modelops.training.job_spec import is_awaited
from modelops.training.watch import is_watched

TRAINING, PUBLISHED = "training", "run_id"
FAILED, FAILED_JOB, FAILURE = "failed", "failed_job", "failure"
"""Entries of the report that the watch writes: identities of runs, a Job's name, a reason. `run_id` the publisher
writes too, with what belongs to it."""
_AFTER = "modelops.dev/after"


def check_wait(problems: Problems, args: Any) -> None:
    """The rules of `wait`: something has to see the run end."""
    if is_awaited(args):
        return
    if "sweep" in args:
        problems.add("wait", False, "must not be given with sweep, whose best run is registered once all are done")
    elif args.get("backend", Backend.JOB) is not Backend.JOB:
        problems.add("wait", False, "must not be given with a backend other than job")
    elif not is_watched(args):
        problems.add(
            "wait",
            False,
            "needs the watch, which sees the run end: it must not be given with watch false, "
            "nor with a publisher.command but no runtime_image",
        )


class Background:
    """What is recorded of the runs of one TrainingJob, as a plan finds it."""

    def __init__(self, report: RunReport, args: TrainingJobArgs, run_id: pulumi.Output[str]) -> None:
        self._recorded = report.recorded()
        self._run_id = run_id
        both = pulumi.Output.all(self._recorded, run_id)
        self.version: pulumi.Output[str] = self._recorded.apply(_version)
        """`run-<run_id>` of the last published run; empty if there is none."""
        self.model_uri: pulumi.Output[str] = pulumi.Output.all(self.version, args["model_name"]).apply(
            lambda known: f"models:/{known[1]}@{known[0]}" if known[0] else ""
        )
        self.published: pulumi.Output[str] = self._recorded.apply(lambda record: record.get(PUBLISHED, ""))
        self.annotations: pulumi.Output[dict[str, str] | None] = both.apply(lambda known: _after(*known))
        """Annotations of the run's pods: another Job follows one that failed."""

    def outputs(self, tracking_url: pulumi.Input[str]) -> tuple[pulumi.Output[Mapping[str, float]], pulumi.Output[str]]:
        """Metrics and page of the last published run."""
        return outputs_of(self._recorded, self.published, tracking_url)

    def announce(self, component: pulumi.Resource) -> None:
        """Says what becomes of the run, in a plan and in an update."""

        def say(known: list[Any]) -> None:
            text, is_failure = told(*known)
            if text:
                (pulumi.log.warn if is_failure else pulumi.log.info)(text, component)

        pulumi.Output.all(self._recorded, self._run_id).apply(say)


def told(record: Mapping[str, str], run_id: str) -> tuple[str, bool]:
    """What to say about the run `run_id`, and whether that is of a failure."""
    published, training = record.get(PUBLISHED, ""), record.get(TRAINING, "")
    version = f"run-{published} stays the version" if published else "no run is published yet"
    if record.get(FAILURE) and record.get(FAILED) == run_id:
        return f"run {run_id} failed, and a new Job runs it again; {version}. {record[FAILURE]}", True
    stops = f"; run {training}, which hasn't ended, is stopped" if training not in ("", run_id) else ""
    if published != run_id:
        return f"training run {run_id}; {version}{stops}", False
    return f"run {run_id} is published{stops}" if stops else "", False


def _version(record: Mapping[str, str]) -> str:
    return f"run-{record[PUBLISHED]}" if record.get(PUBLISHED) else ""


def _after(record: Mapping[str, str], run_id: str) -> dict[str, str] | None:
    """It stays while the run is the same, whatever became of the Job after it: that one is not to run again."""
    return {_AFTER: record[FAILED_JOB]} if record.get(FAILED) == run_id and FAILED_JOB in record else None
