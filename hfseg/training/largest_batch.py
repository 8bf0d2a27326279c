"""`--auto_find_batch_size`: batches that fit into memory, for an unchanged training.

A batch that doesn't fit is divided, and its parts are accumulated: every optimizer step sees the
same images and has the same loss. `Trainer` alone would train with smaller batches, from weights
that the failed attempt has changed.
"""

import logging
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from hfseg.errors import UserError
from hfseg.training.arguments import with_values
from hfseg.training.resumable import ResumableTrainer

logger = logging.getLogger("hfseg")


class LargestBatchTrainer(ResumableTrainer):
    """See the module; arguments as in `Trainer`.

    Attributes:
        smallest_batch: images that the model needs in a batch.
    """

    smallest_batch = 1

    # of `Trainer`, which counts as untyped
    optimizer: torch.optim.Optimizer | None
    lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None

    def _inner_training_loop(
        self, batch_size: int | None = None, args: Any = None, **kwargs: Any
    ) -> Any:
        if not args.auto_find_batch_size:
            return super()._inner_training_loop(batch_size, args, **kwargs)
        # of a run that is resumed, `batch_size` is what was found before
        whole = args.per_device_train_batch_size * args.gradient_accumulation_steps
        state = self.model.state_dict()
        weights = {name: value.to("cpu", copy=True) for name, value in state.items()}
        devices = [args.device] if args.device.type == "cuda" else []
        for size in divisors(whole, at_most=int(batch_size or 1), at_least=self.smallest_batch):
            self.args = with_values(
                args, per_device_train_batch_size=size, gradient_accumulation_steps=whole // size
            )
            try:
                with torch.random.fork_rng(devices):  # so that each attempt draws the same
                    return super()._inner_training_loop(size, self.args, **kwargs)
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
            logger.warning("batches of %d images don't fit into memory", size)
            self._start_again(weights)
        raise UserError(
            f"--auto_find_batch_size: not even batches of {size} fit into memory; give a smaller "
            "--crop_size or --image_size, or a smaller model"
        )

    def _start_again(self, weights: dict[str, torch.Tensor]) -> None:
        """The state before the attempt; called when its error, which holds memory, is forgotten."""
        self.optimizer = self.lr_scheduler = None
        self.accelerator.free_memory()
        self.model.zero_grad(set_to_none=True)
        self.model.load_state_dict(weights)
        clear_device_cache(garbage_collection=True)


def divisors(number: int, at_most: int, at_least: int = 1) -> list[int]:
    """The divisors of `number` in these bounds, largest first."""
    return [each for each in range(at_most, at_least - 1, -1) if number % each == 0]
