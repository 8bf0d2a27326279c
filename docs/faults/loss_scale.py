"""The reported loss of one and the same batch, divided into accumulation steps.

The learning rate is 0, so the model is the same in every line.
"""

import tempfile

import numpy as np
from datasets import Dataset
from PIL import Image
from transformers import PrinterCallback, Trainer, TrainingArguments

import hfseg
from hfseg.metrics.streaming import StreamingScores
from hfseg.training.trainer import SegmentationTrainer

labels = hfseg.LabelSet(("sky", "road", "tree", "car"))
rng = np.random.default_rng(0)
rows = [
    {
        "image": Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)),
        "label": Image.fromarray(rng.integers(0, 4, (64, 64), dtype=np.uint8)),
    }
    for _ in range(8)
]


def arguments(accumulation: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        learning_rate=0.0,
        logging_steps=1,
        save_strategy="no",
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
    )


def plain(accumulation: int) -> float:
    model, processor = hfseg.load_model("segformer-tiny", labels, pretrained=False)
    tensors = [
        {
            "pixel_values": processor(row["image"], return_tensors="pt").pixel_values[0],
            "labels": np.asarray(row["label"], dtype=np.int64),
        }
        for row in rows
    ]
    trainer = Trainer(model, arguments(accumulation), train_dataset=tensors)
    trainer.remove_callback(PrinterCallback)
    return trainer.train().training_loss


def ours(accumulation: int) -> float:
    model, processor = hfseg.load_model("segformer-tiny", labels, pretrained=False)
    trainer = SegmentationTrainer(
        model=model,
        args=arguments(accumulation),
        train_dataset=Dataset.from_list(rows),
        image_processor=processor,
        scores=StreamingScores(labels),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer.train().training_loss


if __name__ == "__main__":
    for accumulation in (1, 2, 4):
        print(
            f"{accumulation} accumulation steps: Trainer {plain(accumulation):.2f}, "
            f"hfseg {ours(accumulation):.2f}"
        )
