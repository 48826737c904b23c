"""The provider's folders import in one direction."""

from tests.unit.test_layers import MODULES, imports

PACKAGE = "devkit.pulumi_plugins.kubernetes_provider"
LAYERS = ["serve", "servicer", "schema", "operations", "awaiting", "cluster", "objects", "refused", "errors"]


def _layer(module: str) -> int:
    return LAYERS.index(module.removeprefix(f"{PACKAGE}.").split(".")[0])


def test_the_folders_of_the_provider_import_downwards_only() -> None:
    modules = [name for name in MODULES if name.startswith(f"{PACKAGE}.")]
    upward = [
        f"{name} imports {target}"
        for name in modules
        for target in imports(name, inside=True)
        if target.startswith(f"{PACKAGE}.") and _layer(target) < _layer(name)
    ]
    assert modules and upward == []
