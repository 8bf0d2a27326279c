"""Creates the data, model, loss and trainer of a run from its options."""

import sys
from typing import Any

import datasets
import torch
from transformers import EarlyStoppingCallback, PreTrainedModel, SegformerImageProcessor
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from hfseg.config.resolve import Arguments
from hfseg.data import load_dataset
from hfseg.data.extra import EXTRA, check_human_labeled, load_extra
from hfseg.data.resized import resized_rows
from hfseg.data.rows import sample_names
from hfseg.data.samples import EvaluationSamples, TrainingSamples
from hfseg.data.streaming import StreamedEvaluationSamples, StreamedTrainingSamples
from hfseg.data.transforms import TrainingTransform
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.metrics.streaming import StreamingScores
from hfseg.models import load_model
from hfseg.models.adopt import adopt_model
from hfseg.models.confidence import forget_temperature
from hfseg.models.freezing import freeze_batch_norm, freeze_encoder
from hfseg.models.init_from import start_from
from hfseg.models.universal_eomt import EOMT
from hfseg.training.arguments import with_values
from hfseg.training.checks import check_crop_size, check_metric
from hfseg.training.class_weights import class_weights
from hfseg.training.fitting import fit_training_to_model
from hfseg.training.losses import SegmentationLoss
from hfseg.training.pictures import TRACKERS, PredictionPictures
from hfseg.training.precision import Precision, memory_format
from hfseg.training.preemption import SaveOnSignal
from hfseg.training.progress import ConcisePrinter, ConciseProgress
from hfseg.training.trainer import SegmentationTrainer

_SIZES_LOOKED_AT = 64


def load_data(
    arguments: Arguments, given: tuple[datasets.DatasetDict, LabelSet] | None = None
) -> tuple[datasets.DatasetDict, LabelSet]:
    """The splits of the run and their labels, read unless they are given.

    With `--extra_dataset_path` there is also the split `EXTRA`, which is only trained on.

    Raises:
        UserError: no data, an unusable sample, a missing split, or labels that a model made where
            it would be scored.
    """
    wanted = arguments.data
    check_human_labeled(wanted.dataset_path)
    if given is not None:
        data, labels = given
    else:
        data, labels = load_dataset(
            wanted.required_name(), wanted.dataset_path, **wanted.dataset_options()
        )
    for split, remedy in (("train", "train/"), ("validation", "validation/ or val/")):
        if split not in data or not (wanted.streaming or len(data[split])):
            raise UserError(
                f"{wanted.dataset_path or wanted.title} has no {split} split; "
                f"add the folder {remedy}, or give one images/ and masks/ pair, which is then split"
            )
    for split in data:
        limit = wanted.max_train_samples if split == "train" else wanted.max_eval_samples
        if limit is not None:
            data[split] = _first(data[split], limit)
    if wanted.extra_dataset_path is not None:
        data[EXTRA] = load_extra(wanted.extra_dataset_path, data, labels)
    return data, labels


def _first(rows: Any, count: int) -> Any:
    if not hasattr(rows, "__len__"):
        return rows.take(count)
    return rows.select(range(min(count, len(rows))))


def make_model(
    arguments: Arguments, labels: LabelSet, given: tuple[PreTrainedModel, Any] | None = None
) -> tuple[PreTrainedModel, SegformerImageProcessor]:
    """The model and its image processor, loaded unless they are given."""
    wanted = arguments.model
    if given is not None:
        model, processor = adopt_model(given[0], labels), given[1]
    else:
        model, processor = load_model(
            str(wanted.model_name_or_path),
            labels,
            pretrained=not (wanted.from_scratch or wanted.init_from),
            encoder_weights=wanted.encoder_weights,
            trust_remote_code=wanted.trust_remote_code,
            **wanted.config_options,
        )
        if wanted.init_from:
            processor = start_from(model, wanted.init_from, labels, wanted.trust_remote_code)
    forget_temperature(model)
    if arguments.training.sync_batch_norm:  # replaces modules, so it precedes freezing
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if wanted.freeze_encoder:
        freeze_encoder(model)
    if wanted.freeze_batch_norm:
        freeze_batch_norm(model)
    size = arguments.data.image_size
    changes: dict[str, Any] = {}
    if size is not None and model.config.model_type in EOMT:
        raise UserError(
            "--image_size: EoMT resizes images itself; give --model_config image_size=512 and "
            "--crop_size 512 for squares of 512 pixels"
        )
    if size is not None:
        changes |= {"do_resize": True, "size": {"height": size[0], "width": size[1]}}
    if arguments.data.normalize == "none":
        changes["do_normalize"] = False
    if changes:
        processor = type(processor)(**{**processor.to_dict(), **changes})
    training = arguments.training
    precision = Precision(training.use_cpu, training.bf16, training.fp16)
    return model.to(memory_format=memory_format(model, precision)), processor


def make_loss(arguments: Arguments, train: datasets.Dataset, labels: LabelSet) -> SegmentationLoss:
    return SegmentationLoss(
        arguments.training.loss,
        ignore_index=labels.ignore_index,
        label_smoothing=arguments.training.label_smoothing_factor,
        class_weights=class_weights(arguments.training.class_weights, train, labels),
    )


def make_trainer(
    arguments: Arguments,
    model: PreTrainedModel,
    processor: SegformerImageProcessor,
    data: datasets.DatasetDict,
    labels: LabelSet,
    loss: SegmentationLoss,
) -> SegmentationTrainer:
    training, crop_size = arguments.training, arguments.data.crop_size
    seed = training.data_seed if training.data_seed is not None else training.seed
    check_crop_size(model, crop_size)
    transform = TrainingTransform(arguments.data.augmentation, crop_size, seed)
    samples = _training_samples(arguments, data, transform, processor)
    check_metric(training, labels, training.early_stopping_patience)
    drop_last_batch = hasattr(samples, "__len__") and fit_training_to_model(
        training, model, samples.per_epoch
    )
    trainer = SegmentationTrainer(
        model=model,
        args=with_values(training, push_to_hub=False, hub_token=None),  # the push is ours
        train_dataset=samples,
        eval_dataset=evaluation_samples(arguments, data["validation"]),
        image_processor=processor,
        scores=StreamingScores(labels),
        loss=loss,
        backbone_lr_multiplier=training.backbone_lr_multiplier,
        head_lr_multiplier=training.head_lr_multiplier,
        drop_last_batch=drop_last_batch,
        layer_decay=training.layer_decay,
        backbone_warmup_steps=training.backbone_warmup_steps,
    )
    if training.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(training.early_stopping_patience))
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    quiet = training.disable_tqdm or not sys.stderr.isatty()
    trainer.add_callback(ConcisePrinter if quiet else ConciseProgress)
    if set(TRACKERS) & set(training.report_to):
        callbacks = trainer.callback_handler.callbacks
        trainer.add_callback(PredictionPictures(callbacks, data["validation"], processor, labels))
    trainer.add_callback(SaveOnSignal)  # last, since it stops the run after the others
    return trainer


def _training_samples(
    arguments: Arguments,
    data: datasets.DatasetDict,
    transform: TrainingTransform,
    processor: SegformerImageProcessor,
) -> Any:
    training, wanted = arguments.training, arguments.data
    # EoMT's resizes by the shorter side: objects are as large in training as in evaluation
    resize = processor if processor.do_resize else None
    one_size = wanted.crop_size is not None or (resize and "height" in dict(resize.size))
    rows = data["train"]
    if not wanted.streaming:
        extra = data.get(EXTRA, ())
        if len(extra):
            rows = datasets.concatenate_datasets([rows, extra])
        if not one_size and training.train_batch_size > 1:
            _check_one_size(rows)
        if wanted.cache_resized:
            with training.main_process_first(local=False, desc="resizing the training images"):
                rows, resize = resized_rows(rows, resize), None
        return TrainingSamples(rows, transform, resize, len(extra), wanted.extra_weight)
    if training.max_steps <= 0:
        raise UserError("--streaming needs --max_steps, since the length of an epoch is unknown")
    for flag in ("time_budget", "calibrate"):
        if getattr(training, flag):
            raise UserError(
                f"--{flag} needs the complete validation split, which --streaming does not "
                "download; leave one of them out"
            )
    if not one_size:
        raise UserError("--streaming needs images of one size: give --crop_size or --image_size")
    return StreamedTrainingSamples(
        rows,
        transform,
        resize,
        rank=training.process_index,
        world_size=training.world_size,
        seed=training.seed if training.data_seed is None else training.data_seed,
    )


def evaluation_samples(arguments: Arguments, split: datasets.Dataset) -> Any:
    wanted, training = arguments.data, arguments.training
    label_size = wanted.image_size if wanted.eval_at_image_size else None
    if not wanted.streaming:
        return EvaluationSamples(split, label_size)
    return StreamedEvaluationSamples(
        split,
        label_size,
        rank=training.process_index,
        world_size=training.world_size,
        in_order=wanted.max_eval_samples is not None,
    )


def _check_one_size(split: datasets.Dataset) -> None:
    """Check that all images have one size, which batches need without a crop or a resize."""
    sizes: dict[tuple[int, int], int] = {}
    for index in range(min(len(split), _SIZES_LOOKED_AT)):
        sizes.setdefault(split[index]["image"].size, index)
    if len(sizes) > 1:
        (first, one), (second, other) = list(sizes.items())[:2]
        names = sample_names(split, "train")
        raise UserError(
            f"the training images have several sizes ({names[one]} is {first[0]} x {first[1]}, "
            f"{names[other]} is {second[0]} x {second[1]}), which can't share a batch; "
            "give --crop_size or --image_size"
        )
