"""Keys and certificates: private, signed by the right authority, stable over restarts."""

import stat
import subprocess

import pytest

from devkit.embedded import pki
from devkit.embedded.layout import Layout


def _openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout


def test_every_key_is_readable_by_its_owner_only(layout_with_keys: Layout) -> None:
    keys = list(layout_with_keys.pki.glob("*.key"))
    assert len(keys) == len(pki.AUTHORITIES) + len(pki.CERTIFICATES) + 2
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


@pytest.mark.parametrize("certificate", pki.CERTIFICATES, ids=lambda certificate: certificate.name)
def test_certificate_is_signed_by_its_authority_and_names_its_holder(
    layout_with_keys: Layout, certificate: pki.Certificate
) -> None:
    folder = layout_with_keys.pki
    path = str(folder / f"{certificate.name}.crt")
    assert "OK" in _openssl("verify", "-CAfile", str(folder / f"{certificate.authority}.crt"), path)
    text = _openssl("x509", "-in", path, "-noout", "-subject", "-ext", "subjectAltName")
    assert f"CN = {certificate.common_name}" in text
    for address in certificate.addresses:
        assert f"IP Address:{address}" in text


def test_etcd_trusts_no_certificate_of_the_cluster(layout_with_keys: Layout) -> None:
    folder = layout_with_keys.pki
    command = ["openssl", "verify", "-CAfile", str(folder / "etcd-ca.crt"), str(folder / "admin.crt")]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_second_start_changes_no_key(layout_with_keys: Layout) -> None:
    before = {path: path.read_bytes() for path in layout_with_keys.pki.iterdir()}
    pki.ensure_pki(layout_with_keys)
    assert {path: path.read_bytes() for path in layout_with_keys.pki.iterdir()} == before
