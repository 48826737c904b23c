"""Removes secrets from the output. When in doubt it hides a value: a comment stays in mailboxes forever."""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from previews import shapes
from previews.names import counts, is_group, is_secret

HIDDEN = "[secret]"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine writes for a value that is only known after the update."""

_ENGINE_SECRET = "4dabf18193072939515e22adb298388d"
"""Marks an object in which the engine keeps a secret."""
_HOLDERS = {
    "Secret": ("data", "stringData", "value", "secretString", "secretData"),
    "SecretPatch": ("data", "stringData"),
    "SecretVersion": ("secretString", "secretBinary", "secretData", "value"),
    "Parameter": ("value",),
    "RandomPassword": ("result",),
}
"""Kinds that hold secrets, and where."""
_POINTERS = set("secretName name items optional defaultMode namespace key path audience expirationSeconds".split())
"""Properties of an object that only points to a Secret or a token."""
_VALUES = ("value", "values", "default", "contents")
_PLAIN = re.compile(r"\$\([\w.]+\)|\$\{[\w.]+\}|true|false|null|none|yes|no|", re.IGNORECASE)
"""A variable whose value stands elsewhere, or no secret at all."""

_QUOTED = re.compile(
    r"\"(?:\\.|[^\"\\])*(?:\"|\Z)|'(?:''|\\.|[^'\\])*(?:'|\Z)|\\\"(?:(?!\\\").)*(?:\\\"|\Z)", re.DOTALL
)
_BRACED = re.compile(r"\{[^}\n]*\}")
_KEY = re.compile(
    r"(?<![\w@])(?P<key>[A-Za-z_.][\w.-]*(?: (?:key|string|token|password|signature))?)"
    r"(?P<sign>(?:\\?[\"'])?\]?[ \t]*(?:=>|:=|[=:]))(?P<space>[ \t]*)",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"(?P<head>[\"']?(?:name|key)[\"']?\s*[:=]\s*[\"']?(?P<name>[\w.-]+)[\"']?\s*,?\s*-?\s*[\"']?value[\"']?\s*[:=]\s*)"
    r"(?P<value>\"(?:\\.|[^\"\\])*\"|'[^']*'|[^\s,}]+)",
    re.IGNORECASE,
)
_FLAG = re.compile(r"(?<![\w-])--?(?P<name>[A-Za-z][\w.-]*)[ \t]+(?=[^\s-])")
_WORDS = re.compile(
    r"(?P<head>\b(?:requirepass|masterauth|configure[ \t]+set[ \t]+\S+|login[ \t]+\S+[ \t]+password|IDENTIFIED BY)"
    r"[ \t]+)"
    r"(?P<value>[\"']?[^\s\"']+[\"']?)(?=\s|;|$)"
)
"""Where a secret follows a word without any sign between them."""
_USER = re.compile(r"(?P<head>(?<![\w-])(?:-u|-U|--user|--proxy-user)[ =]*[\"']?[^\s:\"'@/]+[:%])(?P<value>[^\s\"']+)")
_GLUED = re.compile(
    r"(?<![\w-])-p(?!(?:a(?:ge|r|ss(?:ive|es)|th|tch)|e(?:er|m|r)|i(?:d|ng|pe)|l(?:ain|ot|u)|o(?:l|rt|st)|r(?:e|i|o)|ubl|ush|ython)"
    r"[a-z.-]*(?:[=\s]|$))(?P<value>(?!\d+(?:[:/\s]|$)|[a-z]{1,3}(?:\s|$))[^\s-][^\s]*)"
)
"""`-pX`. Not a port, not several short flags in one, and not a long flag that Go's programs write with one dash."""
_LOGIN = re.compile(
    r"(?:^|\s|/)(?:sshpass|mongo\w*|mysql\w*|mariadb\w*|redis-cli|docker|podman|helm|oc|az|cqlsh|rabbitmqadmin|ldap\w+|sqlcmd|bcp|7z|zip)\s"
    r"|(?:^|\s)(?:-u|-U|-D|--user|--username)\b"
)
_SEPARATE = re.compile(r"(?<![\w-])(?P<flag>-[pPaw])[ \t]+(?P<value>[^\s-]\S*)")


@dataclass(frozen=True)
class Veiled:
    """A value that is compared as it is and shown as something else."""

    value: Any
    shown: str = HIDDEN


class Scrubber:
    """Hides what looks like a secret, and every value that the caller names."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        # Short values would remove whole words from the text; the longest first, because one may be part of another.
        forms = {form for value in values if len(value) >= 6 for form in _forms(value)}
        self._values = sorted(forms, key=lambda value: (-len(value), value))

    def text(self, text: str) -> str:
        """The text without secrets, and with a readable mark for values known only after the update."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        text = shapes.hide(text, HIDDEN)
        text = _PAIR.sub(_pair, text)
        text = _assigned(text)
        text = "\n".join(_command(line) for line in text.split("\n"))
        return text.replace(UNKNOWN, "(known after up)")

    def masked(self, value: Any, kind: str) -> Any:
        """The inputs or outputs of a resource of this kind, with Veiled in place of what its name makes a secret."""
        held = _HOLDERS.get(kind, ())
        if isinstance(value, Mapping) and held:
            return {
                key: _covered(item) if key in held else self._named(str(key), item, value)
                for key, item in value.items()
            }
        return self._masked(value)

    def _masked(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if _ENGINE_SECRET in value:
                return Veiled(value)
            # A manifest inside of another resource.
            kind = value.get("kind")
            if kind in _HOLDERS and "apiVersion" in value:
                return self.masked(value, str(kind))
            masked = {key: self._named(str(key), item, value) for key, item in value.items()}
            command, arguments = value.get("command"), value.get("args")
            if isinstance(command, list) and isinstance(arguments, list):
                # One command line: a flag may end the one, and its value begin the other.
                line = self._list([*command, *arguments])
                masked |= {"command": line[: len(command)], "args": line[len(command) :]}
            return masked
        if isinstance(value, list):
            return self._list(value)
        return self._document(value) if isinstance(value, str) else value

    def _named(self, key: str, item: Any, siblings: Mapping[str, Any]) -> Any:
        if key in _VALUES:
            # An environment variable's name decides whether its value is secret.
            names = [siblings.get(name) for name in ("name", "key")]
            if any(
                isinstance(name, str) and is_secret(name, strict=True) and not _harmless(name, item) for name in names
            ):
                return _covered(item)
        if is_secret(key) and not _harmless(key, item):
            apart = _points(item) or (is_group(key) and not isinstance(item, str))
            return self._masked(item) if apart else _covered(item)
        return self._masked(item)

    def _list(self, items: list[Any]) -> list[Any]:
        line = " ".join(item for item in items if isinstance(item, str))
        result = []
        for before, item in zip([None, *items], items, strict=False):
            if isinstance(item, str) and isinstance(before, str) and _is_argument(before, item, line):
                user, colon, _ = item.partition(":")
                is_user = before in ("-u", "-U", "--user", "--proxy-user")
                result.append(Veiled(item, f"{user}{colon}{HIDDEN}" if is_user else HIDDEN))
            else:
                result.append(self._masked(item))
        return result

    def _document(self, text: str) -> Any:
        """A text, of which JSON on one line is looked into."""
        if text.lstrip()[:1] not in ("{", "[") or "\n" in text.strip():
            return text
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return text
        masked = self._masked(document)
        return Veiled(text, json.dumps(shown(masked), ensure_ascii=False)) if has_veil(masked) else text


def shown(value: Any) -> Any:
    """A masked value as it may be shown."""
    if isinstance(value, Veiled):
        return value.shown
    if isinstance(value, Mapping):
        return {key: shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list) else value


def has_veil(value: Any) -> bool:
    """Whether any part of a masked value is hidden."""
    if isinstance(value, Mapping):
        return any(map(has_veil, value.values()))
    return any(map(has_veil, value)) if isinstance(value, list) else isinstance(value, Veiled)


def _forms(value: str) -> Iterator[str]:
    """How a value may stand in a text."""
    yield from (value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1])
    yield base64.b64encode(value.encode(errors="surrogatepass")).decode()


def _covered(value: Any) -> Any:
    """A value of which nothing is shown but its shape."""
    if isinstance(value, Mapping) and _ENGINE_SECRET not in value:
        return {key: _covered(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_covered(item) for item in value]
    return value if value is None or isinstance(value, bool) or value == "" else Veiled(value)


def _points(item: Any) -> bool:
    """Whether it names a Secret instead of containing one."""
    items = item if isinstance(item, list) else [item]
    pointers = [each for each in items if isinstance(each, Mapping) and each]
    return len(pointers) == len(items) and all(
        {*each} <= _POINTERS or {*each} <= {"valueFrom", "secretKeyRef", "configMapKeyRef"} for each in pointers
    )


def _harmless(name: str, item: Any) -> bool:
    if item in (UNKNOWN, HIDDEN) or (isinstance(item, str) and _PLAIN.fullmatch(item)):
        return True
    return counts(name) and bool(re.fullmatch(r"\d{1,9}", str(item)))


def _is_argument(before: str, item: str, line: str) -> bool:
    """Whether an argument is the secret that the one before it announces."""
    if _PLAIN.fullmatch(item) or item in (UNKNOWN, HIDDEN):
        return False
    if found := re.fullmatch(r"--?([A-Za-z][\w.-]*)", before):
        if is_secret(found[1]) and not _harmless(found[1], item):
            return not item.startswith("-")
        if before in ("-u", "-U", "--user", "--proxy-user"):
            return ":" in item and not re.fullmatch(r"\d+:\d+", item)
        return before in ("-p", "-P", "-a", "-w") and bool(_LOGIN.search(line)) and not _is_port(item)
    return bool(re.fullmatch(r"[A-Za-z]+(?:[_.-][A-Za-z]+)+", before)) and is_secret(before)


def _is_port(text: str) -> bool:
    return bool(re.fullmatch(r"[\d.:/]+(?:tcp|udp)?", text))


def _pair(found: re.Match[str]) -> str:
    """`name: DB_PASSWORD, value: …` in YAML or JSON."""
    secret = is_secret(found["name"], strict=True) and not _harmless(found["name"], found["value"].strip("\"'"))
    return f"{found['head']}{HIDDEN}" if secret else found[0]


def _assigned(text: str) -> str:
    """Settings with a secret name, in any of the notations of configuration files, commands and connection strings."""
    parts, position = [], 0
    while found := _KEY.search(text, position):
        # The rest of a name that is no secret may begin another one: `env.name=password=…`.
        end = found.end()
        if is_secret(found["key"]):
            end = _end(text, found)
            value = text[found.end() : end]
            if value.strip() and not _harmless(found["key"], value.strip().strip("\"'")):
                quoted = value[0] if value[0] in "\"'" and value[-1:] == value[0] else ""
                parts.append(f"{text[position : found.end()]}{quoted}{HIDDEN}{quoted}")
                position = end
                continue
        parts.append(text[position:end])
        position = end
    return "".join(parts) + text[position:]


def _end(text: str, found: re.Match[str]) -> int:
    """Where the value ends that begins behind a name."""
    start = found.end()
    if value := _QUOTED.match(text, start) or _BRACED.match(text, start):
        return value.end()
    begin = text.rfind("\n", 0, found.start()) + 1
    line_end = text.find("\n", start) if "\n" in text[start:] else len(text)
    before, line = text[begin : found.start()], text[start:line_end]
    sign = found["sign"].strip("\\\"'] \t")
    if sign == ":" and re.fullmatch(r"[|>][+-]?\d?[+-]?\s*(?:#.*)?", line):
        return _block_end(text, line_end, len(before) - len(before.lstrip(" -")))
    if sign == ":" and not found["space"] and found["sign"] == ":":
        # An image's tag, or part of a path.
        return start if before.endswith("/") else start + len(line.split(None, 1)[0] if line.strip() else "")
    if before.rstrip().endswith(("{", ",", "(")) and sign == ":":
        return start + len(re.split(r"[,})]", line, maxsplit=1)[0])
    if before.rstrip().endswith(("?", "&")):
        return start + len(re.split(r"[&\s\"'#]", line, maxsplit=1)[0])
    if before.rstrip().endswith(";") or re.match(r"[^;]*;\s*\w[\w ]*=", line):
        return start + len(line.split(";", 1)[0])
    if sign == ":" or ("\n" in text.strip() and not re.search(r"\S\s", before)):
        return line_end
    return start + len(line.split(None, 1)[0] if line.strip() else "")


def _block_end(text: str, position: int, indent: int) -> int:
    """Where a YAML block ends: before the first line that is not further to the right than its name."""
    while position < len(text):
        following = text.find("\n", position + 1)
        line = text[position + 1 : following if following >= 0 else len(text)]
        if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
            break
        position = following if following >= 0 else len(text)
    return position


def _command(line: str) -> str:
    """A line without the secrets among its flags."""
    parts, position = [], 0
    while found := _FLAG.search(line, position):
        end = found.end()
        if is_secret(found["name"]):
            value = _QUOTED.match(line, end) or re.compile(r"\S+").match(line, end)
            if value and not _harmless(found["name"], value[0].strip("\"'")):
                parts.append(f"{line[position:end]}{HIDDEN}")
                position = value.end()
                continue
        parts.append(line[position:end])
        position = end
    line = "".join(parts) + line[position:]
    line = _USER.sub(lambda found: found[0] if found["value"].isdigit() else f"{found['head']}{HIDDEN}", line)
    line = _GLUED.sub(lambda found: f"-p{HIDDEN}" if not _PLAIN.fullmatch(found["value"]) else found[0], line)
    line = _WORDS.sub(lambda found: f"{found['head']}{HIDDEN}", line)
    if _LOGIN.search(line):
        line = _SEPARATE.sub(
            lambda found: found[0] if _is_port(found["value"]) else f"{found['flag']} {HIDDEN}",
            line,
        )
    return line
