"""Upstream images of the programs that the library runs, each pinned to an exact version."""

from collections.abc import Mapping
from types import MappingProxyType

_ELASTIC = "9.2.4"
_MLFLOW = "ghcr.io/mlflow/mlflow:v3.17.2"

UPSTREAM_IMAGES: Mapping[str, str] = MappingProxyType(
    {
        "python": "docker.io/library/python:3.12.12-slim-bookworm",
        "mlflow": _MLFLOW,
        # Adds database drivers, object store SDKs and the forms of the account pages.
        "mlflow_full": f"{_MLFLOW}-full",
        "postgres": "docker.io/library/postgres:15.20-bookworm",
        "prometheus": "docker.io/prom/prometheus:v3.13.5",
        "alertmanager": "quay.io/prometheus/alertmanager:v0.34.2",
        "node_exporter": "quay.io/prometheus/node-exporter:v1.12.1",
        "kube_state_metrics": "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.18.0",
        "grafana": "docker.io/grafana/grafana:12.4.0",
        "elasticsearch": f"docker.elastic.co/elasticsearch/elasticsearch:{_ELASTIC}",
        "logstash": f"docker.elastic.co/logstash/logstash:{_ELASTIC}",
        "kibana": f"docker.elastic.co/kibana/kibana:{_ELASTIC}",
        "filebeat": f"docker.elastic.co/beats/filebeat:{_ELASTIC}",
    }
)
"""Program → the image that a component runs unless its arguments name another."""

AIRFLOW_IMAGE = "docker.io/apache/airflow:3.3.2-python3.12"
"""The Airflow that AirflowPipeline deploys. A stack's platform need not offer it, nor the next one."""
VLLM_IMAGE = "docker.io/vllm/vllm-openai:v0.32.0"
"""The engine for large language models: the newest that runs on a processor too, where the tests run it."""
