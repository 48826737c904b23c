"""Asks the real API server whether it would take objects, without creating any."""

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import kubernetes

from tests.unit.components.harness import Resource
from tests.unit.stacks.rendered import plain

SUFFIX = "-1a2b3c4d"
"""As long as the one that the provider adds to the name of an object that has none."""
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_QUERY = "dryRun=All&fieldManager=modelops-chaos&force=true&fieldValidation=Strict"
_THREADS = 4


@dataclass(frozen=True)
class Verdict:
    """The API server's word on an object."""

    manifest: Mapping[str, Any]
    refusal: str | None
    """Why it would refuse the object."""
    known: bool = True
    """Whether the cluster has the object's kind at all."""

    @property
    def kind(self) -> str:
        """The refusal without the values and places that differ from object to object."""
        text = re.sub(r'"[^"]*"|\[[^]]*\]', "…", self.refusal or "")
        return f"{self.manifest['kind']}: {text}"[:300]


@dataclass
class Server:
    """The API server that the kubeconfig names. All namespaced objects are judged in one namespace, which exists."""

    namespace: str
    client: Any = field(default_factory=kubernetes.config.new_client_from_config)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """By object, as most objects of two programs are the same."""

    def __post_init__(self) -> None:
        self.paths = dict(self._paths())

    def judge(self, resources: list[Resource]) -> list[Verdict]:
        """A verdict on each Kubernetes object, and on each namespace that they are in."""
        manifests = [_manifest(each) for each in resources if each.is_kubernetes]
        names = {each["metadata"]["namespace"]: None for each in manifests if "namespace" in each["metadata"]}
        manifests += [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self._verdict, manifests))

    def _verdict(self, manifest: Mapping[str, Any]) -> Verdict:
        key = json.dumps(manifest, sort_keys=True)
        if key not in self.verdicts:
            self.verdicts[key] = self._asked(manifest)
        return self.verdicts[key]

    def _asked(self, manifest: Mapping[str, Any]) -> Verdict:
        place = self.paths.get((manifest["apiVersion"], manifest["kind"]))
        if place is None:
            return Verdict(manifest, None, known=False)
        path, namespaced = place
        metadata = {**manifest["metadata"], **({"namespace": self.namespace} if namespaced else {})}
        url = path.format(namespace=self.namespace) + f"/{_quoted(metadata['name'])}?{_QUERY}"
        body = json.dumps({**manifest, "metadata": metadata})
        answer = self._request("PATCH", url, body, {"Content-Type": "application/apply-patch+yaml"})
        if answer.status < 300:
            return Verdict(manifest, None)
        if not answer.data.startswith(b"{"):  # somebody has removed the kind
            return Verdict(manifest, None, known=False)
        return Verdict(manifest, str(json.loads(answer.data).get("message")))

    def _paths(self) -> Iterator[tuple[tuple[str, str], tuple[str, bool]]]:
        """(apiVersion, kind) → (path of its objects, whether they are in a namespace)."""
        for root in ("/api", "/apis"):
            answer = self._request("GET", root, None, {"Accept": _DISCOVERY})
            for group in json.loads(answer.data)["items"]:
                name = group["metadata"].get("name", "")
                for version in group["versions"]:
                    api = f"{name}/{version['version']}".lstrip("/")
                    for each in version["resources"]:
                        namespaced = each["scope"] == "Namespaced"
                        middle = "/namespaces/{namespace}" if namespaced else ""
                        kind = (api, each["responseKind"]["kind"])
                        yield kind, (f"{root}/{api}{middle}/{each['resource']}", namespaced)

    def _request(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Any:
        host = self.client.configuration.host
        return self.client.rest_client.pool_manager.request(method, host + path, body=body, headers=dict(headers))


def _manifest(resource: Resource) -> dict[str, Any]:
    """The object as the provider sends it."""
    manifest = dict(plain(resource.inputs))
    metadata = dict(manifest.get("metadata") or {})
    metadata.setdefault("name", resource.name + SUFFIX)
    annotations = metadata.get("annotations") or {}
    metadata["annotations"] = {key: value for key, value in annotations.items() if not key.startswith("pulumi.com/")}
    if resource.type.endswith("PersistentVolumeClaimPatch"):
        # It changes a claim that is there, which has modes.
        manifest["spec"] = {"accessModes": ["ReadWriteOnce"], **manifest["spec"]}
    return {**manifest, "metadata": metadata}


def _quoted(name: str) -> str:
    return str(kubernetes.client.api_client.quote(str(name), safe=""))
