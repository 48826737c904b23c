"""Certificates and keys of the cluster, made with the openssl program."""

import base64
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from devkit.embedded import layout as at
from devkit.embedded.layout import Layout
from devkit.errors import DevkitError
from devkit.files import replace_text

DAYS = 3650
# etcd and the request headers have their own authorities: a certificate for the API must not be valid for them.
AUTHORITIES = ("ca", "etcd-ca", "front-proxy-ca")
SERVICE_ACCOUNT_KEY = "service-account"
ENCRYPTION_KEY = "secrets-encryption.key"


@dataclass(frozen=True)
class Certificate:
    """One certificate: its subject, its authority and its alternative names."""

    name: str
    common_name: str
    organization: str = ""
    authority: str = "ca"
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    kubeconfig: bool = False

    @property
    def alternative_names(self) -> str:
        """The subjectAltName extension's value."""
        return ",".join([*(f"DNS:{name}" for name in self.names), *(f"IP:{address}" for address in self.addresses)])


_LOCAL = (at.LOOPBACK, at.BRIDGE_ADDRESS)
_API_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_METRICS_NAMES = ("metrics-server.kube-system.svc", f"metrics-server.kube-system.svc.{at.CLUSTER_DOMAIN}")

CERTIFICATES = (
    Certificate("etcd", "etcd", authority="etcd-ca", addresses=(at.LOOPBACK,), names=("localhost",)),
    Certificate("etcd-client", "kube-apiserver", authority="etcd-ca"),
    Certificate(
        "apiserver",
        "kube-apiserver",
        addresses=(*_LOCAL, at.KUBERNETES_SERVICE),
        names=(*_API_NAMES, f"kubernetes.default.svc.{at.CLUSTER_DOMAIN}"),
    ),
    Certificate("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
    Certificate("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
    Certificate("kubelet-server", at.NODE_NAME, addresses=_LOCAL, names=(at.NODE_NAME, "localhost")),
    Certificate("metrics-server", "system:metrics-server", addresses=_LOCAL, names=_METRICS_NAMES, kubeconfig=True),
    Certificate("kubelet", f"system:node:{at.NODE_NAME}", "system:nodes", kubeconfig=True),
    Certificate("controller-manager", "system:kube-controller-manager", kubeconfig=True),
    Certificate("scheduler", "system:kube-scheduler", kubeconfig=True),
    Certificate("kube-proxy", "system:kube-proxy", kubeconfig=True),
    Certificate("coredns", "system:coredns", kubeconfig=True),
    Certificate("agent", "system:modelops-agent", kubeconfig=True),
    Certificate("admin", "modelops-admin", "system:masters", kubeconfig=True),
)


def ensure_pki(layout: Layout) -> None:
    """Creates whatever is missing; existing files stay, so that a restart changes no identity."""
    layout.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in AUTHORITIES:
        if not (layout.pki / f"{name}.crt").exists():
            _key(layout.pki / f"{name}.key")
            _openssl("req", "-x509", "-new", "-key", f"{name}.key", "-subj", f"/CN=modelops {name}", "-days", str(DAYS),
                     "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature", "-out", f"{name}.crt",
                     cwd=layout.pki)  # fmt: skip
    for certificate in CERTIFICATES:
        if not (layout.pki / f"{certificate.name}.crt").exists():
            _sign(layout.pki, certificate)
    if not (layout.pki / f"{SERVICE_ACCOUNT_KEY}.pub").exists():
        _key(layout.pki / f"{SERVICE_ACCOUNT_KEY}.key")
        _openssl("pkey", "-in", f"{SERVICE_ACCOUNT_KEY}.key", "-pubout", "-out", f"{SERVICE_ACCOUNT_KEY}.pub",
                 cwd=layout.pki)  # fmt: skip
    encryption = layout.pki / ENCRYPTION_KEY
    if not encryption.exists():
        replace_text(encryption, base64.b64encode(secrets.token_bytes(32)).decode())


def _key(path: Path) -> None:
    replace_text(path, _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout"))


def _sign(folder: Path, certificate: Certificate) -> None:
    name, authority = certificate.name, certificate.authority
    _key(folder / f"{name}.key")
    subject = f"/O={certificate.organization}" if certificate.organization else ""
    extensions = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
    if certificate.alternative_names:
        extensions.append(f"subjectAltName={certificate.alternative_names}")
    options = [part for extension in extensions for part in ("-addext", extension)]
    request = _openssl("req", "-new", "-key", f"{name}.key", "-subj", f"{subject}/CN={certificate.common_name}",
                       *options, cwd=folder)  # fmt: skip
    serial = "0x" + secrets.token_hex(16)
    signed = _openssl("x509", "-req", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-set_serial", serial,
                      "-days", str(DAYS), "-copy_extensions", "copyall", cwd=folder, stdin=request)  # fmt: skip
    replace_text(folder / f"{name}.crt", signed)


def _openssl(*arguments: str, cwd: Path | None = None, stdin: str = "") -> str:
    done = subprocess.run(["openssl", *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DevkitError(
            f"openssl {arguments[0]} failed: {done.stderr.strip().splitlines()[-1:]}", "install openssl 3"
        )
    return done.stdout
