"""Options of prediction, evaluation and the comparison with SAM."""

from dataclasses import dataclass, field
from typing import Literal

from hfseg.config.values import OptionValues, at_least, check_values
from hfseg.errors import UserError
from hfseg.sam.masks import (
    POINTS_PER_BATCH,
    POINTS_PER_SIDE,
    PRED_IOU_THRESH,
    STABILITY_SCORE_THRESH,
)


@dataclass(kw_only=True)
class LoadingArguments:
    """Which trained model is loaded, and how."""

    model_name_or_path: str = field(metadata={"help": "a model folder or Hub id"})
    dtype: Literal["fp32", "bf16", "fp16"] = field(
        default="fp32", metadata={"help": "of weights and activations"}
    )
    trust_remote_code: bool = field(
        default=False, metadata={"help": "run code that comes with a Hub checkpoint"}
    )


@dataclass(kw_only=True)
class ScoringArguments(LoadingArguments):
    """Which split is scored, and where the results go."""

    split: str = field(default="validation", metadata={"help": "split to score"})
    class_map: str | None = field(
        default=None,
        metadata={
            "help": "JSON or YAML file of `model's class: dataset's class` (default: by name)"
        },
    )
    output_dir: str | None = field(
        default=None,
        metadata={
            "help": "folder of the results (default: in runs/, named after model, data and split)"
        },
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "replace the results in --output_dir"}
    )


@dataclass(kw_only=True)
class PredictionArguments(LoadingArguments):
    """Which model predicts, and how."""

    _argument_group_name = "prediction"

    sliding_window: int | None = field(
        default=None,
        metadata={"help": "predict in tiles of this many pixels; for images of any size"},
    )
    stride: int | None = field(
        default=None, metadata={"help": "pixels between two tiles (3/4 of the window)"}
    )
    tta: str | None = field(
        default=None, metadata={"help": "test-time augmentation, such as flip,0.75,1.0,1.25"}
    )

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "sliding_window", "stride")
        if self.stride is not None and self.sliding_window is None:
            raise UserError("--stride needs --sliding_window")


@dataclass(kw_only=True)
class EvaluationArguments(PredictionArguments, ScoringArguments):
    """Which model is scored on which split."""

    _argument_group_name = "evaluation"

    check_card: bool = field(
        default=False,
        metadata={"help": "compare with the mean_iou of its model card; exit 1 if they differ"},
    )
    calibrate: bool = field(
        default=False,
        metadata={"help": "first fit the temperature on this split, and save it into the model"},
    )


@dataclass(kw_only=True)
class SamArguments(ScoringArguments):
    """A model and a SAM, and how SAM is used."""

    _argument_group_name = "comparison"

    sam: str = field(
        metadata={
            "help": "SAM, SAM 2, SAM-HQ or EdgeTAM: a folder or Hub id, such as "
            "facebook/sam2.1-hiera-tiny"
        }
    )
    sam3: str | None = field(
        default=None,
        metadata={"help": "also SAM 3, prompted with each class name: a folder or Hub id"},
    )
    class_prompts: str | None = field(
        default=None,
        metadata={"help": "JSON or YAML file of `class: prompt`, to replace class names"},
    )
    prompts: Literal["boxes", "points", "both"] = field(
        default="boxes", metadata={"help": "how SAM is prompted with a predicted region"}
    )
    points_per_side: int = field(
        default=POINTS_PER_SIDE, metadata={"help": "points per side of SAM's grid"}
    )
    points_per_batch: int = field(
        default=POINTS_PER_BATCH, metadata={"help": "fewer need less memory"}
    )
    pred_iou_thresh: float = field(
        default=PRED_IOU_THRESH,
        metadata={"help": "drop masks with a predicted IoU of this or less"},
    )
    stability_score_thresh: float = field(
        default=STABILITY_SCORE_THRESH,
        metadata={"help": "drop masks with a stability of this or less"},
    )
    num_figures: int = field(default=6, metadata={"help": "images drawn, evenly spaced"})

    @property
    def everything(self) -> OptionValues:
        """The options of `SamPredictor.segment_everything`."""
        names = (
            "points_per_side", "points_per_batch", "pred_iou_thresh", "stability_score_thresh",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def __post_init__(self) -> None:
        check_values(self)
        if self.class_prompts is not None and self.sam3 is None:
            raise UserError("--class_prompts is for SAM 3: give --sam3 too")
        at_least(1, self, "points_per_side", "points_per_batch")
        at_least(0, self, "num_figures")
