"""Pipelines for these tests: a namespace, a volume, raw data with planted identifiers."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from modelops import DataPipeline
from tests.cluster.provider.harness import Program, Stack
from tests.cluster.support import kubectl

CLAIM = "raw"
SALT = "a salt that no output may have"
ROWS = 3000
PERSON, MAIL, CARD = "Zebedee Quartermain", "zebedee.quartermain@example.com", "4111 1111 1111 1111"
"""In every tenth raw row, and nowhere else."""
_WRITE = """
import pathlib, random
chance = random.Random(1)
folder = pathlib.Path("/data/raw")
folder.mkdir()
for part in range(2):
    lines = ["who,age,income,city,note,y"]
    for row in range({half}):
        number = part * {half} + row
        planted = number % 10 == 0
        who = "{person} " + str(number) if planted else f"person {{number}}"
        note = "write to {mail} about card {card}" if planted else "fine"
        income = "" if number % 7 == 0 else f"{{chance.gauss(3000, 900):.3f}}"
        age, city = chance.randrange(18, 90), chance.choice(["Rome", "Oslo", "Lima"])
        lines.append(f"{{who}},{{age}},{{income}},{{city}},{{note}},{{number % 2}}")
    (folder / f"part-{{part}}.csv").write_text("\\n".join(lines) + "\\n")
(folder / "bad.csv").write_text("age,y\\n30,1\\n{person},0\\n")
"""
_RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
TYPES = {"who": "text", "age": "number", "income": "number", "city": "text", "note": "text", "y": "number"}
STEPS: list[dict[str, Any]] = [
    {"check": {"columns": {"age": {"type": "integer", "minimum": 18}}}},
    {"pseudonymise": {"columns": ["who"], "domain": "person"}},
    {"scan_text": {"columns": ["note"]}},
    {"split": {"by": "stratified", "column": "y"}},
    {"fill": {"columns": ["income"], "by": "median"}},
    {"scale": {"columns": ["age", "income"]}},
    {"encode": {"columns": ["city"]}},
]


@dataclass
class Pipelines:
    """A namespace with the raw data."""

    namespace: str
    image: str
    new_stack: Callable[[], Stack]

    def args(self, destination: str, **changes: Any) -> dict[str, Any]:
        """Arguments of a DataPipeline."""
        return {
            "image": self.image,
            "namespace": self.namespace,
            "sources": [{"uri": "/data/raw/part-*.csv", "types": TYPES}],
            "steps": STEPS,
            "target": "y",
            "destination": f"/data/{destination}",
            "volume": {"claim": CLAIM},
            "salt_secret": "salt",
            "resources": {"cpu": "100m", "memory": "256Mi", "memory_limit": "2Gi"},
            "timeout_seconds": 300,
            **changes,
        }

    def program(self, name: str, destination: str, **changes: Any) -> Program:
        """A program of one DataPipeline that exports its outputs."""
        return self.program_with(name, self.args(destination, **changes))

    def program_with(self, name: str, args: Mapping[str, Any]) -> Program:
        """The same for arguments of any kind."""

        def build(provider: k8s.Provider) -> Mapping[str, Any]:
            made = DataPipeline(name, args, pulumi.ResourceOptions(provider=provider))  # type: ignore[arg-type]
            return {key: getattr(made, key) for key in ("data_uri", "data_version", "job_name")}

        return build

    def exec(self, *command: str) -> str:
        """Runs a command in the pod that mounts the volume; returns its output."""
        return kubectl("exec", "--namespace", self.namespace, "volume", "--", *command)

    def digests(self, folder: str) -> dict[str, str]:
        """SHA-256 of every file under a folder, by its path."""
        said = self.exec("sh", "-c", f"cd '{folder}' && find . -type f -exec sha256sum {{}} +")
        return {path: digest for digest, path in (line.split(maxsplit=1) for line in said.splitlines())}

    def write_raw_data(self) -> None:
        """Two files with ROWS rows, and one with a bad row."""
        script = _WRITE.format(half=ROWS // 2, person=PERSON, mail=MAIL, card=CARD)
        self.exec("python3", "-c", script)

    def claim(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM, "namespace": self.namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }

    def salt_secret(self) -> dict[str, Any]:
        data = {"salt": base64.b64encode(SALT.encode()).decode()}
        metadata = {"name": "salt", "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}

    def volume_pod(self, image: str) -> dict[str, Any]:
        """A pod that mounts the volume, with the user id of the pipeline's pods."""
        container = {
            "name": "volume",
            "image": image,
            "command": ["sleep", "infinity"],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
            "securityContext": _RESTRICTED,
        }
        spec = {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}],
            "containers": [container],
        }
        metadata = {"name": "volume", "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
