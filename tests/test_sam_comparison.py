"""`scripts/compare_sam.py`: known scores with a SAM that knows the truth, and what is written."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from launch import REPOSITORY, environment
from PIL import Image
from scipy.ndimage import binary_erosion, distance_transform_edt, label
from tiny_sams import tiny_sam, tiny_sam2
from transformers import Sam2ImageProcessor, Sam2Processor

from hfseg.config.data import DataArguments
from hfseg.config.evaluation import EvaluationArguments, SamArguments
from hfseg.data.toyscapes import LABELS, draw_scene
from hfseg.errors import UserError
from hfseg.sam import SamPredictor
from hfseg.sam.measuring import Meter
from hfseg.visualization.sam_figures import UNTRAINED
from hfseg.workflows.compare_sam import compare, compare_sam

SCENES = (0, 2)  # without three regions in one corner, of which the sums by hand say nothing
FED = 96  # the side to which the double's processor squashes; coordinates must be scaled right
LARGE = 0.004  # share of the image
IDENTITY = np.minimum(np.arange(256), len(LABELS))


def components(mask: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(class, (H, W) bool) of every connected region."""
    found = []
    for index in np.unique(mask[mask < len(LABELS)]):
        numbered, count = label(mask == index)
        found += [(int(index), numbered == number) for number in range(1, count + 1)]
    return found


def clean_scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A toyscapes scene of large regions alone: the nearest takes what is small or ignored."""
    image, mask = draw_scene("validation", index)
    large = np.zeros(mask.shape, dtype=bool)
    for _, region in components(mask):
        # what erosion doesn't halve
        if region.mean() >= LARGE and eroded(region, 2).sum() > 0.6 * region.sum():
            large |= region
    nearest = distance_transform_edt(~large, return_distances=False, return_indices=True)
    return image, mask[tuple(nearest)]


def eroded(region: np.ndarray, pixels: int) -> np.ndarray:
    return binary_erosion(region, iterations=pixels, border_value=1) if pixels else region


class TruthfulSam(torch.nn.Module):
    """Answers like a SAM at the model's own boundary, with the true region that is meant.

    Args:
        scenes: pairs of image and truth.
        processor: tells how an image looks to the network, by which it is recognized.
        erosion: pixels that every answer lacks along its outline.
    """

    def __init__(self, scenes, processor, erosion: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(7))
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.truths = {}
        for image, truth in scenes:
            pixels = processor.image_processor(Image.fromarray(image), return_tensors="pt")
            self.truths[pixels["pixel_values"].numpy().tobytes()] = [
                (region, bounds(region), eroded(region, erosion)) for _, region in components(truth)
            ]

    def get_image_embeddings(self, pixel_values):
        return pixel_values

    def forward(
        self, image_embeddings, input_points=None, input_labels=None, input_boxes=None, *,
        multimask_output,
    ):  # fmt: skip
        found = self.truths[image_embeddings.numpy().tobytes()]
        height, width = found[0][0].shape
        count = (input_points if input_points is not None else input_boxes).shape[1]
        masks = []
        for number in range(count):
            if input_boxes is not None:
                box = input_boxes[0, number].numpy() * np.tile((width / FED, height / FED), 2)
                answer = max(found, key=lambda one: box_iou(box, one[1]))[2]
            else:
                x, y = input_points[0, number, 0].numpy() * (width / FED, height / FED)
                # a pixel's centre may come back a rounding error to the left
                row, column = int(y + 1e-3), int(x + 1e-3)
                answer = next(answer for region, _, answer in found if region[row, column])
            masks.append(answer)
        logits = torch.from_numpy(np.stack(masks) * 20.0 - 10.0).float()[None, :, None]
        scores = torch.full((1, count, 1), 0.97)
        if multimask_output:  # and two worse ones, which must not be taken
            logits = torch.cat([-logits, logits, -logits], dim=2)
            scores = torch.cat([scores - 0.5, scores, scores - 0.5], dim=2)
        return SimpleNamespace(pred_masks=logits, iou_scores=scores)


def bounds(region: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(region)
    return np.array([columns.min(), rows.min(), columns.max(), rows.max()])


def box_iou(one: np.ndarray, other: np.ndarray) -> float:
    def area(box: np.ndarray) -> float:
        return float(np.prod(np.maximum(box[2:] - box[:2] + 1, 0)))

    shared = np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])])
    return area(shared) / (area(one) + area(other) - area(shared))


class Says:
    """A model that predicts the truth, changed by a function."""

    def __init__(self, scenes, change) -> None:
        self.labels = LABELS
        self.model = torch.nn.Linear(2, 3)
        self.model.device = torch.device("cpu")
        self.answers = {image.tobytes(): change(truth) for image, truth in scenes}

    def segment(self, image, options, size):
        mask = self.answers[np.asarray(image).tobytes()]
        assert mask.shape == size
        return SimpleNamespace(mask=mask)


def shifted(truth: np.ndarray) -> np.ndarray:
    """One pixel to the right and one down."""
    return np.pad(truth, ((1, 0), (1, 0)), mode="edge")[:-1, :-1]


@pytest.fixture(scope="module")
def scenes():
    return [clean_scene(index) for index in SCENES]


@pytest.fixture(scope="module")
def rows(scenes):
    columns = {
        "image": [Image.fromarray(image) for image, _ in scenes],
        "label": [Image.fromarray(truth) for _, truth in scenes],
    }
    features = Features({"image": ImageFeature(), "label": ImageFeature()})
    return Dataset.from_dict(columns, features=features)


def compared(scenes, rows, change, erosion, prompts="boxes", points_per_side=10):
    processor = Sam2Processor(Sam2ImageProcessor(size={"height": FED, "width": FED}))
    sam = SamPredictor(TruthfulSam(scenes, processor, erosion), processor)
    seen = {}
    found = compare(
        Says(scenes, change), sam, rows, LABELS, IDENTITY, prompts=prompts,
        everything={"points_per_side": points_per_side, "box_nms_thresh": 0.999},
        show=lambda one: seen.setdefault(one.index, one),
    )  # fmt: skip
    scores = dict(zip(("model", "oracle", "prompted", "voted"), found.rows, strict=True))
    return {name: row.scores for name, row in scores.items()}, seen, found


def mean_iou(predictions, truths) -> float:
    """By hand, over the classes that occur."""
    hits, union = np.zeros((2, len(LABELS)))
    for prediction, truth in zip(predictions, truths, strict=True):
        for index in range(len(LABELS)):
            ours, theirs = prediction == index, truth == index
            hits[index] += (ours & theirs).sum()
            union[index] += (ours | theirs).sum()
    return float((hits[union > 0] / union[union > 0]).mean())


@pytest.mark.parametrize("prompts", ("boxes", "points", "both"))
def test_a_perfect_model_and_a_perfect_sam_score_one(scenes, rows, prompts):
    scores, _, _ = compared(scenes, rows, lambda truth: truth, 0, prompts)
    for name in ("model", "prompted", "voted"):
        assert scores[name] == dict.fromkeys(scores[name], 1.0), name


def test_boundaries_of_a_perfect_sam_correct_a_model(scenes, rows):
    scores, seen, _ = compared(scenes, rows, shifted, 0)
    truths = [truth for _, truth in scenes]
    assert scores["model"]["mean_iou"] == pytest.approx(mean_iou(map(shifted, truths), truths))
    assert scores["model"]["mean_iou"] < 0.97
    for index, truth in enumerate(truths):
        np.testing.assert_array_equal(seen[index].predictions["prompted"], truth)
    assert scores["prompted"]["mean_iou"] == scores["prompted"]["mean_boundary_iou"] == 1.0
    assert scores["voted"]["mean_boundary_iou"] > scores["model"]["mean_boundary_iou"]


@pytest.mark.parametrize("erosion, points_per_side", [(1, 10), (2, 4)])
def test_every_method_has_the_score_given_by_the_erosion(scenes, rows, erosion, points_per_side):
    scores, seen, _ = compared(scenes, rows, shifted, erosion, points_per_side=points_per_side)
    truths = [truth for _, truth in scenes]
    oracles, votes, prompted, found, expected = [], [], [], 0, 0
    grid = (np.arange(points_per_side) + 0.5) / points_per_side
    for truth in truths:
        ys, xs = (grid * truth.shape[0]).astype(int), (grid * truth.shape[1]).astype(int)
        covered = np.zeros(truth.shape, dtype=bool)
        asked_for = np.zeros(truth.shape, dtype=bool)
        for _, region in components(truth):
            core = eroded(region, erosion)
            expected += 1
            asked_for |= core
            if region[np.ix_(ys, xs)].any():  # a point of the grid lies on it
                covered |= core
                found += core.sum() > 0.5 * region.sum()
        rest = np.bincount(truth[~covered]).argmax()
        oracles.append(np.where(covered, truth, rest))
        votes.append(np.where(covered, truth, shifted(truth)))
        prompted.append(np.where(asked_for, truth, shifted(truth)))
    assert 0 < found < expected or points_per_side > 4
    for index in range(len(SCENES)):
        np.testing.assert_array_equal(seen[index].predictions["oracle"], oracles[index])
        np.testing.assert_array_equal(seen[index].predictions["voted"], votes[index])
        np.testing.assert_array_equal(seen[index].predictions["prompted"], prompted[index])
    for name, known in (("oracle", oracles), ("voted", votes), ("prompted", prompted)):
        assert scores[name]["mean_iou"] == pytest.approx(mean_iou(known, truths)), name
    assert scores["oracle"]["mask_recall"] == pytest.approx(found / expected)
    assert scores["prompted"]["mask_recall"] == 1.0


def test_mask_recall_of_the_model_follows_from_the_overlap_of_its_regions(scenes, rows):
    scores, _, found = compared(scenes, rows, lambda truth: np.zeros_like(truth), 0)
    truths = [truth for _, truth in scenes]
    regions = [region for truth in truths for _, region in components(truth)]
    whole = sum(region.mean() > 0.5 for region in regions)
    assert scores["model"]["mask_recall"] == pytest.approx(whole / len(regions))
    # one class predicted is one class refined, whatever SAM finds
    assert scores["voted"]["mean_iou"] == scores["model"]["mean_iou"]
    assert found.rows[0].million_parameters == 9 / 1e6
    assert [row.million_parameters for row in found.rows[1:]] == [7 / 1e6, 16 / 1e6, 16 / 1e6]
    assert found.rows[3].seconds > found.rows[0].seconds


def test_ignored_pixels_are_not_scored_for_any_method(scenes, rows):
    ignored = []
    for image, truth in scenes:
        truth = truth.copy()
        truth[:, -50:] = 255
        ignored.append((image, truth))
    columns = {
        "image": [Image.fromarray(image) for image, _ in ignored],
        "label": [Image.fromarray(truth) for _, truth in ignored],
    }
    features = Features({"image": ImageFeature(), "label": ImageFeature()})
    data = Dataset.from_dict(columns, features=features)
    scores, _, _ = compared(scenes, data, lambda truth: truth, 0)
    for name in ("model", "prompted", "voted"):
        assert scores[name]["mean_iou"] == scores[name]["mean_boundary_iou"] == 1.0, name


def test_the_meter_distinguishes_steps_by_their_memory():
    meter = Meter(torch.device("cpu"))
    with meter.step("large"):
        np.ones(2**25).sum()
    with meter.step("small"):
        pass
    assert meter.seconds["large"] > meter.seconds["small"]
    if not Path("/proc/self/clear_refs").exists():
        assert meter.peak_gib(("small", "large")) is None
    else:
        assert meter.peaks["large"] - meter.peaks["small"] > 2**27
        assert meter.peak_gib(("small", "large")) == meter.peaks["large"] / 2**30


# the script


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A small semantic model and a small SAM, in folders."""
    from test_evaluate_model import save_model

    folder = tmp_path_factory.mktemp("models")
    for name, make in (("sam", tiny_sam), ("sam2", tiny_sam2)):
        model, processor = make()
        model.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
    save_model(folder / "model")
    return folder


OPTIONS = {
    "points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.05,
    "num_figures": 2,
}  # fmt: skip


def run(models, data, output: Path, sam: str = "sam", **options):
    arguments = SamArguments(
        model_name_or_path=str(models / "model"),
        sam=str(models / sam),
        output_dir=str(output),
        **{**OPTIONS, **options},
    )
    return compare_sam(arguments, DataArguments(dataset_name="folder", dataset_path=str(data)))


def test_the_command_writes_tables_and_figures(tmp_path, models, segmentation_folder):
    out = tmp_path / "out"
    command = [
        sys.executable, str(REPOSITORY / "scripts" / "compare_sam.py"),
        "--model_name_or_path", str(models / "model"), "--sam", str(models / "sam2"),
        "--dataset_name", "folder", "--dataset_path", str(segmentation_folder),
        "--split", "train", "--max_eval_samples", "3", "--points_per_side", "3",
        "--pred_iou_thresh", "0", "--stability_score_thresh", "0.05", "--num_figures", "2",
        "--prompts", "both", "--output_dir", str(out),
    ]  # fmt: skip
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((out / "results.json").read_text())
    assert results["num_images"] == 3 and results["prompts"] == "both"
    assert results["sam_is_untrained"] is True
    assert list(results["methods"]) == ["model", "oracle", "prompted", "voted"]
    table = list(csv.DictReader((out / "comparison.csv").open()))
    for row in table:
        method = results["methods"][row["method"]]
        assert float(row["mean_iou"]) == method["mean_iou"]
        assert row["classes_from"] == ("ground truth" if row["method"] == "oracle" else "model")
        assert row["sam_is_untrained"] == "True"
        assert method["seconds_per_image"] > 0 and 0 <= method["mask_recall"] <= 1
    per_image = list(csv.DictReader((out / "images.csv").open()))
    assert len({row["image"] for row in per_image}) == 3
    assert all(row["image"].endswith(".png") for row in per_image)
    page = (out / "results.md").read_text()
    for text in (done.stdout, page):
        assert UNTRAINED in text and "SAM oracle (upper bound)" in text
        assert "SAM's masks have no classes" in text
        assert "Boundary IoU of SAM prompted by the model:" in text
    assert results["figures"] == ["figures/image-00000.png", "figures/image-00002.png"]
    for name in results["figures"]:
        assert f"]({name})" in page and Image.open(out / name).width > 1000
    assert done.stdout.splitlines()[-1].endswith(str(out))


def test_the_first_row_equals_the_scores_of_evaluate(tmp_path, models, segmentation_folder):
    from hfseg.workflows.evaluate import evaluate_model

    ours = run(models, segmentation_folder, tmp_path / "ours", num_figures=0)
    theirs = evaluate_model(
        EvaluationArguments(
            model_name_or_path=str(models / "model"), output_dir=str(tmp_path / "theirs")
        ),
        DataArguments(dataset_name="folder", dataset_path=str(segmentation_folder)),
    )
    for key in ("mean_iou", "mean_boundary_iou", "mean_boundary_f"):
        assert ours["methods"]["model"][key] == theirs[key]
    assert ours["figures"] == [] and not (tmp_path / "ours" / "figures").exists()


def test_a_trained_sam_is_not_flagged_as_untrained(tmp_path, models, segmentation_folder, capsys):
    model, processor = tiny_sam()
    with torch.no_grad():
        model.vision_encoder.neck.layer_norm1.bias.add_(0.01)
    model.save_pretrained(tmp_path / "trained")
    processor.save_pretrained(tmp_path / "trained")
    # `models / <absolute path>` is that absolute path
    results = run(models, segmentation_folder, tmp_path / "out", sam=str(tmp_path / "trained"))
    assert results["sam_is_untrained"] is False
    assert UNTRAINED not in capsys.readouterr().out + (tmp_path / "out/results.md").read_text()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sam": "model"}, "is not a model of the SAM family"),
        ({"sam": "nothing-there"}, "nothing-there"),
        ({"split": "dev"}, "dev"),
        ({"prompts": "lines"}, "choose from boxes, points, both"),
        ({"points_per_side": 0}, "points_per_side"),
        ({"num_figures": -1}, "num_figures"),
        ({"dtype": "int3"}, "dtype"),
        ({"class_map": "absent.json"}, "no such file"),
    ],
)
def test_invalid_input_is_reported_and_nothing_is_written(
    tmp_path, models, segmentation_folder, options, message
):
    with pytest.raises(UserError, match=message):
        run(models, segmentation_folder, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_results_are_replaced_only_on_request(tmp_path, models, segmentation_folder):
    run(models, segmentation_folder, tmp_path / "out", num_figures=0)
    with pytest.raises(UserError, match="already contains results"):
        run(models, segmentation_folder, tmp_path / "out")
    run(models, segmentation_folder, tmp_path / "out", num_figures=0, overwrite_output_dir=True)
