"""A Docker Engine of Debian's packages, in a network of its own: this machine's ports and rules stay as they are."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from devkit.paths import cache_root

_PACKAGES = ("docker.io", "containerd", "runc", "tini")
_SPACE = "modelops-laptop"
_RUNC = """\
#!/usr/bin/python3
# Virtual machines like those of CI may lack CAP_SYS_RESOURCE; runc refuses to pass on what it doesn't have.
import json, os, sys

args, path = sys.argv[1:], None
if "create" in args and "--bundle" in args:
    path = os.path.join(args[args.index("--bundle") + 1], "config.json")
elif "exec" in args and "--process" in args:
    path = args[args.index("--process") + 1]
if path:
    spec = json.load(open(path))
    process = spec.get("process", spec)
    process.pop("oomScoreAdj", None)
    for names in (process.get("capabilities") or {}).values():
        names[:] = [name for name in names if name != "CAP_SYS_RESOURCE"]
    json.dump(spec, open(path, "w"))
os.execv("RUNC", ["runc", *args])
"""
_BUILDX = """\
#!/bin/sh
# In place of the plugin, which needs more modules than can be had everywhere: the same container with the same options.
case "$*" in
docker-cli-plugin-metadata) echo '{"SchemaVersion": "0.1.0", "Vendor": "tests", "Version": "0"}' ;;
*" inspect "*) docker inspect buildx_buildkit_modelops0 ;;
*" create "*--driver-opt\\ network=*)
    docker run --detach --privileged --network "${*##*network=}" --name buildx_buildkit_modelops0 moby/buildkit ;;
*" rm "*) docker rm --force buildx_buildkit_modelops0 ;;
esac
"""


class Docker:
    """A running engine. `inside` starts a command in its network."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.programs = programs
        self.environment = {
            "DOCKER_HOST": f"unix://{folder}/docker.sock",
            "DOCKER_CONFIG": str(folder / "config"),
            "PATH": f"{folder}/bin:{programs}/usr/sbin:{programs}/usr/bin:{os.environ['PATH']}",
        }

    def run(self, *arguments: str, **options: object) -> str:
        """`docker` with these arguments; its output."""
        command = [str(self.programs / "usr" / "bin" / "docker"), *arguments]
        environment = os.environ | self.environment | {"DOCKER_BUILDKIT": "0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, **options)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def import_image(self, root: Path, name: str, entrypoint: str) -> None:
        """Makes an image of the files in a folder."""
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as archive:
            change = ["--change", "ENV container=docker", "--change", f"ENTRYPOINT {entrypoint}"]
            self.run("import", *change, "-", name, stdin=archive.stdout)

    def inside(self, *command: str, timeout: float = 300, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command where the engine publishes its ports."""
        full = ["nsenter", f"--net=/run/netns/{_SPACE}", *command]
        environment = os.environ | self.environment | variables
        return subprocess.run(full, env=environment, capture_output=True, text=True, timeout=timeout)


@contextmanager
def docker_engine(folder: Path) -> Iterator[Docker]:
    """Starts an engine with all its files in `folder`, and removes everything."""
    programs = _programs()
    (folder / "config").mkdir(parents=True)
    (folder / "bin").mkdir()
    runtime, buildx = folder / "runtime", folder / "config" / "cli-plugins" / "docker-buildx"
    buildx.parent.mkdir()
    for script, text in {runtime: _RUNC, buildx: _BUILDX}.items():
        script.write_text(text.replace("RUNC", str(programs / "usr" / "sbin" / "runc")))
        script.chmod(0o755)
    docker = Docker(folder, programs)
    _ip("netns", "add", _SPACE)
    try:
        docker.inside("ip", "link", "set", "lo", "up")
        docker.inside("sysctl", "-qw", "net.ipv4.ip_forward=1")
        command = ["nsenter", f"--net=/run/netns/{_SPACE}", "dockerd", "--host", docker.environment["DOCKER_HOST"]]
        command += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
        command += ["--add-runtime", f"plain={runtime}", "--default-runtime", "plain"]
        command += ["--cgroup-parent", f"/{_SPACE}"]
        with (folder / "log").open("w") as log:
            daemon = subprocess.Popen(command, env=os.environ | docker.environment, stdout=log, stderr=log)
        try:
            _wait(lambda: "API listen" in (folder / "log").read_text(), folder / "log")
            yield docker
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=60)
    finally:
        _ip("netns", "delete", _SPACE)
        for group in sorted(Path("/sys/fs/cgroup").glob(f"**/{_SPACE}/**/"), reverse=True):
            group.rmdir()
        for mount in sorted(_mounts_below(folder), reverse=True):
            subprocess.run(["umount", "--lazy", mount])
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Debian's packages, unpacked into the cache once; none is installed."""
    root = cache_root() / "laptop" / "docker"
    if not (root / "usr" / "sbin" / "dockerd").exists():
        downloads = root.with_name("debs")
        downloads.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", *_PACKAGES], cwd=downloads, check=True)
        for archive in downloads.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(archive), str(root)], check=True)
        shutil.rmtree(downloads)
    return root


def _wait(ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.2)


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(f"{folder}/")]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
