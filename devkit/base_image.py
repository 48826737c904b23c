"""The base image for machines without an image registry: a minimal Debian with Python, made from Debian's packages."""

import configparser
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from pathlib import Path

from devkit.embedded import oci, packages
from devkit.embedded.layout import Layout
from devkit.errors import DevkitError
from devkit.steps import Report

RELEASE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
REPOSITORY = "devkit/base"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# No program in a container reads any of this.
UNWANTED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "var/lib/apt/lists",
    "var/cache/apt",
    "var/cache/debconf",
    "var/cache/ldconfig",
    "var/log",
    "debootstrap",
)
# What differs from one build to the next although nothing has changed.
VOLATILE = ("etc/machine-id", "etc/resolv.conf", "etc/hostname")
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries")
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def ensure_base_image(registry: str, report: Report) -> str:
    """Builds the base image once, caches it and pushes it where `registry` lacks it. Returns name@sha256:….

    The same packages, Debian release and pip settings give the same rootfs from the cache, and so the same digest.
    Raises DevkitError when Debian's packages or the registry can't be reached.
    """
    layout = Layout()
    key = cache_key()
    rootfs = layout.cache / "base-image" / f"{RELEASE}-{key}.tar"
    if not rootfs.exists():
        _make_rootfs(layout, rootfs, report)
    else:
        report("cached")
    settings: dict[str, object] = {
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
        "Cmd": ["python3"],
    }
    return push_rootfs_image(rootfs, registry, REPOSITORY, key, settings, report)


def push_rootfs_image(
    rootfs: Path, registry: str, repository: str, tag: str, settings: dict[str, object], report: Report
) -> str:
    """Pushes a rootfs tar archive as an image of one layer to a registry that speaks plain HTTP.

    `settings` is the image's `config` object (Env, Cmd, Entrypoint, User …). Returns registry/repository@sha256:…,
    always the same for the same archive and settings. Raises DevkitError when the registry refuses.
    """
    layer = _compressed(rootfs, report)
    image = oci.image_of(layer, settings)
    if not oci.has(registry, repository, image.digest):
        report(f"pushing {repository}")
        return oci.push(image, registry, repository, tag)
    return f"{registry}/{repository}@{image.digest}"


def cache_key() -> str:
    """The key of a rootfs: changes with the package list, the Debian release, the CA bundle and pip's settings."""
    inputs = [RELEASE, *PACKAGES, *UNWANTED, *VOLATILE, oci.architecture(), pip_configuration(), _host_ca_bundle()]
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:12]


def pip_configuration() -> str:
    """/etc/pip.conf for the image: the host's index settings, and the CA bundle for them."""
    host: dict[str, str] = {}
    for path in (Path("/etc/pip.conf"), Path.home() / ".pip/pip.conf", Path.home() / ".config/pip/pip.conf"):
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(path)
        if parser.has_section("global"):
            host.update(parser.items("global"))
    if timeout := os.environ.get("PIP_DEFAULT_TIMEOUT"):  # pip's other name for it
        host["timeout"] = timeout
    for name in _PIP_SETTINGS:
        if value := os.environ.get("PIP_" + name.replace("-", "_").upper()):
            host[name] = value
    lines = [f"{name} = {host[name]}" for name in _PIP_SETTINGS if name in host]
    return "\n".join(["[global]", f"cert = {CA_BUNDLE}", "disable-pip-version-check = true", *lines, ""])


def mirror() -> str:
    """The Debian mirror of the host's apt. Raises DevkitError when apt has no source for Debian's main archive."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(ORIGIN)|$(COMPONENT)|$(CODENAME)|$(LABEL)",
              "Created-By: Packages"]  # fmt: skip
    for line in subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines():
        address, origin, component, _, label = line.split("|")
        if origin == "Debian" and component == "main" and label == "Debian":
            return address
    raise DevkitError("apt names no source for Debian's main archive", "run apt-get update, or check apt's sources")


def _make_rootfs(layout: Layout, target: Path, report: Report) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        root = Path(folder, "root")
        report(f"debootstrap {RELEASE}")
        _debootstrap(layout, root, target.parent / "packages")
        report("slimming")
        _configure(root)
        _slim(root)
        _compile(root)
        part = Path(folder, "rootfs.tar")
        write_tree(root, part)
        for old in target.parent.glob(f"{RELEASE}-*"):  # made with other packages or settings
            old.unlink()
        part.replace(target)


def _debootstrap(layout: Layout, root: Path, downloads: Path) -> None:
    downloads.mkdir(exist_ok=True)
    program = packages.tool(layout, "debootstrap")
    environment = {
        **os.environ,
        "PATH": packages.search_path(layout),
        "DEBOOTSTRAP_DIR": str(packages.root(layout) / "usr/share/debootstrap"),
        "LC_ALL": "C",
    }
    command = [str(program), "--variant=minbase", f"--include={','.join(PACKAGES)}", f"--cache-dir={downloads}",
               RELEASE, str(root), mirror()]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        log = root / "debootstrap/debootstrap.log"
        lines = (log.read_text() if log.exists() else done.stdout + done.stderr).strip().splitlines()
        raise DevkitError(f"debootstrap failed: {' / '.join(lines[-3:])}", "check that apt's sources can be reached")


def _configure(root: Path) -> None:
    """Copies the host's CA bundle and pip settings, so that build steps reach package registries as the host does."""
    bundle = root / CA_BUNDLE[1:]
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_text(_host_ca_bundle())
    (root / "etc/pip.conf").write_text(pip_configuration())


def _slim(root: Path) -> None:
    for name in UNWANTED:
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("var/log", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in VOLATILE:
        (root / name).unlink(missing_ok=True)


def _compile(root: Path) -> None:
    """Compiles Python's library to byte code that ignores file times, which are all the same in the image; containers
    with a read-only root can't write their own."""
    for compiled in root.rglob("__pycache__"):
        shutil.rmtree(compiled)
    library = ("/usr/lib/python3", *(f"/usr/lib/{path.name}" for path in root.glob("usr/lib/python3.*")))
    command = [
        "chroot",
        str(root),
        "python3",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        *library,
    ]
    done = subprocess.run(command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, capture_output=True, check=False)
    if not list(root.glob("usr/lib/python3.*/__pycache__/os.*.pyc")):
        raise DevkitError(f"compiling Python's library failed: {done.stderr.decode(errors='replace')[-300:]}")


def write_tree(root: Path, target: Path) -> None:
    """A tar archive of a folder: sorted, numeric owners, one fixed time, no device files (runtimes make those)."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(root.rglob("*"), key=lambda path: path.parts):
            entry = archive.gettarinfo(path, arcname=str(path.relative_to(root)))
            if entry is None or entry.ischr() or entry.isblk() or entry.isfifo():
                continue
            entry.mtime, entry.uname, entry.gname = 0, "", ""
            if entry.isreg():
                with path.open("rb") as content:
                    archive.addfile(entry, content)
            else:
                archive.addfile(entry)


def _compressed(rootfs: Path, report: Report) -> oci.Layer:
    """The archive as a gzip layer, kept beside it: compressing takes longer than the rest of a push."""
    packed, facts = rootfs.with_suffix(".tar.gz"), rootfs.with_suffix(".json")
    if not (packed.exists() and facts.exists()):
        report("compressing")
        compressor = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        checksum, size, digest = 0, 0, hashlib.sha256()
        part = packed.with_suffix(".part")
        with rootfs.open("rb") as source, part.open("wb") as out:
            out.write(_GZIP_HEADER)
            while block := source.read(1 << 20):
                checksum, size = zlib.crc32(block, checksum), size + len(block)
                digest.update(block)
                out.write(compressor.compress(block))
            out.write(compressor.flush())
            out.write(checksum.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little"))
        part.replace(packed)
        facts.write_text(json.dumps({"diff_id": "sha256:" + digest.hexdigest()}))
    return oci.Layer(packed, json.loads(facts.read_text())["diff_id"], oci.LAYER_TYPE + "+gzip")


def _host_ca_bundle() -> str:
    try:
        return Path(CA_BUNDLE).read_text()
    except OSError as problem:
        raise DevkitError(f"the host has no {CA_BUNDLE}", "apt-get install ca-certificates") from problem
