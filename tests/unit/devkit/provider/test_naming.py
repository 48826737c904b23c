"""Names that the provider chooses."""

import re
from typing import Any

from devkit.pulumi_plugins.kubernetes_provider.objects import naming
from devkit.pulumi_plugins.kubernetes_provider.objects.properties import UNKNOWN


def test_a_name_is_the_resource_name_and_eight_hex_digits() -> None:
    obj: dict[str, Any] = {"metadata": {"labels": {"a": "b"}}}
    naming.assign_name(obj, "web", b"seed")
    assert re.fullmatch(r"web-[0-9a-f]{8}", obj["metadata"]["name"]) and naming.is_autonamed(obj)


def test_the_same_seed_gives_the_same_name() -> None:
    names = []
    for seed in (b"1", b"1", b"2"):
        obj: dict[str, Any] = {}
        naming.assign_name(obj, "web", seed)
        names.append(obj["metadata"]["name"])
    assert names[0] == names[1] != names[2]


def test_names_that_are_there_or_will_be_stay() -> None:
    for metadata in ({"name": "mine"}, {"name": UNKNOWN}, {"generateName": "x-"}):
        obj: dict[str, Any] = {"metadata": dict(metadata)}
        naming.assign_name(obj, "web", b"seed")
        assert obj["metadata"] == metadata


def test_a_proposed_name_is_taken() -> None:
    obj: dict[str, Any] = {}
    naming.assign_name(obj, "web", b"seed", proposed="from-the-engine")
    assert obj["metadata"]["name"] == "from-the-engine"


def test_only_a_chosen_name_is_adopted() -> None:
    chosen = {"metadata": {"name": "web-12345678", "annotations": {"pulumi.com/autonamed": "true"}}}
    for old, name in ((chosen, "web-12345678"), ({"metadata": {"name": "mine"}}, None)):
        obj: dict[str, Any] = {}
        naming.adopt_name(obj, old)
        assert obj["metadata"].get("name") == name


def test_unknown_annotations_are_left_alone() -> None:
    obj: dict[str, Any] = {"metadata": {"annotations": UNKNOWN}}
    naming.assign_name(obj, "web", b"seed")
    assert obj["metadata"]["annotations"] is UNKNOWN and obj["metadata"]["name"].startswith("web-")
