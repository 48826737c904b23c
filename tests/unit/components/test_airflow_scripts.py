"""What Airflow's init container makes of the administrator's Secret, with a stand-in that reads its options alike."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelops.core.assets import asset

# Airflow's command line is argparse's.
_AIRFLOW = """#!{python}
import argparse, pathlib, sys
users = pathlib.Path({users!r})
if sys.argv[1:] == ["db", "migrate"]:
    sys.exit()
assert sys.argv[1] == "users"
parser = argparse.ArgumentParser()
parser.add_argument("-u", "--username", required=True)
parser.add_argument("-p", "--password", required=True)
if sys.argv[2] == "create":
    for name in ("role", "firstname", "lastname", "email"):
        parser.add_argument("--" + name, required=True)
given = parser.parse_args(sys.argv[3:])
if sys.argv[2] == "create" and users.exists():
    sys.exit(print(given.username + " already exist in the db"))
users.write_text(given.username + " " + given.password)
"""


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[[str], str]:
    """Runs the script as each start of a pod does; name and password of the account that there is then."""
    users, airflow = tmp_path / "users", tmp_path / "airflow"
    airflow.write_text(_AIRFLOW.format(python=sys.executable, users=str(users)))
    airflow.chmod(0o755)
    kept = tmp_path / "dag_versions.py"
    kept.write_text("import sys; assert sys.argv[1:] == ['/dag', '/dags']")

    def start(password: str) -> str:
        account = {"ADMIN_USERNAME": "admin", "ADMIN_PASSWORD": password}
        folders = {"DAG_VERSIONS": str(kept), "DAG_SOURCE": "/dag", "AIRFLOW__CORE__DAGS_FOLDER": "/dags"}
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **folders, **account}
        script = ["/bin/sh", "-c", asset("airflow/assets/prepare.sh")]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert password not in done.stdout + done.stderr
        return users.read_text()

    return start


# One generated password in 64 begins with a hyphen.
@pytest.mark.parametrize("password", ["plain-enough", "-begins-with-a-hyphen", "--role", "$(quoted) 'well' \"enough\""])
def test_the_administrator_has_the_password_of_the_secret(prepare: Callable[[str], str], password: str) -> None:
    assert prepare(password) == f"admin {password}"


def test_a_changed_password_holds_from_the_next_start(prepare: Callable[[str], str]) -> None:
    prepare("the first one")
    assert prepare("-second") == "admin -second"
