"""`ResumableTrainer`: transformers' `Trainer`, with checkpoints that resume a run exactly.

- Weights are restored tensor by tensor, on resume and on loading the best model.
- A checkpoint gets its final name when it is complete.
- Early stopping keeps its count, a finished run takes no further step, and the results include the
  time and the loss of the complete run, resumed or not.
"""

import shutil
import time
from pathlib import Path

import torch
from transformers import EarlyStoppingCallback, Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import TrainOutput, rotate_checkpoints

from hfseg.training.checkpoints import STAGING, only_tensors, publish, restore_weights
from hfseg.training.clock import TrainingClock


class ResumableTrainer(Trainer):
    """See the module. Takes the arguments of `Trainer`."""

    _initial_global_step: int  # of `Trainer`, which counts as untyped

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._staging = False
        super().__init__(*args, **kwargs)
        self.add_callback(TrainingClock())

    # ---- resuming ----

    def _load_callback_state(self) -> None:
        super()._load_callback_state()
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, ExportableState):  # missing from the checkpoint
                self.state.stateful_callbacks.setdefault(type(callback).__name__, {})

    def _finalize_training(
        self, trial: object, num_train_samples: int, start_time: float
    ) -> TrainOutput:
        """Include time, steps and loss from before the run was resumed."""
        step = 0
        for log in self.state.log_history:
            if "loss" in log and log["step"] <= self._initial_global_step:
                self._total_loss_scalar += log["loss"] * (log["step"] - step)
                step = log["step"]
        self._initial_global_step = 0
        clocks = [c for c in self.callback_handler.callbacks if isinstance(c, TrainingClock)]
        start_time = time.time() - clocks[0].elapsed
        return super()._finalize_training(trial, num_train_samples, start_time)

    def _run_epoch(self, *args: object, **kwargs: object) -> None:
        """Train, unless the run was resumed from its last step: `Trainer` would take one more."""
        stopped_early = any(
            isinstance(callback, EarlyStoppingCallback)
            and callback.early_stopping_patience_counter >= callback.early_stopping_patience
            for callback in self.callback_handler.callbacks
        )
        if stopped_early or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    # ---- checkpoints ----

    def _get_output_dir(self, trial: object) -> str:
        run_dir = super()._get_output_dir(trial)
        return str(Path(run_dir, STAGING)) if self._staging else run_dir

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        """Atomic: the checkpoint gets its name once every process has written its files."""
        run_dir = Path(self._get_output_dir(trial))
        staging = run_dir / STAGING
        if self.args.should_save:
            shutil.rmtree(staging, ignore_errors=True)  # left by a killed run
        self.accelerator.wait_for_everyone()
        self._staging = True
        try:
            super()._save_checkpoint(model, trial)
        except Exception:
            shutil.rmtree(staging, ignore_errors=True)  # a full disk needs the space
            raise
        finally:
            self._staging = False
        checkpoint = run_dir / f"checkpoint-{self.state.global_step}"
        best = self.state.best_model_checkpoint
        if best is not None and Path(best).parent == staging:
            self.state.best_model_checkpoint = str(run_dir / Path(best).name)
            if self.args.should_save:
                self.state.save_to_json(str(staging / checkpoint.name / TRAINER_STATE_NAME))
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            publish(staging, run_dir)
        self.accelerator.wait_for_everyone()
        if self.is_local_process_zero() and staging.exists():
            publish(staging, run_dir)  # a node with its own disk, which holds its random states
        if self.args.should_save:
            rotate_checkpoints(  # the oldest by their step, as clocks can jump
                output_dir=str(run_dir),
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
            )
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(checkpoint))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self._staging:
            super()._push_from_checkpoint(checkpoint_folder)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            restore_weights(self.model, resume_from_checkpoint)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with only_tensors(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with only_tensors(checkpoint):
            super()._load_rng_state(checkpoint)

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        else:
            restore_weights(self.model, self.state.best_model_checkpoint)
