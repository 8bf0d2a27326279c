"""Data options: which dataset, how it is read and how its images are transformed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hfseg.config.values import Fractions, ImageSize, OptionValues, at_least, check_values
from hfseg.data import DATASETS, dataset_info
from hfseg.errors import UserError

_LABEL_MODES = ", ".join(
    f"{name} {' or '.join(info.label_modes)}"
    for name in DATASETS
    if (info := dataset_info(name)) is not None and info.label_modes
)


def short_name_of(dataset_name: str | None, dataset_path: str | None) -> str:
    """For names of runs: the dataset's, or the folder's where the dataset is only a format."""
    if dataset_path and dataset_name in ("folder", "coco"):
        path = Path(dataset_path).resolve()
        return path.stem if path.suffix == ".json" else path.name
    return (dataset_name or "data").replace("/", "-")


@dataclass
class DatasetArguments:
    """Which dataset, how it is read, and the size at which a model sees it."""

    _argument_group_name = "data"

    dataset_name: str | None = field(
        default=None,
        metadata={
            "help": f"{', '.join(DATASETS)} (toyscapes is drawn by the package, folder is your own "
            "data), or the id of any dataset on the Hub"
        },
    )
    dataset_path: str | None = field(
        default=None,
        metadata={
            "help": "folder with the data, in the dataset's own layout, or another Hub id for it"
        },
    )
    dataset_config: str | None = field(
        default=None, metadata={"help": "configuration of a Hub dataset that has several"}
    )
    image_column: str | None = field(
        default=None, metadata={"help": "image column of a Hub dataset"}
    )
    label_column: str | None = field(
        default=None, metadata={"help": "mask column of a Hub dataset"}
    )
    label_mode: str | None = field(
        default=None,
        metadata={"help": f"which classes: {_LABEL_MODES}"},
    )
    id2label: str | None = field(
        default=None,
        metadata={"help": "file with class names: labels.json, id2label.json or one name per line"},
    )
    label_map: list[str] = field(
        default_factory=list,
        metadata={
            "help": "what raw mask values mean, as VALUE=CLASS or VALUE=ignore, such as 255=road",
        },
    )
    train_val_test_split: Fractions = field(
        default=Fractions("0.8,0.1,0.1"),
        metadata={"help": "fractions of train, validation and test for data without splits"},
    )
    split_seed: int = field(default=42, metadata={"help": "seed of that split"})
    split_by: Literal["time", "group"] | None = field(
        default=None,
        metadata={"help": "time (video frames) or group (near-duplicates), instead of at random"},
    )
    streaming: bool = field(
        default=False,
        metadata={"help": "train and score on a Hub dataset without downloading it"},
    )
    on_bad_sample: Literal["stop", "skip"] = field(
        default="stop",
        metadata={"help": "stop, or skip: list the bad samples and train on the rest"},
    )
    preprocessing_num_workers: int | None = field(
        default=None,
        metadata={
            "help": "processes that read and check the data the first time, before it is cached "
            "(default: one per core if there are many samples)"
        },
    )
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "score only the first N samples of each split"}
    )
    image_size: ImageSize | None = field(
        default=None,
        metadata={"help": "resize in training and evaluation: HxW, or one number for a square"},
    )
    eval_at_image_size: bool = field(
        default=False,
        metadata={
            "help": "score at the resized label instead of the label's own size (reports say so)"
        },
    )

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "max_eval_samples")
        at_least(0, self, "preprocessing_num_workers")
        if self.eval_at_image_size and self.image_size is None:
            raise UserError("--eval_at_image_size needs --image_size")

    @property
    def title(self) -> str:
        """`dataset_name`, or words for a dataset that was given as an object."""
        return self.dataset_name or "data in memory"

    @property
    def short_name(self) -> str:
        """As `short_name_of`."""
        return short_name_of(self.dataset_name, self.dataset_path)

    def required_name(self) -> str:
        """`dataset_name`.

        Raises:
            UserError: it was not given.
        """
        if self.dataset_name is None:
            if self.dataset_path is None:
                raise UserError("no dataset: give --dataset_name, and --dataset_path for a folder")
            raise UserError(
                f"--dataset_path {self.dataset_path} needs --dataset_name, such as folder or coco"
            )
        return self.dataset_name

    def dataset_options(self) -> OptionValues:
        """The keyword arguments of `hfseg.load_dataset`."""
        names = (
            "label_mode", "train_val_test_split", "split_seed", "split_by", "id2label",
            "image_column", "label_column", "label_map", "dataset_config", "streaming",
            "on_bad_sample", "preprocessing_num_workers",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


@dataclass
class AugmentedDataArguments(DatasetArguments):
    """Also how training images are augmented."""

    augmentation: str = field(
        default="standard",
        metadata={
            "help": "none, light (flip), standard (scale 0.5-2, crop, flip, brightness and color), "
            "strong, roboflow, or a YAML file of an albumentations pipeline"
        },
    )
    crop_size: ImageSize | None = field(
        default=None,
        metadata={"help": "training only: random crop of HxW after the random scale"},
    )


@dataclass
class DataArguments(AugmentedDataArguments):
    """Everything that a training run needs to know of its data."""

    max_train_samples: int | None = field(
        default=None, metadata={"help": "use only the first N training samples"}
    )
    extra_dataset_path: str | None = field(
        default=None,
        metadata={"help": "folder of extra training images, such as those from hfseg autolabel"},
    )
    extra_weight: float = field(
        default=1.0,
        metadata={"help": "fraction of them used in an epoch, drawn anew each time"},
    )
    cache_resized: bool = field(
        default=False,
        metadata={
            "help": "store the training samples at --image_size once, as pixels (prints the disk "
            "space needed)"
        },
    )
    normalize: Literal["auto", "none"] = field(
        default="auto",
        metadata={"help": "auto: mean and std of the encoder; none: pixels / 255 only"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "max_train_samples")
        if not 0 < self.extra_weight <= 1:
            raise UserError(
                f"--extra_weight must be above 0 and at most 1, not {self.extra_weight}"
            )
        if self.extra_dataset_path is not None and self.streaming:
            raise UserError("--extra_dataset_path does not work with --streaming; leave one out")
        if self.cache_resized and (self.image_size is None or self.streaming):
            raise UserError(
                "--cache_resized needs --image_size, and does not work with --streaming"
            )
