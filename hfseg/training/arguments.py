"""`TrainingArguments` for `SegmentationTrainer`. What a user gave is copied, never changed."""

import copy
from typing import Any

from transformers import TrainingArguments

REQUIRED = {
    "remove_unused_columns": False,
    "batch_eval_metrics": True,
    "label_names": ["labels"],
    "restore_callback_states_from_checkpoint": True,  # early stopping goes on counting
}
"""Values that the trainer depends on; not a choice."""


def with_values(args: TrainingArguments, **values: Any) -> TrainingArguments:
    """A copy with other values."""
    changed = copy.copy(args)
    for name, value in values.items():
        setattr(changed, name, value)
    return changed
