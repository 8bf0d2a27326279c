"""Additional training images, such as those `hfseg autolabel` labeled; never scored on."""

from pathlib import Path
from typing import TYPE_CHECKING

from hfseg.data.dataset import load_dataset
from hfseg.data.rows import looks, sample_names
from hfseg.errors import UserError
from hfseg.labels import LabelSet

if TYPE_CHECKING:
    import datasets

EXTRA = "extra"
"""Its name beside the splits `train`, `validation` and `test`."""
SOURCES_FILE = "sources.csv"
"""In a folder whose masks were made by a model: where each comes from."""


def check_human_labeled(folder: str | None) -> None:
    """A model's own labels must not become the ground truth that it is scored on.

    Raises:
        UserError: the folder was made by `hfseg autolabel`.
    """
    if folder is not None and (Path(folder) / SOURCES_FILE).is_file():
        raise UserError(
            f"--dataset_path {folder}: a model made these masks ({SOURCES_FILE}), so they "
            "can't be scored against; give human-labeled data here, and this folder as "
            "--extra_dataset_path"
        )


def load_extra(folder: str, data: "datasets.DatasetDict", labels: LabelSet) -> "datasets.Dataset":
    """All images of a folder (in the layouts of `--dataset_name folder`), for training.

    Args:
        data: the human-labeled splits.
        labels: their classes.

    Raises:
        UserError: no such folder, other classes, or an image of a split that is scored.
    """
    import datasets

    if not Path(folder).is_dir():
        raise UserError(f"--extra_dataset_path {folder}: not a folder")
    found, own = load_dataset("folder", folder, train_val_test_split=(1, 0, 0))
    if own.names != labels.names:
        raise UserError(
            f"--extra_dataset_path {folder}: its classes are {', '.join(own.names)}, those of the "
            f"data {', '.join(labels.names)}; both must be the same"
        )
    extra = datasets.concatenate_datasets(list(found.values()))
    names = sample_names(extra, EXTRA)
    scored = {
        look: name
        for split in data.keys() - {"train"}
        for look, name in zip(looks(data[split]), sample_names(data[split], split), strict=True)
        if look
    }
    shared = [(name, scored[look]) for name, look in zip(names, looks(extra), strict=True)
              if look in scored]  # fmt: skip
    if shared:
        raise UserError(
            f"--extra_dataset_path {folder}: {shared[0][0]} is the same image as {shared[0][1]}, "
            f"which is used for scoring ({len(shared)} of {len(extra)} images in all); remove them "
            "from the folder"
        )
    return extra
