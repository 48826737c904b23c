"""Shows how far a training is, while `pulumi up` waits for it.

    python -m modelops.training.progress --namespace models [--name training] [--context my-cluster]

Follows the newest run of a TrainingJob in the namespace: what its (first) worker says, epoch by epoch, and what keeps
it from starting. Begun before there is a training, it waits for one. Goes on with the pod that takes an interrupted
one's place. Ends with the run: 0 when it is done, 1 when it has failed. Needs `kubectl`; changes nothing.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

PAUSE_SECONDS = 1.0
_SELECTOR = "app.kubernetes.io/name=training-job"
_INDEX = "batch.kubernetes.io/job-completion-index"

Object = dict[str, Any]


class Cluster:
    """What is asked of a cluster."""

    def __init__(self, namespace: str, context: str | None) -> None:
        self._base = ["kubectl", "--namespace", namespace, *(["--context", context] if context else [])]

    def objects(self, kind: str, selector: str) -> list[Object]:
        """The objects with these labels, oldest first. Raises SystemExit with kubectl's own words."""
        command = [*self._base, "get", kind, "--selector", selector, "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr.strip())
        found: list[Object] = json.loads(done.stdout)["items"]
        return sorted(found, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))

    def follow(self, pod: str, container: str, prefix: str) -> None:
        """Prints what a container says, from its first line until it ends."""
        command = [*self._base, "logs", "--follow", pod, "--container", container]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                _say(prefix + line.rstrip())


def main(arguments: Sequence[str] | None = None) -> int:
    """Follows a run to its end; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m modelops.training.progress", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--namespace", required=True, help="namespace of the TrainingJob")
    parser.add_argument("--name", help="name of the TrainingJob; default: whichever ran last")
    parser.add_argument("--context", help="context of the kubeconfig; default: its current one")
    given = parser.parse_args(arguments)
    selector = f"{_SELECTOR},app.kubernetes.io/instance={given.name}" if given.name else _SELECTOR
    cluster = Cluster(given.namespace, given.context)
    seen: set[str] = set()
    last = ""
    while True:
        jobs = cluster.objects("jobs", selector)
        running = [job for job in jobs if ended(job) is None]
        if not jobs:
            last = _say_once("waiting for a training to start", last)
        elif not running:
            return _end(jobs[-1])
        else:
            last = _look(cluster, running[-1], seen, last)
        time.sleep(PAUSE_SECONDS)


def _look(cluster: Cluster, job: Object, seen: set[str], last: str) -> str:
    """Follows the pods that are new, one after the other; returns what was said last of one that has not begun."""
    name = job["metadata"]["name"]
    pods = [pod for pod in cluster.objects("pods", f"batch.kubernetes.io/job-name={name}") if counts(job, pod)]
    for pod in pods:
        identity = pod["metadata"]["name"]
        if identity in seen:
            continue
        if (reason := waits_for(pod)) is not None:
            return _say_once(f"{name}: {reason}", last)
        seen.add(identity)
        _say(f"{name}: {identity} is training")
        cluster.follow(identity, "train", "")
        return ""
    if not pods:
        return _say_once(f"{name}: suspended" if job["spec"].get("suspend") else f"{name}: no pod yet", last)
    return last


def counts(job: Object, pod: Object) -> bool:
    """Whether a pod says something of its own: of several workers all say the same, so the first one is enough."""
    several_workers = bool(job["spec"].get("successPolicy"))
    return not several_workers or pod["metadata"].get("labels", {}).get(_INDEX) == "0"


def waits_for(pod: Object) -> str | None:
    """Why a pod does not train yet; None when it does, or did."""
    status = pod["status"]
    train = [each for each in status.get("containerStatuses") or [] if each["name"] == "train"]
    if train and "waiting" not in train[0]["state"]:
        return None
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"no node yet ({condition.get('message') or condition.get('reason')})"
    waiting = [
        each["state"]["waiting"] for each in status.get("initContainerStatuses") or [] if "waiting" in each["state"]
    ]
    waiting += [each["state"]["waiting"] for each in train]
    reasons = [f"{each.get('reason')}: {each.get('message', '')}".rstrip(": ") for each in waiting]
    return f"starting ({'; '.join(reasons) or status['phase']})"


def ended(job: Object) -> str | None:
    """`Complete` or `Failed`; None for a Job that goes on."""
    for condition in job.get("status", {}).get("conditions") or []:
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return str(condition["type"])
    return None


def _end(job: Object) -> int:
    name, how = job["metadata"]["name"], ended(job)
    if how == "Complete":
        _say(f"{name}: done")
        return 0
    messages = [each.get("message", "") for each in job["status"]["conditions"] if each["type"] == "Failed"]
    _say(f"{name}: failed ({' '.join(messages)})")
    return 1


def _say_once(text: str, last: str) -> str:
    if text != last:
        _say(text)
    return text


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
