"""Certificates of a CA that nobody keeps, for tests that need some."""

from collections.abc import Mapping, Sequence

from modelops.core.x509 import AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY, issue, new_authority


def stored_authority() -> dict[str, str]:
    """A CA as the argument `certificates` takes it."""
    ca = new_authority()
    return {"ca_certificate": ca[AUTHORITY].decode(), "ca_key": ca[AUTHORITY_KEY].decode()}


def make(hosts: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    """`ca.crt`, and `<program>.crt` and `<program>.key` of each program, by its host names."""
    ca = new_authority()
    files = {AUTHORITY: ca[AUTHORITY]}
    for program, names in hosts.items():
        issued = issue(ca[AUTHORITY].decode(), ca[AUTHORITY_KEY].decode(), program, names).files
        files |= {f"{program}.crt": issued[CERTIFICATE], f"{program}.key": issued[KEY]}
    return files
