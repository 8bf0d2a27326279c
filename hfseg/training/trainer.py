"""`SegmentationTrainer`: transformers' `Trainer`, adapted to dense prediction.

- Checkpoints, as in `ResumableTrainer`, batch sizes, as in `LargestBatchTrainer`, and data loaders,
  as in `DataLoaderTrainer`.
- The loss is a mean over valid pixels or images of all processes and accumulation steps.
- Evaluation gathers one confusion matrix per image instead of pixels.
- A sample's augmentation is a function of (seed, epoch, index).
"""

from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader
from transformers import (
    BaseImageProcessor,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
    get_scheduler,
)
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.trainer_utils import EvalLoopOutput

from hfseg.data.samples import on_device
from hfseg.metrics.calibration import confidence_counts
from hfseg.metrics.confusion import count_pairs
from hfseg.metrics.streaming import StreamingScores
from hfseg.models.auxiliary import (
    auxiliary_loss_weight,
    expose_auxiliary_logits,
    supervised,
)
from hfseg.models.batch_norm import average_over_batches
from hfseg.models.confidence import log_scores, temperature_of, top_probability
from hfseg.models.logits import resize_logits
from hfseg.models.universal_eomt import EOMT
from hfseg.training.arguments import REQUIRED, with_values
from hfseg.training.data_loaders import DataLoaderTrainer
from hfseg.training.divergence import DivergenceCheck
from hfseg.training.fully_sharded import make_divisible
from hfseg.training.losses import SegmentationLoss
from hfseg.training.mask_annealing import MaskAnnealing
from hfseg.training.optimization import (
    ADAM,
    EPOCH_SCHEDULES,
    epoch_schedule,
    parameter_groups,
    start_encoder_later,
)
from hfseg.training.stream_loader import StreamedEvaluationLoader
from hfseg.training.universal_loss import UniversalLoss, loss_for

_Batch = dict[str, Any]
"""From `Collator`: `pixel_values` and `labels` are tensors, or lists of them if sizes differ."""


class _StepCallback(TrainerCallback):
    """Passes the optimizer step to the loss, which samples other points in each."""

    def __init__(self, loss: UniversalLoss) -> None:
        self.loss = loss

    def on_step_begin(
        self, args: object, state: TrainerState, *_: object, **kwargs: object
    ) -> None:
        self.loss.step = state.global_step


class SegmentationTrainer(DataLoaderTrainer):
    """Trains and evaluates any `PreTrainedModel` that returns `SemanticSegmenterOutput`.

    Args:
        args: of the run; copied, with the values that this trainer depends on.
        model, train_dataset, eval_dataset, callbacks: as in `Trainer`. The datasets are
            `TrainingSamples` and `EvaluationSamples`, or anything `as_samples` takes.
        image_processor: what makes `pixel_values`; saved with every checkpoint.
        scores: accumulates the evaluation and defines the labels.
        loss: None for cross-entropy with the label smoothing of `args`.
        backbone_lr_multiplier, head_lr_multiplier: factors on the learning rate.
        drop_last_batch: leave out the last training batch of an epoch if it is smaller, also
            without `--dataloader_drop_last`: for models that can't train on a single image.
        layer_decay: factor on the learning rate from one layer of the encoder to the one before.
        backbone_warmup_steps: steps of the encoder's own warm-up, which starts after that of the
            head; 0: both warm up together.
    """

    def __init__(
        self,
        *,
        args: TrainingArguments,
        image_processor: BaseImageProcessor,
        scores: StreamingScores,
        loss: SegmentationLoss | None = None,
        backbone_lr_multiplier: float = 1.0,
        head_lr_multiplier: float = 1.0,
        drop_last_batch: bool = False,
        layer_decay: float = 1.0,
        backbone_warmup_steps: int = 0,
        **kwargs: object,
    ) -> None:
        self.scores = scores
        self.ignore_index = scores.labels.ignore_index
        self.backbone_lr_multiplier = backbone_lr_multiplier
        self.head_lr_multiplier = head_lr_multiplier
        self.layer_decay = layer_decay
        self.backbone_warmup_steps = backbone_warmup_steps
        super().__init__(
            args=with_values(args, **REQUIRED),
            drop_last_batch=drop_last_batch,
            image_processor=image_processor,
            compute_metrics=scores,
            **kwargs,
        )
        self.loss = loss_for(
            self.model,
            loss
            or SegmentationLoss(
                ignore_index=self.ignore_index, label_smoothing=self.args.label_smoothing_factor
            ),
        )
        if self.is_fsdp_enabled:
            make_divisible(self.model)
        average_over_batches(self.model)
        expose_auxiliary_logits(self.model)
        self.auxiliary_loss_weight = auxiliary_loss_weight(self.model)
        # We normalize the loss ourselves, over the complete accumulated and distributed batch:
        # Trainer must neither pass its item count nor divide by the accumulation steps.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = True
        self._divergence = DivergenceCheck(fp16=bool(self.args.fp16))
        if isinstance(self.loss, UniversalLoss):
            self.add_callback(_StepCallback(self.loss))
        if self.model.config.model_type in EOMT:
            self.add_callback(MaskAnnealing(self.model))

    def _prepare_inputs(self, inputs: _Batch) -> _Batch:
        return {**on_device(super()._prepare_inputs(inputs), self.processing_class)}

    # ---- loss ----

    def _get_num_items_in_batch(
        self, batch_samples: list[_Batch], device: torch.device
    ) -> torch.Tensor | None:
        """`SegmentationLoss.counts` of one optimizer step, over all its batches and processes."""
        if not batch_samples:
            return None
        counts = [self.loss.counts(batch["labels"].long()) for batch in batch_samples]
        return self.accelerator.reduce(torch.stack(counts).sum(0).to(device), reduction="sum")

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: _Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, SemanticSegmenterOutput]:
        """This batch's part of the loss of the complete optimizer step."""
        outputs = model(pixel_values=inputs["pixel_values"])
        counts = num_items_in_batch
        loss = sum(
            weight * self.loss(prediction, inputs["labels"], counts)
            for prediction, weight in supervised(outputs, self.auxiliary_loss_weight)
        )
        # DDP averages the gradients over processes; the sum is already divided by the count of all
        loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: _Batch,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As `Trainer`'s, and raise a UserError if the loss is not finite."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        where = self.model, self.train_dataset, self.state, self.args.output_dir
        self._divergence.note(loss, inputs["index"], *where)
        return loss

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        where = self.model, self.train_dataset, self.state, self.args.output_dir
        self._divergence.check(*where)
        super()._save_checkpoint(model, trial)

    # ---- optimizer ----

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            args = self.args
            groups = parameter_groups(
                self.model if model is None else model,
                args.learning_rate,
                args.weight_decay,
                self.backbone_lr_multiplier,
                self.head_lr_multiplier,
                self.layer_decay,
            )
            if args.optim == ADAM:
                betas = (args.adam_beta1, args.adam_beta2)
                self.optimizer = torch.optim.Adam(
                    groups, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon
                )
            else:
                factory, options = self.get_optimizer_cls_and_kwargs(args, self.model)
                self.optimizer = factory(groups, **options)
        return self.optimizer

    def set_initial_training_values(
        self, *args: object, **kwargs: object
    ) -> tuple[int | None, ...]:
        values = super().set_initial_training_values(*args, **kwargs)
        self._steps_per_epoch = values[1]
        return values

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LRScheduler:
        name = self.args.lr_scheduler_type
        warmup = self.args.get_warmup_steps(num_training_steps)
        options = self.args.lr_scheduler_kwargs or {}
        if self.lr_scheduler is None and self.backbone_warmup_steps:
            usual = super().create_scheduler(num_training_steps, optimizer)
            late = get_scheduler(
                name,
                optimizer=usual.optimizer,
                num_warmup_steps=self.backbone_warmup_steps,
                num_training_steps=num_training_steps - warmup,
                scheduler_specific_kwargs=options,
            )
            scheduler = start_encoder_later(usual, late.lr_lambdas[0], delay=warmup)
        elif self.lr_scheduler is not None or name not in EPOCH_SCHEDULES:
            return super().create_scheduler(num_training_steps, optimizer)
        else:
            factor = epoch_schedule(name, self._steps_per_epoch, warmup, **options)
            scheduler = LambdaLR(optimizer or self.create_optimizer(), factor)
            self._created_lr_scheduler = True
        self.lr_scheduler = scheduler
        return scheduler

    # ---- evaluation before training ----

    def _prepare_for_training(
        self, *args: object, **kwargs: object
    ) -> tuple[torch.nn.Module, DataLoader]:
        """Undo the mark that an evaluation before training leaves on the model.

        accelerate would take it for prepared and leave out DistributedDataParallel, so that each
        process would train its own model.
        """
        if self.model_wrapped is self.model:
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            self.model._is_accelerate_prepared = False
        return super()._prepare_for_training(*args, **kwargs)

    # ---- model card ----

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Keep a card that is there: the one from `hfseg.cards` says more than `Trainer`'s."""
        if not Path(self.args.output_dir, "README.md").exists():
            super().create_model_card(*args, **kwargs)

    # ---- evaluation ----

    def score_in_float32(self) -> bool:
        """Evaluate without autocast from now on, as `hfseg evaluate` does; training is over.

        Then the scores of a model don't depend on the precision it was trained in.

        Returns:
            Whether that changes anything; FSDP keeps its own precision.
        """
        if not self.accelerator.native_amp or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return False
        self.accelerator.native_amp = False  # for a model that is not prepared yet
        forward = self.model.__dict__.pop("_original_forward", None)
        if forward is not None:
            self.model.forward = forward
        return True

    def evaluation_loop(
        self, dataloader: DataLoader, *args: object, **kwargs: Any
    ) -> EvalLoopOutput:
        self.scores.reset()
        self._share_buffers()
        output = super().evaluation_loop(dataloader, *args, **kwargs)
        if not isinstance(dataloader, StreamedEvaluationLoader):
            return output
        # `Trainer` doesn't know which batch of a stream is the last one
        self.scores.number_in_order()
        prefix = kwargs["metric_key_prefix"]
        found = {f"{prefix}_{name}": value for name, value in self.scores.compute().items()}
        count = len(self.scores.per_image)
        return output._replace(metrics={**output.metrics, **found}, num_samples=count)

    def _share_buffers(self) -> None:
        """Copy the batch-norm statistics of process 0, which are the ones saved, to all."""
        if self.accelerator.num_processes > 1 and not self.is_fsdp_enabled:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: _Batch,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, tuple[torch.Tensor, ...], torch.Tensor]:
        """Counts instead of pixels: (B, K + 1, K + 1) int64 of `count_pairs`, of the loss (B, 2, 2)
        sums and counts, and (B, 3, BINS) of `confidence_counts`.

        The logits are resized to each label's own size before the argmax.
        """
        inputs = self._prepare_inputs(inputs)
        images, labels = inputs["pixel_values"], inputs["labels"]
        counts: dict[int, torch.Tensor] = {}
        losses: dict[int, torch.Tensor] = {}
        bins: dict[int, torch.Tensor] = {}
        temperature = temperature_of(self.model)
        with torch.inference_mode(), self.compute_loss_context_manager():
            for rows in _same_size(images):
                logits = model(pixel_values=torch.stack([images[row] for row in rows])).logits
                for row, image_logits in zip(rows, logits, strict=True):
                    label = labels[row][None]
                    resized = resize_logits(image_logits[None].float(), label.shape[-2:])
                    losses[row] = torch.stack(
                        [
                            self.loss.evaluation.sums(resized, label),
                            self.loss.evaluation.counts(label),
                        ]
                    )
                    predicted = resized.argmax(1)
                    confidence = top_probability(log_scores(self.model, resized), temperature)
                    counts[row] = count_pairs(
                        predicted, label, resized.shape[1], self.ignore_index
                    )[0]
                    counted = label != self.ignore_index
                    bins[row] = confidence_counts(confidence, predicted == label, counted)
        in_order = range(len(labels))
        outputs = tuple(
            torch.stack([by_row[row] for row in in_order]) for by_row in (counts, losses, bins)
        )
        return None, outputs, inputs["index"]

    def log(self, logs: dict[str, float], *args: object, **kwargs: object) -> None:
        """As `Trainer` logs, with absent classes left out instead of NaN."""
        super().log({k: v for k, v in logs.items() if v == v}, *args, **kwargs)


def _same_size(images: torch.Tensor | list[torch.Tensor]) -> list[list[int]]:
    """The rows of a batch, grouped by image size."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(row)
    return list(groups.values())
