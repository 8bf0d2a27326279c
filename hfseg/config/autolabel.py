"""Options of `hfseg autolabel`."""

from dataclasses import dataclass, field

from hfseg.config.evaluation import PredictionArguments
from hfseg.errors import UserError


@dataclass(kw_only=True)
class AutolabelArguments(PredictionArguments):
    """Who labels, and how sure a label must be."""

    _argument_group_name = "labeling"

    model_name_or_path: str | None = field(  # type: ignore[assignment]
        default=None, metadata={"help": "a model folder or Hub id"}
    )
    sam3: str | None = field(
        default=None,
        metadata={"help": "instead: SAM 3, asked for the names of the classes in --id2label"},
    )
    ensemble: list[str] = field(
        default_factory=list,
        metadata={"help": "more models of the same classes; the probabilities are averaged"},
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
            "help": "instead: find the confidence from which on this fraction of the pixels of "
            "--split is right"
        },
    )
    split: str = field(default="validation", metadata={"help": "the labeled split for that"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.model_name_or_path is None) == (self.sam3 is None):
            raise UserError("give --model_name_or_path, or --sam3 with --id2label")
        if (self.min_confidence is None) == (self.precision is None):
            raise UserError("give --min_confidence, or --precision with --dataset_name")
        for name in ("min_confidence", "precision"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"--{name} must be from 0 to 1, not {value}")
