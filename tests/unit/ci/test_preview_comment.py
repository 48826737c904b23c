"""The comment on a pull request, from real previews of this project's dev stack (see trim.py for how they are kept).

`UPDATE_GOLDEN=1 pytest tests/unit/ci` writes the comments anew, to be looked at before they are committed.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from preview_comment import main
from previews import reading, render
from previews.reading import Preview, PreviewError, Violation
from previews.scrub import Scrubber

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
NAMES = sorted(path.stem for path in (HERE / "previews").glob("*.json"))


def preview(name: str) -> Preview:
    return reading.read_file(HERE / "previews" / f"{name}.json")


def document(*steps: dict, **more: object) -> str:
    return json.dumps({"steps": list(steps), **more})


def step(op: str, kind: str, name: str = "thing", old: dict | None = None, new: dict | None = None, **more) -> dict:
    states = {"oldState": old, "newState": new}
    sides = {side: {"custom": True, "inputs": inputs} for side, inputs in states.items() if inputs is not None}
    return {"op": op, "urn": f"urn:pulumi:dev::app::kubernetes:{kind}::{name}", **sides, **more}


def comment(*steps: dict, host: str = "github", **more: object) -> str:
    return render.render([reading.read(document(*steps), source="preview.json")], host, **more)


@pytest.mark.parametrize("host", ["github", "text"])
@pytest.mark.parametrize("name", NAMES)
def test_a_real_preview_gives_the_known_comment(name: str, host: str) -> None:
    golden = HERE / "comments" / f"{name}.{'md' if host == 'github' else 'txt'}"
    body = render.render([preview(name)], host)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(body)
    assert body == golden.read_text()


def test_gitlab_gets_the_same_markdown_as_github() -> None:
    assert render.render([preview("moved")], "gitlab") == render.render([preview("moved")], "github")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("create", "dev: builds 2 images (serve, train), trains 1 run (training), creates 39"),
        ("unchanged", "dev: nothing changes (50 resources)"),
        (
            "retrain",
            "dev: trains 1 run (training), rolls 2 workloads (model, monitoring-prometheus), replaces 2, changes 1",
        ),
        ("moved", "dev: trains 1 run (training), replaces 28, deletes 7, creates 2, changes 1"),
        ("failed", "dev: the preview failed"),
        ("drift", "dev: drift: 1 changed (model), 1 gone (model)"),
    ],
)
def test_one_line_says_what_will_be_built_trained_rolled_replaced_and_deleted(name: str, line: str) -> None:
    assert line in render.render([preview(name)], "text").splitlines()[2]


def test_the_order_of_parallel_steps_and_messages_changes_no_byte() -> None:
    raw = json.loads((HERE / "previews" / "moved.json").read_text())
    expected = render.render([preview("moved")], "github")
    for seed in range(5):
        random.Random(seed).shuffle(raw["steps"])
        random.Random(seed).shuffle(raw["diagnostics"])
        raw["duration"] = seed
        assert render.render([reading.read(json.dumps(raw), source="shuffled")], "github") == expected


def test_lost_data_comes_before_traffic_and_traffic_before_jobs() -> None:
    body = render.render([preview("moved")], "text")
    order = [body.index(word) for word in ("data dev:", "traffic dev:", "job dev:", "workload dev:", "access dev:")]
    assert order == sorted(order)
    assert body.index("access dev:") < body.index("replace Deployment")


def test_risks_of_all_stacks_are_sorted_together() -> None:
    first = reading.read(document(step("delete", "core/v1:Service", old={})), source="a", stack="dev")
    second = reading.read(document(step("delete", "core/v1:PersistentVolumeClaim", old={})), source="b", stack="prod")
    body = render.render([first, second], "text")
    assert body.index("data prod:") < body.index("traffic dev:")


def test_a_policy_violation_is_the_first_risk(tmp_path: Path) -> None:
    events = [
        {"preludeEvent": {}},
        {"policyEvent": {"resourceUrn": "urn:pulumi:dev::p::t::web", "policyName": "limits", "message": "set limits"}},
        {
            "policyEvent": {
                "resourceUrn": "urn:pulumi:dev::p::t::web",
                "policyName": "digest-only",
                "message": "a tag may move",
                "enforcementLevel": "mandatory",
            }
        },
    ]
    (tmp_path / "events").write_text("\n".join(json.dumps(event) for event in events))
    found = reading.read_violations(tmp_path / "events")
    assert found == (
        Violation("mandatory", "digest-only", "web", "a tag may move"),
        Violation("advisory", "limits", "web", "set limits"),
    )
    body = render.render([Preview("dev", preview("moved").steps, violations=found)], "text")
    assert "- policy dev: mandatory policy digest-only on web: a tag may move" in body
    assert body.index("digest-only") < body.index("limits") < body.index("data dev:")


@pytest.mark.parametrize(
    ("changed", "risk"),
    [
        (step("delete", "core/v1:PersistentVolumeClaim", old={}), "data dev: PersistentVolumeClaim thing is deleted"),
        (step("replace", "apps/v1:StatefulSet", old={}, new={}), "data dev: StatefulSet thing is replaced"),
        (step("replace", "core/v1:Service", old={}, new={}), "traffic dev: Service thing is replaced"),
        (step("replace", "batch/v1:Job", old={}, new={}), "job dev: Job thing is replaced: its pods stop"),
        (
            step("update", "core/v1:Service", old={"spec": {"a": 1}}, new={"spec": {"a": 2}}),
            "traffic dev: Service thing moves traffic (spec.a)",
        ),
        (
            step("update", "apps/v1:Deployment", old={"spec": {"replicas": 3}}, new={"spec": {"replicas": 1}}),
            "traffic dev: Deployment thing goes from 3 to 1 replicas",
        ),
        (
            step("update", "rbac/v1:ClusterRole", old={"rules": 1}, new={"rules": 2}),
            "access dev: ClusterRole thing changes (rules)",
        ),
    ],
)
def test_what_can_hurt_is_a_risk(changed: dict, risk: str) -> None:
    assert risk in comment(changed, host="text")


def test_a_new_model_behind_a_service_is_a_move_of_traffic() -> None:
    assert "traffic dev: Deployment model serves models:/linear@run-22906ac4343e instead of" in render.render(
        [preview("retrain")], "text"
    )


def test_a_promotion_is_told_in_the_summary() -> None:
    urn = "urn:pulumi:prod::app::modelops:index:ModelPromotion$kubernetes:batch/v1:Job::promotion"
    job = {"op": "create", "urn": urn, "newState": {"custom": True, "inputs": {}}}
    assert "prod: promotes 1 version (promotion), creates 1" in render.render(
        [reading.read(document(job), source="preview.json")], "text"
    )


def changed_job(
    component: str,
    changes: dict[str, str],
    container: str = "publish",
    annotations: dict[str, str] | None = None,
    **state: object,
) -> Preview:
    """A Job of a component with one container, before and after its variables change."""
    variables = {"MODELOPS_GATE": '{"mse":{"max":0.1}}', "MODELOPS_RUN_ID": "6bd0786f1707"}

    def job(values: dict[str, str]) -> dict:
        env = [{"name": name, "value": value} for name, value in values.items()]
        metadata = {"annotations": annotations or {}}
        return {"metadata": metadata, "spec": {"template": {"spec": {"containers": [{"name": container, "env": env}]}}}}

    step = {
        "op": "replace",
        "urn": f"urn:pulumi:dev::app::modelops:index:{component}$kubernetes:batch/v1:Job::training",
        "oldState": {"custom": True, "inputs": job(variables), **state},
        "newState": {"custom": True, "inputs": job({**variables, **changes})},
    }
    return reading.read(document(step), source="preview.json")


def test_the_watch_of_a_training_trains_and_judges_nothing() -> None:
    body = render.render([changed_job("TrainingJob", {}, container="watch")], "text")
    assert "trains" not in body and "judges" not in body


TIGHTER = {"MODELOPS_GATE": '{"mse":{"max":0.01}}'}


@pytest.mark.parametrize("component", ["TrainingJob", "ModelPromotion"])
def test_a_change_of_the_gate_alone_judges_and_neither_trains_nor_promotes(component: str) -> None:
    body = render.render([changed_job(component, TIGHTER)], "text")
    assert "dev: judges 1 run (training), replaces 1" in body
    assert "job dev: Job training is replaced: its gate judges the published run, nothing is trained" in body
    assert "MODELOPS_GATE.value" in body
    first = render.render([changed_job(component, {"MODELOPS_FIRST_VERSION": "true"})], "text")
    assert "judges 1 run (training)" in first


@pytest.mark.parametrize(
    "variable",
    ["MODELOPS_RUN_ID", "MODELOPS_MODEL_NAME", "MLFLOW_TRACKING_URI"],
)
def test_another_run_model_or_registry_trains_whatever_becomes_of_the_gate(variable: str) -> None:
    body = render.render([changed_job("TrainingJob", {**TIGHTER, variable: "other"})], "text")
    assert "trains 1 run (training)" in body and "judges" not in body


def test_a_run_whose_job_failed_trains_when_its_gate_is_loosened_and_a_sweep_is_judged() -> None:
    body = render.render([changed_job("TrainingJob", TIGHTER, initErrors=["the Job failed"])], "text")
    assert "trains 1 run (training)" in body and "judges" not in body
    body = render.render([changed_job("TrainingJob", TIGHTER, "select", initErrors=["the Job failed"])], "text")
    assert "judges 1 run (training)" in body and "trains" not in body


def test_a_run_for_which_nobody_waits_trains_in_the_background() -> None:
    unawaited = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
    body = render.render([changed_job("TrainingJob", {"MODELOPS_RUN_ID": "other"}, annotations=unawaited)], "text")
    assert "dev: trains in the background 1 run (training), replaces 1" in body
    assert "the version stays until an `up` after it is published" in body
    body = render.render([changed_job("TrainingJob", TIGHTER, annotations=unawaited)], "text")
    assert "judges 1 run (training)" in body and "trains" not in body


def test_weights_of_a_route_are_a_move_of_traffic() -> None:
    old, new = ({"spec": {"rules": [{"backendRefs": [{"name": "a", "weight": w}]}]}} for w in (100, 90))
    body = comment(step("update", "gateway.networking.k8s.io/v1:HTTPRoute", old=old, new=new), host="text")
    assert "traffic dev: HTTPRoute thing moves traffic (spec.rules.0.backendRefs.a.weight)" in body


def test_a_protected_resource_says_that_the_update_fails() -> None:
    deleted = step("delete", "core/v1:PersistentVolumeClaim", old={})
    deleted["oldState"]["protect"] = True
    assert "is protected: deleting it makes the update fail" in comment(deleted, host="text")


def test_both_halves_of_a_replacement_count_once() -> None:
    halves = [
        step(op, "core/v1:Service", old={}, new={}) for op in ("create-replacement", "replace", "delete-replaced")
    ]
    assert "replaces 1\n" in comment(*halves, host="text")


# --- Secrets

PLANTED = "planted-s3cret"


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("core/v1:Secret", {"data": {"a": PLANTED}}),
        ("core/v1:Secret", {"stringData": {"a": PLANTED}}),
        ("core/v1:ConfigMap", {"data": {"db_password": PLANTED}}),
        ("core/v1:ConfigMap", {"data": {"conf": f"user: a\npassword: {PLANTED}\n"}}),
        ("core/v1:ConfigMap", {"data": {"conf": f'{{"api_key":"{PLANTED}"}}'}}),
        ("core/v1:ConfigMap", {"data": {"uri": f"postgres://user:{PLANTED}@host/db"}}),
        ("core/v1:ConfigMap", {"data": {"header": f"Authorization: Bearer {PLANTED}"}}),
        ("core/v1:Pod", {"spec": {"containers": [{"name": "c", "env": [{"name": "API_TOKEN", "value": PLANTED}]}]}}),
        (
            "core/v1:Pod",
            {"spec": {"containers": [{"env": [{"name": "DB_PASSWORD", "value": PLANTED}, {"name": "A"}]}]}},
        ),
        ("core/v1:Pod", {"list": [[{"name": "API_TOKEN", "value": PLANTED}]]}),
        (
            "core/v1:ConfigMap",
            {"data": {"pem": f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}\n-----END RSA PRIVATE KEY-----"}},
        ),
    ],
)
def test_a_secret_is_never_shown(kind: str, inputs: dict) -> None:
    before = json.loads(json.dumps(inputs).replace(PLANTED, "other-s3cret"))
    for old, new in ((before, inputs), ({}, inputs), (inputs, {})):
        body = comment(step("update", kind, old=old, new=new))
        assert PLANTED not in body and "other-s3cret" not in body
        assert "[secret]" in body


@pytest.mark.parametrize(
    "token",
    [
        "ghp_" + "a1" * 18,
        "glpat-" + "a1" * 10,
        "AKIA" + "A1" * 8,
        "pul-" + "ab" * 20,
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2lnbmVk",
    ],
)
def test_well_known_tokens_are_hidden_anywhere(token: str) -> None:
    assert token not in Scrubber().text(f"failed with {token} in the address")


def test_values_of_named_variables_are_hidden(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    error = {"severity": "error", "message": f"error: can't log in with {PLANTED}"}
    (tmp_path / "p.json").write_text(document(diagnostics=[error]))
    given = [f"dev={tmp_path / 'p.json'}", "--scrub-env", "MINE"]
    assert main(given, {"MINE": PLANTED}) == 0
    assert "can't log in with [secret]" in capsys.readouterr().out


def test_a_reference_to_a_secret_stays_readable() -> None:
    old, new = ({"spec": {"secretName": name}} for name in ("first", "second"))
    assert "+ spec.secretName: second" in comment(step("update", "core/v1:Pod", old=old, new=new))


def test_a_change_of_something_hidden_on_both_sides_is_told() -> None:
    old = new = {"data": "[secret]"}
    changed = step("replace", "core/v1:Secret", old=old, new=new, detailedDiff={"data.key": {"kind": "update"}})
    assert "  data.key: [secret] changed" in comment(changed)


# --- Form and size


def test_texts_of_others_are_no_markup_and_mention_nobody() -> None:
    error = {"severity": "error", "message": "```\n@everyone <script>"}
    body = render.render([reading.read(document(diagnostics=[error]), source="p", stack="a@b<i>")], "github")
    assert "**a&#64;b&#60;i>**" in body
    assert "\n````\na@b<i>: ```\n@everyone <script>\n````\n" in body  # a code block mentions nobody


@pytest.mark.parametrize("limit", [1000, 3000, 10_000, 65_536])
@pytest.mark.parametrize("name", NAMES)
def test_a_comment_keeps_its_limit_and_is_whole(name: str, limit: int) -> None:
    body = render.render([preview(name)], "github", limit=limit)
    assert len(body.encode()) <= limit
    assert body.count("<details>") == body.count("</details>")
    assert body.count("```") % 2 == 0


def test_what_does_not_fit_is_counted_and_the_risky_diffs_stay() -> None:
    big = "ä" * 100
    steps = [
        step("update", "core/v1:ConfigMap", f"map-{n}", {"data": {"a": "x"}}, {"data": {"a": big}}) for n in range(300)
    ]
    steps.append(step("replace", "core/v1:Service", "front", {"spec": {"type": "A"}}, {"spec": {"type": "B"}}))
    body = comment(*steps, limit=10_000)
    assert "replace Service front" in body
    shown = body.count("<summary>")
    assert f"{301 - shown} further blocks do not fit" in body


def test_the_hosts_limits_are_theirs() -> None:
    assert render.LIMITS["github"] == 65_536 and render.LIMITS["gitlab"] == 1_000_000


# --- The command


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: the preview ended before it wrote JSON"),
        ("error: no stack", "is not JSON"),
        ("[]", "is not a preview"),
        ("{}", "is not a preview"),
        ('{"steps": 1}', "`steps` is int, must be a list"),
        ('{"steps": [{"op": "update", "urn": "x"}]}', "steps[0]: urn is 'x', must be urn:pulumi:"),
        ('{"steps": [{}]}', "steps[0] has no `op`"),
        ('{"steps": []}', "names no stack, must be given as NAME="),
        ('{"steps": [], "diagnostics": ["x"]}', "names no stack"),
    ],
)
def test_bad_input_says_what_is_wrong_with_it(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.json").write_text(text)
    assert main([str(tmp_path / "p.json")], {}) == 2
    said = capsys.readouterr()
    assert message in said.err and said.out == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no preview given"),
        (["nowhere.json"], "nowhere.json can't be read"),
        (["--failed", "prod"], "--failed is 'prod', must be STACK=FILE"),
        (["--limit", "10"], "--limit is 10, must be at least 1000"),
        (["PREVIEW", "PREVIEW"], "the stack 'dev' is given twice"),
        (["PREVIEW", "--events", "prod=x"], "there is no preview of 'prod'"),
        (["PREVIEW", "--post", "github"], "GITHUB_TOKEN is not set"),
    ],
)
def test_bad_arguments_say_the_rule(given: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    real = str(HERE / "previews" / "unchanged.json")
    assert main([real if part == "PREVIEW" else part for part in given], {}) == 2
    assert message in capsys.readouterr().err


def test_a_preview_without_json_shows_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text("error: no such stack\n")
    assert main([str(HERE / "previews" / "unchanged.json"), "--failed", f"prod={tmp_path / 'log'}"], {}) == 0
    shown = capsys.readouterr().out
    assert "prod: the preview failed" in shown and "prod: error: no such stack" in shown


def test_it_is_a_script_that_needs_nothing_installed() -> None:
    command = [sys.executable, "-E", "-s", "-S", str(REPOSITORY / "ci" / "preview_comment.py")]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, env={})
    assert done.returncode == 0 and "GITHUB_TOKEN" in done.stdout and "Exit codes" in done.stdout
    piped = (HERE / "previews" / "unchanged.json").read_text()
    done = subprocess.run([*command, "-"], input=piped, capture_output=True, text=True, env={})
    assert "nothing changes" in done.stdout, done.stderr


def test_an_unreadable_diagnostic_is_an_error() -> None:
    with pytest.raises(PreviewError, match="a diagnostic is str, must be an object"):
        reading.read('{"steps": [], "diagnostics": ["x"]}', source="p", stack="dev")
