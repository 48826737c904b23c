"""No stack's state is lost: where it is, what encrypts it, and when `down` refuses."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from devkit import backend, cli, clusters, environment, toolchain
from devkit.errors import DevkitError
from devkit.paths import cache_root

ENCRYPTED = """\
config:
  modelops:elastic_password:
    secure: v1:XZH18Ntmu7zJBxpg:FZ2RIIQJ0AO0iu8Br3bqZh/4BVVBrWU84JLFGhU=
encryptionsalt: v1:ybY+c/Ger5o=:v1:PiBPdyizLz3J+x4B:ftXXR4eVHWX7XVXxaNiyCNLGcnu4MA==
"""
"""As `dev` is shipped: with the public passphrase."""
KEPT: list[clusters.Cluster] = [clusters.Kind(), clusters.Minikube(), clusters.Context("arn:aws:eks:eu:1:cluster/prod")]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which nothing is up and nobody is logged in."""
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("STATE", "CACHE", "STACKS"):
        monkeypatch.setenv(f"MODELOPS_{name}", str(tmp_path / name.lower()))
    project = tmp_path / "project"
    (project / "stacks").mkdir(parents=True)
    (project / "Pulumi.yaml").write_text("name: modelops\nruntime: python\nstackConfigDir: stacks\n")
    (project / "stacks" / "Pulumi.dev.yaml").write_text(ENCRYPTED)
    monkeypatch.setattr(backend, "REPOSITORY", project)
    return tmp_path


@pytest.fixture
def pulumi(monkeypatch: pytest.MonkeyPatch) -> str:
    """The real engine, where this machine has one."""
    built = toolchain.groups()["pulumi"]
    with monkeypatch.context() as patched:
        patched.delenv("MODELOPS_CACHE")
        patched.delenv("HOME")
        folder = cache_root() / "bin" / toolchain.identity(built)
    if (folder / "pulumi").exists():
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    elif not shutil.which("pulumi"):
        pytest.skip("no pulumi on this machine")
    return "pulumi"


def listed(folder: Path, monkeypatch: pytest.MonkeyPatch, stacks: dict[str, int]) -> None:
    """An engine that lists these stacks with their number of resources."""
    programs = folder / "state" / "bin"
    programs.mkdir(parents=True)
    answer = json.dumps([{"name": name, "resourceCount": count} for name, count in stacks.items()])
    (programs / "pulumi").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (programs / "pulumi").chmod(0o755)


def test_only_the_embedded_clusters_states_are_in_the_folder_that_down_removes(machine: Path) -> None:
    assert backend.of(clusters.Embedded()).url == f"file://{machine}/state/backend"
    for cluster in KEPT:
        assert backend.of(cluster).url.startswith(f"file://{machine}/stacks/")


def test_stacks_of_one_name_on_two_clusters_are_two_stacks() -> None:
    contexts: list[clusters.Cluster] = [clusters.Context("a/b"), clusters.Context("a-b")]
    assert len({backend.of(cluster).url for cluster in [*KEPT, *contexts]}) == 5


@pytest.mark.parametrize("cluster", KEPT, ids=lambda cluster: cluster.kind)
def test_a_kept_stack_never_has_the_public_passphrase(
    machine: Path, monkeypatch: pytest.MonkeyPatch, cluster: clusters.Cluster
) -> None:
    # As it is in a shell after `eval "$(python3 -m devkit env)"` for the embedded cluster.
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", backend.PUBLIC_PASSPHRASE)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{machine}/state/backend")
    backend.of(cluster).prepare()
    variables = environment.complete(cluster)
    assert "PULUMI_CONFIG_PASSPHRASE" not in variables
    assert "unset PULUMI_CONFIG_PASSPHRASE" in environment.export_lines(cluster).splitlines()
    file = Path(variables["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert len(file.read_text()) >= 32 and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert variables["PULUMI_BACKEND_URL"].startswith(f"file://{machine}/stacks/")


def test_a_generated_passphrase_stays(machine: Path) -> None:
    backend.of(clusters.Kind()).prepare()
    first = backend.passphrase_file().read_text()
    backend.of(clusters.Minikube()).prepare()
    assert backend.passphrase_file().read_text() == first


def test_a_passphrase_of_the_users_is_left_alone_and_none_is_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "theirs")
    for cluster in [*KEPT, clusters.Embedded()]:
        backend.of(cluster).prepare()
        variables = backend.of(cluster).variables()
        assert not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & variables.keys()
    assert not backend.passphrase_file().exists()


@pytest.mark.parametrize("cluster", [*KEPT, clusters.Embedded()], ids=lambda cluster: cluster.kind)
def test_a_back_end_of_the_users_is_taken_on_every_cluster(
    monkeypatch: pytest.MonkeyPatch, cluster: clusters.Cluster
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://their-states?region=eu-central-1")
    variables = environment.variables(cluster)
    assert variables["PULUMI_BACKEND_URL"] == "s3://their-states?region=eu-central-1"
    assert variables.get("PULUMI_CONFIG_PASSPHRASE") != backend.PUBLIC_PASSPHRASE


def test_a_login_of_the_users_is_taken_with_its_credentials(machine: Path) -> None:
    home = machine / "home" / ".pulumi"
    home.mkdir(parents=True)
    (home / "credentials.json").write_text('{"current": "https://api.pulumi.com", "accessTokens": {}}')
    variables = environment.variables(clusters.Kind())
    assert variables["PULUMI_BACKEND_URL"] == "https://api.pulumi.com"
    assert variables["PULUMI_CREDENTIALS_PATH"] == str(home)


def test_an_access_token_means_pulumi_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "pul-123")
    assert backend.of(clusters.Kind()).url == "https://api.pulumi.com"


def test_a_back_end_that_the_project_names_is_taken(machine: Path) -> None:
    project = machine / "project" / "Pulumi.yaml"
    project.write_text(project.read_text() + "backend:\n  url: gs://their-states\n")
    assert backend.of(clusters.Kind()).url == "gs://their-states"


@pytest.mark.parametrize("cluster", KEPT, ids=lambda cluster: cluster.kind)
def test_down_refuses_while_a_stack_has_resources_and_says_how_to_destroy_it(
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cluster: clusters.Cluster,
) -> None:
    clusters.remember(cluster)
    backend.of(cluster).prepare()
    listed(machine, monkeypatch, {"organization/modelops/dev": 61, "organization/modelops/old": 0})
    assert cli.main(["down"]) == 1
    said = capsys.readouterr().err
    assert f"stacks are left on the {cluster.kind} cluster: organization/modelops/dev (61 resources)" in said
    assert "pulumi destroy --stack organization/modelops/dev" in said and "modelops/old" not in said
    assert clusters.running() is not None


def test_down_leaves_the_states_and_the_passphrase(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = clusters.Context("theirs")
    clusters.remember(cluster)
    states = backend.of(cluster)
    states.prepare()
    assert states.folder is not None
    (states.folder / "state.json").write_text("{}")
    listed(machine, monkeypatch, {"dev": 0})
    assert cli.main(["down"]) == 0
    assert not (machine / "state").exists()
    assert (states.folder / "state.json").exists() and backend.passphrase_file().exists()


def test_down_refuses_to_remove_states_that_an_earlier_version_kept_with_the_cluster(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clusters.remember(clusters.Context("theirs"))
    (machine / "state" / "backend" / ".pulumi" / "stacks").mkdir(parents=True)
    listed(machine, monkeypatch, {"organization/modelops/prod": 9})
    assert cli.main(["down"]) == 1
    assert "organization/modelops/prod (9 resources)" in capsys.readouterr().err


def test_in_a_back_end_of_the_users_only_what_was_deployed_here_counts(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://their-states")
    clusters.remember(clusters.Kind(), "dev")
    listed(machine, monkeypatch, {"dev": 3, "prod": 80})
    assert backend.left_on(clusters.Kind(), environment.complete(clusters.Kind())) == {"dev": 3}


def test_states_that_cannot_be_listed_are_not_taken_as_none(machine: Path) -> None:
    clusters.remember(clusters.Kind())
    backend.of(clusters.Kind()).prepare()
    (machine / "state" / "bin").mkdir(parents=True)
    (machine / "state" / "bin" / "pulumi").write_text("#!/bin/sh\necho no such bucket >&2; exit 1\n")
    (machine / "state" / "bin" / "pulumi").chmod(0o755)
    with pytest.raises(DevkitError, match=r"can't be listed: no such bucket"):
        backend.refuse_to_lose(clusters.Kind(), environment.complete(clusters.Kind()))


def test_a_stack_with_the_public_passphrase_is_encrypted_anew_once(machine: Path, pulumi: str) -> None:
    cluster = clusters.Kind()
    backend.of(cluster).prepare()
    variables = environment.complete(cluster)
    file = machine / "project" / "stacks" / "Pulumi.dev.yaml"
    assert backend.take_over("dev", variables) is True
    mine = file.read_text()
    assert mine != ENCRYPTED
    assert backend.take_over("dev", variables) is False and file.read_text() == mine
    # The engine itself reads the secret with the new passphrase, and no longer with the public one.
    show = [pulumi, "config", "get", "modelops:elastic_password", "--stack", "dev", "--non-interactive"]
    folder = machine / "project"
    subprocess.run([pulumi, "stack", "init", "dev", "--non-interactive"], cwd=folder, env=variables, check=True)
    assert subprocess.run(show, cwd=folder, env=variables, capture_output=True).returncode == 0
    public = variables | {"PULUMI_CONFIG_PASSPHRASE": backend.PUBLIC_PASSPHRASE}
    assert subprocess.run(show, cwd=folder, env=public, capture_output=True).returncode != 0


def test_a_stack_of_a_team_asks_for_its_passphrase(machine: Path, monkeypatch: pytest.MonkeyPatch, pulumi: str) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "theirs")
    backend.take_over("dev", environment.complete(clusters.Kind()))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "not theirs")
    with pytest.raises(DevkitError, match=r"Pulumi\.dev\.yaml is encrypted with another passphrase — set PULUMI_CON"):
        backend.take_over("dev", environment.complete(clusters.Kind()))
