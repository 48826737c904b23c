"""Shows the progress of a training, and of the data pipeline before it, while `pulumi up` waits for them.

    python -m modelops.training.progress --namespace models [--name training] [--context my-cluster]

Follows the newest run of a TrainingJob or DataPipeline in the namespace: the output of its (first) worker, epoch by
epoch, or the reason why it has not started. Waits for a run if there is none yet, and follows the replacement of an
interrupted pod; after prepared data, it goes on with the training that begins within a quarter of a minute. Exits when
the run ends: with 0 if it succeeded, 1 if it failed. Needs `kubectl`; changes nothing.

With `--state` it says at once how the newest run is doing: 0 if it succeeded, 1 if it failed, 3 if it goes on or there
is none. Of a training with `wait: false` the end is told once it is recorded: the next `pulumi up` knows it.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

PAUSE_SECONDS = 1.0
GOES_ON = 3
"""Exit code of `--state` for a run that has not ended."""
TRAINING_WITHIN_SECONDS = 15.0
"""How long after its data a training may begin and still be followed."""
RECORDED_WITHIN_SECONDS = 60.0
"""How long after its end a run's watch may take to record it."""
_NAME = "app.kubernetes.io/name"
_INSTANCE, _WAIT_FOR = "app.kubernetes.io/instance", "pulumi.com/waitFor"
_WATCH = "job-watch"
_DATA, _TRAINING = "data-pipeline", "training-job"
_SELECTOR = f"{_NAME} in ({_TRAINING},{_DATA})"
_INDEX = "batch.kubernetes.io/job-completion-index"

Object = dict[str, Any]


class Cluster:
    """A cluster, through kubectl."""

    def __init__(self, namespace: str, context: str | None) -> None:
        self._base = ["kubectl", "--namespace", namespace, *(["--context", context] if context else [])]

    def objects(self, kind: str, selector: str) -> list[Object]:
        """The objects that match the selector, oldest first. Raises SystemExit with kubectl's error."""
        command = [*self._base, "get", kind, "--selector", selector, "--output", "json"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(result.stderr.strip())
        items: list[Object] = json.loads(result.stdout)["items"]
        return sorted(items, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))

    def follow(self, pod: str, container: str) -> None:
        """Prints a container's log from the first line until the container ends."""
        command = [*self._base, "logs", "--follow", pod, "--container", container]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                _print(line.rstrip())


def main(arguments: Sequence[str] | None = None) -> int:
    """Follows a run to its end; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m modelops.training.progress", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--namespace", required=True, help="namespace of the runs")
    parser.add_argument("--name", help="name of the TrainingJob or DataPipeline; default: whichever ran last")
    parser.add_argument("--state", action="store_true", help="say how the newest run is doing, and don't wait")
    parser.add_argument("--context", help="context of the kubeconfig; default: its current one")
    options = parser.parse_args(arguments)
    selector = f"{_SELECTOR},app.kubernetes.io/instance={options.name}" if options.name else _SELECTOR
    cluster = Cluster(options.namespace, options.context)
    if options.state:
        return _report_state(cluster, cluster.objects("jobs", selector))
    followed: set[str] = set()
    last_line, last_running, began = "", 0.0, time.monotonic()
    while True:
        jobs = cluster.objects("jobs", selector)
        running = [job for job in jobs if ended(job) is None]
        if not jobs:
            last_line = _print_once("waiting for a run to start", last_line)
        elif running:
            last_line = _follow_next_pod(cluster, running[-1], followed, last_line)
            last_running = time.monotonic()
        elif time.monotonic() - max(began, last_running) < RECORDED_WITHIN_SECONDS and unrecorded(cluster, jobs[-1]):
            last_line = _print_once(f"{jobs[-1]['metadata']['name']}: has ended", last_line)
        elif options.name or not prepared(jobs[-1]) or time.monotonic() - last_running > TRAINING_WITHIN_SECONDS:
            return _report_end(jobs[-1])
        else:
            last_line = _print_once(f"{jobs[-1]['metadata']['name']}: done; waiting for a training", last_line)
        time.sleep(PAUSE_SECONDS)


def _follow_next_pod(cluster: Cluster, job: Object, followed: set[str], last_line: str) -> str:
    """Follows the Job's next pod to its end, or prints why it has not started. Returns the last status line."""
    name = job["metadata"]["name"]
    pods = [pod for pod in cluster.objects("pods", f"batch.kubernetes.io/job-name={name}") if is_followed(job, pod)]
    for pod in pods:
        pod_name = pod["metadata"]["name"]
        if pod_name in followed:
            if names := kept_by(job, pod):
                kept = f"{name}: {pod_name} has done its work; {', '.join(names)}, which was injected, goes on"
                last_line = _print_once(kept, last_line)
            continue
        if (reason := waiting_reason(pod)) is not None:
            return _print_once(f"{name}: {reason}", last_line)
        followed.add(pod_name)
        _print(f"{name}: {pod_name} is {'preparing data' if _is_data(pod) else 'training'}")
        cluster.follow(pod_name, _container(pod))
        return ""
    if not pods:
        return _print_once(f"{name}: suspended" if job["spec"].get("suspend") else f"{name}: no pod yet", last_line)
    return last_line


def is_followed(job: Object, pod: Object) -> bool:
    """Whether to follow a pod: of several workers only the first one, because all print the same or work for it."""
    several_workers = bool(job["spec"].get("successPolicy")) or _is_data(pod)
    return not several_workers or pod["metadata"].get("labels", {}).get(_INDEX, "0") == "0"


def prepared(job: Object) -> bool:
    """Whether it is a data pipeline's, and done: a training may follow."""
    return _is_data(job) and ended(job) == "Complete"


def _is_data(found: Object) -> bool:
    return bool(found["metadata"].get("labels", {}).get(_NAME) == _DATA)


def _container(pod: Object) -> str:
    return "prepare" if _is_data(pod) else "train"


def waiting_reason(pod: Object) -> str | None:
    """Why a pod has not started its work, or None if it has."""
    status = pod["status"]
    worker = [each for each in status.get("containerStatuses") or [] if each["name"] == _container(pod)]
    if worker and "waiting" not in worker[0]["state"]:
        return None
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"no node yet ({condition.get('message') or condition.get('reason')})"
    waiting = [
        each["state"]["waiting"] for each in status.get("initContainerStatuses") or [] if "waiting" in each["state"]
    ]
    waiting += [each["state"]["waiting"] for each in worker]
    reasons = [f"{each.get('reason')}: {each.get('message', '')}".rstrip(": ") for each in waiting]
    return f"starting ({'; '.join(reasons) or status['phase']})"


def kept_by(job: Object, pod: Object) -> list[str]:
    """The injected containers that keep a pod whose own have ended: Kubernetes waits for them too."""
    own = {each["name"] for each in job["spec"]["template"]["spec"]["containers"]}
    running = {
        each["name"] for each in pod["status"].get("containerStatuses") or [] if "terminated" not in each["state"]
    }
    return [] if running & own else sorted(running)


def ended(job: Object) -> str | None:
    """`Complete` or `Failed`; None for a Job that has not ended."""
    for condition in job.get("status", {}).get("conditions") or []:
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return str(condition["type"])
    return None


def unrecorded(cluster: Cluster, job: Object) -> bool:
    """Whether the run's watch has yet to record its end for `pulumi up` (`wait: false`)."""
    labels = job["metadata"].get("labels", {})
    if job["metadata"].get("annotations", {}).get(_WAIT_FOR) is None or _is_data(job):
        return False
    watches = cluster.objects("jobs", f"{_NAME}={_WATCH},{_INSTANCE}={labels.get(_INSTANCE)}")
    return any(ended(watch) is None for watch in watches)


def _report_state(cluster: Cluster, jobs: list[Object]) -> int:
    if not jobs:
        _print("there is no run")
        return GOES_ON
    if ended(jobs[-1]) is None or unrecorded(cluster, jobs[-1]):
        suspended = jobs[-1]["spec"].get("suspend") and ended(jobs[-1]) is None
        _print(f"{jobs[-1]['metadata']['name']}: {'suspended' if suspended else 'goes on'}")
        return GOES_ON
    return _report_end(jobs[-1])


def _report_end(job: Object) -> int:
    name = job["metadata"]["name"]
    if ended(job) == "Complete":
        _print(f"{name}: done")
        return 0
    messages = [each.get("message", "") for each in job["status"]["conditions"] if each["type"] == "Failed"]
    _print(f"{name}: failed ({' '.join(messages)})")
    return 1


def _print_once(text: str, last_line: str) -> str:
    if text != last_line:
        _print(text)
    return text


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
