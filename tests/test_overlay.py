import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.visualization.overlay import (
    CORRECT_COLOR,
    WRONG_COLOR,
    area_shares,
    color_mask,
    contours,
    error_map,
    hatch,
    index_png,
    legend_image,
    overlay,
)

LABELS = LabelSet(("sky", "road", "car"), ((10, 20, 200), (90, 90, 90), (200, 30, 40)))
MANY = LabelSet(tuple(f"class number {index}" for index in range(150)))


def halves(left: int, right: int, size: int = 20) -> np.ndarray:
    mask = np.full((size, size), left, dtype=np.uint8)
    mask[:, size // 2 :] = right
    return mask


def colors_in(image: Image.Image) -> set[tuple[int, ...]]:
    return {color for _, color in image.getcolors(1 << 24)}


def test_color_mask_gives_each_class_its_color_and_ignored_pixels_black():
    picture = color_mask(halves(2, 255), LABELS)
    assert picture.getpixel((0, 0)) == (200, 30, 40)
    assert picture.getpixel((19, 0)) == (0, 0, 0)


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_index_png_reads_back_the_same_ids(tmp_path_factory, mask):
    path = tmp_path_factory.mktemp("png") / "mask.png"
    index_png(mask, LABELS).save(path)
    read = Image.open(path)
    assert read.mode == "P"
    np.testing.assert_array_equal(np.asarray(read), mask)
    assert read.convert("RGB").tobytes() == color_mask(mask, LABELS).tobytes()


def test_overlay_mixes_photo_and_class_color_by_opacity():
    photo = Image.new("RGB", (20, 20), (100, 100, 100))
    picture = overlay(photo, halves(0, 1), LABELS, opacity=0.25)
    assert picture.size == (20, 20)
    assert picture.getpixel((2, 2)) == (78, 80, 125)  # 0.75 * 100 + 0.25 * (10, 20, 200)


def test_overlay_draws_a_light_line_between_regions_only():
    photo = Image.new("RGB", (20, 20), (0, 0, 0))
    picture = np.asarray(overlay(photo, halves(0, 1), LABELS)).astype(int)
    bright = picture.sum(axis=2) > 450
    np.testing.assert_array_equal(np.argwhere(bright.any(axis=0)).ravel(), [9])


def test_ignored_pixels_show_the_photo_darkened_and_hatched():
    photo = Image.new("RGB", (20, 20), (200, 100, 60))
    picture = np.asarray(overlay(photo, halves(0, 255), LABELS))[:, 10:]
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 2
    assert (picture < (200, 106, 92)).all()
    assert (picture[..., 0] > picture[..., 2]).all()  # still the photo's hue


@given(arrays(np.uint8, (6, 7), elements=st.integers(0, 3)))
def test_a_pixel_is_a_contour_where_its_right_or_lower_neighbor_differs(mask):
    edges = contours(mask)
    for row, column in np.ndindex(mask.shape):
        neighbours = mask[row : row + 2, column], mask[row, column : column + 2]
        assert edges[row, column] == any(len(set(pair.tolist())) == 2 for pair in neighbours)


def test_the_legend_lists_just_the_classes_that_occur_by_area():
    mask = halves(1, 0, size=20)
    mask[:, 8:] = 0
    mask[:2, 10:] = 255
    shares = area_shares(mask, LABELS)
    assert list(shares) == [0, 1, 255]
    assert shares == pytest.approx({0: 0.55, 1: 0.4, 255: 0.05})


def test_the_legend_shows_the_colors_of_its_classes_and_no_other():
    picture = overlay(
        Image.new("RGB", (600, 40)), np.full((40, 600), 2, np.uint8), LABELS, legend=True
    )
    legend = colors_in(picture.crop((0, 40, picture.width, picture.height)))
    assert (200, 30, 40) in legend
    assert (10, 20, 200) not in legend


@pytest.mark.parametrize("width", [320, 512, 1024])
def test_a_legend_of_150_classes_holds_a_swatch_of_every_class(width):
    shares = dict.fromkeys([*range(150), 255], 1 / 151)
    picture = legend_image(shares, MANY, width)
    assert picture.width == width
    assert set(MANY.palette) <= colors_in(picture)


def test_a_name_too_long_for_the_legend_is_shortened_not_cut_off():
    labels = LabelSet(("w" * 200,))
    picture = np.asarray(legend_image({0: 1.0}, labels, 320))
    assert (picture[:, -2:] == 255).all()
    assert (picture[:, 200:] != 255).any()  # the share still stands at the right


def test_small_images_are_enlarged_by_an_integer_factor_before_the_legend():
    picture = overlay(
        Image.new("RGB", (256, 160)), np.zeros((160, 256), np.uint8), LABELS, legend=True
    )
    assert picture.width == 512
    assert picture.height > 320


def test_large_images_keep_their_size_above_the_legend():
    picture = overlay(
        Image.new("RGB", (960, 90)), np.zeros((90, 960), np.uint8), LABELS, legend=True
    )
    assert picture.width == 960


def test_error_map_distinguishes_correct_wrong_and_ignored_pixels():
    truth = halves(1, 2)
    truth[:10] = 255
    picture = np.asarray(error_map(np.ones((20, 20), np.uint8), truth, LABELS))
    assert (picture[10:, :10] == CORRECT_COLOR).all()
    assert (picture[10:, 10:] == WRONG_COLOR).all()
    assert not (picture[:10] == WRONG_COLOR).all(-1).any()
    assert len(np.unique(picture[:10].reshape(-1, 3), axis=0)) == 2


def test_hatching_changes_neither_other_pixels_nor_its_argument():
    picture = np.full((20, 20, 3), 200, np.uint8)
    hatched = hatch(picture, halves(0, 1).astype(bool))
    assert (picture == 200).all()
    assert (hatched[:, :10] == 200).all()
    assert (hatched[:, 10:] != 200).all()


def test_gray_images_are_accepted():
    picture = overlay(np.full((20, 20), 80, np.uint8), halves(0, 1), LABELS, opacity=0.0)
    assert picture.getpixel((0, 0)) == (80, 80, 80)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: overlay(Image.new("RGB", (8, 9)), halves(0, 1), LABELS), "8x9"),
        (lambda: overlay(Image.new("RGB", (20, 20)), halves(0, 1), LABELS, opacity=2), "opacity"),
        (lambda: error_map(halves(0, 1), halves(0, 1, size=4), LABELS), "shape"),
        (lambda: color_mask(np.zeros((4, 4, 3), np.uint8), LABELS), r"\(H, W\)"),
        (lambda: color_mask(np.full((4, 4), -100), LABELS), "-100"),
    ],
)
def test_invalid_input_is_reported(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_a_photo_blended_in_bands_of_rows_looks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    photo, mask = rng.integers(0, 256, (20, 30, 3), np.uint8), rng.integers(0, 5, (20, 30))
    expected = np.asarray(overlay(photo, mask, LABELS))
    monkeypatch.setattr("hfseg.visualization.overlay._ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(np.asarray(overlay(photo, mask, LABELS)), expected)
