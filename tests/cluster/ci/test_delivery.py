"""From a pull request to prod on GitHub's workflows, run by `act` against the cluster, a Git server and a forge."""

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.ci.github import Run
from tests.cluster.ci.teams import STACKS, Team
from tests.cluster.support import eventually, kubectl, objects

pytestmark = [pytest.mark.ci, pytest.mark.long]


def _pull_request(team: Team, sha: str, *, repository: str = "team/app") -> dict[str, Any]:
    head = {"sha": sha, "ref": "change", "repo": {"full_name": repository}}
    own = {"full_name": "team/app", "name": "app", "owner": {"login": "team"}, "default_branch": "main"}
    request = {"number": 7, "head": head, "base": {"ref": "main", "repo": own}}
    return {"action": "synchronize", "number": 7, "pull_request": request, "repository": own}


class Delivery:
    """A run of `deliver` that goes on beside the test until somebody approves."""

    def __init__(self, team: Team, folder: Path) -> None:
        self.folder = folder
        self._ended: list[Run] = []
        payload = {"ref": "refs/heads/main", "after": team.copy.git("rev-parse", "HEAD")}
        run = team.github.run
        self._thread = threading.Thread(target=lambda: self._ended.append(run("deliver", "push", payload, folder)))
        self._thread.start()

    def wait_for_the_plan(self) -> None:
        plan = self.folder / "artifacts" / "plan-prod" / "id"
        eventually(lambda: plan.exists() or not self._thread.is_alive(), 400)
        assert plan.exists(), self._ended[0].log

    def approve(self) -> Run:
        (self.folder / "approval").touch()
        return self.ended()

    def ended(self) -> Run:
        self._thread.join()
        return self._ended[0]


def test_from_a_pull_request_to_prod_and_drift(team: Team) -> None:
    # A fork's pull request is tested, and that is all.
    team.write("release.txt", "2\n")
    sha = team.copy.push("change", "release 2")
    fork = _pull_request(team, sha, repository="fork/app")
    run = team.github.run("pull-request", "pull_request", fork, team.folder / "fork")
    assert run.status == 0 and run.jobs == {"check": True}, run.log
    assert team.forge.notes == []

    # One of the team's is previewed for every stack, in one comment.
    run = team.github.run("pull-request", "pull_request", _pull_request(team, sha), team.folder / "own")
    assert run.status == 0, run.log
    assert set(run.jobs) == {"check", "preview-1", "preview-2", "preview-3", "comment"}
    [note] = team.forge.notes
    for stack in STACKS:
        assert f"- **{stack}**: creates 3" in note["body"]
    assert "advisory policy public-tls" in note["body"].replace("\\", "")
    assert not any(team.deployed(stack) for stack in STACKS)

    # Merged, it goes to dev and staging, and its plan waits for approval.
    team.copy.push("main", "release 2, merged", amend=True)
    delivery = Delivery(team, team.folder / "deliver")
    delivery.wait_for_the_plan()
    assert team.release("dev") == team.release("staging") == "2" and not team.deployed("prod")
    run = delivery.approve()
    assert run.status == 0 and all(run.jobs.values()), run.log
    assert team.release("prod") == "2"

    # Somebody scales a Deployment by hand, and takes it back.
    for replicas, state in ((2, "open"), (1, "closed")):
        kubectl("scale", "deployment/answers", f"--replicas={replicas}", "--namespace", team.namespaces["prod"])
        run = team.github.run("drift", "workflow_dispatch", {}, team.folder / f"drift-{state}")
        assert run.status == 0, run.log
        [issue] = team.forge.issues
        assert issue["state"] == state
    assert "- **prod**" in issue["body"]


# What follows needs no runner: the steps themselves, on a stack that is up.


@pytest.fixture
def dev(team: Team) -> Team:
    """The team, with its stack `dev` up."""
    done = team.step("setup")
    assert done.returncode == 0, done.stdout + done.stderr
    done = team.step("up", "dev")
    assert done.returncode == 0, done.stdout + done.stderr
    return team


def test_an_approved_plan_is_refused_after_somebody_elses_update(dev: Team) -> None:
    dev.write("release.txt", "planned\n")
    assert dev.step("plan", "dev").returncode == 0
    plan = (dev.copy.folder / ".ci" / "plans" / "dev" / "id").read_text().strip()
    before = dev.release("dev")
    # The program is another one than the plan's: the engine refuses.
    dev.write("release.txt", "not planned\n")
    done = dev.step("apply", "dev", plan)
    assert done.returncode != 0 and "violates plan" in done.stdout + done.stderr
    assert dev.release("dev") == before
    # The state is another one than the plan's: the step refuses.
    assert dev.step("up", "dev").returncode == 0
    dev.write("release.txt", "planned\n")
    done = dev.step("apply", "dev", plan)
    assert done.returncode == 2 and "the stack was updated after the plan was made" in done.stderr
    assert dev.release("dev") == "not planned"


def test_drift_says_nothing_while_an_update_runs(dev: Team) -> None:
    # Pods of an image that can't be pulled: the update waits for them.
    dev.pulumi("config", "set", "team:image", "registry.invalid/none@sha256:" + "0" * 64, "--stack", "dev")
    update = threading.Thread(target=dev.step, args=("up", "dev"), kwargs={"POLICY_PACK": "", "SMOKE_OUTPUT": ""})
    update.start()
    try:
        eventually(lambda: _pods(dev) == 2, 120)
        done = dev.step("drift", "dev")
        assert done.returncode == 0 and done.stdout == "dev: not compared, an update is running\n", done.stderr
        assert dev.step("comment", "drift", "text").stdout.startswith("nothing is reported")
    finally:
        [good] = {found["image"] for found in _containers(dev)} - {"registry.invalid/none@sha256:" + "0" * 64}
        kubectl("set", "image", "deployment/answers", f"answers={good}", "--namespace", dev.namespaces["dev"])
        update.join()


def _containers(team: Team) -> list[dict[str, Any]]:
    pods = objects("pods", team.namespaces["dev"])
    return [container for pod in pods for container in pod["spec"]["containers"]]


def _pods(team: Team) -> int:
    return len(_containers(team))
