"""The main job: data -> model -> training -> evaluation -> a folder anyone can load."""

import logging
import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfseg.data import load_dataset
from hfseg.data.transforms import TrainingTransform, parse_size
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.models import load_model
from hfseg.models.freezing import freeze_batch_norm, freeze_encoder
from hfseg.training.parse import Arguments

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedModel, SegformerImageProcessor

    from hfseg.hub.training import Destination
    from hfseg.report.run import Evaluation
    from hfseg.training.losses import SegmentationLoss
    from hfseg.training.trainer import SegmentationTrainer

logger = logging.getLogger("hfseg")

_SIZES_LOOKED_AT = 64


def finetune(arguments: Arguments) -> dict[str, float]:
    """Train, evaluate, and leave in `output_dir` what the README lists.

    Everything that can be wrong with data, model or flags is found before anything in the output
    folder is touched.

    Returns:
        The validation scores, `eval_mean_iou` and the rest.

    Raises:
        UserError: wrong flags, data or weights, or an output folder that already holds a run.
        SystemExit: with 143, after SIGTERM and a saved checkpoint.
    """
    from transformers import set_seed

    from hfseg.training.checks import check_device

    training = arguments.training
    _set_up_logging(main_process=training.process_index == 0)
    check_device(training, arguments.run.sync_batch_norm)
    parse_size("--image_size", arguments.data.image_size)  # told before the data is read
    parse_size("--crop_size", arguments.data.crop_size)
    model_options(arguments.model.model_config)
    resume_from = _checkpoint_to_resume(arguments)
    _check_output_dir(arguments, resuming=resume_from is not None)
    hub = _hub_destination(arguments)
    with training.main_process_first(local=False, desc="reading the data"):
        data, labels = load_data(arguments)
        loss = make_loss(arguments, data["train"], labels)
    set_seed(training.seed)
    model, processor = make_model(arguments, labels)
    trainer = make_trainer(arguments, model, processor, data, labels, loss)
    if hub is not None and hub.strategy != "end":
        from hfseg.hub.training import PushCheckpoints

        trainer.add_callback(PushCheckpoints(hub))
    if trainer.is_world_process_zero():
        if hub is not None:
            hub.prepare()
        _print_start(arguments, data, model)
        if resume_from is None:
            _clear(Path(training.output_dir))

    result = _train(trainer, resume_from)
    trainer.save_model()
    evaluations = {"validation": _evaluate(trainer, "eval")}
    if "test" in data:
        evaluations["test"] = _evaluate(
            trainer, "test", _evaluation_samples(arguments, data["test"])
        )

    if trainer.is_world_process_zero():
        from hfseg.report.run import write_run

        repo_id = hub.repo_id if hub is not None else None
        write_run(arguments, trainer, data, labels, result.metrics, evaluations, repo_id)
    scores = evaluations["validation"].scores
    if trainer.is_world_process_zero():
        try:
            if hub is not None:
                print(f"pushed to {hub.push(training.output_dir)}")
        finally:
            print(f"eval_mean_iou {scores['eval_mean_iou']:.4f}  {training.output_dir}", flush=True)
    return scores


def _set_up_logging(main_process: bool) -> None:
    from transformers.utils.logging import disable_progress_bar

    level = logging.INFO if main_process else logging.ERROR
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(level)
    disable_progress_bar()  # one for every file that is written; the run's own bar stays


# ---- before the run ----


def _checkpoint_to_resume(arguments: Arguments) -> Path | None:
    from hfseg.training.checkpoints import last_whole_checkpoint, what_is_missing

    wish = arguments.training.resume_from_checkpoint
    if wish is None or str(wish).lower() in ("false", "none", ""):
        return None
    if str(wish).lower() == "true":
        found = last_whole_checkpoint(arguments.training.output_dir)
        if found is None:
            logger.warning(
                "no whole checkpoint in %s yet: starting from the beginning",
                arguments.training.output_dir,
            )
        return found
    checkpoint = Path(wish)
    if not checkpoint.is_dir():
        raise UserError(f"--resume_from_checkpoint {wish}: no such folder")
    reason = what_is_missing(checkpoint)
    if reason is not None:
        raise UserError(f"--resume_from_checkpoint {wish}: can't be resumed from, {reason}")
    return checkpoint


def _check_output_dir(arguments: Arguments, resuming: bool) -> None:
    """A finished run is never overwritten by accident."""
    from hfseg.training.checkpoints import list_checkpoints

    folder = Path(arguments.training.output_dir)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output_dir {folder} is a file; give a folder")
    if resuming or arguments.run.overwrite_output_dir:
        return
    if (folder / "model.safetensors").exists() or list_checkpoints(folder):
        raise UserError(
            f"--output_dir {folder} already holds a run; go on with it (--resume_from_checkpoint "
            "true), replace it (--overwrite_output_dir), or give another folder"
        )


def _hub_destination(arguments: Arguments) -> "Destination | None":
    if not arguments.training.push_to_hub:
        return None
    from hfseg.hub.training import destination

    return destination(arguments.training)


def _clear(folder: Path) -> None:
    """Remove what an earlier run left, and nothing else."""
    from hfseg.report.run import RUN_FILES
    from hfseg.training.checkpoints import STAGING, list_checkpoints

    for checkpoint in list_checkpoints(folder):
        shutil.rmtree(checkpoint)
    shutil.rmtree(folder / STAGING, ignore_errors=True)
    shutil.rmtree(folder / "report", ignore_errors=True)
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)


def load_data(arguments: Arguments) -> "tuple[datasets.DatasetDict, LabelSet]":
    wanted = arguments.data
    if wanted.dataset_name is None:
        raise UserError("no data: give --dataset_name, such as folder with --dataset_path")
    data, labels = load_dataset(
        wanted.dataset_name,
        wanted.dataset_path,
        **wanted.dataset_options(),
    )
    for split, remedy in (("train", "train/"), ("validation", "validation/ or val/")):
        if split not in data or not (wanted.streaming or len(data[split])):
            raise UserError(
                f"{wanted.dataset_path or wanted.dataset_name} has no {split} split; "
                f"add the folder {remedy} or give one images/ masks/ pair, which is then split"
            )
    for split in data:
        limit = wanted.max_train_samples if split == "train" else wanted.max_eval_samples
        if limit is not None:
            if limit < 1:
                raise UserError("--max_train_samples and --max_eval_samples must be at least 1")
            data[split] = _first(data[split], limit)
    return data, labels


def _first(rows: Any, count: int) -> Any:
    if not hasattr(rows, "__len__"):
        return rows.take(count)
    return rows.select(range(min(count, len(rows))))


def make_model(
    arguments: Arguments, labels: LabelSet
) -> "tuple[PreTrainedModel, SegformerImageProcessor]":
    wanted = arguments.model
    model, processor = load_model(
        str(wanted.model_name_or_path),
        labels,
        pretrained=not wanted.from_scratch,
        encoder_weights=wanted.encoder_weights,
        trust_remote_code=wanted.trust_remote_code,
        **model_options(wanted.model_config),
    )
    if wanted.freeze_encoder:
        freeze_encoder(model)
    if wanted.freeze_batch_norm:
        freeze_batch_norm(model)
    size = parse_size("--image_size", arguments.data.image_size)
    changes: dict[str, Any] = {}
    if size is not None:
        changes |= {"do_resize": True, "size": {"height": size[0], "width": size[1]}}
    if arguments.data.normalize not in ("auto", "none"):
        raise UserError(f"--normalize {arguments.data.normalize!r}: choose auto or none")
    if arguments.data.normalize == "none":
        changes["do_normalize"] = False
    if changes:
        processor = type(processor)(**{**processor.to_dict(), **changes})
    return model, processor


def model_options(pairs: list[str] | dict[str, Any]) -> dict[str, Any]:
    """`["output_stride=16"]` -> {"output_stride": 16}; values are YAML scalars."""
    import yaml

    if isinstance(pairs, dict):
        return pairs
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--model_config {pair!r}: expected KEY=VALUE")
        options[key] = yaml.safe_load(value)
    return options


def make_loss(
    arguments: Arguments, train: "datasets.Dataset", labels: LabelSet
) -> "SegmentationLoss":
    from hfseg.training.class_weights import class_weights
    from hfseg.training.losses import SegmentationLoss

    return SegmentationLoss(
        arguments.run.loss,
        ignore_index=labels.ignore_index,
        label_smoothing=arguments.training.label_smoothing_factor,
        class_weights=class_weights(arguments.run.class_weights, train, labels),
    )


def make_trainer(
    arguments: Arguments,
    model: "PreTrainedModel",
    processor: "SegformerImageProcessor",
    data: "datasets.DatasetDict",
    labels: LabelSet,
    loss: "SegmentationLoss",
) -> "SegmentationTrainer":
    import torch
    from transformers import EarlyStoppingCallback
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    from hfseg.metrics.streaming import StreamingScores
    from hfseg.training.checks import check_metric
    from hfseg.training.fitting import fit_training_to_model
    from hfseg.training.pictures import TRACKERS, PredictionPictures
    from hfseg.training.preemption import SaveOnSigterm
    from hfseg.training.progress import ConcisePrinter, ConciseProgress
    from hfseg.training.trainer import SegmentationTrainer

    training, run = arguments.training, arguments.run
    crop_size = parse_size("--crop_size", arguments.data.crop_size)
    seed = training.data_seed if training.data_seed is not None else training.seed
    transform = TrainingTransform(arguments.data.augmentation, crop_size, seed)
    samples = _training_samples(arguments, data["train"], transform, processor)
    check_metric(training, labels, run.early_stopping_patience)
    if hasattr(samples, "__len__"):
        fit_training_to_model(training, model, len(samples))
    if run.sync_batch_norm:
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    trainer = SegmentationTrainer(
        model=model,
        args=training,
        train_dataset=samples,
        eval_dataset=_evaluation_samples(arguments, data["validation"]),
        image_processor=processor,
        scores=StreamingScores(labels),
        loss=loss,
        backbone_lr_multiplier=run.backbone_lr_multiplier,
        head_lr_multiplier=run.head_lr_multiplier,
    )
    if run.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(run.early_stopping_patience))
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    quiet = training.disable_tqdm or not sys.stderr.isatty()
    trainer.add_callback(ConcisePrinter if quiet else ConciseProgress)
    if set(TRACKERS) & set(training.report_to):
        callbacks = trainer.callback_handler.callbacks
        trainer.add_callback(PredictionPictures(callbacks, data["validation"], processor, labels))
    trainer.add_callback(SaveOnSigterm)  # the last one: it stops the run after all others
    return trainer


def _training_samples(
    arguments: Arguments,
    rows: "datasets.Dataset | datasets.IterableDataset",
    transform: TrainingTransform,
    processor: "SegformerImageProcessor",
) -> Any:
    from hfseg.data.resized import resized_rows
    from hfseg.data.samples import TrainingSamples
    from hfseg.data.streaming import StreamedTrainingSamples

    training, wanted = arguments.training, arguments.data
    resize = processor if processor.do_resize else None
    if wanted.cache_resized and (resize is None or wanted.streaming):
        raise UserError("--cache_resized needs --image_size, and can't go with --streaming")
    if not wanted.streaming:
        if wanted.crop_size is None and resize is None and training.train_batch_size > 1:
            _check_one_size(rows)
        if wanted.cache_resized:
            with training.main_process_first(local=False, desc="resizing the training images"):
                rows, resize = resized_rows(rows, resize), None
        return TrainingSamples(rows, transform, resize)
    if training.max_steps <= 0:
        raise UserError("--streaming has no epochs to count: give --max_steps")
    if wanted.crop_size is None and resize is None:
        raise UserError("--streaming needs images of one size: give --crop_size or --image_size")
    return StreamedTrainingSamples(
        rows, transform, resize, rank=training.process_index, world_size=training.world_size
    )


def _evaluation_samples(arguments: Arguments, split: "datasets.Dataset") -> Any:
    from hfseg.data.samples import EvaluationSamples

    size = parse_size("--image_size", arguments.data.image_size)
    if arguments.data.eval_at_image_size and size is None:
        raise UserError("--eval_at_image_size needs --image_size")
    return EvaluationSamples(split, size if arguments.data.eval_at_image_size else None)


def _check_one_size(split: "datasets.Dataset") -> None:
    """Without a crop or a resize a batch can only hold images of one size."""
    sizes: dict[tuple[int, int], int] = {}
    for index in range(min(len(split), _SIZES_LOOKED_AT)):
        sizes.setdefault(split[index]["image"].size, index)
    if len(sizes) > 1:
        (first, _), (second, index) = list(sizes.items())[:2]
        raise UserError(
            f"the training images have several sizes (sample 0 is {first[0]} x {first[1]}, sample "
            f"{index} is {second[0]} x {second[1]}), which can't share a batch; "
            "give --crop_size or --image_size"
        )


# ---- the run ----


def _print_start(
    arguments: Arguments, data: "datasets.DatasetDict", model: "PreTrainedModel"
) -> None:
    from hfseg.report.run import recipe_yaml

    counts = ", ".join(
        f"{split} {len(rows) if hasattr(rows, '__len__') else '(streamed)'}"
        for split, rows in data.items()
    )
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"{arguments.data.dataset_name}: {counts}")
    print(f"{arguments.model.model_name_or_path}: {parameters:.2f} million parameters")
    print(recipe_yaml(arguments), flush=True)


def _train(trainer: "SegmentationTrainer", resume_from: Path | None) -> Any:
    from transformers import EarlyStoppingCallback

    from hfseg.training.preemption import EXIT_CODE, Preempted

    try:
        result = trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    except Preempted:
        trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
        if trainer.is_world_process_zero():
            print(
                f"stopped by SIGTERM, saved as {trainer.args.output_dir}/checkpoint-"
                f"{trainer.state.global_step}; go on with --resume_from_checkpoint true",
                flush=True,
            )
        raise SystemExit(EXIT_CODE) from None
    trainer.remove_callback(EarlyStoppingCallback)  # it would look for its metric in every split
    result.metrics["train_peak_memory_gib"] = _peak_memory_gib()
    return result


def _peak_memory_gib() -> float | None:
    """Of the first GPU, or of this process where there is none; None where it isn't counted."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _evaluate(trainer: "SegmentationTrainer", prefix: str, samples: Any = None) -> "Evaluation":
    from hfseg.report.run import Evaluation

    scores = trainer.evaluate(samples, metric_key_prefix=prefix)
    if not math.isfinite(scores[f"{prefix}_loss"]):
        logger.warning("the loss is not finite: the run diverged; try a lower --learning_rate")
    low, high = trainer.scores.interval()
    if math.isfinite(low):
        scores[f"{prefix}_mean_iou_interval_95"] = [low, high]
    return Evaluation(
        scores=scores,
        confusion=trainer.scores.confusion,
        per_image=trainer.scores.per_image,
        absent=trainer.scores.absent,
    )
