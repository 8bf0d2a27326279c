"""`TrainingArguments` for `SegmentationTrainer`: copied, never changed in place."""

import copy

from transformers import TrainingArguments

REQUIRED = {
    "remove_unused_columns": False,
    "batch_eval_metrics": True,
    "label_names": ["labels"],
    "logging_nan_inf_filter": False,  # `DivergenceCheck` stops the run instead
    "restore_callback_states_from_checkpoint": True,  # early stopping keeps its count
}
"""Values that the trainer depends on."""


def with_values(args: TrainingArguments, **values: object) -> TrainingArguments:
    """A copy with some values replaced."""
    changed = copy.copy(args)
    for name, value in values.items():
        setattr(changed, name, value)
    return changed
