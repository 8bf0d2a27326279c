"""`hfseg finetune`: data, model, training, evaluation, and a folder that anyone can load."""

import logging
import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import EarlyStoppingCallback, PreTrainedModel, set_seed
from transformers.utils.logging import disable_progress_bar

from hfseg.config.resolve import Arguments
from hfseg.config.run_recipe import RECIPE_FILE, how_to_resume, recipe_text, wants_to_resume
from hfseg.data.units import IMAGES, Units, units_of
from hfseg.disk import write_text
from hfseg.errors import UserError
from hfseg.evaluation.calibration import Calibration, calibrate
from hfseg.evaluation.class_map import prediction_table
from hfseg.hub.training import Destination, PushCheckpoints, destination
from hfseg.inference import Segmenter
from hfseg.labels import LabelSet
from hfseg.models.confidence import save_temperature, set_temperature
from hfseg.training.checkpoints import STAGING, list_checkpoints
from hfseg.training.checks import check_compiler, check_device
from hfseg.training.faults import faults_explained
from hfseg.training.preemption import Preempted
from hfseg.training.trainer import SegmentationTrainer
from hfseg.workflows.assemble import (
    evaluation_samples,
    load_data,
    make_loss,
    make_model,
    make_trainer,
)
from hfseg.workflows.choose_settings import chosen_settings, with_settings
from hfseg.workflows.folder_lock import FolderLock
from hfseg.workflows.resume import (
    checkpoint_to_resume,
    finished_run,
    is_trained,
    restore_finished,
)
from hfseg.workflows.run import Run, without_prefix
from hfseg.workflows.run_report import RUN_FILES, Evaluation, write_run
from hfseg.workflows.run_start import run_start, same_steps, write_start
from hfseg.workflows.time_budget import fit_time_budget

logger = logging.getLogger("hfseg")


def finetune(
    arguments: Arguments,
    dataset: tuple[datasets.DatasetDict, LabelSet] | None = None,
    model: tuple[PreTrainedModel, Any] | None = None,
) -> Run:
    """Train, evaluate, and write the files listed in the README to `output_dir`.

    Data, model and flags are checked before the output folder is changed.

    Args:
        dataset: data and labels, in place of `arguments.data.dataset_name`.
        model: a model and its image processor, in place of `arguments.model`.

    Returns:
        The finished run.

    Raises:
        UserError: invalid flags, data or weights, or an output folder that already contains a run.
        SystemExit: with 143 after SIGTERM, 130 after Ctrl-C, and a saved checkpoint.
    """
    output_dir = str(arguments.training.output_dir)
    with FolderLock(output_dir) as lock, faults_explained(output_dir):
        return _finetune(arguments, dataset, model, lock)


def _finetune(
    arguments: Arguments,
    dataset: tuple[datasets.DatasetDict, LabelSet] | None,
    model: tuple[PreTrainedModel, Any] | None,
    lock: FolderLock,
) -> Run:
    started = time.monotonic()
    training, output_dir = arguments.training, str(arguments.training.output_dir)
    main_process = training.process_index == 0
    _set_up_logging(main_process)
    check_device(training, training.sync_batch_norm)
    check_compiler(training)
    hub = _hub_destination(arguments)
    requested = training.resume_from_checkpoint
    resuming = wants_to_resume({"resume_from_checkpoint": requested})
    trained = resuming and is_trained(output_dir)
    if trained and (done := finished_run(output_dir)) is not None:
        if main_process:
            _announce_finished(done, hub)
        return done
    if main_process and Path(output_dir).is_dir():
        lock.take()
    checkpoint = checkpoint_to_resume(requested, output_dir) if resuming and not trained else None
    resumed = trained or checkpoint is not None
    if checkpoint is not None and main_process:
        print(f"resuming from {checkpoint}", flush=True)
    _check_output_dir(arguments, resumed)
    if resumed:
        arguments = same_steps(arguments)
        training = arguments.training

    with training.main_process_first(local=False, desc="reading the data"):
        data, labels = load_data(arguments, dataset)
    set_seed(training.seed)
    network, processor = make_model(arguments, labels, model)
    with training.main_process_first(local=False, desc="counting the classes"):
        chosen = chosen_settings(arguments, data["train"], labels, network)
        arguments = with_settings(arguments, chosen)
        training = arguments.training
        loss = make_loss(arguments, data["train"], labels)
    if training.time_budget is not None and not trained:
        parts = network, processor, data, labels, loss
        arguments = fit_time_budget(arguments, parts, checkpoint, started)
    trainer = make_trainer(arguments, network, processor, data, labels, loss)
    if hub is not None and hub.strategy != "end":
        trainer.add_callback(PushCheckpoints(hub))
    if main_process:
        lock.take()
        _prepare_output(arguments, hub, data, labels, resumed)
        _print_start(arguments, data, network)

    if trained:
        results = restore_finished(trainer, output_dir)
    else:
        results = _train(trainer, checkpoint, how_to_resume(arguments))
    evaluations = _measure(arguments, trainer, data, labels)
    scores = {split: without_prefix(each.scores) for split, each in evaluations.items()}
    run = Run(Path(output_dir), labels, scores["validation"], scores.get("test", {}))
    if main_process:
        repo_id = hub.repo_id if hub is not None else None
        write_run(arguments, trainer, data, labels, results, evaluations, repo_id)
        _push_and_print(run, hub)
    return run


def _announce_finished(run: Run, hub: Destination | None) -> None:
    """Report a finished run that was started again; only a requested push is left to do."""
    print(f"{run.output_dir} is finished: nothing left to train or to evaluate")
    if hub is not None:
        hub.prepare()
    _push_and_print(run, hub)


def _push_and_print(run: Run, hub: Destination | None) -> None:
    try:
        if hub is not None:
            print(f"pushed to {hub.push(run.output_dir)}")
    finally:
        print(f"eval_mean_iou {run.scores['mean_iou']:.4f}  {run.output_dir}", flush=True)


def _set_up_logging(main_process: bool) -> None:
    level = logging.INFO if main_process else logging.ERROR
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(level)
    disable_progress_bar()  # one per written file; the run's own bar stays


# ---- before the run ----


def _check_output_dir(arguments: Arguments, resuming: bool) -> None:
    """Check that no run is overwritten by accident."""
    folder = Path(arguments.training.output_dir)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output_dir {folder} is a file; give a folder")
    if resuming or arguments.training.overwrite_output_dir:
        return
    if (folder / "model.safetensors").exists() or list_checkpoints(folder):
        raise UserError(
            f"--output_dir {folder} already contains a run; resume it (--resume_from_checkpoint "
            "true), replace it (--overwrite_output_dir), or give another --output_dir"
        )


def _hub_destination(arguments: Arguments) -> Destination | None:
    if not arguments.training.push_to_hub:
        return None

    return destination(arguments.training)


def _prepare_output(
    arguments: Arguments,
    hub: Destination | None,
    data: datasets.DatasetDict,
    labels: LabelSet,
    resumed: bool,
) -> None:
    """Create the repository, remove the files of a run that is replaced, and write the recipe."""
    _check_output_dir(arguments, resumed)  # again: another run may have come and gone
    folder = str(arguments.training.output_dir)
    start = run_start(folder, data, labels, arguments.training.world_size, resumed)
    if hub is not None:
        hub.prepare()
    if not resumed:
        _clear(Path(folder))
    _write_recipe(arguments)
    write_start(folder, start)


def _clear(folder: Path) -> None:
    """Remove the files of an earlier run, and nothing else."""
    for checkpoint in list_checkpoints(folder):
        shutil.rmtree(checkpoint)
    shutil.rmtree(folder / STAGING, ignore_errors=True)
    shutil.rmtree(folder / "report", ignore_errors=True)
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)


def _write_recipe(arguments: Arguments) -> None:
    """Write the recipe first, so that an interrupted run can be resumed with its own options."""
    file = Path(arguments.training.output_dir) / RECIPE_FILE
    if not file.is_file():
        write_text(file, recipe_text(arguments))


# ---- the run ----


def _print_start(arguments: Arguments, data: datasets.DatasetDict, model: PreTrainedModel) -> None:
    counts = ", ".join(
        f"{split} {len(rows) if hasattr(rows, '__len__') else '(streamed)'}"
        for split, rows in data.items()
    )
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"{arguments.data.title}: {counts}")
    print(f"{arguments.model.model_name_or_path}: {parameters:.2f} million parameters")
    print(recipe_text(arguments), flush=True)


def _train(
    trainer: SegmentationTrainer, resume_from: Path | None, how_to_resume: str
) -> dict[str, Any]:
    """Train, and save the model and the history; only evaluation is left then."""
    try:
        result = trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    except Preempted as stopped:
        trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
        if trainer.is_world_process_zero():
            print(
                f"stopped by {stopped.name}, saved as {trainer.args.output_dir}/checkpoint-"
                f"{trainer.state.global_step}; resume with: {how_to_resume}",
                flush=True,
            )
        raise SystemExit(stopped.exit_code) from None
    trainer.remove_callback(EarlyStoppingCallback)  # it would need its metric in every split
    trainer.save_model()
    trainer.save_state()
    return {**result.metrics, "train_peak_memory_gib": _peak_memory_gib()}


def _peak_memory_gib() -> float | None:
    """Of the first GPU, or of this process without one; None if it can't be measured."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _calibrate(
    arguments: Arguments,
    trainer: SegmentationTrainer,
    validation: datasets.Dataset,
    labels: LabelSet,
) -> Calibration | None:
    """Fit the temperature of the model that was saved; every process finds the same."""
    if not arguments.training.calibrate:
        return None
    folder, data = trainer.args.output_dir, arguments.data
    trainer.accelerator.wait_for_everyone()
    segmenter = Segmenter.from_pretrained(folder, device=trainer.args.device)
    table = prediction_table(segmenter.labels, labels)
    size = data.image_size if data.eval_at_image_size else None
    fitted = calibrate(segmenter, validation, labels, table, label_size=size)
    trainer.accelerator.wait_for_everyone()  # all have read config.json
    set_temperature(trainer.model, fitted.temperature)
    if trainer.is_world_process_zero():
        save_temperature(folder, fitted.temperature)
    return fitted


def _measure(
    arguments: Arguments, trainer: SegmentationTrainer, data: datasets.DatasetDict, labels: LabelSet
) -> dict[str, Evaluation]:
    """The scores of the validation split, and of the test split if there is one."""
    if trainer.score_in_float32() and trainer.is_world_process_zero():
        print("measuring the final scores in float32, as hfseg evaluate does", flush=True)
    fitted = _calibrate(arguments, trainer, data["validation"], labels)
    evaluations = {}
    for split, prefix in (("validation", "eval"), ("test", "test")):
        if split in data:
            units = IMAGES
            if trainer.is_world_process_zero():  # which writes the interval: a stream is read again
                units = units_of(data[split], arguments.data.dataset_name, arguments.data.split_by)
            samples = None if prefix == "eval" else evaluation_samples(arguments, data[split])
            evaluations[split] = _evaluate(trainer, prefix, units, samples)
    if fitted is not None:
        evaluations["validation"].fitted = fitted
        evaluations["validation"].scores |= fitted.scores("eval_")
    return evaluations


def _evaluate(
    trainer: SegmentationTrainer, prefix: str, units: Units, samples: Any = None
) -> Evaluation:
    scores = trainer.evaluate(samples, metric_key_prefix=prefix)
    if not math.isfinite(scores[f"{prefix}_loss"]):
        logger.warning("the loss is not finite: the run diverged; try a lower --learning_rate")
    scores |= trainer.scores.interval(units).as_results(f"{prefix}_mean_iou")
    return Evaluation(
        scores=scores,
        confusion=trainer.scores.confusion,
        per_image=trainer.scores.per_image,
        absent=trainer.scores.absent,
        calibration=trainer.scores.calibration,
    )
