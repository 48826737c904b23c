"""Posting: against a real HTTP server on this machine that keeps comments and issues as GitHub and GitLab do."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from preview_comment import main
from tests.forge import BOT, TOKEN, Forge, serving

HERE = Path(__file__).parent


@pytest.fixture
def fake_host() -> Forge:
    return Forge()


@pytest.fixture
def address(fake_host: Forge) -> Iterator[str]:
    with serving(fake_host) as address:
        yield address


@pytest.fixture(params=["github", "gitlab"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def post(kind: str, address: str) -> Callable[..., int]:
    environment = {
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_REPOSITORY": "team/app",
        "GITHUB_REF": "refs/pull/7/merge",
        "GITHUB_API_URL": address,
        "GITLAB_TOKEN": TOKEN,
        "CI_PROJECT_ID": "team/app",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_API_V4_URL": address,
    }

    def run(name: str, *more: str, **changed: str) -> int:
        return main([str(HERE / "previews" / f"{name}.json"), "--post", kind, *more], {**environment, **changed})

    return run


def test_one_comment_is_made_and_then_updated_in_place(
    fake_host: Forge, post: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [post(name) for name in ("create", "retrain", "retrain")] == [0, 0, 0]
    assert capsys.readouterr().out.split("\n") == ["comment created", "comment updated", "comment unchanged", ""]
    [note] = fake_host.notes
    assert "trains 1 run" in note["body"]
    assert set(fake_host.tokens) == {TOKEN}


def test_its_comment_is_found_behind_hundreds_of_others(fake_host: Forge, post: Callable[..., int]) -> None:
    fake_host.notes = [{"id": n, "user": {"login": "somebody"}, "body": f"word {n}"} for n in range(1, 251)]
    assert [post("create"), post("retrain")] == [0, 0]
    assert len(fake_host.notes) == 251


def test_a_comment_of_somebody_else_with_its_marker_is_left_alone(fake_host: Forge, post: Callable[..., int]) -> None:
    fake_host.notes = [{"id": 1, "user": {"login": "mallory"}, "body": "<!-- preview-comment:preview --> mine"}]
    assert post("create") == 0
    assert fake_host.notes[0]["body"].endswith("mine") and len(fake_host.notes) == 2


def test_two_keys_are_two_comments(fake_host: Forge, post: Callable[..., int]) -> None:
    assert [post("create"), post("create", "--key", "other"), post("create")] == [0, 0, 0]
    assert len(fake_host.notes) == 2


def test_drift_keeps_one_issue_and_closes_it_when_it_is_gone(
    kind: str, fake_host: Forge, post: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    opened = "open" if kind == "github" else "opened"
    assert post("unchanged", "--drift") == 0
    assert fake_host.issues == []
    assert post("drift", "--drift") == 0
    fake_host.issues[0]["state"] = opened
    assert [post("drift", "--drift"), post("unchanged", "--drift")] == [0, 0]
    assert capsys.readouterr().out.split("\n")[:4] == [
        "issue nothing to report",
        "issue opened",
        "issue unchanged",
        "issue closed",
    ]
    [issue] = fake_host.issues
    assert issue["title"] == "Drift" and issue["state"] == "closed"


def test_a_busy_host_is_asked_again(
    fake_host: Forge, post: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    fake_host.failures = [(503, {}), (429, {"Retry-After": "7"})]
    assert post("create") == 0
    assert waited == [1, 7] and len(fake_host.notes) == 1


def test_a_comment_that_may_have_been_taken_is_not_sent_twice(
    fake_host: Forge, post: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = fake_host.answer

    def flaky(method: str, path: str, *rest: Any) -> tuple[int, Any]:
        status, answer = taken(method, path, *rest)
        return (502, {}) if method == "POST" and path != "/graphql" else (status, answer)

    monkeypatch.setattr(fake_host, "answer", flaky)
    assert post("create") == 3
    assert len(fake_host.notes) == 1


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (401, {}, "the token is not valid"),
        (403, {}, "`pull-requests: write`"),
        (404, {}, "no such project or number"),
        (302, {"Location": "http://127.0.0.1:1/"}, "the host redirects"),
    ],
)
def test_a_refusal_says_what_to_do_and_never_the_token(
    status: int,
    headers: dict[str, str],
    message: str,
    fake_host: Forge,
    post: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_host.failures = [(status, headers)]
    assert post("create") == 3
    said = capsys.readouterr().err
    assert message in said and TOKEN not in said
    assert len(fake_host.requests) == 1


def test_a_host_out_of_reach_is_named(
    post: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert post("create", "--api", "http://127.0.0.1:1") == 3
    assert "http://127.0.0.1:1 is out of reach" in capsys.readouterr().err


def test_a_token_is_never_sent_in_clear(post: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert post("create", "--api", "http://fake_host.example.com") == 2
    assert "must be https://" in capsys.readouterr().err


def test_outside_of_a_pull_request_a_number_is_asked_for(
    kind: str, post: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert post("create", GITHUB_REF="refs/heads/main", CI_MERGE_REQUEST_IID="") == 2
    assert "--number is missing" in capsys.readouterr().err
    assert post("create", "--number", "7", GITHUB_REF="refs/heads/main", CI_MERGE_REQUEST_IID="") == 0


def test_whatever_the_tokens_account_is_called_its_comment_and_its_issue_are_found_again(
    fake_host: Forge, post: Callable[..., int]
) -> None:
    for owner in ("jenkins-of-the-team", "deployer[bot]"):
        fake_host.owners = {TOKEN: owner}
        assert [post("create"), post("retrain"), post("drift", "--drift"), post("drift", "--drift")] == [0] * 4
    assert len(fake_host.notes) == len(fake_host.issues) == 2  # one of each account


def test_a_host_that_does_not_say_whose_token_it_is_asks_for_the_author(
    kind: str,
    fake_host: Forge,
    post: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answered = fake_host.answer
    quiet = {"/graphql": (200, {"errors": [{"message": "no"}]}), "/user": (200, {})}
    monkeypatch.setattr(
        fake_host, "answer", lambda method, path, *rest: quiet.get(path) or answered(method, path, *rest)
    )
    assert post("create") == 3 and "--author" in capsys.readouterr().err
    assert post("create", "--author", BOT) == 0


def test_an_exhausted_rate_limit_is_waited_for(
    fake_host: Forge, post: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    reset = str(int(time.time()) + 20)
    fake_host.failures = [(403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset})]
    assert post("create") == 0
    assert 10 < waited[0] <= 20 and len(fake_host.notes) == 1


def test_jenkins_variables_name_project_and_pull_request(fake_host: Forge, address: str, tmp_path: Path) -> None:
    preview = str(HERE / "previews" / "create.json")
    jenkins = {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": address}
    pull_request = {"CHANGE_URL": "https://github.com/team/app/pull/7", "CHANGE_ID": "7"}
    assert main([preview, "--post", "github"], {**jenkins, **pull_request}) == 0
    for checkout in ("https://github.com/team/app.git", "git@github.com:team/app.git", "https://github.com/team/app"):
        assert main([preview, "--post", "github", "--drift"], {**jenkins, "GIT_URL": checkout}) == 0
    assert len(fake_host.notes) == len(fake_host.issues) == 1


def test_a_comment_is_joined_from_parts_without_the_previews(
    kind: str, fake_host: Forge, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks = {"dev": "retrain", "staging": "unchanged", "prod": "moved"}
    for stack, name in stacks.items():
        preview = f"{stack}={HERE / 'previews' / name}.json"
        assert main([preview, "--save", str(tmp_path / stack)], {}) == 0
    environment = {
        **{"GITHUB_TOKEN": TOKEN, "GITHUB_REPOSITORY": "team/app", "GITHUB_REF": "refs/pull/7/merge"},
        **{"GITLAB_TOKEN": TOKEN, "CI_PROJECT_ID": "team/app", "CI_MERGE_REQUEST_IID": "7"},
        **{"GITHUB_API_URL": address, "CI_API_V4_URL": address},
    }
    parts = [argument for stack in stacks for argument in ("--part", str(tmp_path / stack))]
    assert main(["--post", kind, *parts], environment) == 0
    assert main(["--post", kind, *parts], environment) == 0
    [note] = fake_host.notes
    lines = note["body"].splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("- **")][:3] == [f"- **{s}**" for s in stacks]
    assert "### Risks" in lines and "comment unchanged" in capsys.readouterr().out


def test_parts_that_do_not_fit_into_a_comment_are_counted(fake_host: Forge, address: str, tmp_path: Path) -> None:
    names = [f"stack{number}" for number in range(9)]
    for name in names:
        details = f"details of {name} " + "x" * 16_000
        text = json.dumps({"stack": name, "changed": True, "summary": f"- **{name}**: changed", "details": details})
        (tmp_path / name).write_text(text)
    environment = {"GITHUB_TOKEN": TOKEN, "GITHUB_REPOSITORY": "team/app", "GITHUB_REF": "refs/pull/7/merge"}
    parts = [argument for name in names for argument in ("--part", str(tmp_path / name))]
    assert main(["--post", "github", *parts], {**environment, "GITHUB_API_URL": address}) == 0
    [note] = fake_host.notes
    assert all(f"- **{name}**" in note["body"] for name in names)
    assert note["body"].count("details of") == 4 and "5 further blocks do not fit" in note["body"]


def test_what_is_no_part_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").write_text('{"stack": "dev"}')
    assert main(["--part", str(tmp_path / "other")], {}) == 2
    assert f"{tmp_path / 'other'} is not a part" in capsys.readouterr().err


def test_a_part_is_made_of_one_preview(capsys: pytest.CaptureFixture[str]) -> None:
    previews = [f"{stack}={HERE / 'previews' / 'create.json'}" for stack in ("dev", "prod")]
    assert main([*previews, "--save", "unused"], {}) == 2
    assert "--save takes one preview, 2 are given" in capsys.readouterr().err
