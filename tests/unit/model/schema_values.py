"""Values made from a JSON Schema, as much of it as the server's OpenAPI document uses, and values with a mistake."""

import copy
import math
import random
from typing import Any

JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, 10**400, -(2**63), 1e39, -1e308, 5e-324, math.nan, math.inf, -math.inf,
    "", "0.5", "NaN", "x" * 500, "\u0000", "ünïcödé 🎲", [], [[]], [None], [[[[0.5]]]], {}, {"a": {"b": [1]}},
)  # fmt: skip


class Schemas:
    """Values by the schemas of one document."""

    def __init__(self, document: dict[str, Any], random_source: random.Random) -> None:
        self._document = document
        self._random = random_source

    def resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in schema:
            return schema
        found: Any = self._document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return dict(found)

    def value(self, schema: dict[str, Any]) -> Any:
        """One that the schema allows; lists are mostly short."""
        schema = self.resolve(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        if "oneOf" in schema:
            return self.value(self._random.choice(schema["oneOf"]))
        kind = schema.get("type", "null")
        if isinstance(kind, list):
            kind = self._random.choice(kind)
        return getattr(self, f"_{kind}")(schema)

    def mistaken(self, value: Any) -> Any:
        """The same with one thing changed somewhere: mostly, but not always, something that isn't allowed."""
        value = copy.deepcopy(value)
        places = _places(value)
        if not places:
            return self._random.choice(JUNK)
        holder, key = self._random.choice(places)
        change = self._random.randrange(5)
        if change == 0:
            holder[key] = copy.deepcopy(self._random.choice(JUNK))
        elif change == 1:
            del holder[key]
        elif change == 2:
            holder[key] = [holder[key]]
        elif change == 3 and isinstance(holder, dict):
            holder[f"{key}_"] = holder[key]
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            holder[key] = {"value": holder[key]}
        return value

    def _object(self, schema: dict[str, Any]) -> Any:
        properties = schema.get("properties", {})
        wanted = [key for key in properties if key in schema.get("required", []) or self._random.random() < 0.3]
        made = {key: self.value(properties[key]) for key in wanted}
        if isinstance(schema.get("additionalProperties"), dict) and self._random.random() < 0.5:
            made["extra"] = self.value(schema["additionalProperties"])
        return made

    def _array(self, schema: dict[str, Any]) -> Any:
        if "prefixItems" in schema:
            return [self.value(item) for item in schema["prefixItems"]]
        low = schema.get("minItems", 0)
        high = min(schema.get("maxItems", low + 5), low + 5)
        return [self.value(schema["items"]) for _item in range(self._random.randint(low, high))]

    def _number(self, schema: dict[str, Any]) -> Any:
        low, high = schema.get("minimum", -1e9), schema.get("maximum", 1e9)
        wide = [low / 4, high / 4, 0, -0.0, 1, 1e-45]  # a number as large as allowed may be too large a prediction
        return self._random.choice([*wide, self._random.gauss(0, 1), self._random.uniform(-1e6, 1e6)])

    def _integer(self, schema: dict[str, Any]) -> Any:
        low, high = schema.get("minimum", -5), schema.get("maximum", 5)
        return self._random.choice([low, high, self._random.randint(low, min(high, low + 5))])

    def _string(self, _schema: dict[str, Any]) -> Any:
        return "".join(self._random.choices('aZ0 "\\/é🎲\n', k=self._random.randrange(12)))

    def _boolean(self, _schema: dict[str, Any]) -> Any:
        return self._random.random() < 0.5

    def _null(self, _schema: dict[str, Any]) -> Any:
        return None


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(holder, key) of everything inside."""
    found: list[tuple[Any, Any]] = []
    keys: Any = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        found += [(value, key), *_places(value[key])]
    return found
