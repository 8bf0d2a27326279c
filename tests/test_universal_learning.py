"""Small EoMT and Mask2Former learn: eight scenes by heart."""

import pytest
import torch

from hfseg.config.training import SegmentationTrainingArguments
from hfseg.data import load_dataset
from hfseg.data.samples import EvaluationSamples, TrainingSamples
from hfseg.data.transforms import TrainingTransform
from hfseg.metrics.streaming import StreamingScores
from hfseg.models import load_model
from hfseg.training.trainer import SegmentationTrainer

SMALL = {
    "eomt-vit-small": {
        "hidden_size": 96, "num_hidden_layers": 5, "num_attention_heads": 4, "num_blocks": 2,
        "num_queries": 16, "image_size": 160, "patch_size": 8, "num_upscale_blocks": 1,
        "train_num_points": 2048,
    },
    "mask2former-swin-tiny": {
        "backbone_config.embed_dim": 24, "backbone_config.depths": [1, 1, 2, 1],
        "backbone_config.drop_path_rate": 0.0, "feature_size": 64, "mask_feature_size": 64,
        "hidden_dim": 64, "encoder_feedforward_dim": 128, "dim_feedforward": 128,
        "num_attention_heads": 4, "encoder_layers": 1, "decoder_layers": 4, "num_queries": 16,
        "train_num_points": 2048,
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps"), [("eomt-vit-small", 800), ("mask2former-swin-tiny", 800)]
)
def test_eight_images_are_learned_by_heart(name: str, steps: int, tmp_path) -> None:
    torch.manual_seed(0)
    data, labels = load_dataset("toyscapes")
    rows = data["train"].select(range(8))
    model, processor = load_model(name, labels, pretrained=False, **SMALL[name])
    # EoMT trains on squares, of images scaled as in evaluation
    size, resize = ((160, 160), processor) if name.startswith("eomt") else (None, None)
    args = SegmentationTrainingArguments(
        output_dir=str(tmp_path), report_to="none", dataloader_pin_memory=False,
        max_steps=steps, per_device_train_batch_size=4, learning_rate=1e-3,
        weight_decay=0.0, lr_scheduler_type="polynomial", warmup_steps=20,
        logging_steps=50, save_strategy="no", eval_strategy="no", disable_tqdm=True, seed=0,
        mixed_precision="no",
    )  # fmt: skip
    trainer = SegmentationTrainer(
        model=model,
        args=args,
        train_dataset=TrainingSamples(rows, TrainingTransform("none", size, 0), resize),
        eval_dataset=EvaluationSamples(rows),
        image_processor=processor,
        scores=StreamingScores(labels),
    )
    trainer.train()
    assert trainer.evaluate()["eval_mean_iou"] > 0.95
