"""Loading transformers checkpoints strictly: tensors that are missing are never silently random."""

import contextlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from hfseg.errors import UserError
from hfseg.hub_errors import explain_hub_error
from hfseg.labels import LabelSet
from hfseg.models.head_reuse import carry_over, class_tensors, same_classes, with_labels

logger = logging.getLogger("hfseg")

# Buffers that follow from the config or start at zero: nothing to learn.
_CONSTANTS = ("num_batches_tracked", "criterion.empty_weight", "attn_mask_probs")

_COMMIT = re.compile(r"\._?([0-9a-f]{40})\.")
"""In the name of a module that transformers fetched."""


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar and no load report: hfseg reports itself what was reinitialized."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def unreachable(name: str, error: Exception, remedy: str) -> UserError:
    """The error for weights that can't be downloaded, or that need code of their own."""
    if needs_own_code(error):
        return UserError(OWN_CODE.format(name))
    if Path(name).is_dir():
        reason = f"the folder {name} has no readable checkpoint ({first_line(error)})"
    else:
        cause = explain_hub_error(error, name) or first_line(error)
        reason = f"{name!r} is not a local folder and can't be downloaded from the Hub: {cause}"
    return UserError(f"{reason}; {remedy}")


OWN_CODE = (
    "{} needs its own code to be run: read it, and if you trust it, allow it with "
    "trust_remote_code (--trust_remote_code)"
)


def needs_own_code(error: Exception) -> bool:
    """Whether transformers refused to run a model's code, which was not allowed."""
    return "trust_remote_code" in str(error)


def first_line(error: BaseException) -> str:
    """The gist of a library's error, on one line."""
    text = str(error).strip() or type(error).__name__
    return " ".join(text.split("\n")[0].split()).rstrip(".")[:200]


def report_remote_code(model: PreTrainedModel, source: str | Path) -> None:
    """Log whose code was run, and at which revision, if it came with the model.

    A model may name code in another repository than its own.
    """
    module = type(model).__module__
    if not module.startswith("transformers_modules"):
        return
    stated = (getattr(model.config, "auto_map", None) or {}).values()
    owners = {str(each).partition("--")[0] for each in stated if "--" in str(each)}
    others = sorted(owners - {str(source)})
    of = f", of {', '.join(others)}" if others else ""
    revision = _COMMIT.search(module)
    where = f"at revision {revision[1]}" if revision else "from this folder"
    logger.warning("%s runs its own code, %s%s, %s", source, type(model).__name__, of, where)


def check_finite(model: PreTrainedModel, source: str | Path) -> None:
    """Check that every weight and buffer is a number.

    Raises:
        UserError: with the name of the first one that isn't.
    """
    for name, values in model.state_dict().items():
        if values.is_floating_point() and not torch.isfinite(values).all():
            raise UserError(
                f"the weights in {source} are damaged: {name} contains values that are not finite; "
                "the training diverged or the file is corrupt, so give another checkpoint"
            )


def backbone_name(model: PreTrainedModel) -> str:
    """The attribute that holds a segmentation model's encoder; all else is the head."""
    for name in (model.base_model_prefix, "backbone", "encoder"):
        if name and isinstance(getattr(model, name, None), torch.nn.Module):
            return name
    raise UserError(f"{type(model).__name__}: its encoder was not found; use another architecture")


# Encoders that are not one attribute of the model.
_ENCODER_PARTS = {
    "eomt": ("embeddings", "layers", "layernorm"),
    "eomt_dinov3": ("embeddings", "layers", "layernorm"),
    "mask2former": ("model.pixel_level_module.encoder",),
}


def encoder_parts(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    """The modules of a segmentation model's encoder, by their dotted names."""
    names = _ENCODER_PARTS.get(model.config.model_type) or (backbone_name(model),)
    return {name: model.get_submodule(name) for name in names}


def in_encoder(model: PreTrainedModel) -> Callable[[str], bool]:
    """A function: whether the parameter of that name is in the encoder; all else is the head."""
    prefixes = tuple(f"{name}." for name in encoder_parts(model))
    return lambda name: name.startswith(prefixes)


def load_checkpoint(
    model_class: type[PreTrainedModel],
    source: str,
    config: PreTrainedConfig,
    before: LabelSet | None = None,
    **hub: bool,
) -> PreTrainedModel:
    """`from_pretrained`; a head for other labels is reinitialized, which is logged.

    Args:
        before: the labels the checkpoint was trained on, if they have names; the head keeps what it
            knows of those that are in `config` too.

    Raises:
        UserError: weights that can't be downloaded, or that lack tensors of the encoder.
    """
    labels = LabelSet.from_config(config)
    kept: dict[int, int] = {}
    if before is not None and before.names != labels.names:
        kept = same_classes(before, labels)
    trained = before if kept else None
    stored = config if trained is None else with_labels(config, trained)
    model, fresh = _from_pretrained(model_class, source, stored, **hub)
    lost = sorted(filter(in_encoder(model), fresh))
    if lost:
        raise UserError(
            f"the weights in {source} lack {len(lost)} tensors of the encoder of "
            f"{model_class.__name__} (the first is {lost[0]}); they belong to another model, "
            "so give weights of this architecture, or train with --from_scratch"
        )
    if trained is not None:
        untrained = class_tensors(model) & fresh
        model = carry_over(model, config, trained, labels)
        if not untrained:
            learned = [name for index, name in enumerate(labels.names) if index not in kept]
            logger.warning(
                "from %s; the head keeps %d classes by name (%s); to be learned in this run: %s",
                source,
                len(kept),
                ", ".join(labels.names[index] for index in kept),
                ", ".join(learned) or "none",
            )
    if fresh:
        logger.warning(
            "from %s; reinitialized, to be learned in this run: %s", source, summarize(fresh)
        )
    return model


def _from_pretrained(
    model_class: type[PreTrainedModel], source: str, config: PreTrainedConfig, **hub: bool
) -> tuple[PreTrainedModel, set[str]]:
    """The model, and the names of its tensors that the checkpoint lacks or has in another shape."""
    try:
        with quiet_transformers():
            model, info = model_class.from_pretrained(
                source,
                config=config,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **hub,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise unreachable(
            source,
            error,
            "give a local folder or another id with --model_name_or_path or --encoder_weights, "
            "or train from random weights with --from_scratch",
        ) from error
    check_finite(model, source)
    fresh = set(info["missing_keys"]) | {_key(entry) for entry in info["mismatched_keys"]}
    return model, {key for key in fresh if not key.endswith(_CONSTANTS)}


def _key(entry: str | tuple[str, ...]) -> str:
    return entry if isinstance(entry, str) else entry[0]


def summarize(keys: Iterable[str]) -> str:
    """`decode_head.classifier (2 tensors), ...` instead of a page of names."""
    keys = sorted(keys)
    if len(keys) <= 4:
        return ", ".join(keys)
    groups = Counter(".".join(key.split(".")[:2]) for key in keys)
    return ", ".join(f"{name} ({count})" for name, count in groups.items())
