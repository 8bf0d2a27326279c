"""Settings that a recipe leaves to the data: found, printed and applied before a run."""

import dataclasses

import datasets
from transformers import IntervalStrategy, PreTrainedModel
from transformers.trainer_utils import SaveStrategy

from hfseg.config.data import DataArguments
from hfseg.config.recipe import CHOOSE
from hfseg.config.resolve import Arguments
from hfseg.config.values import ImageSize, OptionValues
from hfseg.labels import LabelSet
from hfseg.training.arguments import with_values
from hfseg.training.data_defaults import RULES, facts

_TYPES = {
    "crop_size": ImageSize,
    "eval_strategy": IntervalStrategy,
    "save_strategy": SaveStrategy,
}
_EVALUATION = {"eval_strategy", "eval_steps"}
_CHECKPOINTS = {"save_strategy", "save_steps"}


def chosen_settings(
    arguments: Arguments, train: object, labels: LabelSet, model: PreTrainedModel
) -> OptionValues:
    """Flag -> value, as in a recipe, for the rules in `arguments.chosen_by_data`; prints why.

    Args:
        train: the training split; for a stream nothing is chosen, since nothing is known of it.
        model: that will be trained.
    """
    if not arguments.chosen_by_data or not isinstance(train, datasets.Dataset):
        return {}
    training, wanted = arguments.training, arguments.model
    images = training.train_batch_size * training.gradient_accumulation_steps * training.world_size
    pretrained = not wanted.from_scratch or wanted.encoder_weights or wanted.init_from
    found = facts(train, labels, model, images, bool(pretrained))
    decided = _decided(arguments)
    chosen: OptionValues = {}
    for name in arguments.chosen_by_data:
        choice = RULES[name](found)
        values = {key: value for key, value in choice.values.items() if key not in decided}
        chosen |= values
        if training.process_index == 0:
            shown = ", ".join(f"{key} {value}" for key, value in values.items())
            print(f"{shown} ({choice.why})", flush=True)
    return chosen


def _decided(arguments: Arguments) -> set[str]:
    """What the given options decide; checkpoints are made where the model is evaluated."""
    decided = set(arguments.given)
    if decided & _EVALUATION or arguments.training.eval_strategy == IntervalStrategy.NO:
        return decided | _EVALUATION | _CHECKPOINTS
    if decided & _CHECKPOINTS:
        without = arguments.training.save_strategy == SaveStrategy.NO
        return decided | _CHECKPOINTS | (set() if without else _EVALUATION)
    return decided


def with_settings(arguments: Arguments, chosen: OptionValues) -> Arguments:
    """The same run with these settings, from `chosen_settings`."""
    typed = {key: _TYPES[key](value) if key in _TYPES else value for key, value in chosen.items()}
    names = {item.name for item in dataclasses.fields(DataArguments)}
    data = {key: value for key, value in typed.items() if key in names}
    training = {key: value for key, value in typed.items() if key not in names}
    recipe = {key: value for key, value in arguments.recipe.items() if key != CHOOSE}
    return dataclasses.replace(
        arguments,
        data=dataclasses.replace(arguments.data, **data),
        training=with_values(arguments.training, **training),
        recipe=recipe | chosen,
    )
