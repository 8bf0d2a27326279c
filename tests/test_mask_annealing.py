"""EoMT's masked attention goes away during training."""

import pytest
import torch
from model_tester import LABELS
from tiny_universal import EOMT
from transformers import TrainerCallback

from hfseg.config.training import SegmentationTrainingArguments
from hfseg.data.samples import TrainingSamples
from hfseg.data.transforms import TrainingTransform
from hfseg.metrics.streaming import StreamingScores
from hfseg.models import load_model
from hfseg.training.mask_annealing import mask_probability
from hfseg.training.trainer import SegmentationTrainer


@pytest.mark.parametrize(
    ("block", "start", "end"), [(0, 6520, 13040), (1, 13040, 19560), (3, 26080, 32600)]
)
def test_schedule_is_that_of_the_authors_on_ade20k(block: int, start: int, end: int) -> None:
    """31 epochs in batches of 16: 39120 steps, to the rounding."""

    def probability(step: float) -> float:
        return mask_probability(block, 4, step / 39120)

    assert probability(0) == probability(start) == 1
    assert probability((start + end) / 2) == pytest.approx(0.5**0.9)
    assert probability(end) == probability(39120) == 0


def test_training_steps_are_masked_and_the_rest_is_not(tmp_path) -> None:
    seen: list[list[float]] = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
            seen.append(model.attn_mask_probs.tolist())

        def on_save(self, args, state, control, model=None, **kwargs) -> None:
            assert model.attn_mask_probs.tolist() == [0, 0]

    model, processor = load_model("eomt-vit-small", LABELS, pretrained=False, **EOMT)
    row = {"image": torch.zeros(64, 64, 3).byte().numpy(), "label": torch.zeros(64, 64).numpy()}
    args = SegmentationTrainingArguments(
        output_dir=str(tmp_path), report_to="none", dataloader_pin_memory=False,
        max_steps=8, per_device_train_batch_size=1, save_steps=4, use_cpu=True,
        gradient_accumulation_steps=2, logging_strategy="no", eval_strategy="no",
        save_strategy="steps", disable_tqdm=True, mixed_precision="no",
    )  # fmt: skip
    trainer = SegmentationTrainer(
        model=model,
        args=args,
        train_dataset=TrainingSamples([row] * 4, TrainingTransform("none", None, 0)),
        image_processor=processor,
        scores=StreamingScores(LABELS),
        callbacks=[Watch()],
    )
    assert model.attn_mask_probs.tolist() == [0, 0]
    trainer.train()
    expected = [[mask_probability(block, 2, step / 8) for block in range(2)] for step in range(8)]
    torch.testing.assert_close(seen, expected)
    assert seen[0] == [1, 1] and seen[-1] == [0, 0]
    assert model.attn_mask_probs.tolist() == [0, 0]
