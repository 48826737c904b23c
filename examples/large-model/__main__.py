"""A large language model with OpenAI's API, by vLLM on one GPU a replica; weights are kept on a volume."""

import pulumi

from modelops import ModelService, Runtime

config = pulumi.Config()
service = ModelService(
    "chat",
    {
        "namespace": config.require("namespace"),
        "runtime": Runtime.VLLM,
        "model_uri": "hf://Qwen/Qwen2.5-7B-Instruct@a09a35458c702b33eeacc393d103063234e8bc28",
        "replicas": 1,
        "resources": {
            "cpu": config.get("cpu") or "4",
            "memory": config.get("memory") or "32Gi",
            "memory_limit": "48Gi",
            "gpus": 1,
        },
        "vllm": {"max_model_len": 8192},
        "cache": {"storage_size": config.get("cache_size") or "40Gi"},
        # No spare GPU is needed for a release.
        "rollout": {"max_surge": 0, "max_unavailable": 1},
    },
)
pulumi.export("url", service.url)
