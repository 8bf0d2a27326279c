"""`DataLoaderTrainer`: the order of samples, and the loaders that read them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers.trainer as trainer_module
from torch.utils.data import DataLoader, Dataset, IterableDataset
from transformers import BaseImageProcessor, TrainerCallback, TrainerState, TrainingArguments

from hfseg.data.samples import Collator, EpochSampler, TrainingSamples, as_samples
from hfseg.data.streaming import StreamedEvaluationSamples, StreamedTrainingSamples
from hfseg.training.arguments import with_values
from hfseg.training.largest_batch import LargestBatchTrainer
from hfseg.training.preemption import StopWithParent
from hfseg.training.stream_loader import StreamedEvaluationLoader, StreamLoader


class _EpochCallback(TrainerCallback):
    """Passes the epoch to the sampler, also when a run is resumed in the middle of one."""

    def __init__(self, sampler: EpochSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(
        self, args: object, state: TrainerState, *_: object, **kwargs: object
    ) -> None:
        self.sampler.start_epoch(int(state.epoch or 0))


class DataLoaderTrainer(LargestBatchTrainer):
    """Loads samples in an order that a resumed run continues.

    Args:
        image_processor, drop_last_batch: as in `SegmentationTrainer`; the others as in `Trainer`.
    """

    # of `Trainer`, which counts as untyped
    args: TrainingArguments
    data_collator: Collator
    _training_loader: Any = None  # of the epoch that is running

    def __init__(
        self, *, image_processor: BaseImageProcessor, drop_last_batch: bool, **kwargs: object
    ) -> None:
        self.drop_last_batch = drop_last_batch
        self.smallest_batch = 2 if drop_last_batch else 1
        super().__init__(
            processing_class=image_processor,
            data_collator=Collator(image_processor, resize=False),
            **kwargs,
        )
        self._evaluation_collator = Collator(image_processor, resize=True)
        if self.train_dataset is not None and not isinstance(self.train_dataset, IterableDataset):
            seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
            dataset = self.train_dataset
            ours = isinstance(dataset, TrainingSamples)
            self._sampler = dataset.sampler(seed) if ours else EpochSampler(len(dataset), seed)
            self.add_callback(_EpochCallback(self._sampler))

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> EpochSampler:
        return self._sampler

    def _get_dataloader(
        self, dataset: Dataset, description: str, *args: object, **kwargs: object
    ) -> DataLoader:
        training = kwargs.get("is_training", False)
        # without accelerate, which would read a complete stream in every process
        if isinstance(dataset, StreamedTrainingSamples):
            batch_size = self._train_batch_size
            return StreamLoader(dataset, self.data_collator, batch_size, **self._stream_options())
        if isinstance(dataset, StreamedEvaluationSamples):
            collator, batch_size = self._evaluation_collator, self.args.eval_batch_size
            return StreamedEvaluationLoader(dataset, collator, batch_size, **self._stream_options())
        of_run = self.data_collator, self.args
        if not training:
            self.data_collator = self._evaluation_collator
        # `Trainer` would also drop the last batch of an evaluation, whose images need a score, and
        # with persistent workers it would use one evaluation's loader for every other
        drop_last = training and (self.args.dataloader_drop_last or self.drop_last_batch)
        persistent = training and self.args.dataloader_persistent_workers
        self.args = with_values(
            self.args,
            dataloader_drop_last=drop_last,
            dataloader_persistent_workers=persistent and self.args.dataloader_num_workers > 0,
        )
        try:
            loader = super()._get_dataloader(as_samples(dataset), description, *args, **kwargs)
        finally:
            self.data_collator, self.args = of_run
        base = getattr(loader, "base_dataloader", loader)
        base.worker_init_fn = StopWithParent(base.worker_init_fn)
        # Each epoch draws a seed for its workers. A separate generator keeps that from changing
        # the dropout of a resumed run.
        base.generator = torch.Generator().manual_seed(0)
        return loader

    def _stream_options(self) -> dict[str, Any]:
        workers = self.args.dataloader_num_workers
        return {
            "num_workers": workers,
            "worker_init_fn": StopWithParent(),
            "prefetch_factor": self.args.dataloader_prefetch_factor if workers else None,
        }

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if isinstance(self._training_loader, StreamLoader):
            self._training_loader.save(self._stream_state(output_dir), self.args.world_size)

    def _stream_state(self, checkpoint: str) -> Path:
        return Path(checkpoint, f"stream_state_{self.args.process_index}.pth")

    def _run_epoch(self, *args: object, **kwargs: Any) -> None:
        loader = self._training_loader = kwargs["train_dataloader"]
        checkpoint = kwargs["resume_from_checkpoint"]
        resumed = checkpoint is not None and kwargs["steps_trained_in_current_epoch"]
        if not resumed or not isinstance(loader, StreamLoader):
            super()._run_epoch(*args, **kwargs)
        elif loader.restore(self._stream_state(checkpoint), self.args.world_size):
            with _nothing_to_skip():
                super()._run_epoch(*args, **kwargs)
        else:
            super()._run_epoch(*args, **kwargs)


@contextmanager
def _nothing_to_skip() -> Iterator[None]:
    """`Trainer` would skip the batches of a resumed epoch, of which this loader has none left."""
    skip = trainer_module.skip_first_batches
    trainer_module.skip_first_batches = lambda loader, num_batches: loader
    try:
        yield
    finally:
        trainer_module.skip_first_batches = skip
