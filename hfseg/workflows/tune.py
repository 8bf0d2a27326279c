"""Hyperparameter search with optuna and `Trainer.hyperparameter_search`, in a stored study."""

import logging
import math
import os
import shlex
import time
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import yaml
from filelock import FileLock, Timeout
from matplotlib.axes import Axes
from transformers import EarlyStoppingCallback, PreTrainedModel

from hfseg.config.data import DataArguments
from hfseg.config.recipe import RECIPES, SEARCH, read_recipe, recipe_names
from hfseg.config.resolve import Arguments, base_recipe, resolve, training_parser
from hfseg.config.run_recipe import BEST_RECIPE, recipe_of
from hfseg.config.values import GivenOptions, OptionValues, plain
from hfseg.data.transforms import TrainingTransform
from hfseg.disk import write_text
from hfseg.errors import UserError
from hfseg.models.auxiliary import expose_auxiliary_logits
from hfseg.training.fitting import fit_training_to_model
from hfseg.training.preemption import SaveOnSignal
from hfseg.training.trainer import SegmentationTrainer
from hfseg.workflows.assemble import load_data, make_loss, make_model, make_trainer
from hfseg.workflows.choose_settings import chosen_settings
from hfseg.workflows.folder_lock import FolderLock

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

logger = logging.getLogger("hfseg")

STUDY_FILE, HISTORY_FILE, IMPORTANCE_FILE = "study.db", "history.png", "importance.png"
# Trials share the loaded data; only these data flags don't change it.
_DATA_FLAGS = ("augmentation", "crop_size")
_NOT_SEARCHED = {item.name for item in fields(DataArguments)} - set(_DATA_FLAGS)


def tune(options: GivenOptions, trials: int) -> "optuna.Study":
    """Search the space under `search` in the recipe, until `trials` trials have ended.

    The first trial has the values of the recipe, as far as the space contains them. The study is
    stored in `OUTPUT_DIR/study.db`; started again, even after a kill, the search
    continues it. The value of a trial is its best evaluation by `--metric_for_best_model`; bad
    trials are pruned. Several processes may work on one study at a time; together they may run
    one trial more than asked for each further process.

    Args:
        options: as for `hfseg.finetune`; the default of `output_dir` is `runs/NAME-search`.
        trials: number of trials in the study at the end.

    Raises:
        UserError: no `search` in the recipe, an invalid space, or several processes.
    """
    if trials < 1:
        raise UserError(f"--trials must be at least 1, not {trials}")
    space = read_space(options)
    arguments = resolve(options)
    if options.get("output_dir") is None:
        options = {**options, "output_dir": f"{arguments.training.output_dir}-search"}
        arguments = resolve(options)
    if arguments.training.time_budget is not None:
        raise UserError(
            "--time_budget does not apply to a search: limit its trials with --max_steps"
        )
    if arguments.training.world_size > 1:
        raise UserError(
            "a search runs in one process; to use several, start it several times with the "
            "same --output_dir, so that they share the study"
        )
    study = open_study(arguments)
    ended = count_ended(study)
    if ended < trials:
        if ended:
            print(f"continuing after {ended} of {trials} trials", flush=True)
        _Search(options, space).run(trials)
    _report(study, options, arguments)
    return study


def output_folder(arguments: Arguments) -> Path:
    folder = Path(arguments.training.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_space(options: GivenOptions) -> OptionValues:
    """Flag -> list of choices, or `{low, high, log, step}`, from the recipe."""
    name = base_recipe(options)
    space = read_recipe(name).get(SEARCH)
    if not isinstance(space, dict) or not space:
        searchable = [each for each in recipe_names() if SEARCH in read_recipe(each)]
        raise UserError(
            f"the recipe {name} has no search space; choose --config from "
            f"{', '.join(searchable)}, or add one to a copy of {RECIPES / name}.yaml: "
            "`search: {learning_rate: {low: 1.0e-5, high: 1.0e-2, log: true}, loss: [ce, ce+dice]}`"
        )
    for key, choices in space.items():
        if key in _NOT_SEARCHED:
            raise UserError(
                f"{name}: {key} can't be searched, as all trials use the same data; remove it"
            )
        is_range = isinstance(choices, dict) and {"low", "high"} <= choices.keys()
        if not is_range and not (isinstance(choices, list) and choices):
            raise UserError(f"{name}: search.{key} must be a list, or have `low` and `high`")
    return space


def open_study(arguments: Arguments) -> "optuna.Study":
    """The study in the output folder; trials interrupted by a kill are queued again.

    Those that another process is working on are left to it.
    """
    import optuna

    training = arguments.training
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # trials are printed by us
    patience = time.monotonic() + FolderLock.SECONDS  # for data workers of a killed search
    with FileLock(output_folder(arguments) / ".study.lock"):
        study = optuna.create_study(**_study_options(arguments))
        for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            lock = _lock_of(arguments, trial.number)
            if not Path(lock.lock_file).exists():  # just being started
                continue
            try:
                lock.acquire(timeout=max(0.0, patience - time.monotonic()))
            except Timeout:
                continue
            if study.trials[trial.number].state == optuna.trial.TrialState.RUNNING:
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                study.enqueue_trial(_asked_for(trial))
                print(
                    f"trial {trial.number} was interrupted: it will be repeated in "
                    f"{training.output_dir}"
                )
            _give_back(lock)
    return study


def count_ended(study: "optuna.Study", and_running: bool = False) -> int:
    counted = ("COMPLETE", "PRUNED", *(["RUNNING"] if and_running else []))
    return sum(trial.state.name in counted for trial in study.trials)


def _lock_of(arguments: Arguments, trial: int) -> FileLock:
    """Held by the process that is working on a trial; the system frees that of a killed one."""
    return FileLock(output_folder(arguments) / f".trial-{trial}.lock")


def _give_back(lock: FileLock) -> None:
    Path(lock.lock_file).unlink()
    lock.release()


def _study_options(arguments: Arguments) -> OptionValues:
    """The arguments of `optuna.create_study`."""
    import optuna

    training = arguments.training
    return {
        "study_name": arguments.name,
        "storage": f"sqlite:///{output_folder(arguments) / STUDY_FILE}",
        "load_if_exists": True,
        "direction": "maximize" if training.greater_is_better else "minimize",
        "pruner": optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1),
    }


def _asked_for(trial: "FrozenTrial") -> OptionValues:
    """The values of a trial, also those that were queued for it and not used yet."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def values_in(space: OptionValues, arguments: Arguments) -> OptionValues:
    """Flag -> value of a run, for the flags whose value the space contains."""
    parser = training_parser()
    found: OptionValues = {}
    for key, choices in space.items():
        value = _value(arguments, key)
        if isinstance(choices, list):
            for each in choices:
                if plain(parser.convert(key, str(each))) == value:
                    found[key] = each
        elif isinstance(value, int if _is_whole(choices) else int | float):
            steps = (value - choices["low"]) / choices.get("step", 1)
            on_grid = "step" not in choices or math.isclose(steps, round(steps), abs_tol=1e-9)
            if choices["low"] <= value <= choices["high"] and on_grid:
                found[key] = value
    return found


def _is_whole(choices: OptionValues) -> bool:
    return isinstance(choices["low"], int) and isinstance(choices["high"], int)


def _value(arguments: Arguments, key: str) -> object:
    groups = (arguments.data, arguments.model, arguments.training)
    return next((plain(getattr(group, key)) for group in groups if hasattr(group, key)), None)


def flags_of(parameters: GivenOptions) -> list[str]:
    """`{"loss": "ce"}` -> ["--loss", "ce"]."""
    return [word for key, value in parameters.items() for word in (f"--{key}", str(value))]


class _Search:
    """One trainer, which gets a new model and new arguments in every trial."""

    def __init__(self, options: GivenOptions, space: OptionValues) -> None:
        self.options = {**options, "save_strategy": "no", "load_best_model_at_end": False}
        self.space = space
        self.arguments = arguments = resolve(self.options)
        self.data, self.labels = load_data(arguments)
        model, self.processor = make_model(arguments, self.labels)
        self.options |= chosen_settings(arguments, self.data["train"], self.labels, model)
        self.arguments = arguments = resolve(self.options)
        training = arguments.training
        loss = make_loss(arguments, self.data["train"], self.labels)
        self.trainer: SegmentationTrainer = make_trainer(
            arguments, model, self.processor, self.data, self.labels, loss
        )
        self.trainer.remove_callback(SaveOnSignal)  # a trial is repeated, not resumed
        self.trainer.model_init = self.model_of_trial
        metric = str(training.metric_for_best_model)
        self.metric = metric if metric.startswith("eval_") else f"eval_{metric}"
        self.better = max if training.greater_is_better else min
        self.best: float | None = None
        self.trials = 0
        self.lock: FileLock | None = None
        """Of the trial that is running."""

    def run(self, trials: int) -> None:
        """Run trials until this many in the study have ended."""
        self.trials = trials
        self._begin_with_the_recipe()
        try:
            self.trainer.hyperparameter_search(
                hp_space=self.begin_trial,
                compute_objective=self.best_so_far,
                n_trials=trials,
                backend="optuna",
                catch=(torch.OutOfMemoryError,),
                gc_after_trial=True,
                **_study_options(self.arguments),
            )
        finally:
            self._end_trial()

    def _begin_with_the_recipe(self) -> None:
        """Queue the recipe's own values as the first trial, since random draws may miss them."""
        import optuna

        with FileLock(output_folder(self.arguments) / ".study.lock"):
            study = optuna.create_study(**_study_options(self.arguments))
            values = values_in(self.space, self.arguments)
            tried = [_asked_for(trial) for trial in study.trials if trial.state.name != "FAIL"]
            if values and not any(values.items() <= each.items() for each in tried):
                study.enqueue_trial(values)

    def _take(self, trial: "optuna.Trial") -> None:
        """Make a trial this process's own, with suggestions that no other trial gets."""
        import optuna

        self._end_trial()
        self.lock = _lock_of(self.arguments, trial.number)
        self.lock.acquire()
        study, seed = trial.study, self.arguments.training.seed
        study.sampler = optuna.samplers.TPESampler(seed=seed + trial.number)
        if count_ended(study, and_running=True) >= self.trials:
            study.stop()  # after this trial

    def _end_trial(self) -> None:
        if self.lock is not None:
            _give_back(self.lock)
            self.lock = None

    def suggest(self, trial: "optuna.Trial") -> OptionValues:
        chosen: OptionValues = {}
        for key, choices in self.space.items():
            if isinstance(choices, list):
                chosen[key] = trial.suggest_categorical(key, choices)
                continue
            options = {name: choices[name] for name in ("log", "step") if name in choices}
            suggest = trial.suggest_int if _is_whole(choices) else trial.suggest_float
            chosen[key] = suggest(key, choices["low"], choices["high"], **options)
        return chosen

    def begin_trial(self, trial: "optuna.Trial") -> OptionValues:
        """Apply the flags of this trial to the trainer; nothing is left for `Trainer` to set."""
        self.best = None
        self._take(trial)
        chosen = self.suggest(trial)
        self.arguments = arguments = resolve({**self.options, **chosen})
        print(f"trial {trial.number}: {shlex.join(flags_of(chosen))}", flush=True)
        trainer, training = self.trainer, arguments.training
        for key in (*chosen, "lr_scheduler_kwargs"):
            if hasattr(trainer.args, key):
                setattr(trainer.args, key, getattr(training, key))
        trainer.remove_callback(EarlyStoppingCallback)  # of the last trial, with its count
        if training.early_stopping_patience:
            trainer.add_callback(EarlyStoppingCallback(training.early_stopping_patience))
        trainer.loss = make_loss(arguments, self.data["train"], self.labels)
        trainer.backbone_lr_multiplier = training.backbone_lr_multiplier
        trainer.head_lr_multiplier = training.head_lr_multiplier
        trainer.train_dataset.transform = TrainingTransform(
            arguments.data.augmentation,
            arguments.data.crop_size,
            trainer.train_dataset.transform.seed,
        )
        return {}

    def model_of_trial(self) -> PreTrainedModel:
        model, _ = make_model(self.arguments, self.labels)
        self.trainer.drop_last_batch = fit_training_to_model(
            self.trainer.args, model, len(self.data["train"])
        )
        expose_auxiliary_logits(model)
        return model

    def best_so_far(self, metrics: dict[str, float]) -> float:
        value = metrics[self.metric]
        self.best = value if self.best is None or math.isnan(self.best) else self.best
        self.best = self.better(self.best, value)
        return self.best


def _report(study: "optuna.Study", options: GivenOptions, arguments: Arguments) -> None:
    """Print the table of trials; write two plots and the best recipe."""
    folder = output_folder(arguments)
    for trial in study.trials:
        value = "" if trial.value is None else f"{trial.value:.4f}"
        print(
            f"{trial.number:4} {trial.state.name:9} {value:8} {shlex.join(flags_of(trial.params))}"
        )
    if not any(trial.state.name == "COMPLETE" for trial in study.trials):
        raise UserError("no trial was completed: fix the errors above, or change the search space")
    best = resolve({**options, **study.best_params})
    head = (
        f"# Trial {study.best_trial.number} of a search over {len(study.trials)}: "
        f"{arguments.training.metric_for_best_model} {study.best_value:.4f} on validation.\n"
    )
    file = folder / BEST_RECIPE
    write_text(file, head + yaml.safe_dump(recipe_of(best), allow_unicode=True))
    _plot(study, folder)
    name = f"{folder.resolve().name.removesuffix('-search')}-best"
    trained = os.path.normpath(folder / ".." / name)
    words = ["hfseg", "finetune", "--config", str(file), "--output_dir", trained]
    print(
        f"train with it: {shlex.join(words)}\nbest {study.best_value:.4f}  {file}",
        flush=True,
    )


def _plot(study: "optuna.Study", folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import optuna
    from optuna.visualization.matplotlib import plot_optimization_history, plot_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna calls its matplotlib plots experimental
        _save(plot_optimization_history(study), folder / HISTORY_FILE)
        try:
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            axes = plot_param_importances(study, evaluator=evaluator)
        except (ValueError, RuntimeError) as error:
            logger.warning("no importances from %d trials: %s", len(study.trials), error)
            return
        _save(axes, folder / IMPORTANCE_FILE)


def _save(axes: Axes, path: Path) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(path, dpi=150, bbox_inches="tight")
