"""The templates' shell steps, really run: with a `pulumi` that says what a real one said, and a real HTTP server."""

import datetime
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]

_PULUMI = """#!/bin/sh
echo "$PULUMI_DEBUG_COMMANDS $*" >>"$CALLS"
all=$*
while [ $# -gt 0 ]; do
    case $1 in
    preview | refresh | up | stack | version | login) [ -n "$command" ] || command=$1 ;;
    --stack) stack=$2 ;;
    --event-log) : >"$2" ;;
    --save-plan) echo "the operations of $stack" >"$2" ;;
    --plan) cat "$2" >"$APPLIED" ;;
    esac
    shift
done
case $command-$stack in
version-) echo "v$VERSION" ;;
up-* | login-*) exit 0 ;;
stack-*) case $all in *export*) cat "$STATE" ;; *) echo "$URL" ;; esac ;;
refresh-*) cat "$RECORDED/drift.json"; [ -z "$MEANWHILE" ] || cp "$MEANWHILE" "$STATE" ;;
preview-dev) cat "$RECORDED/retrain.json" ;;
preview-staging) cat "$RECORDED/failed.json"; exit 255 ;;
*) echo "error: no stack named '$stack' found" >&2; exit 1 ;;
esac
"""
_CLOUD = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$*" in
*assume-role*) echo "key-id secret-key session" ;;
*print*|*get-login-password*) echo registry-password ;;
*password-stdin*) cat >/dev/null ;;
esac
"""
Step = Callable[..., subprocess.CompletedProcess[str]]


def _state(*, hours: float = 0, pending: int = 0) -> str:
    """What `pulumi stack export` prints of a stack that was last saved so long ago."""
    saved = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=hours)
    manifest = {"time": saved.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")}
    return json.dumps({"deployment": {"manifest": manifest, "pending_operations": [{}] * pending}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository as far as the steps need one."""
    shutil.copytree(REPOSITORY / "ci", tmp_path / "ci", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tools").mkdir()
    for name, text in (("pulumi", _PULUMI), *((name, _CLOUD) for name in ("aws", "az", "gcloud", "kubectl", "docker"))):
        (tmp_path / "tools" / name).write_text(text)
        (tmp_path / "tools" / name).chmod(0o755)
    (tmp_path / "tools" / "kubelogin").symlink_to("az")
    (tmp_path / "state").write_text(_state())
    for command in (("init", "--quiet"), ("commit", "--quiet", "--allow-empty", "--message", "first")):
        subprocess.run(["git", *_WHO, *command], cwd=tmp_path, check=True)
    return tmp_path


_WHO = ("-c", "user.name=team", "-c", "user.email=team@example.com")


@pytest.fixture
def step(folder: Path) -> Step:
    def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        known = {
            "PATH": f"{folder / 'tools'}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": "file://nowhere",
            "PULUMI_CONFIG_PASSPHRASE": "passphrase-of-the-stack",
            "RECORDED": str(HERE / "previews"),
            "CALLS": str(folder / "calls"),
            "STATE": str(folder / "state"),
            "APPLIED": str(folder / "applied"),
            **{"POLICY_PACK": "", "SMOKE_OUTPUT": "", "BUILDER": ""},
        }
        command = [str(folder / "ci" / "steps" / f"{name}.sh"), *arguments]
        return subprocess.run(command, env={**known, **environment}, capture_output=True, text=True, cwd="/")

    return run


def _calls(folder: Path, program: str = "pulumi") -> list[str]:
    lines = [line.strip().removeprefix("true ") for line in (folder / "calls").read_text().splitlines()]
    own = ("aws", "az", "gcloud", "kubectl", "docker", "kubelogin")
    return [line for line in lines if (line.split()[0] in own) == (program != "pulumi")]


def test_each_stack_is_previewed_on_its_own_and_one_comment_reports_all(folder: Path, step: Step) -> None:
    done = {stack: step("preview", stack) for stack in ("dev", "staging", "prod")}
    assert [each.returncode for each in done.values()] == [0, 1, 1]
    assert done["prod"].stderr == "prod: the preview failed\n"
    said = step("comment", "preview", "text")
    assert said.returncode == 0, said.stderr
    assert "- **dev**: trains 1 run" in said.stdout
    assert "- **staging**: the preview failed" in said.stdout and "modelops:model.framework" in said.stdout
    assert "- **prod**: the preview failed" in said.stdout and "no stack named 'prod' found" in said.stdout
    assert "true preview --json" in (folder / "calls").read_text()


def test_without_any_part_there_is_no_comment(step: Step) -> None:
    said = step("comment", "preview", "github", GITHUB_TOKEN="unused")
    assert said.returncode == 0 and "nothing is reported" in said.stdout


@pytest.mark.parametrize("name", ["preview", "up", "plan"])
def test_policies_are_handed_to_whatever_the_engine_judges(name: str, folder: Path, step: Step) -> None:
    assert step(name, "dev", POLICY_PACK="policies", POLICY_CONFIG="levels.json").returncode == 0
    [call] = [call for call in _calls(folder) if call.startswith(("preview", "up"))]
    assert "--policy-pack policies --policy-pack-config levels.json" in call


def test_the_installed_command_writes_the_comment_where_there_is_one(folder: Path, step: Step) -> None:
    command = folder / "tools" / "modelops-preview-comment"
    command.write_text('#!/bin/sh\necho "installed: $*"\n')
    command.chmod(0o755)
    assert step("preview", "dev").stdout.startswith("installed: ")


def test_an_update_asks_nothing_and_previews_first_so_that_policies_judge_the_stack_before_it_changes(
    folder: Path, step: Step
) -> None:
    assert step("up", "prod").returncode == 0
    assert _calls(folder) == ["up --yes --non-interactive --stack prod"]


def test_a_builder_is_made_once_for_whoever_builds(folder: Path, step: Step) -> None:
    inspect = '#!/bin/sh\necho "docker $*" >>"$CALLS"\n[ "$2" != inspect ] || [ -e "$STATE.builder" ]\n'
    (folder / "tools" / "docker").write_text(inspect)
    assert step("up", "dev", BUILDER="kubernetes", BUILDER_OPTIONS="--driver-opt namespace=ci").returncode == 0
    expected = "docker buildx create --name ci --driver kubernetes --use --driver-opt namespace=ci"
    assert _calls(folder, "docker")[-1] == expected
    (folder / "state.builder").touch()
    assert step("up", "dev", BUILDER="kubernetes").returncode == 0
    assert _calls(folder, "docker")[-1] == "docker buildx inspect ci"


# A plan is approved and applied.


def _plan(folder: Path, step: Step) -> str:
    said = step("plan", "dev")
    assert said.returncode == 0, said.stderr
    return (folder / ".ci" / "plans" / "dev" / "id").read_text().strip()


def test_what_was_approved_is_what_is_applied_and_nobody_reads_it_on_its_way(folder: Path, step: Step) -> None:
    plan = _plan(folder, step)
    kept = folder / ".ci" / "plans" / "dev"
    assert b"operations" not in b"".join(path.read_bytes() for path in kept.iterdir())
    assert not (folder / ".ci" / "dev-plan").exists()
    said = step("apply", "dev", plan)
    assert said.returncode == 0, said.stderr
    assert (folder / "applied").read_text() == "the operations of dev\n"
    assert not (folder / ".ci" / "dev-plan").exists()


def _another_state(folder: Path) -> None:
    (folder / "state").write_text(_state(hours=-1))


def _another_commit(folder: Path) -> None:
    command = ["git", *_WHO, "commit", "--quiet", "--allow-empty", "--message", "second"]
    subprocess.run(command, cwd=folder, check=True)


def _another_plan(folder: Path) -> None:
    path = folder / ".ci" / "plans" / "dev" / "plan"
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (_another_state, "the stack was updated after the plan was made"),
        (_another_commit, "the plan is for another commit"),
        (_another_plan, "this is not the plan that was approved"),
    ],
)
def test_a_plan_is_refused_when_the_world_has_moved(
    move: Callable[[Path], None], message: str, folder: Path, step: Step
) -> None:
    plan = _plan(folder, step)
    move(folder)
    said = step("apply", "dev", plan)
    assert said.returncode == 2 and message in said.stderr and "run the delivery again" in said.stderr
    assert not [call for call in _calls(folder) if call.startswith("up")]


def test_a_plan_of_a_failed_preview_is_none(folder: Path, step: Step) -> None:
    assert step("plan", "staging").returncode == 1
    assert not (folder / ".ci" / "plans" / "staging" / "id").exists()


def test_a_plan_needs_a_key(step: Step) -> None:
    said = step("plan", "dev", PULUMI_CONFIG_PASSPHRASE="")
    assert said.returncode == 2 and "PLAN_KEY is not set" in said.stderr


def test_on_github_the_summary_shows_the_plan_to_the_reviewer(folder: Path, step: Step) -> None:
    outputs, summary = folder / "outputs", folder / "summary"
    assert step("plan", "dev", GITHUB_OUTPUT=str(outputs), GITHUB_STEP_SUMMARY=str(summary)).returncode == 0
    assert outputs.read_text() == f"plan={(folder / '.ci' / 'plans' / 'dev' / 'id').read_text()}"
    assert "What would change in dev" in summary.read_text() and "trains 1 run" in summary.read_text()


# Drift.


def test_drift_of_all_stacks_is_one_report(folder: Path, step: Step) -> None:
    for stack in ("dev", "prod"):
        assert step("drift", stack).returncode == 0
    said = step("comment", "drift", "text")
    assert said.returncode == 0 and said.stdout.count("drift: 1 changed (model), 1 gone (model)") == 2
    assert any(call.startswith("refresh --preview-only") for call in _calls(folder))


@pytest.mark.parametrize("when", ["it has begun", "it ends meanwhile"])
def test_while_an_update_runs_nothing_is_reported(when: str, folder: Path, step: Step) -> None:
    assert step("drift", "dev").returncode == 0
    (folder / "meanwhile").write_text(_state(hours=-1))
    more = {"MEANWHILE": str(folder / "meanwhile")} if when == "it ends meanwhile" else {}
    if not more:
        (folder / "state").write_text(_state(pending=1))
    said = step("drift", "prod", **more)
    assert said.returncode == 0 and said.stdout == "prod: not compared, an update is running\n"
    said = step("comment", "drift", "text")
    assert said.returncode == 0 and said.stdout.startswith("nothing is reported")


def test_an_update_that_was_interrupted_hours_ago_is_reported(folder: Path, step: Step) -> None:
    (folder / "state").write_text(_state(hours=7, pending=1))
    assert step("drift", "prod").returncode == 0
    said = step("comment", "drift", "text")
    assert "an update was interrupted" in said.stdout


# Logins.


@pytest.mark.parametrize("name", ["preview", "plan", "up", "apply", "smoke", "drift"])
def test_a_missing_back_end_is_named(name: str, step: Step) -> None:
    said = step(name, "dev", "id", PULUMI_BACKEND_URL="", SMOKE_OUTPUT="url")
    assert said.returncode == 2 and "PULUMI_BACKEND_URL is not set" in said.stderr


def test_pulumi_cloud_needs_no_back_end(step: Step) -> None:
    assert step("up", "dev", PULUMI_BACKEND_URL="", PULUMI_ACCESS_TOKEN="pul-token").returncode == 0


_CLUSTERS = {
    "eks/eu-central-1/ml": ["aws eks update-kubeconfig --region eu-central-1 --name ml --alias dev"],
    "gke/project/europe-west3/ml": [
        "gcloud container clusters get-credentials ml --project project --location europe-west3",
        "kubectl config rename-context gke_project_europe-west3_ml dev",
    ],
    "aks/group/ml": [
        "az aks get-credentials --resource-group group --name ml --context dev --overwrite-existing",
        "kubelogin convert-kubeconfig -l azurecli",
    ],
}


@pytest.mark.parametrize("cluster", _CLUSTERS)
def test_the_clouds_cli_writes_a_kubeconfig_whose_context_has_the_stacks_name(
    cluster: str, folder: Path, step: Step
) -> None:
    assert step("up", "dev", CLUSTER=cluster).returncode == 0
    assert _calls(folder, "cloud") == _CLUSTERS[cluster]


def test_an_unknown_cluster_is_named(step: Step) -> None:
    said = step("up", "dev", CLUSTER="ml")
    assert said.returncode == 2 and "CLUSTER is 'ml', must be eks/REGION/NAME" in said.stderr


def test_a_kubeconfig_from_a_secret_is_a_file_of_the_jobs_own(folder: Path, step: Step) -> None:
    assert step("up", "dev", KUBECONFIG_DATA="kind: Config").returncode == 0
    assert (folder / ".ci" / "kubeconfig").read_text() == "kind: Config\n"
    assert (folder / ".ci").stat().st_mode & 0o077 == 0


_IDENTITIES = {
    "aws": {"AWS_ROLE_ARN": "arn:aws:iam::1:role/dev"},
    "gcloud": {"GCP_PROVIDER": "projects/1/providers/ci", "GCP_SERVICE_ACCOUNT": "dev@project"},
    "az": {"AZURE_CLIENT_ID": "client", "AZURE_TENANT_ID": "tenant"},
    "pulumi": {"PULUMI_ORGANIZATION": "team"},
}
_FIRST = {
    "aws": "aws sts assume-role-with-web-identity --role-arn arn:aws:iam::1:role/dev --role-session-name ci-dev",
    "gcloud": "gcloud iam workload-identity-pools create-cred-config projects/1/providers/ci",
    "az": "az login --output none --service-principal --username client --tenant tenant --federated-token",
    "pulumi": "login --oidc-token file://",
}


@pytest.mark.parametrize("cloud", _IDENTITIES)
def test_the_jobs_identity_is_exchanged_for_the_clouds_credentials(cloud: str, folder: Path, step: Step) -> None:
    said = step("up", "dev", OIDC_TOKEN="the.jobs.token", **_IDENTITIES[cloud])
    assert said.returncode == 0, said.stderr
    assert _calls(folder, cloud)[0].startswith(_FIRST[cloud])


@pytest.mark.parametrize(
    ("registry", "call"),
    [
        (
            "1.dkr.ecr.eu-west-1.amazonaws.com/ml",
            "docker login --username AWS --password-stdin 1.dkr.ecr.eu-west-1.amazonaws.com",
        ),
        ("europe-docker.pkg.dev/project/ml", "gcloud auth configure-docker --quiet europe-docker.pkg.dev"),
        ("team.azurecr.io", "az acr login --name team"),
        ("registry.example.com/ml", "docker login --username robot --password-stdin registry.example.com"),
    ],
)
def test_a_registry_is_logged_in_to_without_a_password_on_any_command_line(
    registry: str, call: str, folder: Path, step: Step
) -> None:
    password = {"IMAGE_REGISTRY_USERNAME": "robot", "IMAGE_REGISTRY_PASSWORD": "registry-password"}
    assert step("up", "dev", IMAGE_REGISTRY=registry, **password).returncode == 0
    assert call in _calls(folder, "cloud") and "registry-password" not in (folder / "calls").read_text()


def test_variables_that_are_empty_are_as_good_as_none(folder: Path, step: Step) -> None:
    (folder / "tools" / "pulumi").write_text('#!/bin/sh\nenv >>"$CALLS"\n')
    assert step("up", "dev", AWS_ACCESS_KEY_ID="", KUBECONFIG="").returncode == 0
    names = {line.partition("=")[0] for line in (folder / "calls").read_text().splitlines()}
    assert not {"AWS_ACCESS_KEY_ID", "KUBECONFIG"} & names


def test_a_change_is_checked_with_the_projects_own_command(folder: Path, step: Step) -> None:
    assert step("check", CHECK="echo tested").stdout == "tested\n"
    assert step("check", CHECK="false; echo later").returncode != 0


class _Service(BaseHTTPRequestHandler):
    answer: tuple[int, object] = (200, {"outputs": [2.0]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self.answer if "inputs" in asked else (422, {})
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("Handler", (_Service,), {"answer": getattr(request, "param", _Service.answer)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/predict"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_update_ends_with_a_test_prediction(service: str, step: Step) -> None:
    said = step("up", "dev", URL=service, SMOKE_OUTPUT="predict_url")
    assert said.returncode == 0 and '{"outputs": [2.0]}' in said.stdout, said.stderr


@pytest.mark.parametrize("service", [(200, {"error": "no model"}), (200, {"outputs": []})], indirect=True)
def test_an_update_fails_whose_service_has_no_outputs(service: str, step: Step) -> None:
    assert step("up", "dev", URL=service, SMOKE_OUTPUT="predict_url").returncode != 0


def _setup(folder: Path, step: Step, **more: str) -> subprocess.CompletedProcess[str]:
    """Sets up a project that needs no package, with a release of Pulumi in a folder for a mirror."""
    (folder / "requirements.txt").touch()
    (folder / "tools" / "pulumi").unlink()
    for name, text in (("pip", "exit 0"), ("python", "echo 3.999.0")):
        program = folder / ".venv" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    path = {"PATH": "/usr/bin:/bin"}
    return step("setup", **path, PULUMI_DOWNLOADS=f"file://{folder}", **more)


def test_pulumi_is_installed_once_in_the_version_that_the_program_asks_for(folder: Path, step: Step) -> None:
    archive = folder / f"pulumi-v3.999.0-linux-{'x64' if platform.machine() == 'x86_64' else 'arm64'}.tar.gz"
    content = b"#!/bin/sh\necho v3.999.0\n"
    with tarfile.open(archive, "w:gz") as made:
        entry = tarfile.TarInfo("pulumi/pulumi")
        entry.size, entry.mode = len(content), 0o755
        made.addfile(entry, io.BytesIO(content))
    wrong = _setup(folder, step, PULUMI_SHA256="0" * 64)
    assert wrong.returncode != 0 and not (folder / ".ci" / "cache" / "bin" / "pulumi").exists()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (folder / "tools" / "pulumi").touch()
    assert _setup(folder, step, PULUMI_SHA256=digest).stdout == "pulumi 3.999.0 installed\n"
    archive.unlink()
    (folder / "tools" / "pulumi").touch()
    assert _setup(folder, step).stdout == "pulumi 3.999.0 is already installed\n"


def test_the_policies_get_an_environment_of_their_own(folder: Path, step: Step) -> None:
    (folder / "pack").mkdir()
    (folder / "pack" / "requirements.txt").touch()
    done = _setup(folder, step, POLICY_PACK="pack")
    assert done.returncode != 0  # no release of Pulumi in the mirror
    program = folder / ".ci" / "cache" / "bin" / "pulumi"
    program.write_text("#!/bin/sh\necho v3.999.0\n")
    program.chmod(0o755)
    (folder / "tools" / "pulumi").touch()
    assert _setup(folder, step, POLICY_PACK="pack").returncode == 0
    assert (folder / "pack" / ".venv" / "bin" / "pip").exists()
