"""gRPC and OpenTelemetry on the cluster: an image built with both, Triton's own client, and a collector in a pod."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as k8s
import pytest

from modelops import ModelImage, ModelService
from tests.cluster.serving.support import Serving, image_args
from tests.cluster.support import apply, eventually, kubectl, platform_facts
from tests.environments import environment_of

pytestmark = [pytest.mark.serving, pytest.mark.models, pytest.mark.long]

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GRPC_PORT = 9000
COLLECTOR = """
import gzip, http.server, json
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {pair.key: pair.value.string_value for pair in resource.resource.attributes}["service.name"]
            for span in [span for scope in resource.scope_spans for span in scope.spans]:
                told = {"service": service, "name": span.name}
                ids = {"trace": span.trace_id.hex(), "parent": span.parent_span_id.hex()}
                print(json.dumps(told | ids), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("", 4318), Handler).serve_forever()
"""
"""Receives spans by OTLP and prints a line for each; OpenTelemetry's messages are in the image."""
TRITON = """
import sys
import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient(sys.argv[1])
tensor = triton.InferInput("input", [2, 1], "FP32")
tensor.set_data_from_numpy(np.array([[1], [0]], dtype="float32"))
assert client.is_server_ready() and client.is_model_ready("line")
print(client.infer("line", [tensor]).as_numpy("output").ravel().tolist())
"""


@dataclass
class Extras:
    """A service whose image has both, and the pod that receives its spans."""

    serving: Serving
    predict_url: str

    def spans(self, name: str) -> list[dict[str, str]]:
        lines = kubectl("logs", "--namespace", self.serving.namespace, "collector").splitlines()
        return [span for span in map(json.loads, lines) if span["name"] == name]


@pytest.fixture(scope="module")
def extras(serving: Serving) -> Iterator[Extras]:
    image = image_args(platform_facts(), "serve")
    image["build_args"] = {**image.get("build_args", {}), "EXTRAS": "grpc tracing"}
    stack = serving.new_stack()

    def built(_: k8s.Provider) -> Mapping[str, Any]:
        return {"image": ModelImage("serve-extras", image).ref}  # type: ignore[arg-type]

    def served(provider: k8s.Provider) -> Mapping[str, Any]:
        args: Any = serving.args(
            replicas=2,
            exposed=True,
            image=built(provider)["image"],
            grpc_port=GRPC_PORT,
            tracing={"endpoint": f"http://collector.{serving.namespace}.svc:4318"},
        )
        service = ModelService("extras", args, pulumi.ResourceOptions(provider=provider))
        return {"predict_url": service.predict_url}

    stack.up(built)
    apply(*_collector(serving.namespace, stack.outputs()["image"]))
    kubectl("wait", "--namespace", serving.namespace, "pod/collector", "--for=condition=Ready", "--timeout=90s")
    stack.up(served)
    yield Extras(serving, stack.outputs()["predict_url"])
    stack.destroy(succeed=None)


def _collector(namespace: str, image: str) -> list[dict[str, Any]]:
    meta = {"name": "collector", "namespace": namespace, "labels": {"app": "collector"}}
    container = {
        "name": "collector",
        "image": image,
        "command": ["python3", "-c", COLLECTOR],
        "readinessProbe": {"tcpSocket": {"port": 4318}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"terminationGracePeriodSeconds": 1, "securityContext": user, "containers": [container]}
    ports = {"selector": {"app": "collector"}, "ports": [{"port": 4318}]}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": ports},
    ]


def traced(url: str) -> None:
    headers = {"Content-Type": "application/json", "traceparent": f"00-{TRACE}-{PARENT}-01"}
    request = urllib.request.Request(url, b'{"inputs": [[0.5]]}', headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer) == {"outputs": [2.0]}


def test_triton_s_client_gets_predictions_through_the_service(extras: Extras) -> None:
    address = f"{urlsplit(extras.predict_url).hostname}:{GRPC_PORT}"
    command = [environment_of("clients-grpc"), "-W", "ignore", "-c", TRITON, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[3.0, 1.0]", done.stdout + done.stderr


@pytest.mark.parametrize("name", ["POST /api/predict", "predict"])
def test_the_collector_gets_the_spans_of_a_caller_s_trace(extras: Extras, name: str) -> None:
    def spans_of_the_trace() -> list[dict[str, str]]:
        return [span for span in extras.spans(name) if span["trace"] == TRACE]

    traced(extras.predict_url)
    spans = eventually(spans_of_the_trace)
    assert {span["service"] for span in spans} == {"extras"}
    if name != "predict":
        assert {span["parent"] for span in spans} == {PARENT}
