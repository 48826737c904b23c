"""Images to features, by OpenCV."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from modelops_runtime.artifacts.operations import Operation
from modelops_runtime.artifacts.preprocessing import SENT
from modelops_runtime.data.context import Context
from modelops_runtime.data.sources.files import open_file, unreadable
from modelops_runtime.data.step import Step, step

Image = npt.NDArray[Any]
Feature = Literal["pixels", "histogram", "hog", "orb"]
_MOST_PIXELS = "OPENCV_IO_MAX_IMAGE_PIXELS"
os.environ.setdefault(_MOST_PIXELS, str(2**28))
"""A small file may say that it is a huge image: 800 MB at most. OpenCV reads this when it is imported."""
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
"""OpenCV would print its own words beside the error."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BLANK = rb"(?:\s|#[^\n]*\n)+"
_PNM = re.compile(rb"P[2356]" + 2 * (_BLANK + rb"\d+") + _BLANK + rb"(\d+)|P7\n(?:.*\n)*?MAXVAL\s+(\d+)")
_CELL, _BLOCK = 8, 16
"""Pixels: HOG's cell, and its block of 2 × 2 cells, of which neighbours share a half (Dalal and Triggs 2005)."""


@step
class ImageFeatures(Step):
    """An image (its address in `column`; see the source `images`) becomes columns `<feature>_0` and so on.

    It is turned as its EXIF orientation says, and becomes 8 bits of blue, green and red: of 16 bits the higher 8, of
    CMYK, grey and palettes the colours, of animations and several pages the first; transparency is left out, of a TIFF
    refused. What is cut off, no image that OpenCV reads, larger than `OPENCV_IO_MAX_IMAGE_PIXELS` (268 million), or
    damaged is refused; damage within the pixels shows only where a format has checksums, as PNG has.

    First it is resized to `width` × `height` pixels. Then: `pixels`, grey, 0 to 1, row by row; `histogram`, the share
    of the pixels in each of `bins` ranges of blue, green and red; `hog`, oriented gradients (9 directions); `orb`, the
    mean of the descriptors of up to 500 key points (Rublee et al. 2011), zeros where there is none."""

    libraries: ClassVar[tuple[str, ...]] = ("opencv-python-headless",)
    column: str = "uri"
    features: list[Feature] = Field(default=["histogram"], min_length=1)
    width: int = Field(default=64, ge=1, le=4096)
    height: int = Field(default=64, ge=1, le=4096)
    bins: int = Field(default=8, ge=1, le=256)
    keep: bool = False
    """Whether the address stays as a column."""

    @model_validator(mode="after")
    def _size_has_whole_cells(self) -> "ImageFeatures":
        if "hog" in self.features and (self.width % _CELL or self.height % _CELL or min(self.width, self.height) < 16):
            raise ValueError("width and height must be multiples of 8, at least 16, with the feature hog")
        return self

    @property
    def rowwise(self) -> bool:
        return True

    @property
    def derived(self) -> Mapping[str, Sequence[str]]:
        return {self.column: [f"{feature}_*" for feature in self.features]}

    @property
    def column_of_files(self) -> str | None:
        return self.column

    def operations(self) -> list[Operation]:
        sent_as = "a number that the step image_features makes of the image"
        return [{"column": feature, "kind": SENT, "as": sent_as, "vector": True} for feature in self.features]

    def apply(self, frame: pd.DataFrame, context: Context) -> pd.DataFrame:
        context.require(frame, [self.column])
        makers: dict[Feature, Callable[[Image], Any]] = {
            "pixels": self._pixels,
            "histogram": self._histogram,
            "hog": self._hog,
            "orb": _orb,
        }
        blank = np.zeros((self.height, self.width, 3), "uint8")
        tables = {feature: np.empty((len(frame), len(makers[feature](blank)))) for feature in self.features}
        for row, (index, uri) in enumerate(zip(frame.index, frame[self.column], strict=True)):
            image = self._image(index, uri, context)
            for feature, table in tables.items():
                table[row] = makers[feature](image)
        kept = frame if self.keep else frame.drop(columns=self.column)
        columns = [kept]
        for feature, table in tables.items():
            names = [f"{feature}_{number}" for number in range(table.shape[1])]
            columns.append(pd.DataFrame(table, index=frame.index, columns=names))
        return pd.concat(columns, axis=1)

    def _image(self, index: Any, uri: Any, context: Context) -> Image:
        import cv2

        if pd.isna(uri):
            raise context.bad_row(index, self.column, "is missing, must name an image")
        try:
            with open_file(str(uri)) as stream:
                content = stream.read()
        except unreadable():
            raise context.bad_row(index, self.column, "names an image that can't be read") from None
        if not content:
            raise context.bad_row(index, self.column, "names an empty file")
        if rule := _refused(content):
            raise context.bad_row(index, self.column, rule)
        try:
            image = _decoded(_without_animation(content), cv2.IMREAD_COLOR)
            see_through = image is not None and content[:4] in _TIFF and _is_see_through(content)
        except cv2.error:
            raise context.bad_row(
                index, self.column, f"names an image that is too large: more pixels than {_MOST_PIXELS}, or damaged"
            ) from None
        if image is None:
            raise context.bad_row(index, self.column, "names a file that is no image, is damaged or is cut off")
        if see_through:
            raise context.bad_row(index, self.column, "names a TIFF with transparency: convert it to PNG")
        resized: Image = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return resized

    def _pixels(self, image: Image) -> Any:
        import cv2

        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).ravel() / 255.0

    def _histogram(self, image: Image) -> Any:
        counts = [
            np.bincount(image[:, :, channel].ravel().astype("int64") * self.bins // 256, minlength=self.bins)
            for channel in range(3)
        ]
        return np.concatenate(counts) / (self.width * self.height)

    def _hog(self, image: Image) -> Any:
        import cv2

        size = (self.width, self.height)
        descriptor = cv2.HOGDescriptor(size, (_BLOCK, _BLOCK), (_CELL, _CELL), (_CELL, _CELL), 9)
        return np.asarray(descriptor.compute(image)).ravel()


def _refused(content: bytes) -> str:
    """Why OpenCV would read something else than the image; empty where it doesn't."""
    if content[4:12] in (b"ftypavif", b"ftypavis"):
        # OpenCV leaves them as they lie in the file.
        return "names an AVIF, which can't be turned upright: convert it to PNG"
    if (header := _PNM.match(content)) and int(header[1] or header[2]) not in (255, 65535):
        # OpenCV takes each value as if it were one of 255 or 65535.
        return "names a PNM whose largest value must be 255 or 65535: convert it to PNG"
    return ""


def _without_animation(content: bytes) -> bytes:
    """A PNG without the part that says that it has several images: read as an animation, its checksums are not."""
    at = content.find(b"\0\0\0\x08acTL", 0, content.find(b"IDAT")) if content[:4] == b"\x89PNG" else -1
    return content if at < 0 else content[:at] + content[at + 20 :]


def _is_see_through(content: bytes) -> bool:
    """Whether an image has transparency, by which OpenCV darkens the colours of a TIFF."""
    import cv2

    image = _decoded(content, cv2.IMREAD_UNCHANGED)
    return image.ndim == 3 and image.shape[2] == 4 and bool((image[:, :, 3] < np.iinfo(image.dtype).max).any())


def _decoded(content: bytes, flags: int) -> Any:
    import cv2

    return cv2.imdecode(np.frombuffer(content, dtype="uint8"), flags)


def _orb(image: Image) -> Any:
    import cv2

    _points, descriptors = cv2.ORB.create(500).detectAndCompute(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), None)
    return np.zeros(32) if descriptors is None else descriptors.mean(axis=0)
