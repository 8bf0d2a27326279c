"""`load_model`: one call for every architecture, pretrained or from scratch."""

import copy
import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import (
    AutoConfig,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from hfseg.errors import UserError
from hfseg.hub_connection import work_offline_without_network
from hfseg.labels import LabelSet
from hfseg.models.adopt import write_labels
from hfseg.models.catalog import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    NAMED_MODELS,
    STAGES,
    NamedModel,
    find_model,
    unknown_model,
)
from hfseg.models.encoder_weights import (
    load_backbone,
    load_encoder_weights,
    load_smp_weights,
    read_state_dict,
)
from hfseg.models.head_reuse import trained_labels
from hfseg.models.image_processors import (
    Statistics,
    carry_over,
    make_processor,
    stored_processor,
    stored_statistics,
)
from hfseg.models.loading import (
    first_line,
    load_checkpoint,
    quiet_transformers,
    report_remote_code,
    unreachable,
)
from hfseg.models.small_images import accept_small_images
from hfseg.models.universal import UNIVERSAL, act_as_semantic, is_universal
from hfseg.models.universal_eomt import (
    ENCODERS,
    EOMT,
    encoder_options,
    resize_positions,
    side_of,
)

if TYPE_CHECKING:
    from transformers.image_processing_utils import BaseImageProcessor


def load_model(
    name: str,
    labels: LabelSet,
    *,
    pretrained: bool = True,
    encoder_weights: str | None = None,
    trust_remote_code: bool = False,
    **model_config: Any,
) -> "tuple[PreTrainedModel, BaseImageProcessor]":
    """A semantic segmentation model for these labels, and its image processor.

    Args:
        name: a name from `hfseg.models.NAMED_MODELS` (`segformer-b0`, ...),
            `<architecture>-<encoder>` of segmentation_models_pytorch (`unet-resnet34`), or a Hub
            id or local folder of a segmentation checkpoint or of a bare encoder.
        labels: the classes; the head of a trained model keeps those it knows by name, which the log
            lists with the reinitialized ones.
        pretrained: load weights; False: start from random ones (`--from_scratch`).
        encoder_weights: other weights for a named model's encoder: a Hub id, a local folder, a
            `.safetensors` or `.pth` state dict, or the name of weights that the encoder offers.
        trust_remote_code: run code that comes with a Hub checkpoint.
        model_config: options of the architecture's config, such as `output_stride=16`; those of a
            nested config with a dot, `**{"backbone_config.drop_path_rate": 0.1}`.

    Returns:
        The model, whose config carries `id2label`, `label2id`, `palette` and `loss_ignore_index`,
        and the image processor that computes the pixels its weights were trained with: a
        `SegformerImageProcessor`, or that of Mask2Former or EoMT.

    Raises:
        UserError: an unknown name or option, or weights that can't be downloaded.
    """
    # a user's folder may be called unet-something
    named = None if name not in NAMED_MODELS and Path(name).is_dir() else find_model(name)
    if named is None and not _looks_like_checkpoint(name):
        raise unknown_model(name)
    chosen = encoder_weights or (named.weights if named else name)
    if pretrained and chosen is None:
        raise UserError(f"{name} has no pretrained weights: train it with --from_scratch")
    source, hub = str(chosen), {"trust_remote_code": trust_remote_code}
    if pretrained and not Path(source).exists():
        work_offline_without_network()
    is_state_dict = named is not None and (named.model_type == "smp" or _is_state_dict(source))
    statistics: Statistics = (IMAGENET_MEAN, IMAGENET_STD)
    if named is not None:
        statistics = named.image_mean, named.image_std
    if pretrained and not is_state_dict:
        model = _from_checkpoint(named, name, source, labels, model_config, hub)
    else:
        model = _build(_new_config(named, name, labels, model_config, hub), name)
        if pretrained:
            statistics = _load_encoder(model, source) or statistics
    _adapt(model)
    report_remote_code(model, source)
    theirs = None
    if named is None or (pretrained and encoder_weights and not is_state_dict):
        theirs = stored_processor(source, hub)
    if theirs is not None:
        return model, carry_over(theirs, model, statistics)
    return model, make_processor(model.config, statistics)


def _from_checkpoint(
    named: NamedModel | None,
    name: str,
    source: str,
    labels: LabelSet,
    options: dict[str, Any],
    hub: dict[str, bool],
) -> PreTrainedModel:
    """A trained segmentation model, or a new one with a trained backbone."""
    stored = _stored_config(name if named is None else source, hub)
    config = stored if named is None else _as_architecture(stored, named, name, source)
    side = side_of(config) if config.model_type in EOMT else None
    before = trained_labels(stored)
    _set_options(config, {**(named.options if named else {}), **options}, labels)
    if config is not stored:
        model = _build(config, name)
        load_backbone(model, source, **hub)
        return model
    if side is None or side == config.image_size:
        return load_checkpoint(_model_class(config, name), source, config, before, **hub)
    # at the size of the weights first: their position embeddings are interpolated
    wanted, config.image_size = config.image_size, side
    model = load_checkpoint(_model_class(config, name), source, config, before, **hub)
    resize_positions(model, wanted)
    return model


def _load_encoder(model: PreTrainedModel, source: str) -> Statistics | None:
    """Load a state dict into the encoder; returns the statistics it was trained with, if known."""
    if not Path(source).exists():
        return load_smp_weights(model, source)
    load_encoder_weights(model, read_state_dict(source), f"--encoder_weights {source}")
    return stored_statistics(source)


def _adapt(model: PreTrainedModel) -> None:
    """Let the model take any image, return logits, and say whether it can recompute its blocks."""
    accept_small_images(model)
    act_as_semantic(model)
    if is_universal(model):
        model.supports_gradient_checkpointing = False  # their decoders ignore it
    elif any(isinstance(module, GradientCheckpointingLayer) for module in model.modules()):
        model.supports_gradient_checkpointing = True  # UperNet does not say so itself


def _looks_like_checkpoint(name: str) -> bool:
    return Path(name).is_dir() or "/" in name


def _is_state_dict(source: str) -> bool:
    """Whether it is a weights file, or a folder with one but without a config."""
    path = Path(source)
    return path.is_file() or (path.is_dir() and not (path / "config.json").is_file())


def _new_config(
    named: NamedModel | None,
    name: str,
    labels: LabelSet,
    options: dict[str, Any],
    hub: dict[str, bool],
) -> PreTrainedConfig:
    if named is None:
        config = _stored_config(name, hub)
    else:
        sizes = copy.deepcopy({**named.sizes, **named.options})
        config = AutoConfig.for_model(named.model_type, **sizes)
    _set_options(config, options, labels)
    return config


def _stored_config(source: str, hub: dict[str, bool]) -> PreTrainedConfig:
    try:
        with quiet_transformers():
            return AutoConfig.from_pretrained(source, **hub)
    except (OSError, ValueError) as error:
        remedy = "or use --encoder_weights FILE or --from_scratch"
        raise unreachable(source, error, remedy) from error


def _as_architecture(
    stored: PreTrainedConfig, named: NamedModel, name: str, source: str
) -> PreTrainedConfig:
    """The stored config, or that of the architecture around a bare encoder."""
    if stored.model_type == named.model_type:
        return stored
    if ENCODERS.get(stored.model_type) == named.model_type:
        sizes = {**named.sizes, **encoder_options(stored)}
        return AutoConfig.for_model(named.model_type, **sizes)
    backbone = named.sizes.get("backbone_config", {}).get("model_type")
    if stored.model_type == backbone:
        values = stored.to_dict()
        indices = named.sizes["backbone_config"].get("out_indices")
        features = None if indices else STAGES
        values |= {"out_features": features, "out_indices": indices}
        values |= {"id2label": None, "label2id": None}
        return AutoConfig.for_model(named.model_type, backbone_config=values)
    encoders = [encoder for encoder, model in ENCODERS.items() if model == named.model_type]
    fitting = " or ".join(repr(each) for each in (named.model_type, backbone, *encoders) if each)
    raise UserError(
        f"{source} is a {stored.model_type!r} model, but {name} needs {fitting}; "
        "give weights of that architecture"
    )


def _set_options(config: PreTrainedConfig, options: dict[str, Any], labels: LabelSet) -> None:
    """Write the user's options and the labels into a config."""
    for key, value in options.items():
        *parts, option = key.split(".")
        part = config
        for each in parts:
            part = getattr(part, each, None)
        known = part.to_dict() if hasattr(part, "to_dict") else {}
        if option not in known:
            close = difflib.get_close_matches(option, known, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "see the model's config.json"
            raise UserError(
                f"--model_config {key}: {type(part or config).__name__} has no such option; {hint}"
            )
        setattr(part, option, value)
    write_labels(config, labels)


def _build(config: PreTrainedConfig, name: str) -> PreTrainedModel:
    """The model with random weights."""
    try:
        return _model_class(config, name)(config)
    except UserError:
        raise
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"{name} can't be built ({first_line(error)}); see --model_config"
        ) from error


def _model_class(config: PreTrainedConfig, name: str) -> type[PreTrainedModel]:
    universal = config.model_type in UNIVERSAL
    auto = AutoModelForUniversalSegmentation if universal else AutoModelForSemanticSegmentation
    mapping = auto._model_mapping
    if type(config) not in mapping:
        wrapped = [
            short
            for short, named in NAMED_MODELS.items()
            if named.sizes.get("backbone_config", {}).get("model_type") == config.model_type
        ]
        better = wrapped or sorted(NAMED_MODELS)
        raise UserError(
            f"{name} is a {config.model_type!r} model, which has no head for semantic "
            f"segmentation; use one of {', '.join(better)}"
            + (f" with --encoder_weights {name}" if wrapped else ", or a segmentation checkpoint")
        )
    return mapping[type(config)]
