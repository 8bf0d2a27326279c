"""The usual way, which the benchmarks compare with: a plain `Trainer`, set up as in transformers'
`examples/pytorch/semantic-segmentation/run_semantic_segmentation.py`."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hfseg.data.transforms import Size

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedModel, Trainer


class ExampleTransform:
    """The example's transform of a batch of rows, for `Dataset.with_transform`.

    Args:
        crop: (height, width) of the random crop.
        size: resize to this (height, width) first, or None; the example has no such step.
        mean, std: of the model's image processor.
    """

    def __init__(self, crop: Size, size: Size | None, mean: Any, std: Any) -> None:
        import albumentations as A
        from albumentations.pytorch import ToTensorV2

        self.transforms = A.Compose(
            [
                *([A.Resize(*size)] if size is not None else []),
                # the example pads images with 255; albumentations 2 calls this `fill`
                A.PadIfNeeded(*crop, border_mode=0, fill=255, p=1.0),
                A.RandomCrop(*crop, p=1.0),
                A.HorizontalFlip(p=0.5),
                A.Normalize(mean=mean, std=std, max_pixel_value=255.0, p=1.0),
                ToTensorV2(),
            ]
        )

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, torch.Tensor]:
        made = [
            self.transforms(image=np.array(image.convert("RGB")), mask=np.array(label))
            for image, label in zip(rows["image"], rows["label"], strict=True)
        ]
        return {
            "pixel_values": torch.stack([each["image"] for each in made]).to(torch.float),
            "labels": torch.stack([each["mask"] for each in made]).to(torch.long),
        }


def example_trainer(
    model: "PreTrainedModel",
    processor: Any,
    rows: "datasets.Dataset",
    *,
    crop: Size,
    size: Size | None = None,
    output_dir: str,
    use_cpu: bool,
    **arguments: Any,
) -> "Trainer":
    """A plain `Trainer` in the precision that it has by default, float32.

    Args:
        rows: columns `image` and `label`.
        arguments: of `TrainingArguments`, such as the batch size.
    """
    from transformers import (
        PrinterCallback,
        ProgressCallback,
        Trainer,
        TrainingArguments,
        default_data_collator,
    )

    transform = ExampleTransform(crop, size, processor.image_mean, processor.image_std)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=output_dir, remove_unused_columns=False, use_cpu=use_cpu,
            save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
            dataloader_pin_memory=not use_cpu, **arguments,
        ),
        train_dataset=rows.select_columns(["image", "label"]).with_transform(transform),
        data_collator=default_data_collator,
        processing_class=processor,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer
