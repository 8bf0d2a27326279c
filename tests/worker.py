"""One rank of a small job, started by `python` or `accelerate launch` from the tests.

    worker.py update|evaluate|stream DATA OUTPUT BATCH ACCUMULATION LOSS [MODEL]

`update` takes one SGD step and saves the weights, `evaluate` scores a fixed model, `stream` reads
one pass over a data set of the Hub; every rank writes `rank-N.json` with the world size it sees.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_universal import TINY

from hfseg.config.training import SegmentationTrainingArguments
from hfseg.data import load_dataset
from hfseg.data.samples import EvaluationSamples, TrainingSamples
from hfseg.data.streaming import StreamedTrainingSamples
from hfseg.data.transforms import TrainingTransform
from hfseg.metrics.streaming import StreamingScores
from hfseg.models import load_model
from hfseg.training.losses import SegmentationLoss
from hfseg.training.trainer import SegmentationTrainer


def main(
    mode: str,
    data_folder: str,
    output: str,
    batch: str,
    accumulation: str,
    loss: str,
    name: str = "segformer-tiny",
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if mode == "stream":
        data, labels = load_dataset(data_folder, streaming=True)
    else:
        data, labels = load_dataset("folder", data_folder, train_val_test_split=(0.5, 0.5))
    split = data["validation"] if mode == "evaluate" else data["train"]
    model, processor = load_model(name, labels, pretrained=False, **TINY.get(name, {}))
    if mode == "update" and name == "segformer-tiny":
        # batch statistics depend on how a batch is divided: not what is tested here
        model.decode_head.batch_norm = torch.nn.Identity()
    args = SegmentationTrainingArguments(
        output_dir=output,
        per_device_train_batch_size=int(batch),
        per_device_eval_batch_size=int(batch),
        gradient_accumulation_steps=int(accumulation),
        max_steps=1,
        optim="sgd",
        learning_rate=1.0,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="steps",
        logging_steps=1,
        disable_tqdm=True,
        mixed_precision="no",
    )
    crop = (64, 64) if name in TINY else None
    transform = TrainingTransform("none" if mode == "stream" else "light", crop, 0)
    if mode == "stream":
        samples = StreamedTrainingSamples(
            split, transform, rank=args.process_index, world_size=args.world_size, passes=1
        )
    else:
        samples = TrainingSamples(split, transform)
    trainer = SegmentationTrainer(
        model=model,
        args=args,
        train_dataset=samples,
        eval_dataset=EvaluationSamples(data["validation"]),
        image_processor=processor,
        scores=StreamingScores(labels),
        loss=None
        if name in TINY
        else SegmentationLoss(loss, class_weights=[0.5, 1.0, 2.0][: len(labels)]),
    )
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    report: dict = {"world_size": trainer.accelerator.num_processes}
    if mode == "stream":
        batches = [batch["index"].tolist() for batch in trainer.get_train_dataloader()]
        report["keys"] = [key for batch in batches for key in batch]
        report["validation"] = len(data["validation"])
    else:
        report["samples"] = len(split)
    if mode == "update":
        trainer.train()
        report["loss"] = trainer.state.log_history[0]["loss"]
        if trainer.is_world_process_zero():
            save_file(dict(model.named_parameters()), folder / "weights.safetensors")
    elif mode == "evaluate":
        report["scores"] = trainer.evaluate()
        report["confusion"] = trainer.scores.confusion.tolist()
        report["images"] = len(trainer.scores.per_image)
    (folder / f"rank-{trainer.accelerator.process_index}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
