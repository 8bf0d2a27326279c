"""A run of seven steps, for tests of what a run leaves and how it goes on."""

from pathlib import Path

from conftest import make_folder

from hfseg.config.resolve import resolve
from hfseg.workflows.finetune import finetune

OPTIONS = {
    "dataset_name": "folder",
    "model_name_or_path": "segformer-tiny",
    "from_scratch": True,
    "augmentation": "light",
    "crop_size": "32",
    "learning_rate": 0.003,
    "lr_scheduler_type": "polynomial",
    "lr_power": 0.9,
    "max_steps": 7,
    "per_device_train_batch_size": 2,
    "dataloader_num_workers": 0,
    "eval_strategy": "steps",
    "eval_steps": 5,
    "logging_steps": 1,
    "mixed_precision": "no",
    "disable_tqdm": True,
}


def make_run(folder: Path) -> Path:
    """`folder/data` and the finished run `folder/run`, which is returned."""
    data = make_folder(folder / "data", count=13, size=(32, 32))
    output = folder / "run"
    finetune(resolve({**OPTIONS, "dataset_path": str(data), "output_dir": str(output)}))
    return output
