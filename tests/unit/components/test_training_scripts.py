"""The shell scripts of the training pod, run by a real shell: the two meet at a pipe."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from modelops.training.pod import scripts


class Pod:
    """Both containers of a training pod, on a folder in place of the shared volume."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, name: str, *command: str, **variables: str) -> "subprocess.Popen[str]":
        tmp = self.folder / f"tmp-{name}"
        tmp.mkdir(exist_ok=True)
        script = scripts()[f"{name}.sh"]
        environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(tmp),
            "MODELOPS_WORK": str(self.folder),
            "MODELOPS_FOLDER": str(self.folder),
            "MODELOPS_WORKERS": "1",
            "MODELOPS_FRAMEWORK": "tensorflow",
            "MODELOPS_JOB_NAME": "demo-1a2b",
            "MODELOPS_SERVICE": "demo",
            "MODELOPS_PUBLISH_PAUSE_SECONDS": "0.1",
            **variables,
        }
        arguments = ["/bin/sh", "-c", script, name, *command]
        return subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=self.folder
        )


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    folder = tmp_path / "shared"
    folder.mkdir()
    return Pod(folder)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out.strip(), err.strip()


def test_a_training_that_ends_well_is_published(pod: Pod) -> None:
    publish = pod.start("publish", "echo", "published")
    train = pod.start("train", "sh", "-c", f"test -d {pod.folder}/output && echo trained")
    assert finish(train) == (0, "trained", "")
    assert finish(publish) == (0, "published", "")


def test_the_order_of_the_containers_does_not_matter(pod: Pod) -> None:
    train = pod.start("train", "true")
    time.sleep(0.2)
    publish = pod.start("publish", "echo", "published")
    assert finish(train)[0] == 0
    assert finish(publish)[:2] == (0, "published")


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_failed_training_is_not_published_and_keeps_its_exit_code(pod: Pod, code: int) -> None:
    publish = pod.start("publish", "echo", "published")
    train = pod.start("train", "sh", "-c", f"exit {code}")
    assert finish(train)[0] == code
    assert finish(publish) == (code, "", f"training failed (exit code {code}): publishing skipped")


def test_a_killed_training_is_not_published(pod: Pod) -> None:
    publish = pod.start("publish", "echo", "published")
    train = pod.start("train", "sleep", "30")
    time.sleep(0.3)
    train.kill()
    code, out, err = finish(publish)
    assert (code, out) == (1, "")
    assert "it was killed" in err


def test_sigterm_reaches_the_training_which_may_write_its_checkpoint(pod: Pod) -> None:
    publish = pod.start("publish", "echo", "published")
    train = pod.start(
        "train", "sh", "-c", "trap 'sleep 0.3; echo checkpoint; exit 143' TERM; echo up; while :; do sleep 0.05; done"
    )
    assert train.stdout is not None
    assert train.stdout.readline() == "up\n"
    train.send_signal(signal.SIGTERM)
    assert finish(train)[:2] == (143, "checkpoint")
    assert finish(publish)[0] == 143


def test_a_waiting_publisher_stops_when_told_to(pod: Pod) -> None:
    publish = pod.start("publish", "echo", "published")
    train = pod.start("train", "sleep", "30")
    time.sleep(0.3)
    publish.send_signal(signal.SIGTERM)
    # Not `finish`: the reader of the pipe outlives its shell here, with the same stderr; in a pod it ends with it.
    assert publish.wait(timeout=30) == 143
    train.send_signal(signal.SIGTERM)
    train.wait(timeout=30)


def variables_of(pod: Pod, **given: str) -> dict[str, str]:
    """What a worker other than the first sees; nobody publishes beside it."""
    code, out, err = finish(pod.start("train", "env", JOB_COMPLETION_INDEX="2", MODELOPS_WORKERS="3", **given))
    assert (code, err) == (0, "")
    return dict(line.split("=", 1) for line in out.splitlines())


HOSTS = ["demo-1a2b-0.demo", "demo-1a2b-1.demo", "demo-1a2b-2.demo"]


@pytest.mark.parametrize("framework", ["tensorflow", "pytorch", "mxnet"])
def test_every_worker_knows_its_peers(pod: Pod, framework: str) -> None:
    found = variables_of(pod, MODELOPS_FRAMEWORK=framework)
    assert found["MODELOPS_WORKERS"] == "3"
    assert found["MODELOPS_WORKER_INDEX"] == "2"
    assert found["MODELOPS_WORKER_HOSTS"].split(",") == HOSTS


def test_tensorflow_gets_its_cluster_and_task(pod: Pod) -> None:
    assert json.loads(variables_of(pod)["TF_CONFIG"]) == {
        "cluster": {"worker": [f"{host}:2222" for host in HOSTS]},
        "task": {"type": "worker", "index": 2},
    }


def test_pytorch_gets_ranks_and_what_torchrun_asks_for(pod: Pod) -> None:
    found = variables_of(pod, MODELOPS_FRAMEWORK="pytorch")
    assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == (HOSTS[0], "29500")
    assert (found["WORLD_SIZE"], found["RANK"], found["LOCAL_RANK"]) == ("3", "2", "0")
    assert (found["PET_NNODES"], found["PET_NODE_RANK"], found["PET_NPROC_PER_NODE"]) == ("3", "2", "1")
    assert (found["PET_MASTER_ADDR"], found["PET_MASTER_PORT"]) == (HOSTS[0], "29500")


def test_with_several_processes_a_worker_torchrun_gives_the_ranks(pod: Pod) -> None:
    found = variables_of(pod, MODELOPS_FRAMEWORK="pytorch", MODELOPS_PROCESSES_PER_WORKER="8")
    assert found["PET_NPROC_PER_NODE"] == "8"
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & found.keys()


def test_mxnet_gets_a_server_on_every_worker_and_a_scheduler_on_the_first(tmp_path: Path) -> None:
    expected = {"0": ["scheduler", "server", "worker"], "1": ["server", "worker"]}
    command = ("sh", "-c", "echo $DMLC_ROLE >>roles; [ $DMLC_ROLE = worker ] && sleep 1 || sleep 20")
    started = []
    for index in expected:
        (tmp_path / index).mkdir()
        pod = Pod(tmp_path / index)
        worker = {"MODELOPS_WORKERS": "2", "JOB_COMPLETION_INDEX": index, "MODELOPS_FRAMEWORK": "mxnet"}
        started += [pod.start("publish", "true", **worker), pod.start("train", *command, **worker)]
    assert [process.wait(timeout=30) for process in started] == [0, 0, 0, 0]
    assert {index: sorted((tmp_path / index / "roles").read_text().split()) for index in expected} == expected


def test_one_worker_alone_gets_no_rendezvous(pod: Pod) -> None:
    publish = pod.start("publish", "true")
    found = finish(pod.start("train", "env"))[1]
    finish(publish)
    assert "MODELOPS_WORKER_HOSTS=localhost" in found
    assert not [name for name in ("TF_CONFIG", "MASTER_ADDR", "DMLC_") if name in found]


def test_only_the_first_worker_publishes_and_the_others_wait_for_nobody(pod: Pod) -> None:
    others = {"MODELOPS_WORKERS": "2", "JOB_COMPLETION_INDEX": "1"}
    assert finish(pod.start("publish", "echo", "published", **others)) == (0, "", "")
    code, out, _ = finish(pod.start("train", "sh", "-c", "echo $MODELOPS_OUTPUT_DIR", **others))
    assert (code, out) == (0, f"{pod.folder}/output")


def test_each_run_of_a_sweep_has_its_own_parameters_and_folders(pod: Pod) -> None:
    sweep = {
        "MODELOPS_SWEEP_RUNS": "2",
        "JOB_COMPLETION_INDEX": "1",
        "MODELOPS_PARAMETERS_0": '{"a":1}',
        "MODELOPS_PARAMETERS_1": '{"a":2, "text":"it\'s $HOME"}',
    }
    command = ("sh", "-c", 'echo "$MODELOPS_SWEEP_INDEX $MODELOPS_PARAMETERS $MODELOPS_OUTPUT_DIR"')
    publish = pod.start("publish", *command, **sweep)
    expected = '1 {"a":2, "text":"it\'s $HOME"} ' + f"{pod.folder}/1/output"
    assert finish(pod.start("train", *command, **sweep))[1] == expected
    assert finish(publish)[1] == expected


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        ("train", 0),
        ("published in the registry as run-1", 0),
        ("1 no registry", 1),
        ("2 not let in", 2),
        ("alone done", 4),
    ],
)
def test_the_verdict_before_the_training_is_kept_to(pod: Pod, verdict: str, code: int) -> None:
    (pod.folder / "checked").write_text(verdict + "\n")
    publish = pod.start("publish", "echo", "published")
    train = pod.start("train", "echo", "trained")
    found, out, err = finish(train)
    assert found == code
    assert (out == "trained") is (verdict == "train")
    assert ("training skipped" in out + err) is (verdict != "train")
    assert finish(publish)[:2] == (code, "published" if code == 0 else "")


def test_what_the_lost_worker_left_trained_is_published_without_the_others(pod: Pod) -> None:
    (pod.folder / "checked").write_text("alone the others are done\n")
    (pod.folder / "trained").touch()
    publish = pod.start("publish", "echo", "published")
    assert finish(pod.start("train", "echo", "trained"))[0] == 0
    assert finish(publish)[:2] == (0, "published")


def test_another_lost_worker_does_not_end_the_first_one_that_publishes(pod: Pod) -> None:
    (pod.folder / "checked").write_text("alone the others are done\n")
    train = pod.start("train", "echo", "trained", MODELOPS_WORKERS="3", JOB_COMPLETION_INDEX="1")
    assert finish(train)[0] == 0


def test_what_was_trained_already_is_only_published(pod: Pod) -> None:
    def once() -> tuple[str, int]:
        publish = pod.start("publish", "false", MODELOPS_PUBLISH_RETRIES="0")
        said = finish(pod.start("train", "echo", "trained"))[1]
        return said, finish(publish)[0]

    assert once() == ("trained", 1)
    again, code = once()
    assert again.startswith("already trained")
    assert code == 1


def test_a_publishing_that_fails_is_tried_again_where_the_model_is(pod: Pod) -> None:
    script = f"echo >>{pod.folder}/tries; [ $(wc -l <{pod.folder}/tries) = 3 ]"
    publish = pod.start("publish", "sh", "-c", script, MODELOPS_PUBLISH_RETRIES="2")
    finish(pod.start("train", "true"))
    assert finish(publish)[0] == 0
    assert (pod.folder / "tries").read_text() == "\n" * 3


@pytest.mark.parametrize("code", [2, 3])
def test_a_final_end_of_publishing_is_not_tried_again(pod: Pod, code: int) -> None:
    script = f"echo >>{pod.folder}/tries; exit {code}"
    publish = pod.start("publish", "sh", "-c", script, MODELOPS_PUBLISH_RETRIES="2")
    finish(pod.start("train", "true"))
    assert finish(publish)[0] == code
    assert (pod.folder / "tries").read_text() == "\n"


def test_a_publishing_that_failed_beside_workers_that_are_done_is_final(pod: Pod) -> None:
    several = {"MODELOPS_WORKERS": "2", "JOB_COMPLETION_INDEX": "0"}
    publish = pod.start("publish", "false", **several)
    finish(pod.start("train", "true", **several))
    assert finish(publish)[0] == 4


@pytest.mark.parametrize("delete", ["true", "false"])
def test_a_published_runs_checkpoints_go_unless_they_are_to_stay(pod: Pod, delete: str) -> None:
    kept = pod.folder / "kept"
    variables = {"MODELOPS_FOLDER": str(kept), "MODELOPS_DELETE_CHECKPOINTS": delete}
    publish = pod.start("publish", "true", **variables)
    finish(pod.start("train", "sh", "-c", "echo 1 >$MODELOPS_CHECKPOINT_DIR/last", **variables))
    assert finish(publish)[0] == 0
    assert kept.exists() is (delete == "false")
