"""Experiments behind docs/labels.md: labels that were damaged on purpose, so the truth is known.

    python tests/label_experiments.py errors --seed 0 --output_dir runs/labels
    python tests/label_experiments.py autolabel --seed 0 --output_dir runs/labels
    python tests/label_experiments.py table --output_dir runs/labels

Scenes of toyscapes and a small SegFormer from random weights; a seed is minutes on one core. What
is done is kept, so a command that was stopped goes on. Every result is a line of results.jsonl.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from hfseg.config.autolabel import AutolabelArguments
from hfseg.config.data import DataArguments
from hfseg.config.resolve import resolve
from hfseg.data.toyscapes import LABELS, draw_scene
from hfseg.sam.regions import Region, regions
from hfseg.workflows.autolabel import autolabel
from hfseg.workflows.find_label_errors import find_label_errors
from hfseg.workflows.finetune import finetune

OBJECTS = tuple(LABELS.names.index(name) for name in ("building", "tree", "car", "person"))
SHIFT = 15
SCENES, DAMAGED = 160, 16
TRAINING: dict[str, Any] = {
    "dataset_name": "folder",
    "model_name_or_path": "segformer-tiny",
    "from_scratch": True,
    "crop_size": "96x128",
    "augmentation": "light",
    "loss": "ce+dice",
    "learning_rate": 2e-3,
    "lr_scheduler_type": "polynomial",
    "warmup_steps": 30,
    "weight_decay": 0.01,
    "max_steps": 400,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 8,
    "eval_strategy": "no",
    "save_strategy": "steps",
    "save_steps": 200,
    "save_total_limit": 1,
    "logging_steps": 200,
    "dataloader_num_workers": 0,
    "mixed_precision": "no",
    "disable_tqdm": True,
}
"""The quickstart's, on smaller crops."""


# ---- damage ----


def swapped(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One object has another class."""
    region = _object(mask, rng)
    other = rng.choice([each for each in OBJECTS if each != region.class_id])
    return np.where(region.mask(mask.shape), other, mask).astype(np.uint8)


def dropped(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One object is missing: its pixels have the class of the nearest pixel around it."""
    gone = _object(mask, rng).mask(mask.shape)
    rows, columns = distance_transform_edt(gone, return_distances=False, return_indices=True)
    return mask[rows, columns]


def shifted(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask lies 15 pixels to the left or right of the image."""
    moved = np.pad(mask, ((0, 0), (SHIFT, SHIFT)), mode="edge")
    return moved[:, 2 * SHIFT :] if rng.random() < 0.5 else moved[:, : -2 * SHIFT]


def simplified(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every region is a polygon of few corners: 4 % of its outline may be cut off."""
    drawn = np.full_like(mask, LABELS.ignore_index)
    for region in regions(mask, len(LABELS), 0.002):  # the largest first, objects on top
        outlines, _ = cv2.findContours(
            region.mask(mask.shape).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        corners = [cv2.approxPolyDP(each, 0.04 * cv2.arcLength(each, True), True)
                   for each in outlines]  # fmt: skip
        cv2.fillPoly(drawn, corners, region.class_id)
    missing = drawn == LABELS.ignore_index
    rows, columns = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.where(mask == LABELS.ignore_index, mask, drawn[rows, columns])


def _object(mask: np.ndarray, rng: np.random.Generator) -> Region:
    """A region of half a percent of the image or more."""
    found = [each for each in regions(mask, len(LABELS), 0.005) if each.class_id in OBJECTS]
    return found[rng.integers(len(found))]


KINDS = (swapped, dropped, shifted, simplified)


# ---- data ----


def write_scenes(folder: Path, scenes: list[tuple[str, int]], damage: dict[int, Any]) -> Path:
    """A `folder` dataset; `damage`: position -> function of the mask."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    LABELS.save(folder / "labels.json")
    for position, (split, index) in enumerate(scenes):
        image, mask = draw_scene(split, index)
        mask = damage.get(position, lambda mask: mask)(mask)
        Image.fromarray(image).save(folder / "images" / f"{position:03d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{position:03d}.png")
    return folder


def chosen(split: str, count: int, seed: int) -> list[tuple[str, int]]:
    order = np.random.default_rng((seed, 7)).permutation({"train": 400}.get(split, 80))
    return [(split, int(index)) for index in order[:count]]


# ---- experiments ----


def errors(seed: int, output: Path, folds: int) -> list[dict[str, Any]]:
    """10 % of the masks are damaged: how many of them are among the top 10 %?"""
    folder = output / f"errors-{seed}"
    rng = np.random.default_rng((seed, 1))
    kinds = dict(zip(rng.permutation(SCENES)[:DAMAGED].tolist(), KINDS * 4, strict=True))
    if not (folder / "data").is_dir():
        damage = {position: partial(kind, rng=rng) for position, kind in kinds.items()}
        write_scenes(folder / "data", chosen("train", SCENES, seed), damage)
    options = {
        **TRAINING, "seed": seed, "dataset_path": str(folder / "data"),
        "output_dir": str(folder / "out"),
    }  # fmt: skip
    found = find_label_errors(options, folds)
    kind_of = {position: kind.__name__ for position, kind in kinds.items()}
    methods = {
        "softmin": lambda image: -image.score,
        "loss": lambda image: image.loss,
        "worst region": lambda image: -min([each.score for each in image.suspects] or [1.0]),
    }
    return [
        {"method": name} | ranking({int(Path(i.name).stem): by(i) for i in found.images}, kind_of)
        for name, by in methods.items()
    ]


def ranking(suspicion: dict[int, float], kind_of: dict[int, str]) -> dict[str, Any]:
    """Precision among as many images as are damaged, and average precision; by kind too.

    By kind: the images with damage of the other kind are left out.
    """
    from sklearn.metrics import average_precision_score

    result: dict[str, Any] = {}
    for kind in ("all", *sorted(set(kind_of.values()))):
        wanted = {each for each, of in kind_of.items() if kind in ("all", of)}
        images = [each for each in suspicion if each in wanted or each not in kind_of]
        truth = [each in wanted for each in images]
        scores = [suspicion[each] for each in images]
        top = np.argsort(scores)[::-1][: len(wanted)]
        result[f"precision {kind}"] = float(np.mean([truth[each] for each in top]))
        result[f"average precision {kind}"] = float(average_precision_score(truth, scores))
    return result


def autolabeled(seed: int, output: Path) -> list[dict[str, Any]]:
    """A quarter of the labels; the rest labeled by the model trained on it; all labels."""
    folder = output / f"autolabel-{seed}"
    scenes = chosen("train", 160, seed)
    scored = {"validation": chosen("validation", 40, seed), "test": chosen("test", 80, seed)}
    runs = {}
    for name, count in (("quarter", 40), ("all", 160)):
        data = folder / f"data-{name}"
        if not data.is_dir():
            write_scenes(data / "train", scenes[:count], {})
            for split, of_split in scored.items():
                write_scenes(data / split, of_split, {})
            LABELS.save(data / "labels.json")
        runs[name] = run(seed, data, folder / name)
    pool = folder / "pool"
    if not pool.is_dir():
        write_scenes(pool, scenes[40:], {})
    wanted = AutolabelArguments(model_name_or_path=str(folder / "quarter"), precision=0.95)
    quarter = DataArguments(dataset_name="folder", dataset_path=str(folder / "data-quarter"))
    autolabel(wanted, quarter, [str(pool / "images")], str(folder / "labeled"))
    runs["student"] = run(
        seed, folder / "data-quarter", folder / "student",
        extra_dataset_path=str(folder / "labeled"), extra_weight=0.5,
    )  # fmt: skip
    return [{**runs, **stated_precision(folder / "labeled", pool), "stated": 0.95}]


def stated_precision(labeled: Path, pool: Path) -> dict[str, float]:
    """What the labels of the teacher are worth, by the ground truth it has not seen."""
    kept = right = pixels = 0
    for file in sorted((labeled / "masks").glob("*.png")):
        mask, truth = np.array(Image.open(file)), np.array(Image.open(pool / "masks" / file.name))
        known = truth != LABELS.ignore_index
        sure = known & (mask != LABELS.ignore_index)
        kept, right = kept + sure.sum(), right + (mask == truth)[sure].sum()
        pixels += known.sum()
    return {"precision": float(right / kept), "labeled": float(kept / pixels)}


def run(seed: int, data: Path, output: Path, **more: Any) -> float:
    """The mean IoU on the test split of a model trained on this data."""
    options = {**TRAINING, "seed": seed, "dataset_path": str(data), "output_dir": str(output)}
    if (output / "recipe.yaml").is_file():
        options["resume_from_checkpoint"] = True
    return float(finetune(resolve({**options, **more})).test_scores["mean_iou"])


def table(output: Path) -> None:
    """Means over the seeds, and the least and the largest value."""
    lines = (output / "results.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {json.dumps({k: v for k, v in json.loads(line).items() if not isinstance(v, float)},
                       sort_keys=True): json.loads(line) for line in lines}  # fmt: skip
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows.values():
        key = " ".join(str(row[name]) for name in ("experiment", "method") if name in row)
        groups.setdefault(key, []).append(row)
    for key, members in sorted(groups.items()):
        print(f"{key}: seeds {sorted(member['seed'] for member in members)}")
        for name in (name for name, value in members[0].items() if isinstance(value, float)):
            values = [member[name] for member in members]
            print(f"  {name}: {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("errors", "autolabel", "table"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/labels"))
    own = parser.parse_args()
    if own.what == "table":
        return table(own.output_dir)
    own.output_dir.mkdir(parents=True, exist_ok=True)
    results = (
        errors(own.seed, own.output_dir, own.folds)
        if own.what == "errors"
        else autolabeled(own.seed, own.output_dir)
    )
    with (own.output_dir / "results.jsonl").open("a", encoding="utf-8") as file:
        for result in results:
            line = json.dumps({"experiment": own.what, "seed": own.seed, **result})
            print(line, flush=True)
            file.write(line + "\n")


if __name__ == "__main__":
    main()
