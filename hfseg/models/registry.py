"""`load_model`: one call for every architecture, pretrained or from scratch."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.models.catalog import IMAGENET_MEAN, IMAGENET_STD, NAMED_MODELS, NamedModel
from hfseg.models.loading import load_checkpoint, quiet_transformers, unreachable

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, SegformerImageProcessor


def load_model(
    name: str,
    labels: LabelSet,
    *,
    pretrained: bool = True,
    encoder_weights: str | None = None,
    trust_remote_code: bool = False,
    **model_config: Any,
) -> "tuple[PreTrainedModel, SegformerImageProcessor]":
    """A semantic segmentation model for these labels, and the image processor that feeds it.

    Args:
        name: a name from `hfseg.models.NAMED_MODELS` (`segformer-b0`, ...), or a Hub id or local
            folder of a segmentation checkpoint or of a bare encoder.
        labels: the classes; a head of another size is reinitialised and named in the log.
        pretrained: load weights; False starts from random ones (`--from_scratch`).
        encoder_weights: Hub id or folder to take a named model's weights from.
        trust_remote_code: run code that comes with a Hub checkpoint.
        model_config: options of the architecture's config, such as `output_stride=16`.

    Returns:
        The model, whose config carries `id2label`, `label2id`, `palette` and `loss_ignore_index`,
        and a `SegformerImageProcessor` with the encoder's mean and std.

    Raises:
        UserError: an unknown name or option, or weights that can't be had.
    """
    named = NAMED_MODELS.get(name)
    source = encoder_weights or (named.weights if named else name)
    if named is None and not _looks_like_checkpoint(name):
        raise _unknown_name(name)
    if pretrained and source is None:
        raise UserError(f"{name} has no pretrained weights: train it with --from_scratch")

    hub = {"trust_remote_code": trust_remote_code}
    config = _config(name, named, source if pretrained else None, labels, model_config, hub)
    model_class = _model_class(config, name)
    if pretrained:
        model = load_checkpoint(model_class, str(source), config, **hub)
    else:
        model = model_class(config)
    return model, _image_processor(named, str(source), hub)


def _looks_like_checkpoint(name: str) -> bool:
    return Path(name).is_dir() or "/" in name


def _unknown_name(name: str) -> UserError:
    close = difflib.get_close_matches(name, NAMED_MODELS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(NAMED_MODELS)}"
    return UserError(
        f"{name!r} is no model name, no local folder and no Hub id (owner/name); {hint}"
    )


def _config(
    name: str,
    named: NamedModel | None,
    source: str | None,
    labels: LabelSet,
    options: dict[str, Any],
    hub: dict[str, Any],
) -> "PreTrainedConfig":
    from transformers import AutoConfig

    try:
        with quiet_transformers():
            if named is None:
                config = AutoConfig.from_pretrained(name, **hub)
            elif source is not None:
                config = AutoConfig.from_pretrained(source, **hub)
                if config.model_type != named.model_type:
                    raise UserError(
                        f"{source} holds a {config.model_type!r} model, but {name} is a "
                        f"{named.model_type!r}; give weights of that architecture"
                    )
            else:
                config = AutoConfig.for_model(named.model_type)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise unreachable(
            source or name, error, "give a local folder, another id, or --from_scratch"
        ) from error

    defaults: dict[str, Any] = {}
    if named is not None:
        defaults = named.options if source is not None else {**named.sizes, **named.options}
    for key, value in {**defaults, **options}.items():
        if key not in config.to_dict():
            raise UserError(
                f"--model_config {key}: {type(config).__name__} has no such option; "
                f"close ones are {difflib.get_close_matches(key, config.to_dict(), n=3) or 'none'}"
            )
        setattr(config, key, value)
    config.id2label = labels.id2label
    config.label2id = labels.label2id
    config.palette = [list(color) for color in labels.palette]
    config.loss_ignore_index = labels.ignore_index
    if "semantic_loss_ignore_index" in config.to_dict():
        config.semantic_loss_ignore_index = labels.ignore_index
    return config


def _model_class(config: "PreTrainedConfig", name: str) -> "type[PreTrainedModel]":
    from transformers import AutoModelForSemanticSegmentation

    mapping = AutoModelForSemanticSegmentation._model_mapping
    if type(config) not in mapping:
        raise UserError(
            f"{name} is a {config.model_type!r} model, which has no semantic segmentation form; "
            f"use one of {', '.join(sorted(NAMED_MODELS))}, or a segmentation checkpoint"
        )
    return mapping[type(config)]


def _image_processor(
    named: NamedModel | None, source: str, hub: dict[str, Any]
) -> "SegformerImageProcessor":
    from transformers import AutoImageProcessor, SegformerImageProcessor

    mean, std = (named.image_mean, named.image_std) if named else (IMAGENET_MEAN, IMAGENET_STD)
    if named is None:
        try:
            with quiet_transformers():
                theirs = AutoImageProcessor.from_pretrained(source, **hub)
            mean, std = theirs.image_mean, theirs.image_std
        except (OSError, ValueError, AttributeError):
            pass  # a checkpoint without a processor: ImageNet's statistics are the field's habit
    return SegformerImageProcessor(
        do_resize=False, image_mean=list(mean), image_std=list(std), do_reduce_labels=False
    )
