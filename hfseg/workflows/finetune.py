"""The main job: data -> model -> training -> evaluation -> a folder anyone can load."""

import logging
import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfseg.config.resolve import Arguments
from hfseg.data.units import Units, units_of
from hfseg.errors import UserError
from hfseg.workflows.assemble import (
    evaluation_samples,
    load_data,
    make_loss,
    make_model,
    make_trainer,
)
from hfseg.workflows.run import Run, without_prefix

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedModel

    from hfseg.hub.training import Destination
    from hfseg.labels import LabelSet
    from hfseg.training.trainer import SegmentationTrainer
    from hfseg.workflows.run_report import Evaluation

logger = logging.getLogger("hfseg")


def finetune(
    arguments: Arguments,
    dataset: "tuple[datasets.DatasetDict, LabelSet] | None" = None,
    model: "tuple[PreTrainedModel, Any] | None" = None,
) -> Run:
    """Train, evaluate, and leave in `output_dir` what the README lists.

    Everything that can be wrong with data, model or flags is found before anything in the output
    folder is touched.

    Args:
        dataset: data and labels, in place of `arguments.data.dataset_name`.
        model: a model and its image processor, in place of `arguments.model`.

    Returns:
        The finished run.

    Raises:
        UserError: wrong flags, data or weights, or an output folder that already holds a run.
        SystemExit: with 143, after SIGTERM and a saved checkpoint.
    """
    from transformers import set_seed

    from hfseg.training.checks import check_device

    training = arguments.training
    _set_up_logging(main_process=training.process_index == 0)
    check_device(training, arguments.training.sync_batch_norm)
    resume_from = _checkpoint_to_resume(arguments)
    _check_output_dir(arguments, resuming=resume_from is not None)
    hub = _hub_destination(arguments)
    with training.main_process_first(local=False, desc="reading the data"):
        data, labels = load_data(arguments, dataset)
        loss = make_loss(arguments, data["train"], labels)
    set_seed(training.seed)
    network, processor = make_model(arguments, labels, model)
    trainer = make_trainer(arguments, network, processor, data, labels, loss)
    if hub is not None and hub.strategy != "end":
        from hfseg.hub.training import PushCheckpoints

        trainer.add_callback(PushCheckpoints(hub))
    if trainer.is_world_process_zero():
        if hub is not None:
            hub.prepare()
        _print_start(arguments, data, network)
        if resume_from is None:
            _clear(Path(training.output_dir))

    result = _train(trainer, resume_from)
    trainer.save_model()
    units = {
        split: units_of(data[split], arguments.data.dataset_name, arguments.data.split_by)
        for split in ("validation", "test")
        if split in data
    }
    evaluations = {"validation": _evaluate(trainer, "eval", units["validation"])}
    if "test" in data:
        samples = evaluation_samples(arguments, data["test"])
        evaluations["test"] = _evaluate(trainer, "test", units["test"], samples)

    if trainer.is_world_process_zero():
        from hfseg.workflows.run_report import write_run

        repo_id = hub.repo_id if hub is not None else None
        write_run(arguments, trainer, data, labels, result.metrics, evaluations, repo_id)
    scores = evaluations["validation"].scores
    if trainer.is_world_process_zero():
        try:
            if hub is not None:
                print(f"pushed to {hub.push(training.output_dir)}")
        finally:
            print(f"eval_mean_iou {scores['eval_mean_iou']:.4f}  {training.output_dir}", flush=True)
    return Run(
        output_dir=Path(training.output_dir),
        labels=labels,
        scores=without_prefix(scores),
        test_scores=without_prefix(evaluations["test"].scores) if "test" in evaluations else {},
    )


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
    if resuming or arguments.training.overwrite_output_dir:
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
    from hfseg.training.checkpoints import STAGING, list_checkpoints
    from hfseg.workflows.run_report import RUN_FILES

    for checkpoint in list_checkpoints(folder):
        shutil.rmtree(checkpoint)
    shutil.rmtree(folder / STAGING, ignore_errors=True)
    shutil.rmtree(folder / "report", ignore_errors=True)
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)


# ---- the run ----


def _print_start(
    arguments: Arguments, data: "datasets.DatasetDict", model: "PreTrainedModel"
) -> None:
    from hfseg.workflows.run_report import recipe_yaml

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


def _evaluate(
    trainer: "SegmentationTrainer", prefix: str, units: Units, samples: Any = None
) -> "Evaluation":
    from hfseg.workflows.run_report import Evaluation

    scores = trainer.evaluate(samples, metric_key_prefix=prefix)
    if not math.isfinite(scores[f"{prefix}_loss"]):
        logger.warning("the loss is not finite: the run diverged; try a lower --learning_rate")
    scores |= trainer.scores.interval(units).as_results(f"{prefix}_mean_iou")
    return Evaluation(
        scores=scores,
        confusion=trainer.scores.confusion,
        per_image=trainer.scores.per_image,
        absent=trainer.scores.absent,
    )
