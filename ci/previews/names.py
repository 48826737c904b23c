"""Which names have a secret value: of properties, environment variables, flags, and settings inside texts."""

import re

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ANYWHERE = re.compile(
    r"passw(?:or)?[dt]|passphrase|passcode|passkey|pwd|secret|token(?!iz)|credential|authori[sz]ation|accesssignature"
    r"|(?:api|access|account|admin|app|auth|encryption|fernet|hmac|integration|license|master|private|root|routing|service"
    r"|session|shared|signing|storage|subscription)key|connection(?:string|url|uri)|connstr|databaseurl|webhookur[li]"
    r"|dockerconfig|dockercfg|kubeconfig|htpasswd|netrc"
)
_WORD = {
    "creds",
    "cred",
    "sas",
    "dsn",
    "jwt",
    "otp",
    "totp",
    "psk",
    "bearer",
    "cookie",
    "cookies",
    "salt",
    "pass",
    "pw",
}
_LAST = {"auth", "sig", "pat", "rsa", "ed25519", "ecdsa", "p12", "pfx", "jks", "keystore", "webhook", "hook"}
_GLUED = re.compile(r"(?<!by)(?<!com)(?<!tres)(?<!under)(?<!over)pass$|(?:root|bind|user|db|admin|login|pg)pw$")
"""`DBPASS`, `bindpw`."""
_PUBLIC_KEYS = set(
    "cache dedup event file foreign group hash index join label lookup map message metric natural node object"
    " partition primary public range resource row search shard sort topology unique".split()
)
_REFERENCES = set(
    "name names ref refs reference references path paths file files dir mount mounts selector namespace claim claims"
    " provider providers uri stdin".split()
)
"""Last words of names that say where a secret is. That is not secret, and reviewers need it."""
_OF_OBJECTS = {"existing", "pull", "tls", "cert", "certificate", "ca", "image"}
"""What comes before `secret` in the name of a Secret's name."""


def is_secret(name: str, *, strict: bool = False) -> bool:
    """Whether the value under a name is secret. With `strict`, so is a name that says only where the secret is."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or (not strict and _refers(words)):
        return False
    joined, last = "".join(words), words[-1]
    if _ANYWHERE.search(joined) or _WORD & {*words} or last in _LAST or _GLUED.search(joined):
        return True
    return last == "key" and len(words) > 1 and words[-2] not in _PUBLIC_KEYS


def counts(name: str) -> bool:
    """Whether a name means a number of tokens, as a model's limits do."""
    return [word.lower() for word in _WORDS.findall(name)][-1:] == ["tokens"]


def is_group(name: str) -> bool:
    """Whether an object under this name has settings of its own, only some of which are secret."""
    return name.lower() in ("auth", "webhook", "hook")


def _refers(words: list[str]) -> bool:
    if words[-1] in _REFERENCES and "connection" not in words:
        return True
    return words[-1] in ("secret", "secrets") and bool(_OF_OBJECTS & {*words[:-1]})
