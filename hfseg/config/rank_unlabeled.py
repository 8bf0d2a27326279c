"""Options of `hfseg rank-unlabeled`."""

from dataclasses import dataclass, field
from typing import Literal

from hfseg.config.evaluation import PredictionArguments
from hfseg.config.values import at_least
from hfseg.errors import UserError


@dataclass(kw_only=True)
class RankArguments(PredictionArguments):
    """How images are chosen for labeling."""

    _argument_group_name = "choice"

    budget: int = field(metadata={"help": "how many images will be labeled"})
    uncertainty: Literal["entropy", "margin"] = field(
        default="entropy",
        metadata={"help": "of a pixel: the entropy, or how close the two likeliest classes are"},
    )
    candidates: float = field(
        default=2.0,
        metadata={
            "help": "the diverse set is chosen among this many times the budget, the most "
            "uncertain images; 1: by uncertainty alone"
        },
    )
    split: str = field(
        default="train", metadata={"help": "the labeled images of --dataset_name, to differ from"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "budget")
        if not self.candidates >= 1:
            raise UserError(f"--candidates must be at least 1, not {self.candidates}")
