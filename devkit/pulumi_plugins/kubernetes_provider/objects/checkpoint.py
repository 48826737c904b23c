"""A resource's state: the live object, with what the provider needs to know next time."""

from collections.abc import Mapping
from typing import Any

from .properties import Secret, from_object, to_object
from .secrets import annotate_secrets

INPUTS = "__inputs"
API_VERSION = "__initialApiVersion"
FIELD_MANAGER = "__fieldManager"


def pack(
    inputs: Mapping[str, Any],
    live: Mapping[str, Any],
    marked: Mapping[str, Any],
    *,
    api_version: str,
    field_manager: str,
) -> dict[str, Any]:
    """The state for `live`, made from `inputs`; secrets in `marked` (the inputs with their marks) stay secret."""
    outputs, stored = from_object(live), from_object(inputs)
    annotate_secrets(outputs, marked)
    annotate_secrets(stored, marked)
    outputs[INPUTS] = stored
    outputs[API_VERSION] = api_version
    outputs[FIELD_MANAGER] = field_manager
    return outputs


def unpack(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and the live object in a state, in plain text."""
    live = to_object(state)
    inputs = live.pop(INPUTS, {})
    for key in (API_VERSION, FIELD_MANAGER):
        live.pop(key, None)
    return inputs, live


def text_of(state: Mapping[str, Any], key: str) -> str:
    """A string that the provider stored in the state; empty when it is absent."""
    value = state.get(key)
    value = value.value if isinstance(value, Secret) else value
    return value if isinstance(value, str) else ""
