"""What the label commands are worth, measured where the ground truth is known.

    python scripts/label_experiments.py --parts errors student calibration --seeds 0 1 2 \\
        --output_dir runs/label-experiments --voc_path VOCdevkit/VOC2012 --voc_model MODEL

errors       a tenth of the masks is damaged; does `find-label-errors` rank those first?
student      a quarter of the labels is kept, and a model trained on it labels the rest
calibration  of a model of VOC on half of the validation split, measured on the other half

A part is measured once per seed and kept in OUTPUT_DIR/PART-SEED.json; finished models are kept
too, so a command that was stopped goes on. The tables are Markdown. Other flags are those of
`hfseg finetune`, for all models of the parts but calibration; by default toyscapes and a small
SegFormer from random weights.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from label_damage import KINDS
from label_parts import Experiment, Result, calibration, errors, student
from scipy import stats

from hfseg import UserError
from hfseg.config.resolve import parse_options, training_parser
from hfseg.disk import write_text

TRAINING = {
    "dataset_name": "toyscapes", "model_name_or_path": "segformer-tiny", "from_scratch": True,
    "augmentation": "light", "crop_size": "80x128", "loss": "ce+dice", "max_steps": 300,
    "per_device_train_batch_size": 4, "per_device_eval_batch_size": 16, "learning_rate": 2e-3,
    "head_lr_multiplier": 1, "lr_scheduler_type": "polynomial", "warmup_steps": 30,
    "logging_steps": 100, "eval_strategy": "no", "save_strategy": "no",
    "dataloader_num_workers": 0, "mixed_precision": "no", "disable_tqdm": True,
}  # fmt: skip
"""Of the models of all parts but calibration."""


# ---- tables ----


def errors_table(results: Sequence[Result]) -> list[list[str]]:
    methods = list(results[0])
    lines = [["damage", *(f"{each}: precision, area" for each in methods)]]
    for kind in ("all", *KINDS):
        cells = [[spread([result[m][kind][i] for result in results]) for i in (0, 1)]
                 for m in methods]  # fmt: skip
        lines.append([kind, *map(", ".join, cells)])
    return lines


def mean_table(results: Sequence[Result]) -> list[list[str]]:
    """One line per value."""
    lines = [["", "mean"]]
    return lines + [[name, spread([each[name] for each in results])] for name in results[0]]


def spread(values: Sequence[float]) -> str:
    """The mean, and half of the 95 % interval by Student's t over the seeds."""
    mean = f"{np.mean(values):.3f}"
    if len(values) < 2:
        return mean
    reach = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{mean} ± {reach:.3f}"


# ---- measuring ----


PARTS: dict[str, tuple[Callable[[Experiment], Result], Callable[..., list[list[str]]]]] = {
    "errors": (errors, errors_table),
    "student": (student, mean_table),
    "calibration": (calibration, mean_table),
}
"""Part -> what measures one seed, and what makes lines of a table of all seeds."""
_IMAGES = ("images", "validation_images", "test_images")
SETTINGS = {
    "errors": (*_IMAGES, "folds"),
    "student": (*_IMAGES, "precision"),
    "calibration": ("voc_path", "voc_model", "voc_images", "precision"),
}
"""Part -> the flags of this script that it depends on."""


def measured(part: str, experiment: Experiment, output: Path) -> Result:
    """The result of a part and a seed, read back if it was measured before."""
    file = output / f"{part}-{experiment.seed}.json"
    options = {} if part == "calibration" else experiment.options
    own = {key: experiment.own[key] for key in SETTINGS[part]}
    settings = json.loads(json.dumps({**options, **own}, default=str))
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        if before["settings"] != settings:
            raise UserError(f"{file} was measured with other flags; give another --output_dir")
        return before["result"]
    started, cpu = time.monotonic(), time.process_time()
    result = PARTS[part][0](experiment)
    record = {
        "result": result, "settings": settings, "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }  # fmt: skip
    write_text(file, json.dumps(record, indent=1) + "\n")
    return result


def main(argv: Sequence[str]) -> None:
    parser = training_parser("label_experiments.py", __doc__)

    def flag(name: str, **how: Any) -> None:
        parser.add_argument(name, **{"metavar": "N", "type": int, **how})

    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    flag("--seeds", nargs="+", default=[0, 1, 2])
    flag("--images", default=160, help="training images, drawn by the seed")
    flag("--validation_images", default=40, help="the first ones")
    flag("--test_images", default=80, help="the first ones")
    flag("--folds", default=3, help="of find-label-errors")
    parser.add_argument("--precision", type=float, default=0.95, help="of autolabel")
    parser.add_argument("--voc_path", metavar="DIR", help="for calibration: VOC2012")
    parser.add_argument(
        "--voc_model", metavar="DIR", help="for calibration: a model of its classes"
    )
    flag("--voc_images", default=100, help="of the validation split")
    names = {"parts", "seeds"}.union(*SETTINGS.values())
    given = parse_options(parser, argv)
    own = {name: given.pop(name, parser.get_default(name)) for name in names}
    output = Path(given.pop("output_dir", "runs/label-experiments"))
    for part in own["parts"]:
        results = []
        for seed in own["seeds"]:
            folder = output / f"seed-{seed}-of-{own['images']}"
            experiment = Experiment({**TRAINING, **given}, own, seed, folder)
            results.append(measured(part, experiment, output))
        lines = PARTS[part][1](results)
        lines.insert(1, ["---"] * len(lines[0]))
        seeds = ", ".join(map(str, own["seeds"]))
        print(f"\n{part}, seeds {seeds}\n")
        print("\n".join(f"| {' | '.join(line)} |" for line in lines), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
