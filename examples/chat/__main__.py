"""From a file of conversations to a chat endpoint: prepared, fine-tuned, judged, served, and released by canary."""

from typing import Any

import pulumi

from modelops import DataPipeline, ModelImage, ModelRegistry, ModelService, MonitoringStack, TrainingJob

BASE = "hf://HuggingFaceTB/SmolLM2-135M-Instruct@12fd25f77366fa6b3b4b768ec3050bf629380bac"

config = pulumi.Config()
namespace = config.require("namespace")
repository = config.require("repository")
model_folder = config.get("model_folder") or "../../model"
base = config.get("base_model") or BASE
gpus = config.get_int("gpus") or 0
stable = config.get("stable")


def image(name: str, context: str, **more: Any) -> pulumi.Output[str]:
    """Built from a folder, by digest."""
    return ModelImage(name, {"context": context, "repository": f"{repository}/{name}", **more}).ref


def hub(argument: str) -> Any:
    """The argument with the Secret for Hugging Face, if there is one: HF_TOKEN, or HF_ENDPOINT for a mirror."""
    secret = config.get("hub_secret")
    return {argument: secret} if secret else {}


registry = ModelRegistry("registry", {"namespace": namespace})
# A cluster needs one; leave it out where yours has a Prometheus, and name that one in the canary's analysis.
off = {"enabled": False}
monitoring = MonitoringStack(
    "monitoring",
    {
        "namespace": namespace,
        "watched_namespaces": [namespace],
        "alertmanager": off,
        "node_exporter": off,
        "kube_state_metrics": off,
    },
)

# 1. Data: every conversation is checked and masked; what is there twice, or almost, goes.
build_args = {"ACCELERATOR": "cuda" if gpus else "cpu", **(config.get_object("build_args") or {})}
prepare = image("prepare", model_folder, target="prepare", build_args=build_args)
data = DataPipeline(
    "conversations",
    {
        "namespace": namespace,
        "image": image("conversations", "conversations", build_args={"PREPARE_IMAGE": prepare}),
        "sources": [{"uri": "/conversations/support.jsonl", "format": "jsonl"}],
        "steps": [
            {"conversations": {"on_violation": "drop"}},
            {"scan_text": {"columns": ["messages"]}},
            {"tokens": {"tokenizer": base, "max_tokens": 512, "on_violation": "drop"}},
            {"near_duplicates": {}},
            {"split": {"by": "grouped", "column": "conversation_id"}},
        ],
        "volume": {"storage_size": "1Gi"},
        "tracking_uri": registry.tracking_uri,
        **hub("data_secret"),
    },
)

# 2. Fine-tuning: a LoRA adapter of the base, with what it says judged before it is registered.
training = TrainingJob(
    "training",
    {
        "namespace": namespace,
        "image": image("finetune", model_folder, target="finetune", build_args=build_args),
        "command": ["python", "-m", "modelops_runtime", "finetune"],
        "model_name": "support",
        "framework": "pytorch",
        "tracking_uri": registry.tracking_uri,
        "base_model": {"uri": base, **hub("secret")},
        "data_uri": data.data_uri,
        "data_version": data.data_version,
        "data_claim": data.data_claim,
        "parameters": {
            "epochs": config.get_int("epochs") or 3,
            "learning_rate": 0.001,
            "batch_size": 8,
            "max_length": 512,
            "precision": "bfloat16" if gpus else "float32",
            "sharding": "fsdp" if gpus > 1 else "none",
            "gradient_checkpointing": False,
            "evaluation": {"max_tokens": 64, "limit": 16, "forbidden": ["@"]},
        },
        "gate": {"token_accuracy": {"min": 0.7}, "rougeL": {"min": 0.3}, "forbidden": {"max": 0}},
        "processes_per_worker": max(gpus, 1),
        "resources": {"cpu": "1", "memory": "2Gi", "memory_limit": "8Gi", "gpus": gpus},
        "timeout_seconds": 7200,
    },
)

# 3. Serving. While `stable` names a version, that one keeps half of the requests, and the newest gets the others.
analysis = {"prometheus_url": monitoring.prometheus_url, "min_requests": 20, "min_seconds": 60}
canary: Any = (
    {"canary": {"model_uri": training.model_uri, "weight_percent": 50, "analysis": analysis}} if stable else {}
)
on_processor: Any = {"image": config.get("engine_image") or "vllm/vllm-openai-cpu:v0.32.0"}
service = ModelService(
    "support",
    {
        "namespace": namespace,
        "runtime": "vllm",
        "model_uri": stable or training.model_uri,
        "model_name": "support",
        "tracking_uri": registry.tracking_uri,
        "replicas": 1,
        "resources": {"cpu": "500m", "memory": "2Gi", "memory_limit": "6Gi", "gpus": gpus},
        "vllm": {
            "max_model_len": 512,
            "shared_memory": "256Mi",
            "arguments": [] if gpus else ["--kv-cache-memory-bytes", "536870912"],
        },
        "smoke_test": {"prompts": [{"prompt": "Hello, the lamp I ordered came broken.", "required": ["(?i)sorry"]}]},
        "expose": config.get("expose") or "LoadBalancer",
        **({} if gpus else on_processor),
        **hub("model_secret"),
        **canary,
    },
)

pulumi.export("url", service.url)
pulumi.export("model_uri", training.model_uri)
pulumi.export("metrics", training.metrics)
pulumi.export("canary", service.canary_status)
