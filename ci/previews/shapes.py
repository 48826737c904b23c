"""Secrets that are known by their form, wherever they stand."""

import re
from urllib.parse import urlsplit

_TOKENS = (
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_\w{20,}",
    r"gl(?:pat|dt|rt|rtr|cbt|ptt|ft|soat|imt|agent|oas|ffct|wt)-[\w.-]{15,}",
    r"GR1348941[\w-]{20,}",
    r"xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}",
    r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[0-9A-Z]{16}",
    r"LTAI[A-Za-z0-9]{12,24}|AKID[A-Za-z0-9]{13,40}",  # Alibaba, Tencent
    r"AIza[\w-]{30,}|GOCSPX-[\w-]{20,}|ya29\.[\w-]{20,}|1//0[\w-]{30,}",
    r"[\w~.-]{3}[78]Q~[\w~.-]{31,34}",  # Entra ID
    r"hf_[A-Za-z0-9]{20,}|api_org_[A-Za-z0-9]{20,}",
    r"sk-[\w-]{20,}|sk-ant-[\w-]{20,}|sess-[\w-]{20,}",
    r"gsk_[A-Za-z0-9]{20,}|xai-[\w-]{20,}|pplx-[\w-]{20,}|r8_[A-Za-z0-9]{20,}|nvapi-[\w-]{20,}|lsv2_\w{20,}|pcsk_\w{20,}",
    r"[srp]k_(?:live|test|prod)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,}",
    r"npm_[A-Za-z0-9]{20,}|pypi-[\w-]{16,}|rubygems_[0-9a-f]{20,}|cio[A-Za-z0-9]{32}|oy2[a-z0-9]{43}",
    r"dckr_[a-z]+_[\w-]{20,}",
    r"SG\.[\w-]{16,}\.[\w-]{16,}|key-[0-9a-f]{32}|[0-9a-z]{32}-us\d{1,2}|(?:SK|AC)[0-9a-f]{32}",
    r"\d{8,10}:[A-Za-z0-9_-]{35}",  # Telegram
    r"[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27,}",  # Discord
    r"do[opr]_v1_[0-9a-f]{20,}|pul-[0-9a-f]{40}|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,}",
    r"hv[sbr]\.[\w-]{20,}|s\.[A-Za-z0-9]{24}",  # Vault
    r"dapi[0-9a-f]{32}|dose[0-9a-f]{32}",
    r"gl(?:sa|c)_[\w=+/-]{20,}|NRAK-[A-Z0-9]{20,}|NRII-[\w-]{20,}|sntry[su]_[\w=+/-]{20,}",
    r"lin_api_\w{20,}|ntn_\w{20,}|secret_[A-Za-z0-9]{40,}|AT[ACB][TB][T3B]?[\w=-]{20,}",
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|sq0(?:atp|csp)-[\w-]{20,}|EAA[A-Za-z0-9]{30,}",
    r"AKC[A-Za-z0-9]{10,}|AP[0-9A-F](?=[A-Za-z]*\d)[A-Za-z0-9]{14,}|PMAK-[\w-]{20,}|dp\.[a-z]+\.\w{20,}|nfp_\w{20,}|sbp_\w{20,}|pscale_[a-z]+_[\w.-]{20,}",
    r"dt0c01\.[\w.]{20,}|tskey-[\w-]{16,}|AGE-SECRET-KEY-1[0-9A-Z]{20,}",
    r"v1:[A-Za-z0-9+/]{8,}={0,2}:[A-Za-z0-9+/]{16,}={0,2}",  # Pulumi's own ciphertext
    r"eyJ[\w-]{8,}(?:\.[\w-]*){2,4}",  # JSON Web Tokens
)
_BLOCKS = (
    re.compile(
        r"-----? ?BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-----?.*?"
        r"(?:-----? ?END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-----?|\Z)",
        re.DOTALL,
    ),
    re.compile(r"PuTTY-User-Key-File-\d.*?(?:Private-MAC: ?\S+|\Z)", re.DOTALL),
    re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_TOKENS)})"),
    # A storage account's key; an integrity hash of the same length names its algorithm.
    re.compile(r"(?<![A-Za-z0-9+/-])[A-Za-z0-9+/]{86}=="),
    re.compile(r"(?<![\w$])\$(?:2[abxy]?|1|5|6|y|7|apr1|argon2\w*|scrypt|pbkdf2[\w-]*)\$[^\s\"']+"),
)
_BEARER = re.compile(r"(?P<kind>\b(?:bearer|basic|negotiate|digest)\s+)[A-Za-z0-9+/._~-]{8,}=*", re.IGNORECASE)
_ORACLE = re.compile(r"(?P<head>\bjdbc:oracle:\w+:|\bsqlplus\s+(?:-\w+\s+)*)[^\s@/]*/[^\s@]+@", re.IGNORECASE)
_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<rest>\S+)", re.IGNORECASE)
_PORT = re.compile(r"\d{1,5}(?:[/?#\"',;)\]}]|$)")
_ADDRESS = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_HOOK_HOSTS = re.compile(
    r"(?:^|\.)(?:hooks\.slack(?:-gov)?\.com|hooks\.zapier\.com|webhook\.office\.com|outlook\.office(?:365)?\.com"
    r"|hook(?:s)?\.[\w.-]+|events\.pagerduty\.com|alert\.victorops\.com|hc-ping\.com|nosnch\.in|maker\.ifttt\.com"
    r"|api\.telegram\.org|chat\.googleapis\.com|webhook\.site|[\w-]+\.logic\.azure\.com|[\w.-]*powerplatform\.com)$"
)
_HOOK_PATH = re.compile(r"/(?:[\w-]*hooks?(?:b2)?|robot/send|bot\d+[^/]*|with/key)(?:/|$)", re.IGNORECASE)
_PARAMETER = re.compile(r"(?P<name>[?&;](?:code|key|auth|sig|[\w-]*signature)=)[^&\s\"'#]+", re.IGNORECASE)


def hide(text: str, mark: str) -> str:
    """The text with a mark for everything that has the form of a secret."""
    for pattern in _BLOCKS:
        text = pattern.sub(mark, text)
    text = _ORACLE.sub(rf"\g<head>{mark}@", text)
    text = _URL.sub(lambda found: found["scheme"] + _without_user(found["rest"], mark), text)
    text = _ADDRESS.sub(lambda found: _without_hook(found[0], mark), text)
    text = _PARAMETER.sub(rf"\g<name>{mark}", text)
    return _BEARER.sub(rf"\g<kind>{mark}", text)


def _without_user(rest: str, mark: str) -> str:
    """What follows `scheme://`, without a user and password. A password may have any sign, `@` and `/` too."""
    before, at, host = rest.rpartition("@")
    user, colon, password = before.partition(":")
    if at and colon and "/" not in user and not _PORT.match(password):
        return f"{mark}@{host}"
    first, at, _ = rest.partition("@")
    return f"{mark}{rest[len(first) :]}" if at and not re.search(r"[/?#\"']", first) and ":" not in first else rest


def _without_hook(address: str, mark: str) -> str:
    """The address without its path and query, where these are what lets anybody write to it."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:  # not an address after all
        return address
    if (_HOOK_HOSTS.search(host) or _HOOK_PATH.search(parts.path)) and len(parts.path) > 1:
        return f"{parts.scheme}://{parts.netloc}/{mark}"
    return address
