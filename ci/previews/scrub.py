"""Removes secrets from the output. When in doubt it hides a value: a comment stays in mailboxes forever."""

import re
from collections.abc import Iterable

HIDDEN = "[secret]"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine writes for a value that is only known after the update."""

_WORD = r"(?:passw(?:or)?d|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credential|authorization)"
_SENSITIVE = re.compile(_WORD, re.IGNORECASE)
# A reference to a secret is not secret, and reviewers need it.
_REFERENCE = re.compile(
    r"(?:name|ref|references?|path|file|dir|uri|mount|selector|namespace|claim|provider|secret)s?$", re.IGNORECASE
)
_PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{15,}|xox[abprs]-[\w-]{10,})"),
    re.compile(r"\b(?:pul-[0-9a-f]{40}|AKIA[0-9A-Z]{16}|hf_[A-Za-z0-9]{20,}|sk-[\w-]{20,})"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    re.compile(r"\bv1:[A-Za-z0-9+/]{8,}={0,2}:[A-Za-z0-9+/]{16,}={0,2}"),
)
_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/@\"']+@", re.IGNORECASE)
_BEARER = re.compile(r"(?P<kind>\b(?:bearer|basic)\s+)[A-Za-z0-9+/._~-]{8,}=*", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"(?P<key>[\w-]*{_WORD}[\w-]*[\"']?\s*(?:=|:\s|:(?=[\"']))\s*)(?P<quote>[\"']?)[^\s\"',;}}]+(?P=quote)",
    re.IGNORECASE,
)


class Scrubber:
    """Hides what looks like a secret, and every value that the caller names."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        # Short values would remove whole words from the text; the longest first, because one may be part of another.
        self._values = sorted({value for value in values if len(value) >= 6}, key=lambda value: (-len(value), value))

    def text(self, text: str) -> str:
        """The text without secrets, and with a readable mark for values known only after the update."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        for pattern in _PATTERNS:
            text = pattern.sub(HIDDEN, text)
        text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
        text = _BEARER.sub(rf"\g<kind>{HIDDEN}", text)
        text = _ASSIGNED.sub(rf"\g<key>{HIDDEN}", text)
        return text.replace(UNKNOWN, "(known after up)")

    def hides(self, path: tuple[str, ...], kind: str) -> bool:
        """Whether whatever is at a path of a resource of this kind is hidden, regardless of its value."""
        if kind == "Secret" and path[:1] in (("data",), ("stringData",)):
            return True
        # The value of an environment variable stands beside its name: `env`, `DB_PASSWORD`, `value`.
        key = path[-2] if len(path) > 1 and path[-1] == "value" else path[-1] if path else ""
        return bool(_SENSITIVE.search(key)) and (path[-1] == "value" or not _REFERENCE.search(key))
