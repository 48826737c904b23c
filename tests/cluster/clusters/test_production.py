"""Production, from the files that a team gets: `Pulumi.staging.yaml` trains, `Pulumi.prod.yaml` takes its release.

Both are deployed as they are, but for what `substitutes` lists, with the reasons: two cores have no more. The platform
itself turns off Grafana and the Elastic stack where their images can't be pulled. On are TLS for clients, Prometheus
and Alertmanager, accounts, PostgreSQL, an object store, back-ups, the gate, protection, and every check of production's
settings.
"""

import base64
import copy
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import certificates
from tests.cluster import s3
from tests.cluster.serving import gateway
from tests.cluster.support import REPOSITORY, ProjectStack, apply, eventually, kubectl, objects, platform_facts
from tests.cluster.teams.environments import copy_of_the_project
from tests.cluster.training.registry import Registry, platform_image

pytestmark = [pytest.mark.clusters, pytest.mark.long]

STAGING, PROD = "modelops-staging", "modelops-prod"
HOST = "model.example.com"
PASSWORDS = {
    "registry_admin_password": "planted-admin-of-production",
    "grafana_admin_password": "planted-grafana-of-production",
    "elastic_password": "planted-elastic-of-production",
}
ALERTS = json.dumps({"route": {"receiver": "team"}, "receivers": [{"name": "team"}]})
SMALL = {"cpu": "20m", "memory": "640Mi", "memory_limit": "1536Mi"}


def substitutes(store: s3.ObjectStore) -> dict[str, dict[str, Any]]:
    """What each stack's file has on this cluster in place of its own settings."""
    facts = platform_facts()
    # Images that no registry within reach has; small servers, and small volumes of the node's disk.
    registry = {
        "image": platform_image(facts, "mlflow_full"),
        "resources": SMALL,
        "database": {"image": platform_image(facts, "postgres"), "storage_size": "1Gi"},
        "backup": {"storage_size": "1Gi"},
    }
    small_prometheus = {
        "storage_size": "1Gi",
        "resources": {"cpu": "50m", "memory": "256Mi", "memory_limit": "1Gi"},
    }
    return {
        "staging": {
            # The platform's own registry; there is no other one.
            "images": {"registry": f"{facts['registry']}/production"},
            "service": {"resources": {"cpu": "20m", "memory": "96Mi"}},
            "registry": {**registry, "storage_size": "1Gi"},
            # Both stacks are on one node, which has one port for a node exporter.
            "monitoring": {"prometheus": small_prometheus, "node_exporter": {"enabled": False}},
        },
        "prod": {
            # Staging is in the same cluster, where its MLflow has no name outside.
            "promote": {"tracking_uri": f"http://registry.{STAGING}.svc:5000"},
            # The Gateway of the tests is Contour's. Two replicas, as two cores have no room for three at a rollout.
            "service": {
                "route": {"gateway_class": gateway.CLASS},
                "autoscaling": {"min_replicas": 2, "max_replicas": 3},
                "resources": {"cpu": "20m", "memory": "96Mi"},
            },
            # An S3 server in the cluster, in place of AWS's.
            "registry": {
                **registry,
                "artifacts": {
                    "uri": f"s3://{store.bucket}/prod",
                    "endpoint_url": store.endpoint,
                    "region": "us-east-1",
                },
            },
            "monitoring": {"prometheus": small_prometheus},
        },
    }


def merged(settings: Any, changes: Any) -> Any:
    """The settings with the changes in them, key by key."""
    if not (isinstance(settings, Mapping) and isinstance(changes, Mapping)):
        return changes
    return {key: merged(settings.get(key), changes[key]) if key in changes else settings[key] for key in settings} | {
        key: changes[key] for key in changes if key not in settings
    }


class Environment(ProjectStack):
    """One of the repository's stacks, from its own file."""

    def configure(self, changes: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        document = yaml.safe_load((REPOSITORY / "stacks" / f"Pulumi.{self.name}.yaml").read_text())
        for key, value in changes.items():
            name = f"modelops:{key}"
            document["config"][name] = merged(document["config"].get(name, {}), value)
        self.config_file.write_text(yaml.safe_dump(document, sort_keys=False))
        for key, value in secrets.items():
            # From standard input: what is secret is on no command line.
            command = ["pulumi", "config", "set", "--secret", f"modelops:{key}", "--stack", self.name]
            subprocess.run(command, input=value, cwd=self.project, check=True, capture_output=True, text=True)

    def end(self) -> None:
        """Takes everything down; the registry of production must be set free first."""
        self.pulumi("state", "unprotect", "--all", "--yes")
        self.pulumi("destroy", "--yes", "--skip-preview")


def contexts(folder: Path) -> Path:
    """A kubeconfig whose contexts `staging` and `prod` are this cluster: the stacks' files name them."""
    document = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    [context] = [found for found in document["contexts"] if found["name"] == document["current-context"]]
    document["contexts"] += [{**copy.deepcopy(context), "name": name} for name in ("staging", "prod")]
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


def secret(name: str, data: Mapping[str, bytes], kind: str = "Opaque") -> None:
    """A Secret in production's namespace, as a team puts it there."""
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"name": name, "namespace": PROD}
    apply({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": encoded})


class Production:
    """Both environments, the object store, and how clients reach the service."""

    def __init__(self, project: Path, store: s3.ObjectStore, address: str) -> None:
        self.staging, self.prod = Environment(project, "staging"), Environment(project, "prod")
        self.store, self.address, self.authority = store, address, ""
        self.registry = Registry(PROD, self.prod, {})  # type: ignore[arg-type]  # it asks for outputs alone

    def up(self) -> None:
        """Staging trains; production is given its namespace and Secrets, then takes staging's release."""
        changes = substitutes(self.store)
        self.staging.configure(changes["staging"], PASSWORDS)
        self.staging.preview()  # a plan from nothing
        self.staging.up()
        kubectl("create", "namespace", PROD)
        [reader] = [
            found for found in objects("secrets", STAGING) if found["metadata"]["name"].startswith("registry-reader")
        ]
        secret("staging-registry", {key: base64.b64decode(value) for key, value in reader["data"].items()})
        self.store.credentials(PROD, "registry-bucket")
        files = certificates.make({"tls": [HOST]})
        self.authority = files["ca.crt"].decode()
        secret("model-certificate", {key: files[key] for key in ("tls.crt", "tls.key")}, "kubernetes.io/tls")
        self.prod.configure(changes["prod"], {**PASSWORDS, "alertmanager_config": ALERTS})
        self.prod.preview()
        self.prod.up()

    def prediction(self) -> Any:
        """What a client gets who trusts the certificate's CA alone."""
        return gateway.predicted_over_https(self.address, HOST, self.authority)

    def end(self) -> None:
        for stack in (self.prod, self.staging):
            stack.end()
        names = [f"{name}{suffix}" for name in (PROD, STAGING) for suffix in ("", "-monitoring", "-node-agents")]
        kubectl("delete", "namespace", *names, "--ignore-not-found", "--wait=false", check=False)


@pytest.fixture(scope="module")
def production(object_store: s3.ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    folder = tmp_path_factory.mktemp("production")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE"):
            patch.setenv(name, "")
        patch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
        patch.setenv("KUBECONFIG", str(contexts(folder)))
        project = copy_of_the_project(folder / "project")
        with gateway.installed({"namespace": PROD, "name": "model"}) as address:
            made = Production(project, object_store, address)
            try:
                made.up()
                yield made
            finally:
                made.end()


def in_pod(namespace: str, workload: str, container: str, script: str) -> str:
    return kubectl("exec", "--namespace", namespace, workload, "--container", container, "--", "python3", "-c", script)


def asked(url: str) -> str:
    """Python that prints the status of a GET, or why there is none, without a certificate being checked."""
    return (
        "import ssl, urllib.request as r\n"
        "def ask(url):\n"
        "    try:\n"
        "        context = ssl._create_unverified_context() if url.startswith('https') else None\n"
        "        return r.urlopen(url, timeout=20, context=context).status\n"
        "    except Exception as error:\n"
        "        return getattr(error, 'code', repr(error))\n"
        f"print(ask({url!r}))"
    )


def test_production_serves_over_https_what_staging_has_released(production: Production) -> None:
    before, after = production.staging.outputs(), production.prod.outputs()
    for output in ("image", "run_id", "model_uri", "metrics"):
        assert before[output] == after[output], output
    assert after["url"] == f"https://{HOST}"
    assert after["metrics"]["mse"] <= 0.08
    [[prediction]] = [eventually(production.prediction, 120)]
    assert isinstance(prediction, float)
    types = {urn.split("::")[2].split("$")[-1] for urn, _, _ in production.prod.resources()}
    assert not {name for name in types if "TrainingJob" in name or "ModelImage" in name}


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_a_second_up_changes_nothing(production: Production, environment: str) -> None:
    done = getattr(production, environment).pulumi("preview", "--expect-no-changes")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_registry_has_accounts_a_database_and_a_bucket(production: Production) -> None:
    search = "http://127.0.0.1:5000/api/2.0/mlflow/experiments/search?max_results=1"
    assert in_pod(PROD, "deploy/registry", "mlflow", asked(search)).strip() == "401"
    dialect = "import os; print(os.environ['MLFLOW_BACKEND_STORE_URI'].split('+')[0])"
    assert in_pod(PROD, "deploy/registry", "mlflow", dialect).strip() == "postgresql"
    assert any(key.endswith("model.tflite") for key in production.store.objects("prod/"))


def test_prometheus_and_alertmanager_speak_tls_alone(production: Production) -> None:
    [pod] = [
        found["metadata"]["name"]
        for found in objects("pods", PROD, "--selector", "app.kubernetes.io/name=mlflow")
        if found["status"]["phase"] == "Running" and "deletionTimestamp" not in found["metadata"]
    ][:1]
    for program, port in (("prometheus", 9090), ("alertmanager", 9093)):
        host = f"monitoring-{program}.{PROD}-monitoring.svc:{port}"
        assert in_pod(PROD, f"pod/{pod}", "mlflow", asked(f"https://{host}/-/ready")).strip() == "200", program
        assert in_pod(PROD, f"pod/{pod}", "mlflow", asked(f"http://{host}/-/ready")).strip() == "400", program


def test_pods_are_restricted_and_several(production: Production) -> None:
    namespace = json.loads(kubectl("get", "namespace", PROD, "--output", "json"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert len(objects("pods", PROD, "--selector", "app.kubernetes.io/name=model-service")) >= 2
    assert {found["metadata"]["name"] for found in objects("poddisruptionbudgets", PROD)} >= {"model"}


def test_a_lost_registry_comes_back_from_its_back_up_and_serves(production: Production) -> None:
    expected = eventually(production.prediction, 60)
    assert "dumped the database into database/" in production.registry.run_job("registry-backup", "backup-now")
    production.store.remove("prod")
    drop = "drop schema public cascade; create schema public"
    lose = "import os, sqlalchemy as s; e = s.create_engine(os.environ['MLFLOW_BACKEND_STORE_URI']).connect(); "
    production.registry.in_server("python3", "-c", f"{lose}e.execute(s.text('{drop}')); e.commit()")

    production.registry.run_job("registry-restore", "restore-now")
    for workload in ("registry", "model"):  # the service's pods fetch the model anew
        kubectl("rollout", "restart", f"deployment/{workload}", "--namespace", PROD)
        kubectl("rollout", "status", f"deployment/{workload}", "--namespace", PROD, "--timeout=420s")
    assert eventually(production.prediction, 60) == expected
    assert any(key.endswith("model.tflite") for key in production.store.objects("prod/"))


def test_a_destroy_is_refused(production: Production) -> None:
    # By its plan: without one, only what holds data would be left.
    done = production.prod.pulumi("destroy", "--yes")
    assert done.returncode != 0
    assert "protect" in done.stdout + done.stderr
    assert eventually(production.prediction, 60)
