"""Certificates that follow from their CA: the same ones at every plan, until they are due for renewal.

A program's key and certificate are a function of the CA, the program's names and the number of renewals since the CA
began, so a plan needs no memory of what it issued. Whoever has a program's key learns nothing about the CA's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

AUTHORITY, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
"""The files of a program, by the names that Kubernetes and cert-manager give them."""
AUTHORITY_KEY = "ca.key"
AUTHORITY_DAYS = 3650
RENEWAL_DAYS = 180
VALID_DAYS = 396
"""Less than the 398 days that browsers allow; whoever deploys twice a year has half a year left at least."""
_COMMON_NAME = "modelops"


@dataclass(frozen=True)
class Issued:
    """A program's files."""

    files: dict[str, bytes]
    expires: datetime


def now() -> datetime:
    """The clock, which tests set."""
    return datetime.now(UTC)


def new_authority() -> dict[str, bytes]:
    """The certificate and the key of a new CA."""
    # Imported here and below: few stacks need it, and every plan would pay for it.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    start = now() - timedelta(hours=1)
    subject = _subject(_COMMON_NAME)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # Since 3.13, Python rejects a CA that has a path length but no key usage.
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return {AUTHORITY: _pem(certificate), AUTHORITY_KEY: _pem(key)}


def issue(authority: str, authority_key: str, name: str, hosts: Sequence[str]) -> Issued:
    """The key and the certificate (server and client) of the program `name`, by the CA's PEM texts.

    After the CA's certificate `authority` may have those of the CAs above it. Raises ValueError in words.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID

    names, addresses = names_and_addresses(hosts)
    chain, signer = read_authority(authority, authority_key)
    ca = chain[0]
    renewals = max(0, (now() - ca.not_valid_before_utc) // timedelta(days=RENEWAL_DAYS))
    start = ca.not_valid_before_utc + renewals * timedelta(days=RENEWAL_DAYS)
    expires = min(start + timedelta(days=VALID_DAYS), ca.not_valid_after_utc)
    if expires <= now():
        raise ValueError(f"the CA certificate has expired, at {ca.not_valid_after_utc:%Y-%m-%d}")
    purpose = json.dumps([name, list(hosts), renewals]).encode()
    key = _derived_key(signer, purpose)
    try:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        )
    except x509.ExtensionNotFound:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(_pem(key)).digest()[:16]) | 1)
        .not_valid_before(start)
        .not_valid_after(expires)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [*(x509.DNSName(host) for host in names), *(x509.IPAddress(ip_address(host)) for host in addresses)]
            ),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(identifier, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(
            signer,
            hashes.SHA256() if isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else None,
            ecdsa_deterministic=True if isinstance(signer, ec.EllipticCurvePrivateKey) else None,
        )
    )
    # Servers send the CAs between theirs and the one that clients trust.
    between = [each for each in chain if each.issuer != each.subject]
    files = {
        AUTHORITY: b"".join(_pem(each) for each in chain),
        CERTIFICATE: b"".join(_pem(each) for each in (certificate, *between)),
        KEY: _pem(key),
    }
    return Issued(files, expires)


def names_and_addresses(hosts: Sequence[str]) -> tuple[list[str], list[str]]:
    """DNS names and IP addresses, which a certificate has apart: no client takes an address that is written as a name.
    An address may be in brackets, as URLs have those of IPv6."""
    names: list[str] = []
    addresses: list[str] = []
    for host in hosts:
        try:
            addresses.append(str(ip_address(host.removeprefix("[").removesuffix("]"))))
        except ValueError:
            names.append(host)
    return names, addresses


def read_authority(authority: str, authority_key: str) -> tuple[list[Any], Any]:
    """A CA's certificate, followed by those above it, and its key. Raises ValueError in words."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        chain = x509.load_pem_x509_certificates(authority.encode())
    except ValueError as error:
        raise ValueError("the CA certificate must be text in PEM") from error
    try:
        key: Any = serialization.load_pem_private_key(authority_key.encode(), None)
    except (ValueError, TypeError) as error:
        raise ValueError("the CA's key must be text in PEM, without a passphrase") from error
    if key.public_key() != chain[0].public_key():
        raise ValueError("the CA's key must be that of its certificate, the first of several")
    try:
        is_authority = chain[0].extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise ValueError("the CA certificate must be that of a CA (CA:TRUE among its basic constraints)")
    return chain, key


def _derived_key(authority_key: Any, purpose: bytes) -> Any:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    secret = authority_key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # 16 bytes more than the curve's order has, so that the remainder is as good as uniform.
    derived = int.from_bytes(HKDF(hashes.SHA256(), 48, b"modelops certificate", purpose).derive(secret))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return ec.derive_private_key(derived % (order - 1) + 1, ec.SECP256R1())


def _subject(common_name: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _usage(*, key_cert_sign: bool = False, digital_signature: bool = False) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(value: Any) -> bytes:
    """A certificate or a key as text."""
    from cryptography.hazmat.primitives import serialization

    if hasattr(value, "public_bytes"):
        return bytes(value.public_bytes(serialization.Encoding.PEM))
    return bytes(
        value.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
