"""Which column of a Hub dataset is the image and which the mask.

Inferred from the features and a few rows; names are only a last hint, since they can mislead (the
`label` of Pets is a breed).
"""

from collections.abc import Sequence

from PIL import Image

from hfseg.data.hub_rows import (
    Places,
    Split,
    column_features,
    encoded,
    is_image,
    sampled_masks,
)
from hfseg.data.masks import StoredMask
from hfseg.errors import UserError

_MASK_HINTS = ("mask", "seg", "label", "annot", "gt", "trimap", "target")
_MOST_COLORS = 300


def find_columns(
    name: str,
    split: Split,
    image: str | None = None,
    label: str | None = None,
    places: Places = None,
) -> tuple[str, str]:
    """The names of the image and of the mask column.

    Args:
        name: of the dataset, for messages.
        split: with its raw columns.
        image, label: columns that are already known.
        places: where the files are that rows may name.

    Raises:
        UserError: a column that doesn't exist, or roles that can't be told apart.
    """
    known = column_features(split)
    for flag, column in (("--image_column", image), ("--label_column", label)):
        if column and column not in known:
            raise UserError(f"{name}: no column {column!r} ({flag}); it has {', '.join(known)}")
    if image and label:
        return image, label
    pictures = [column for column, feature in known.items() if is_image(feature)]
    arrays = [column for column, feature in known.items() if _is_nested(feature)]
    masks = [column for column in pictures if column != image]
    if not label and arrays and len(pictures) == 1:
        masks = arrays
    elif not label:
        masks = _look_like_masks(split, masks, places) or masks
    if not label and len(masks) > 1:
        hinted = [c for c in masks if any(hint in c.lower() for hint in _MASK_HINTS)]
        masks = hinted or masks
    photos = [c for c in pictures if c not in ((label,) if label else masks)]
    if not label and len(masks) == 1:
        label = masks[0]
    if not image and len(photos) == 1:
        image = photos[0]
    if not image or not label:
        raise UserError(
            f"{name}: it is unclear which column is the image and which the mask "
            f"(image columns: {', '.join(pictures) or 'none'}); give --image_column and "
            "--label_column"
        )
    return image, label


def _look_like_masks(split: Split, columns: Sequence[str], places: Places) -> list[str]:
    """Of the image columns, those with few colors in every sampled row."""
    found = []
    for column in columns:
        plain = encoded(split, column)
        sources = list(sampled_masks(plain, column, places))
        if sources and all(_few_colors(picture) for picture in sources):
            found.append(column)
    return found


def _few_colors(picture: StoredMask) -> bool:
    if not isinstance(picture, Image.Image):
        return True
    if picture.mode in ("P", "1", "I", "I;16"):
        return picture.format != "GIF"
    colors = picture.convert("RGB").getcolors(maxcolors=_MOST_COLORS)
    # a gray photo has up to 256 values too, but hardly ever large flat areas
    if colors is None:
        return False
    largest = sum(sorted((count for count, _ in colors), reverse=True)[:8])
    return len(colors) <= 64 or largest > 0.5 * picture.width * picture.height


def _is_nested(feature: object) -> bool:
    """Whether a column holds lists of lists: a mask without an image format."""
    import datasets

    if isinstance(feature, datasets.Array2D):
        return True
    return inner_feature(inner_feature(feature)) is not None


def inner_feature(feature: object) -> object:
    if isinstance(feature, list):
        return feature[0]
    return getattr(feature, "feature", None)
