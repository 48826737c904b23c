"""The features that are refused, in the code and in the documentation."""

from pathlib import Path

import pytest

from devkit.pulumi_plugins.kubernetes_provider import refused


@pytest.mark.parametrize(
    ("token", "feature"),
    [
        ("kubernetes:helm.sh/v3:Release", refused.HELM),
        ("kubernetes:helm.sh/v4:Chart", refused.HELM),
        ("kubernetes:helm:template", refused.HELM),
        ("kubernetes:yaml/v2:ConfigGroup", refused.YAML),
        ("kubernetes:yaml:decode", refused.YAML),
        ("kubernetes:kustomize/v2:Directory", refused.KUSTOMIZE),
        ("kubernetes:kustomize:directory", refused.KUSTOMIZE),
        ("kubernetes:apps/v1:DeploymentList", refused.LIST),
        ("kubernetes:apps/v1:Deployment", None),
        ("kubernetes:example.com/v1:PriceList", None),
        ("kubernetes:example.com/v1:HotPatch", None),
    ],
)
def test_types_belong_to_features(token: str, feature: refused.Feature | None) -> None:
    assert refused.refused_type(token) == feature


def test_the_documentation_has_the_same_table() -> None:
    page = Path(__file__).resolve().parents[4] / "docs" / "reference" / "provider.md"
    assert refused.table() in page.read_text(encoding="utf-8")


def test_each_error_names_the_feature_and_what_to_do() -> None:
    for feature in refused.FEATURES:
        said = refused.message(feature)
        assert said.startswith(feature.name) and feature.instead in said and "MODELOPS_PLUGIN_KUBERNETES" in said
