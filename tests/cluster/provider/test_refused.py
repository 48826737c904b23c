"""What only the stand-in refuses: one error that names the feature."""

import pulumi_kubernetes as k8s
import pytest
from pulumi import ResourceOptions

from devkit.pulumi_plugins.kubernetes_provider import refused
from tests.cluster.provider.harness import Program, Stack

pytestmark = pytest.mark.stand_in


def _helm(provider):
    k8s.helm.v3.Release("chart", chart="x", opts=ResourceOptions(provider=provider))


def _helm4(provider):
    k8s.helm.v4.Chart("chart", chart="x", opts=ResourceOptions(provider=provider))


def _yaml(provider):
    k8s.yaml.v2.ConfigGroup("group", yaml="a: b", opts=ResourceOptions(provider=provider))


def _kustomize(provider):
    k8s.kustomize.v2.Directory("folder", directory=".", opts=ResourceOptions(provider=provider))


def _list(provider):
    k8s.core.v1.ConfigMapList("list", items=[], opts=ResourceOptions(provider=provider))


def _client_side(provider):
    made = k8s.Provider("other", enable_server_side_apply=False)
    k8s.core.v1.ConfigMap("settings", opts=ResourceOptions(provider=made))


def _render(provider):
    made = k8s.Provider("other", render_yaml_to_directory="out")
    k8s.core.v1.ConfigMap("settings", opts=ResourceOptions(provider=made))


@pytest.mark.parametrize(
    ("program", "feature"),
    [
        (_helm, refused.HELM),
        (_helm4, refused.HELM),
        (_yaml, refused.YAML),
        (_kustomize, refused.KUSTOMIZE),
        (_list, refused.LIST),
        (_client_side, refused.CLIENT_SIDE_APPLY),
        (_render, refused.RENDER),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_refused_features_are_named_in_the_preview(stack: Stack, program: Program, feature: refused.Feature) -> None:
    # On a busy machine the engine may report no more than that the program ended, and drop the error that ended it.
    dropped = "Resource monitor has terminated"
    texts = [stack.preview(program, succeed=False).text]
    while dropped in texts[-1] and refused.message(feature) not in texts[-1] and len(texts) < 3:
        texts.append(stack.preview(program, succeed=False).text)
    assert refused.message(feature) in texts[-1]
