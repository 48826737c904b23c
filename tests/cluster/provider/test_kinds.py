"""Every kind that the components use, created and unchanged in the next preview; and kinds that a program brings."""

import pulumi_kubernetes as k8s
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.provider.manifests import annotations
from tests.cluster.support import kubectl

_IMAGE = "nowhere.invalid/none"


def _pod_spec(**fields):
    """A pod that uses what the components use, amounts written as people write them."""
    return {
        "automount_service_account_token": False,
        "host_network": False,
        "termination_grace_period_seconds": 30,
        "security_context": {
            "run_as_non_root": True,
            "run_as_user": 65532,
            "fs_group": 65532,
            "seccomp_profile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "c",
                "image": _IMAGE,
                "env": [{"name": "EMPTY", "value": ""}, {"name": "A", "value": "1"}],
                "ports": [{"name": "http", "container_port": 8080}],
                "resources": {
                    "requests": {"cpu": "0.5", "memory": "1024Mi"},
                    "limits": {"cpu": "1000m", "memory": "1.5Gi", "ephemeral-storage": "1e9"},
                },
                "readiness_probe": {"http_get": {"path": "/", "port": "http"}, "period_seconds": 5},
                "lifecycle": {"pre_stop": {"exec_": {"command": ["sleep", "1"]}}},
                "volume_mounts": [{"name": "tmp", "mount_path": "/tmp"}],
                "security_context": {
                    "allow_privilege_escalation": False,
                    "read_only_root_filesystem": True,
                    "privileged": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
        "topology_spread_constraints": [
            {
                "max_skew": 1,
                "topology_key": "kubernetes.io/hostname",
                "when_unsatisfiable": "ScheduleAnyway",
                "label_selector": {"match_labels": {"app": "x"}},
            }
        ],
        "volumes": [{"name": "tmp", "empty_dir": {"size_limit": "1024Mi"}}],
        **fields,
    }


def _workloads(options, meta) -> None:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": _pod_spec()}
    selector = {"match_labels": {"app": "x"}}
    k8s.apps.v1.Deployment(
        "deployment",
        metadata=meta,
        spec={
            "replicas": 0,
            "selector": selector,
            "template": template,
            "strategy": {"type": "RollingUpdate", "rolling_update": {"max_unavailable": 0, "max_surge": "25%"}},
        },
        opts=options,
    )
    claim = {
        "metadata": {"name": "data"},
        "spec": {"access_modes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1000Mi"}}},
    }
    k8s.apps.v1.StatefulSet(
        "statefulset",
        metadata=meta,
        spec={
            "replicas": 0,
            "service_name": "x",
            "selector": selector,
            "template": template,
            "volume_claim_templates": [claim],
        },
        opts=options,
    )
    k8s.apps.v1.DaemonSet(
        "daemonset",
        metadata=meta,
        spec={
            "selector": selector,
            "template": {**template, "spec": _pod_spec(node_selector={"nowhere": "none"})},
        },
        opts=options,
    )
    once = {"spec": _pod_spec(restart_policy="Never")}
    rule = {"action": "Ignore", "on_pod_conditions": [{"type": "DisruptionTarget", "status": "True"}]}
    k8s.batch.v1.Job(
        "job",
        metadata=meta,
        spec={
            "suspend": True,
            "backoff_limit": 0,
            "active_deadline_seconds": 60,
            "pod_failure_policy": {"rules": [rule]},
            "template": once,
        },
        opts=options,
    )
    k8s.batch.v1.CronJob(
        "cronjob",
        metadata=meta,
        spec={"schedule": "0 0 1 1 *", "suspend": True, "job_template": {"spec": {"template": once}}},
        opts=options,
    )


def _network(options, meta) -> None:
    k8s.core.v1.Service(
        "service",
        metadata=meta,
        spec={
            "type": "ClusterIP",
            "selector": {"app": "x"},
            "ports": [{"name": "http", "port": 80, "target_port": "http"}],
        },
        opts=options,
    )
    k8s.networking.v1.NetworkPolicy(
        "networkpolicy",
        metadata=meta,
        spec={
            "pod_selector": {"match_labels": {"app": "x"}},
            "policy_types": ["Ingress", "Egress"],
            "ingress": [{"from_": [{"namespace_selector": {}}], "ports": [{"port": 80}]}],
            "egress": [{}],
        },
        opts=options,
    )
    backend = {"service": {"name": "x", "port": {"name": "http"}}}
    paths = [{"path_type": "Prefix", "path": "/", "backend": backend}]
    k8s.networking.v1.Ingress(
        "ingress",
        metadata=meta,
        spec={"rules": [{"host": "a.invalid", "http": {"paths": paths}}]},
        opts=options,
    )


def _policies(options, meta) -> None:
    target = {"api_version": "apps/v1", "kind": "Deployment", "name": "x"}
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "average_utilization": 70}},
    }
    k8s.autoscaling.v2.HorizontalPodAutoscaler(
        "hpa",
        metadata=meta,
        spec={"scale_target_ref": target, "min_replicas": 1, "max_replicas": 3, "metrics": [metric]},
        opts=options,
    )
    k8s.policy.v1.PodDisruptionBudget(
        "pdb",
        metadata=meta,
        spec={"min_available": "50%", "selector": {"match_labels": {"app": "x"}}},
        opts=options,
    )
    k8s.core.v1.ResourceQuota("quota", metadata=meta, spec={"hard": {"requests.cpu": "1000m"}}, opts=options)


def _identities(options, meta) -> None:
    k8s.core.v1.ServiceAccount("account", metadata=meta, automount_service_account_token=False, opts=options)
    k8s.rbac.v1.Role(
        "role", metadata=meta, rules=[{"api_groups": [""], "resources": ["pods"], "verbs": ["get"]}], opts=options
    )
    k8s.rbac.v1.RoleBinding(
        "rolebinding",
        metadata=meta,
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": "x"},
        subjects=[{"kind": "ServiceAccount", "name": "x", "namespace": "default"}],
        opts=options,
    )


def _data(options, meta) -> None:
    k8s.core.v1.ConfigMap("configmap", metadata=meta, data={"requests": "0.5", "empty": ""}, opts=options)
    k8s.core.v1.ConfigMap("none", metadata=meta, opts=options)
    k8s.core.v1.Secret("secret", metadata=meta, string_data={"a": "b"}, type="Opaque", opts=options)
    k8s.core.v1.PersistentVolumeClaim(
        "claim",
        metadata=meta,
        spec={
            "access_modes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1000Mi"}},
            "storage_class_name": "none",
        },
        opts=options,
    )


def test_a_second_preview_is_clean_for_every_kind(stack: Stack, cluster_wide_stack: Stack) -> None:
    def program(provider):
        options = ResourceOptions(provider=provider)
        meta = {"annotations": annotations(skipAwait="true"), "labels": {"app.kubernetes.io/name": "x"}}
        for part in (_workloads, _network, _policies, _identities, _data):
            part(options, meta)

    def cluster_wide(provider):
        options = ResourceOptions(provider=provider)
        k8s.core.v1.Namespace("namespace", metadata={"labels": {"a": "b"}}, opts=options)
        k8s.rbac.v1.ClusterRole(
            "clusterrole", rules=[{"non_resource_urls": ["/metrics"], "verbs": ["get"]}], opts=options
        )
        k8s.rbac.v1.ClusterRoleBinding(
            "clusterrolebinding",
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "x"},
            opts=options,
        )
        k8s.storage.v1.StorageClass("storageclass", provisioner="nobody.invalid/none", opts=options)
        k8s.scheduling.v1.PriorityClass("priorityclass", value=1, opts=options)

    stack.up(program)
    stack.unchanged(program)
    cluster_wide_stack.up(cluster_wide)
    cluster_wide_stack.unchanged(cluster_wide)
    stack.refresh()
    stack.unchanged(program)


def test_empty_rules_of_a_role_are_a_change_at_every_update(cluster_wide_stack: Stack) -> None:
    """The server keeps them as null, which to the provider is another value. So the library leaves them out."""

    def program(rules):
        def run(provider):
            k8s.rbac.v1.ClusterRole("role", rules=rules, opts=ResourceOptions(provider=provider))

        return run

    cluster_wide_stack.up(program([]))
    assert cluster_wide_stack.preview(program([])).changed() == {"role": ["update"]}
    cluster_wide_stack.up(program(None))
    cluster_wide_stack.unchanged(program(None))


def test_definitions_and_their_objects_come_in_one_update(cluster_wide_stack: Stack, namespace: str) -> None:
    group = f"{namespace}.invalid"

    def program(size, extra=False):
        def run(provider):
            options = ResourceOptions(provider=provider)
            spec = {"type": "object", "properties": {"size": {"type": "integer"}, "note": {"type": "string"}}}
            if extra:
                spec["properties"]["extra"] = {"type": "string"}
            definition = k8s.apiextensions.v1.CustomResourceDefinition(
                "definition",
                metadata={"name": f"widgets.{group}"},
                spec={
                    "group": group,
                    "names": {"kind": "Widget", "plural": "widgets"},
                    "scope": "Namespaced",
                    "versions": [
                        {
                            "name": "v1",
                            "served": True,
                            "storage": True,
                            "schema": {"open_apiv3_schema": {"type": "object", "properties": {"spec": spec}}},
                        }
                    ],
                },
                opts=options,
            )
            made = k8s.apiextensions.CustomResource(
                "widget",
                api_version=f"{group}/v1",
                kind="Widget",
                metadata={"namespace": namespace},
                spec={"size": size, **({"extra": "yes"} if extra else {})},
                opts=ResourceOptions(provider=provider, depends_on=[definition]),
            )
            return {"id": made.id}

        return run

    cluster_wide_stack.preview(program(1))
    cluster_wide_stack.up(program(1))
    assert cluster_wide_stack.outputs()["id"].startswith(f"{namespace}/widget-")
    cluster_wide_stack.unchanged(program(1))
    assert cluster_wide_stack.up(program(2)).changed() == {"widget": ["update"]}
    changed = cluster_wide_stack.up(program(2, extra=True)).changed()
    assert changed == {"definition": ["update"], "widget": ["update"]}
    assert "extra" in kubectl("get", f"widgets.{group}", "--namespace", namespace, "--output", "yaml")
    # The definition goes by hand, and its objects with it: nothing is left to delete.
    kubectl("delete", "customresourcedefinition", f"widgets.{group}")
    cluster_wide_stack.destroy()


def test_a_kind_that_nobody_knows_is_an_error(stack: Stack) -> None:
    def program(provider):
        k8s.apiextensions.CustomResource(
            "widget",
            api_version="nowhere.invalid/v1",
            kind="Widget",
            opts=ResourceOptions(provider=provider),
        )

    stack.preview(program)
    failed = stack.up(program, succeed=False)
    assert "widget" in failed.text and "nowhere.invalid/v1" in failed.text
