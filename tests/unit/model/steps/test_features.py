"""Text and images as numbers."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from modelops_runtime.artifacts.operations import apply, columns_of, words
from modelops_runtime.contract import Exit
from modelops_runtime.data.steps import STEPS, Context, DataError
from modelops_runtime.data.table import InMemory

TEXTS = pd.DataFrame({"t": ["the cat sat", "the dog sat", "the cat ran", None, "zebra"] * 5})


def test_a_text_becomes_the_mean_of_its_known_words() -> None:
    step = STEPS["word_vectors"](column="t", size=8, least_count=6)
    (operation,) = step.fit(InMemory(TEXTS), Context())
    assert sorted(operation["vectors"]) == ["cat", "sat", "the"]
    result = np.stack(apply(operation, np.array(["The CAT flew!", "zebra", None], dtype="object")), axis=1)
    expected = np.mean([operation["vectors"]["the"], operation["vectors"]["cat"]], axis=0)
    np.testing.assert_array_equal(result[0], expected)
    assert (result[1:] == 0).all() and columns_of(operation) == [f"t_{n}" for n in range(8)]


def test_word_vectors_depend_on_the_seed_alone() -> None:
    (first,) = STEPS["word_vectors"](column="t", size=8).fit(InMemory(TEXTS), Context())
    assert first == STEPS["word_vectors"](column="t", size=8).fit(InMemory(TEXTS), Context())[0]
    assert first != STEPS["word_vectors"](column="t", size=8, seed=8).fit(InMemory(TEXTS), Context())[0]


def test_texts_without_words_are_refused() -> None:
    for frame, least in ((pd.DataFrame({"t": ["", None]}), 1), (TEXTS, 1000)):
        with pytest.raises(DataError) as caught:
            STEPS["word_vectors"](column="t", least_count=least).fit(InMemory(frame), Context())
        assert caught.value.code == Exit.EMPTY
    assert words("Über-Straße 12") == ["über", "straße", "12"]


@pytest.fixture
def images(tmp_path: Path) -> pd.DataFrame:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype("uint8")
    plain = np.full((64, 64, 3), (255, 0, 128), dtype="uint8")
    for name, image in (("noise", noise), ("plain", plain)):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    return pd.DataFrame({"uri": [f"{tmp_path}/noise.png", f"{tmp_path}/plain.png"], "label": ["n", "p"]})


def test_features_have_the_values_that_the_pixels_say(images: pd.DataFrame) -> None:
    step = STEPS["image_features"](features=["pixels", "histogram", "hog", "orb"], bins=4)
    result = step.apply(images, Context())
    shapes = {name: result.filter(regex=f"^{name}_").shape[1] for name in ("pixels", "histogram", "hog", "orb")}
    # HOG: 7 × 7 blocks of 2 × 2 cells with 9 directions.
    assert shapes == {"pixels": 4096, "histogram": 12, "hog": 1764, "orb": 32}
    image = cv2.imread(images["uri"][0])
    for channel in range(3):
        expected = np.histogram(image[:, :, channel], bins=4, range=(0, 256))[0] / 4096
        np.testing.assert_array_equal(result.iloc[0][[f"histogram_{channel * 4 + n}" for n in range(4)]], expected)
    assert result["histogram_3"][1] == 1 and result["histogram_4"][1] == 1 and result["histogram_10"][1] == 1
    assert (result.filter(regex="^(hog|orb)_").iloc[1] == 0).all()
    assert list(result["label"]) == ["n", "p"] and "uri" not in result


def test_an_image_that_is_none_is_named(tmp_path: Path, images: pd.DataFrame) -> None:
    (tmp_path / "bad.png").write_text("no image")
    for name, problem in (("bad.png", "names a file that is no image"), ("gone.png", "can't be read")):
        frame = pd.DataFrame({"uri": [images["uri"][0], str(tmp_path / name)]})
        with pytest.raises(DataError, match=f"row 1, column uri: .*{problem}") as caught:
            STEPS["image_features"]().apply(frame, Context())
        assert caught.value.code == Exit.BAD_ROW


def test_hog_needs_whole_cells() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        STEPS["image_features"](features=["hog"], width=60)
