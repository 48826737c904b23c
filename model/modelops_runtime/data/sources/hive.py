"""Values that stand in the names of folders, as Hive and Spark write them: `year=2024/month=05/part-0.parquet`."""

import re
from collections.abc import Mapping
from urllib.parse import unquote

_MISSING = "__HIVE_DEFAULT_PARTITION__"
_FOLDER = re.compile(r"([^=]+)=(.*)")


def values(pattern: str, file: str) -> Mapping[str, str | None]:
    """Column and value of each such folder of a file, from the first one on where the pattern has * or ?."""
    beginning = re.split(r"[*?]", pattern)[0]
    if beginning == pattern:
        return {}
    own = pattern.count("/") - beginning.count("/") + 1
    found = [match for folder in file.split("/")[-own:-1] if (match := _FOLDER.fullmatch(folder))]
    return {unquote(match[1]): None if match[2] == _MISSING else unquote(match[2]) for match in found}
