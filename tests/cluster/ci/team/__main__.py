"""A team's own stack: a small service, whose release prod takes from staging."""

from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

config, stack = pulumi.Config(), pulumi.get_stack()
namespace, image = config.require("namespace"), config.require("image")
cluster = pulumi.ResourceOptions(provider=k8s.Provider("cluster", context=config.get("context")))
release: pulumi.Input[str] = Path("release.txt").read_text().strip()
if stack == "prod":
    released = pulumi.StackReference("organization/team/staging").get_output("release")
    release = released.apply(lambda found: found or "none yet")

labels = {f"app.kubernetes.io/{word}": "answers" for word in ("name", "instance", "part-of", "managed-by")}
metadata = {"name": "answers", "namespace": namespace, "labels": labels}
code = k8s.core.v1.ConfigMap(
    "code", metadata=metadata, data={"answers.py": Path("answers.py").read_text()}, opts=cluster
)
probe = {"http_get": {"path": "/", "port": 8080}, "period_seconds": 1}
container = {
    "name": "answers",
    "image": image,
    "command": ["python3", "/code/answers.py"],
    "env": [{"name": "RELEASE", "value": release}],
    "ports": [{"container_port": 8080}],
    "readiness_probe": probe,
    "liveness_probe": {**probe, "period_seconds": 10},
    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
    "security_context": {"allow_privilege_escalation": False, "capabilities": {"drop": ["ALL"]}},
    "volume_mounts": [{"name": "code", "mount_path": "/code"}],
}
pod = {
    "automount_service_account_token": False,
    "security_context": {"run_as_non_root": True, "run_as_user": 1000, "seccomp_profile": {"type": "RuntimeDefault"}},
    "termination_grace_period_seconds": 1,
    "containers": [container],
    "volumes": [{"name": "code", "config_map": {"name": "answers"}}],
}
k8s.apps.v1.Deployment(
    "answers",
    metadata=metadata,
    spec={
        "replicas": config.get_int("replicas") or 1,
        "selector": {"match_labels": {"app.kubernetes.io/name": "answers"}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    },
    opts=pulumi.ResourceOptions.merge(cluster, pulumi.ResourceOptions(depends_on=[code])),
)
service = k8s.core.v1.Service(
    "answers",
    metadata=metadata,
    spec={
        "type": "LoadBalancer",
        "selector": {"app.kubernetes.io/name": "answers"},
        "ports": [{"port": 8080, "target_port": 8080}],
    },
    opts=cluster,
)
pulumi.export("release", release)
pulumi.export("predict_url", service.status.load_balancer.ingress[0].ip.apply(lambda ip: f"http://{ip}:8080/predict"))
