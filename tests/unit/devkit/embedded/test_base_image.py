"""The base image: what decides its name, and archives that are the same each time."""

import gzip
import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from devkit import base_image


def _tree(root: Path) -> Path:
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/tool").write_text("#!/bin/sh\n")
    (root / "usr/bin/tool").chmod(0o755)
    (root / "usr/bin/alias").symlink_to("tool")
    os.link(root / "usr/bin/tool", root / "usr/bin/twin")
    (root / "etc").mkdir()
    (root / "etc/file").write_text("content")
    return root


def test_same_tree_gives_the_same_archive_whatever_the_time(tmp_path: Path) -> None:
    first, second = _tree(tmp_path / "first"), _tree(tmp_path / "second")
    os.utime(second / "etc/file", (1, 1))
    for root in (first, second):
        base_image.write_tree(root, tmp_path / f"{root.name}.tar")
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


def test_archive_keeps_modes_links_and_content(tmp_path: Path) -> None:
    base_image.write_tree(_tree(tmp_path / "root"), tmp_path / "root.tar")
    with tarfile.open(tmp_path / "root.tar") as archive:
        assert archive.getmember("usr/bin/tool").mode == 0o755
        assert archive.getmember("usr/bin/alias").linkname == "tool"
        assert {archive.getmember(f"usr/bin/{name}").islnk() for name in ("tool", "twin")} == {True, False}
        assert archive.extractfile("etc/file").read() == b"content"  # type: ignore[union-attr]


def test_layer_is_plain_gzip_and_made_once(tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs.tar"
    rootfs.write_bytes(b"archive" * 1000)
    reports: list[str] = []
    first = base_image._compressed(rootfs, reports.append)
    second = base_image._compressed(rootfs, reports.append)
    assert gzip.decompress(first.file.read_bytes()) == rootfs.read_bytes()
    assert first == second
    assert first.diff_id == "sha256:" + hashlib.sha256(rootfs.read_bytes()).hexdigest()
    assert reports == ["compressing"]


def test_pip_configuration_keeps_the_hosts_index_and_names_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = http://mirror.test/simple\nuser = true\n")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "5")
    monkeypatch.setenv("PIP_TIMEOUT", "77")
    text = base_image.pip_configuration()
    assert "cert = /etc/ssl/certs/ca-certificates.crt" in text
    assert "index-url = http://mirror.test/simple" in text
    assert "timeout = 77" in text
    assert "user" not in text


def test_cache_key_follows_the_package_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_image, "_host_ca_bundle", lambda: "bundle")
    before = base_image.cache_key()
    assert before == base_image.cache_key()
    monkeypatch.setattr(base_image, "PACKAGES", (*base_image.PACKAGES, "more"))
    assert base_image.cache_key() != before
