"""Folders of images: which files are rows, what their labels are, and what becomes of every kind of image."""

import json
import os
import struct
import threading
import unicodedata
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from modelops_runtime.contract import Exit
from modelops_runtime.data import prepare
from modelops_runtime.data.context import place
from modelops_runtime.data.pipeline import Pipeline
from modelops_runtime.data.sources import images
from modelops_runtime.data.sources.columns import to_frame
from modelops_runtime.data.sources.rows import portions
from modelops_runtime.data.sources.source import Source
from modelops_runtime.data.steps import STEPS, Context, DataError
from tests.stores import ObjectStore, server, store

__all__ = ["server", "store"]

ODD = (
    "with space.png",
    "100%.png",
    "a%20b.png",
    "a#b.png",
    "a?b=c&d.png",
    "a*b.png",
    "a[0-9].png",
    "a{b,c}.png",
    "x::y.png",
    "a;b,c.png",
    'it\'s "quoted".png',
    unicodedata.normalize("NFC", "café.png"),
    unicodedata.normalize("NFD", "café.png"),
    "日本語.png",
    "😀.png",
    "~tilde.png",
    "UPPER.PNG",
)
ONLY_ON_A_DISK = ("new\nline.png", "tab\t.png", "back\\slash.png")


def picture(value: int = 0, size: int = 4) -> np.ndarray[Any, Any]:
    return np.full((size, size, 3), value, dtype="uint8")


def content(image: Any, suffix: str = ".png") -> bytes:
    done, encoded = cv2.imencode(suffix, image)
    assert done
    return encoded.tobytes()


def write(folder: Path, *names: str, data: bytes = content(picture())) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def source(folder: Any) -> Source:
    return Source(uri=str(folder), format="images")


def rows(source: Source, shards: int = 1) -> pd.DataFrame:
    some = portions(source, source.files(), 0, shards)
    return pd.concat([to_frame(batch.table, batch.index) for portion in some for batch in portion.batches()])


def decoded(tmp_path: Path, data: bytes, width: int = 3, height: int = 2) -> np.ndarray[Any, Any]:
    """The grey levels that a file's content becomes."""
    (tmp_path / "one").write_bytes(data)
    step = STEPS["image_features"](features=["pixels"], width=width, height=height)
    result = step.apply(pd.DataFrame({"uri": [str(tmp_path / "one")]}), Context(files=["a.csv"]))
    return (result.to_numpy() * 255).round().astype(int).reshape(height, width)


LEFT_BEHIND = [
    "cat/.ipynb_checkpoints/1-checkpoint.png",
    ".ipynb_checkpoints/1.png",
    "__MACOSX/cat/1.png",
    "__macosx/cat/._1.png",
    "cat/._1.png",
    "cat/.DS_Store",
    "cat/Thumbs.db",
    "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.png",
    "@eaDir/1.png",
    "lost+found/1.png",
    "$RECYCLE.BIN/1.png",
    "System Volume Information/1.png",
    ".git/x/1.png",
    ".hidden.png",
    "desktop.ini",
]


def test_what_systems_and_editors_leave_behind_is_no_image_and_is_counted(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "dog/1.png", "dog/notes.txt", "readme.md", *LEFT_BEHIND)
    assert rows(source(tmp_path))["label"].tolist() == ["cat", "dog"]
    assert source(tmp_path).found() == {"hidden_files": len(LEFT_BEHIND), "other_files": 2}


def test_a_folder_below_a_hidden_one_may_be_the_source(tmp_path: Path) -> None:
    write(tmp_path, ".data/__MACOSX/cat/1.png")
    assert rows(source(tmp_path / ".data" / "__MACOSX"))["label"].tolist() == ["cat"]


def test_images_outside_of_a_folder_have_no_label_and_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "stray 2.png", "stray 1.png")
    with pytest.raises(DataError, match=r"has 2 images outside of a folder, such as 'stray 1\.png'") as caught:
        source(tmp_path).files()
    assert caught.value.code == Exit.CONFIGURATION


@pytest.mark.parametrize("names", [(), (".hidden/1.png", "cat/.1.png"), ("cat/notes.txt",)])
def test_a_folder_without_images_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    write(tmp_path, *names)
    with pytest.raises(DataError, match="there is no image in it") as caught:
        source(tmp_path).files()
    assert caught.value.code == Exit.UNREADABLE


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        source(tmp_path / "gone").files()


def test_a_folder_without_an_image_is_told_since_it_is_no_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "cat/1.png", "in/dog/1.png", "fox/notes.txt", "in/hen/x/notes.txt", ".hidden/x.txt")
    (tmp_path / "cow").mkdir()
    assert source(tmp_path).found() == {"hidden_files": 1, "other_files": 2, "without_images": ["cow", "fox", "in/hen"]}
    pipeline = Pipeline.parse({"sources": [source(tmp_path).model_dump(exclude_unset=True)], "steps": [{"split": {}}]})
    pipeline.whole(Context(), print)
    assert "sources[0]: there is no image in fox: it is no label" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["1.heic", "1.HEIF", "1.avif", "1.jxl"])
def test_images_that_cannot_be_read_are_refused_and_not_left_out(tmp_path: Path, name: str) -> None:
    write(tmp_path, "cat/1.png", f"cat/{name}")
    with pytest.raises(DataError, match=f"it has 1 image in AVIF, HEIF or JPEG XL, such as 'cat/{name}'") as caught:
        source(tmp_path).files()
    assert caught.value.code == Exit.UNREADABLE


@pytest.mark.parametrize("name", ["cat/1.png", "all.zip"])
def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    with pytest.raises(DataError, match="can't be read: it is a file, must be a folder"):
        source(tmp_path / name).files()


def test_a_pipe_among_images_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png")
    os.mkfifo(tmp_path / "cat" / "2.png")
    with pytest.raises(DataError, match=r"cat/2\.png can't be read: it is a pipe or a device, must be a file"):
        source(tmp_path).digest()


def test_the_label_is_the_path_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "indoors/cat/1.png", "outdoors/cat/1.png", "cat/1.png")
    assert rows(source(tmp_path))["label"].tolist() == ["cat", "indoors/cat", "outdoors/cat"]
    assert rows(source(f"{tmp_path}/"))["label"].tolist() == ["cat", "indoors/cat", "outdoors/cat"]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_web_server_s_folder_is_read_like_a_disk_s(tmp_path: Path, end: str) -> None:
    write(tmp_path, "cat/1.png", "indoors/dog/1.png")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path.parent))) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        there = source(f"http://127.0.0.1:{web.server_port}/{tmp_path.name}{end}")
        assert rows(there)["label"].tolist() == ["cat", "indoors/dog"]
        assert there.digest() == source(tmp_path).digest()
        web.shutdown()


def test_the_digest_follows_labels_names_and_content_and_not_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "one/a/1.png", "two/a/1.png", "three/b/1.png", "four/a/2.png", "six/x/a/1.png", "seven/y/a/1.png")
    write(tmp_path, "five/a/1.png", data=content(picture(9)))
    write(tmp_path, "two/a/.hidden.png", "two/notes.txt")
    names = ("one", "two", "three", "four", "five", "six", "seven")
    one, two, *others = [source(tmp_path / name).digest() for name in names]
    assert one == two and len({one, *others}) == 6


@pytest.mark.parametrize("name", [*ODD, *ONLY_ON_A_DISK])
def test_names_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"a*b/{name}", data=content(picture(255)))
    write(tmp_path, "a*b/axb.png", "a*b/a0.png", "axb/axb.png")
    frame = rows(source(tmp_path))
    assert len(frame) == 4
    result = STEPS["image_features"](features=["pixels"], width=1, height=1, keep=True).apply(frame, Context())
    white = result[result["pixels_0"] == 1]
    assert [uri.partition("a*b/")[2] for uri in white["uri"]] == [name] and white["label"].tolist() == ["a*b"]
    assert len(source(tmp_path).digest()) == 64


def test_names_in_an_object_store_are_read_as_they_are(store: ObjectStore) -> None:
    for name in ODD:
        store.put(f"raw/a b#1/{name}", content(picture(255)))
    for name in ("__MACOSX/a/1.png", "a b#1/.DS_Store", "a b#1/.hidden/1.png", "a b#1/notes.txt"):
        store.put(f"raw/{name}", content(picture()))
    images = source(f"{store.uri}/raw")
    frame = rows(images)
    assert sorted(uri.rpartition("/")[2] for uri in frame["uri"]) == sorted(ODD)
    assert set(frame["label"]) == {"a b#1"} and images.found() == {"hidden_files": 3, "other_files": 1}
    step = STEPS["image_features"](features=["pixels"], width=1, height=1)
    assert (step.apply(frame, Context())["pixels_0"] == 1).all() and len(images.digest()) == 64


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/cat/\xff.png")).write_bytes(content(picture()))
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(DataError, match="names of 1 of its images are not UTF-8"):
        source(tmp_path).files()


def test_linked_folders_are_read_and_circles_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/1.png", "data/dog/1.png")
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere")
    assert rows(source(tmp_path / "data"))["label"].tolist() == ["cat", "dog"]
    (tmp_path / "data" / "dog" / "again").symlink_to(tmp_path / "data")
    with pytest.raises(DataError, match="can't be read: a folder in it is a link to one above"):
        source(tmp_path / "data").files()


def test_folders_that_are_linked_to_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "cat" / "dog").symlink_to(tmp_path / "dog")
    assert rows(source(tmp_path))["label"].tolist() == ["cat", "cat/dog", "dog"]
    (tmp_path / "dog" / "cat").symlink_to(tmp_path / "cat")
    with pytest.raises(DataError, match="can't be read: a folder in it is a link to one above"):
        source(tmp_path).files()


def test_a_row_keeps_its_image_s_place_however_images_are_divided(tmp_path: Path) -> None:
    write(tmp_path, *(f"{label}/{number}.png" for label in "abc" for number in range(5)))
    whole = rows(source(tmp_path))
    assert list(whole.index) == [place(number, 0) for number in range(15)]
    for shards in (2, 4, 15, 99):
        pd.testing.assert_frame_equal(rows(source(tmp_path), shards), whole)
    assert [len(some) for some in images.portions(["x"] * 2500, 2)] == [1000, 1000, 500]


def prepared(folder: Path, destination: Path, shards: int) -> tuple[pd.DataFrame, dict[str, Any], int]:
    """Rows, report, and how many files the shards wrote."""
    steps = [
        {"image_features": {"features": ["pixels"], "width": 2, "height": 2}},
        {"split": {"validation": 0.2, "test": 0.2}},
    ]
    pipeline = json.dumps({"sources": [{"uri": str(folder), "format": "images"}], "steps": steps, "target": "label"})
    words = ["--pipeline", pipeline, "--destination", str(destination), "--shards", str(shards)]
    for shard in range(1, shards):
        prepare.main([*words, "--shard", str(shard)])
    pieces = len(list(destination.rglob("part-*.parquet")))
    prepare.main([*words, "--shard", "0"])
    version = json.loads((destination / "latest.json").read_text())["data_version"]
    report = json.loads((destination / version / "report.json").read_text())
    frames = [pd.read_parquet(destination / version / part) for part in ("train", "validation", "test")]
    return pd.concat(frames, ignore_index=True), report, pieces


def test_shards_write_a_file_for_many_images_and_prepare_what_one_worker_does(tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path / "raw", f"{'ab'[number % 2]}/{number}.png", data=content(picture(number)))
    write(tmp_path / "raw", "a/.x.png")
    alone, report, _pieces = prepared(tmp_path / "raw", tmp_path / "one", 1)
    shared, other, pieces = prepared(tmp_path / "raw", tmp_path / "three", 3)
    pd.testing.assert_frame_equal(alone, shared)
    assert report == other and pieces == 2
    [told] = report["sources"]
    assert (told["format"], told["hidden_files"], told["other_files"], len(told["files"])) == ("images", 1, 0, 30)


def exif(orientation: int) -> bytes:
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def turned(suffix: str, image: Any, orientation: int) -> bytes:
    """An image whose EXIF says so."""
    plain = content(image, suffix)
    if suffix == ".png":
        return plain[:33] + chunk(b"eXIf", exif(orientation)) + plain[33:]
    data = b"Exif\0\0" + exif(orientation)
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + plain[2:]


UPRIGHT = np.array([[20, 60, 100], [140, 180, 220]])
IN_FILE = {
    # What a file has that is UPRIGHT after the turn that EXIF gives the number.
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("orientation", IN_FILE)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_is_turned_as_its_exif_says(tmp_path: Path, suffix: str, orientation: int) -> None:
    # Blocks of 16 × 16 pixels, which JPEG keeps apart.
    image = np.kron(IN_FILE[orientation], np.ones((16, 16))).astype("uint8")
    np.testing.assert_allclose(decoded(tmp_path, turned(suffix, image, orientation)), UPRIGHT, atol=2)


def test_the_kinds_of_images_become_their_colours(tmp_path: Path) -> None:
    grey = np.kron(UPRIGHT, np.ones((8, 8)))
    low = grey.astype("uint8")
    colours = np.dstack([low] * 3)
    clear = np.dstack([colours, np.zeros_like(low)])
    kinds = {
        "grey": content(low),
        "colour": content(colours),
        "transparent": content(clear),
        "16 bits": content((grey * 256).astype("uint16")),
        "16 bits, TIFF": content((grey * 256).astype("uint16"), ".tiff"),
        "WebP": content(colours, ".webp"),
        "BMP": content(colours, ".bmp"),
        "PPM": content(colours, ".ppm"),
        "palette": palette(low),
    }
    for data in kinds.values():
        np.testing.assert_allclose(decoded(tmp_path, data), UPRIGHT, atol=2)


def palette(levels: Any) -> bytes:
    """A PNG with a table of colours, in which a level is the place 255 - level."""
    height, width = levels.shape
    table = b"".join(bytes([255 - at]) * 3 for at in range(256))
    lines = b"".join(b"\0" + (255 - line).astype("uint8").tobytes() for line in levels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"PLTE", table)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def claiming(width: int, height: int) -> bytes:
    """A small PNG that says it is large."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_of_an_animation_the_first_image_is_taken(tmp_path: Path) -> None:
    frames = [picture(200, 32), picture(50, 32)]
    pages = cv2.imencodemulti(".tiff", frames)[1].tobytes()
    assert cv2.imwritemulti(str(tmp_path / "x.webp"), frames) is not None
    assert (decoded(tmp_path, pages) == 200).all()


def animated(image: Any) -> bytes:
    """A PNG that says that it has one more image, which its first one isn't changed by."""
    plain = content(image)
    height, width = image.shape[:2]
    at, end = plain.index(b"IDAT") - 4, plain.index(b"IEND") - 4
    first, second = (struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 10, 0, 0) for number in (0, 1))
    more = chunk(b"fdAT", struct.pack(">I", 2) + plain[at + 8 : end - 4])
    before = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", first)
    return plain[:at] + before + plain[at:end] + chunk(b"fcTL", second) + more + plain[end:]


def test_an_animated_png_is_held_to_its_checksums(tmp_path: Path) -> None:
    data = animated(NOISE)
    np.testing.assert_array_equal(decoded(tmp_path, data, 64, 64), decoded(tmp_path, content(NOISE), 64, 64))
    middle = data.index(b"IDAT") + 5000
    for damaged in (data[:middle] + bytes(50) + data[middle + 50 :], data[:-9]):
        with pytest.raises(DataError, match="names a file that is no image, is damaged or is cut off"):
            decoded(tmp_path, damaged)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_tiff_is_not_darkened_by_its_transparency(tmp_path: Path, kind: str) -> None:
    most = np.iinfo(kind).max
    colours = np.full((4, 4, 4), most, kind)
    assert (decoded(tmp_path, content(colours, ".tiff")) == 255).all()
    colours[0, 0, 3] = most // 2
    with pytest.raises(DataError, match="names a TIFF with transparency: convert it to PNG"):
        decoded(tmp_path, content(colours, ".tiff"))


@pytest.mark.parametrize(
    "header",
    [
        b"P5\n4 4\n%d\n",
        b"P5 4 4 %d ",
        b"P5\n# by a camera\n4 4\n# 9\n%d\n",
        b"P7\nWIDTH 4\nHEIGHT 4\nDEPTH 1\nMAXVAL %d\nENDHDR\n",
    ],
)
def test_levels_of_another_range_are_refused(tmp_path: Path, header: bytes) -> None:
    assert (decoded(tmp_path, header % 255 + bytes([255]) * 16) == 255).all()
    for most, values in ((100, bytes([100]) * 16), (4095, b"\x0f\xff" * 16)):
        with pytest.raises(DataError, match="a PNM whose largest value must be 255 or 65535: convert it"):
            decoded(tmp_path, header % most + values)


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype("uint8")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.995])
def test_an_image_that_is_cut_off_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    whole = content(NOISE, suffix)
    with pytest.raises(DataError, match=r"a\.csv, row 0, column uri: names a file that is no image, is damaged"):
        decoded(tmp_path, whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "names an empty file"),
        (b"no image", "names a file that is no image"),
        (b"<html>not found</html>", "names a file that is no image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "names a file that is no image"),
        (b"\0" * 100, "names a file that is no image"),
        (claiming(50_000, 50_000), "too large"),
        (claiming(2_000_000_000, 2), "names a"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "an AVIF, which can't be turned upright"),
        (content(np.full((4, 4), 0.5, "float32"), ".tiff"), "names a file that is no image"),
    ],
)
def test_what_cannot_be_an_image_is_refused_in_words(tmp_path: Path, data: bytes, rule: str) -> None:
    with pytest.raises(DataError, match=rule) as caught:
        decoded(tmp_path, data)
    assert caught.value.code == Exit.BAD_ROW


def test_a_bad_image_of_a_folder_is_named(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "dog/1.png")
    write(tmp_path, "cat/2 #.png", data=b"no image")
    declared = {
        "sources": [{"uri": str(tmp_path), "format": "images"}],
        "steps": [{"image_features": {}}, {"split": {}}],
    }
    with pytest.raises(DataError, match=r"cat/2 #\.png, row 0, column uri: names a file that is no image"):
        Pipeline.parse(declared).whole(Context(), lambda _line: None)


def test_a_missing_address_is_said_to_be_missing() -> None:
    with pytest.raises(DataError, match="row 0, column uri: is missing"):
        STEPS["image_features"]().apply(pd.DataFrame({"uri": [None]}), Context(files=["a.csv"]))


def test_no_images_have_the_same_columns() -> None:
    step = STEPS["image_features"](features=["histogram", "orb"])
    assert step.apply(pd.DataFrame({"uri": []}), Context()).shape == (0, 24 + 32)
