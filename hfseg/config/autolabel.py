"""Options of `hfseg autolabel`."""

from dataclasses import dataclass, field

from hfseg.config.evaluation import PredictionArguments
from hfseg.errors import UserError


@dataclass(kw_only=True)
class AutolabelArguments(PredictionArguments):
    """What labels the images, and how confident a label must be."""

    _argument_group_name = "labeling"

    model_name_or_path: str | None = field(  # type: ignore[assignment]
        default=None, metadata={"help": "a model folder or Hub id"}
    )
    sam3: str | None = field(
        default=None,
        metadata={"help": "instead: SAM 3, prompted with the class names in --id2label"},
    )
    ensemble: list[str] = field(
        default_factory=list,
        metadata={"help": "more models with the same classes; the probabilities are averaged"},
    )
    sam: str | None = field(
        default=None,
        metadata={"help": "take the boundaries from this SAM, such as facebook/sam2.1-hiera-tiny"},
    )
    min_confidence: float | None = field(
        default=None, metadata={"help": "pixels with a lower confidence are ignored (255)"}
    )
    precision: float | None = field(
        default=None,
        metadata={
            "help": "instead: find the confidence above which this fraction of the pixels of "
            "--split is correct"
        },
    )
    split: str = field(default="validation", metadata={"help": "labeled split for --precision"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.model_name_or_path is None) == (self.sam3 is None):
            raise UserError("give either --model_name_or_path or --sam3 (with --id2label)")
        if (self.min_confidence is None) == (self.precision is None):
            raise UserError("give either --min_confidence or --precision (with --dataset_name)")
        for name in ("min_confidence", "precision"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"--{name} must be from 0 to 1, not {value}")
