"""Certificates generated at plan time and kept in a Secret and, encrypted, in the stack's state.

Generating a certificate twice gives two different ones, so the Secret ignores later ones (`ignore_changes`): those of
the first `up` stay until `certificate_generation` changes. The CA's key is discarded as soon as it has signed: nobody
can sign another certificate with it, and a new generation has a new CA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pulumi

from modelops.kubernetes.config import generated_secret
from modelops.kubernetes.pods import core

AUTHORITY = "ca.crt"
_VALID_DAYS = 3650


def certificates(
    name: str,
    namespace: pulumi.Input[str],
    labels: Mapping[str, pulumi.Input[str]],
    hosts: pulumi.Input[Mapping[str, Sequence[str]]],
    opts: pulumi.ResourceOptions,
) -> core.Secret:
    """A Secret with `ca.crt`, and `<program>.crt` and `<program>.key` for each program and its host names."""
    return generated_secret(name, namespace, labels, pulumi.Output.from_input(hosts).apply(make), opts)


def service_names(name: str, namespace: str) -> list[str]:
    """The names by which clients in any namespace know a Service."""
    return [name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"]


def make(hosts: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    """The files: the certificate of a new CA, and a key and a certificate (server and client) for each program."""
    # Imported here: few stacks need it, and every plan would pay for it.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def subject(common_name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])

    start = datetime.now(UTC) - timedelta(hours=1)

    def builder(common_name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject(common_name))
            .issuer_name(subject("modelops logs"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=_VALID_DAYS))
        )

    def usage(*, key_cert_sign: bool = False, digital_signature: bool = False) -> x509.KeyUsage:
        # Since 3.13, Python rejects a CA that has a path length but no key usage.
        return x509.KeyUsage(
            digital_signature=digital_signature,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=key_cert_sign,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )

    ca_key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        builder("modelops logs", ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(key_cert_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    files = {AUTHORITY: ca.public_bytes(serialization.Encoding.PEM)}
    for program, names in hosts.items():
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            builder(program, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(digital_signature=True), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        files[f"{program}.crt"] = certificate.public_bytes(serialization.Encoding.PEM)
        files[f"{program}.key"] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return files
