"""How many of SegFormer's tensors are restored when a run is resumed.

The learning rate is 0, so a resumed model has to equal its checkpoint.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from transformers import (
    PrinterCallback,
    SegformerForSemanticSegmentation,
    Trainer,
    TrainingArguments,
)

import hfseg
from hfseg.metrics.streaming import StreamingScores
from hfseg.training.trainer import SegmentationTrainer

labels = hfseg.LabelSet(("sky", "road"))
image = Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8))
mask = Image.fromarray(np.zeros((64, 64), dtype=np.uint8))


def arguments(folder: str, steps: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=2,
        max_steps=steps,
        learning_rate=0.0,
        save_steps=1,
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
    )


def plain(folder: str, steps: int) -> Trainer:
    model, processor = hfseg.load_model("segformer-b0", labels, pretrained=False)
    pixels = processor(image, return_tensors="pt").pixel_values[0]
    rows = [{"pixel_values": pixels, "labels": np.asarray(mask, dtype=np.int64)}] * 4
    return Trainer(model, arguments(folder, steps), train_dataset=rows)


def ours(folder: str, steps: int) -> Trainer:
    model, processor = hfseg.load_model("segformer-b0", labels, pretrained=False)
    return SegmentationTrainer(
        model=model,
        args=arguments(folder, steps),
        train_dataset=Dataset.from_list([{"image": image, "label": mask}] * 4),
        image_processor=processor,
        scores=StreamingScores(labels),
    )


def restored(make_trainer) -> str:
    folder = tempfile.mkdtemp()
    torch.manual_seed(0)
    first = make_trainer(folder, 1)
    with torch.no_grad():
        for parameter in first.model.parameters():  # biases start at 0 in every model
            parameter.add_(0.01 * torch.randn_like(parameter))
    first.remove_callback(PrinterCallback)
    first.train()
    checkpoint = Path(folder) / "checkpoint-1"
    saved = dict(SegformerForSemanticSegmentation.from_pretrained(checkpoint).named_parameters())
    torch.manual_seed(1)  # another process starts from other random weights
    trainer = make_trainer(folder, 2)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(checkpoint))
    resumed = dict(trainer.model.named_parameters())
    equal = sum(torch.equal(saved[name], resumed[name]) for name in saved)
    return f"{equal} of {len(saved)} tensors restored"


if __name__ == "__main__":
    print("Trainer:", restored(plain))
    print("hfseg:  ", restored(ours))
