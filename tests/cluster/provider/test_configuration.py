"""Which cluster and which namespace, and what a change of either means."""

import os
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s
import yaml
from pulumi import ResourceOptions

from tests.cluster.provider.harness import Stack
from tests.cluster.support import kubectl


def _kubeconfig() -> dict:
    return yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten"))


def _config_map(provider, name="settings", **metadata):
    return k8s.core.v1.ConfigMap(name, metadata={"name": name, **metadata}, opts=ResourceOptions(provider=provider))


def test_the_kubeconfig_may_be_contents_or_a_path(new_stack, namespace: str, tmp_path: Path) -> None:
    stack = new_stack(KUBECONFIG="/nowhere")
    text = yaml.safe_dump(_kubeconfig())
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    def program(provider):
        by_path = k8s.Provider("by-path", kubeconfig=str(path), namespace=namespace)
        one, two = _config_map(provider, "one"), _config_map(by_path, "two")
        return {"places": [one.metadata["namespace"], two.metadata["namespace"]]}

    stack.up(program, kubeconfig=text, namespace=namespace)
    assert stack.outputs() == {"places": [namespace, namespace]}
    stack.unchanged(program, kubeconfig=text, namespace=namespace)


def test_the_context_and_the_ambient_kubeconfig(new_stack, namespace: str, tmp_path: Path) -> None:
    config = _kubeconfig()
    good = config["contexts"][0]
    config["clusters"].append({"name": "bad", "cluster": {"server": "https://127.0.0.1:1"}})
    config["contexts"] = [
        {"name": "good", "context": {**good["context"], "namespace": namespace}},
        {"name": "bad", "context": {**good["context"], "cluster": "bad"}},
    ]
    config["current-context"] = "bad"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    stack = new_stack(KUBECONFIG=str(tmp_path / "kubeconfig"))

    def program(provider):
        # A namespaced object without a namespace goes where the context says.
        return {"place": _config_map(provider).metadata["namespace"]}

    stack.up(program, context="good")
    assert stack.outputs() == {"place": namespace}


def test_the_default_provider_takes_the_ambient_kubeconfig(stack: Stack) -> None:
    def program(provider):
        made = k8s.core.v1.ConfigMap("settings", metadata={"namespace": stack.namespace})
        return {"place": made.metadata["namespace"]}

    stack.up(program)
    assert stack.outputs() == {"place": stack.namespace}
    assert os.environ["KUBECONFIG"]


def test_an_explicit_namespace_wins_and_cluster_wide_kinds_have_none(stack: Stack, cluster_wide_stack: Stack) -> None:
    def program(provider):
        role = k8s.rbac.v1.ClusterRole("role", opts=ResourceOptions(provider=provider))
        placed = k8s.core.v1.ConfigMap(
            "placed", metadata={"namespace": stack.namespace}, opts=ResourceOptions(provider=provider)
        )
        return {"role": role.id, "placed": placed.id}

    cluster_wide_stack.up(program, namespace="default")
    outputs = cluster_wide_stack.outputs()
    assert "/" not in outputs["role"] and outputs["placed"].startswith(f"{stack.namespace}/")
    cluster_wide_stack.unchanged(program, namespace="default")


def test_only_another_cluster_replaces_what_is_in_it(stack: Stack) -> None:
    config = _kubeconfig()

    def program(provider):
        _config_map(provider)

    def with_(change):
        changed = yaml.safe_load(yaml.safe_dump(config))
        change(changed)
        return yaml.safe_dump(changed)

    stack.up(program, kubeconfig=with_(lambda c: None))

    def renamed_user(c):
        c["users"][0]["name"] = "renamed"
        c["contexts"][0]["context"]["user"] = "renamed"

    same = stack.preview(program, kubeconfig=with_(renamed_user))
    assert same.changed() == {"cluster": ["update"]}

    def elsewhere(c):
        c["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"

    other = stack.preview(program, kubeconfig=with_(elsewhere))
    assert "replace" in other.operations("cluster") and "replace" in other.operations("settings")


def test_a_kubeconfig_that_is_secret_stays_secret(stack: Stack) -> None:
    text = yaml.safe_dump({**_kubeconfig(), "preferences": {"note": "hidden-note"}})

    def program(provider):
        hidden = k8s.Provider("hidden", kubeconfig=pulumi.Output.secret(text), namespace=stack.namespace)
        _config_map(hidden)

    done = stack.up(program)
    assert "hidden-note" not in stack.state_text() + done.text
