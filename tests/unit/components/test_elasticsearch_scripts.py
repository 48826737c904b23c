"""What Elasticsearch's init container writes, with recorders in place of Elasticsearch's own tools."""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from modelops import MonitoringStack
from modelops.core.assets import asset
from tests.unit.components.harness import container, pod, run

PASSWORDS = {f"{user.upper()}_PASSWORD": f"{user} pass" for user in ("admin", "setup", "kibana", "writer", "reader")}
BUILT_IN_ROLES = {"superuser", "kibana_system"}
_USERS = """#!/bin/sh
[ "$1" = useradd ] && [ "$3" = -p ] && [ "$5" = -r ] || exit 64
# As the real one: a user that is there is refused, and the files have to be.
[ -f "$ES_PATH_CONF/users" ] && ! grep -q "^$2=" "$ES_PATH_CONF/users" || exit 65
echo "$2=$4=$6" >> "$ES_PATH_CONF/users"
"""
_KEYSTORE = """#!/bin/sh
[ "$1" = create ] && : > "$ES_PATH_CONF/elasticsearch.keystore" && exit
echo "$3=$(cat)" >> "$ES_PATH_CONF/elasticsearch.keystore"
"""


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Runs the script as each start of a pod does; the folder with what it wrote."""
    image, files, config = (tmp_path / name for name in ("image", "files", "config"))
    for folder in (image, files, config, tmp_path / "bin"):
        folder.mkdir()
    (image / "log4j2.properties").write_text("of the image")
    for name in ("elasticsearch.yml", "roles.yml"):
        (files / name).write_text(asset(f"monitoring/logs/assets/elasticsearch/{name}"))
    for name, text in (("elasticsearch-users", _USERS), ("elasticsearch-keystore", _KEYSTORE)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    script = asset("monitoring/logs/assets/elasticsearch/prepare.sh").replace("/config", str(config))
    script = script.replace(f"/usr/share/elasticsearch{config}", str(image))
    script = script.replace("/modelops/", f"{files}/")

    def start(variables: Mapping[str, str]) -> Path:
        environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", **variables}
        done = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return config

    return start


def users(config: Path) -> dict[str, tuple[str, str]]:
    """Password and role by user."""
    lines = [line.split("=") for line in (config / "users").read_text().splitlines()]
    return {name: (password, role) for name, password, role in lines}


def test_users_are_written_anew_at_each_start(prepare: Callable[[Mapping[str, str]], Path]) -> None:
    found = users(prepare(PASSWORDS))
    assert {name: password for name, (password, _) in found.items()} == {
        "modelops": "admin pass",
        **{f"modelops_{user}": f"{user} pass" for user in ("setup", "kibana", "writer", "reader")},
    }
    changed = {key: f"other {value}" for key, value in PASSWORDS.items()}
    again = users(prepare(changed))
    assert {password for password, _ in again.values()} == set(changed.values())
    assert {name: role for name, (_, role) in again.items()} == {name: role for name, (_, role) in found.items()}


def test_users_have_roles_that_there_are(prepare: Callable[[Mapping[str, str]], Path]) -> None:
    config = prepare(PASSWORDS)
    own = set(yaml.safe_load((config / "roles.yml").read_text()))
    roles = {name: role for name, (_, role) in users(config).items()}
    assert set(roles.values()) <= own | BUILT_IN_ROLES
    assert roles["modelops_writer"] == "modelops_logs_writer" and roles["modelops_reader"] == "modelops_logs_reader"


def test_what_the_image_has_is_there_and_passwords_are_closed_to_others(
    prepare: Callable[[Mapping[str, str]], Path],
) -> None:
    config = prepare(PASSWORDS)
    assert (config / "log4j2.properties").read_text() == "of the image"
    assert (config / "users").stat().st_mode & 0o077 == 0


def test_the_files_that_the_configuration_names_are_mounted_where_elasticsearch_notices_new_ones() -> None:
    program = run(lambda: MonitoringStack("m", {"namespace": "watch", "elk": {"enabled": True}}))
    server = program.one("StatefulSet", "m-elasticsearch")
    [place] = [each for each in container(server, "elasticsearch")["volumeMounts"] if each["name"] == "certificates"]
    assert place["mountPath"] == "/usr/share/elasticsearch/config/certificates"
    [source] = [each["secret"] for each in pod(server)["volumes"] if each["name"] == "certificates"]
    named = yaml.safe_load(asset("monitoring/logs/assets/elasticsearch/elasticsearch.yml"))
    for section in ("http", "transport"):
        settings = named[f"xpack.security.{section}.ssl"]
        files = {settings["certificate"], settings["key"], *settings["certificate_authorities"]}
        assert files <= {f"certificates/{item['path']}" for item in source["items"]}


def test_keys_of_the_object_store_are_in_the_keystore(prepare: Callable[[Mapping[str, str]], Path]) -> None:
    for key in ("first", "second"):
        config = prepare({**PASSWORDS, "S3_ACCESS_KEY": key, "S3_SECRET_KEY": f"{key} secret"})
        kept = (config / "elasticsearch.keystore").read_text().splitlines()
        assert kept == [f"s3.client.default.access_key={key}", f"s3.client.default.secret_key={key} secret"]
