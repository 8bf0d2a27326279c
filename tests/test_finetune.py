"""The real script on a small folder: what it leaves, and who can load it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import make_folder
from launch import environment, run_finetune
from PIL import Image
from tolerance import UNDECIDED, assert_same_mask

LEFT_BY_A_RUN = {
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "README.md",
    "recipe.yaml",
    "trainer_state.json",
    "train_results.json",
    "eval_results.json",
    "test_results.json",
    "report/curves.png",
    "report/per_class_iou.png",
    "report/confusion_matrix.png",
    "report/predictions.png",
    "report/reliability.png",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Data folder, output folder and what was printed by a run of 20 steps."""
    folder = tmp_path_factory.mktemp("finetune")
    data = make_folder(folder / "my data é", count=30)
    done = run_finetune(
        "--dataset_name", "folder", "--dataset_path", str(data),
        "--output_dir", str(folder / "run"), "--model_name_or_path", "segformer-tiny",
        "--from_scratch", "--augmentation", "light", "--crop_size", "48x64",
        "--max_steps", "20", "--learning_rate", "2e-3", "--per_device_train_batch_size", "4",
        "--eval_strategy", "steps", "--eval_steps", "10",
        "--save_strategy", "steps", "--save_steps", "10", "--mixed_precision", "no",
    )  # fmt: skip
    return data, folder / "run", done.stdout


def test_run_leaves_all_that_the_contract_lists(run) -> None:
    _, output, _ = run
    left = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    assert left >= LEFT_BY_A_RUN
    for name in LEFT_BY_A_RUN:
        if name.endswith(".png"):
            assert Image.open(output / name).width > 300
    photos = sorted((output / "examples").glob("*.jpg"))
    assert 1 <= len(photos) <= 3  # for the demo, with their ground truth
    for photo in photos:
        mask = photo.with_name(f"{photo.stem}_mask.png")
        assert Image.open(mask).size == Image.open(photo).size


def test_last_line_is_the_score_and_the_folder(run) -> None:
    _, output, printed = run
    score = json.loads((output / "eval_results.json").read_text())["eval_mean_iou"]
    assert printed.strip().splitlines()[-1] == f"eval_mean_iou {score:.4f}  {output}"
    assert "mean IoU" in printed and "roof" in printed


def test_training_helped(run) -> None:
    _, output, _ = run
    scores = json.loads((output / "eval_results.json").read_text())
    assert scores["eval_mean_iou"] > 0.5
    assert {"eval_iou_ground", "eval_iou_wall", "eval_iou_roof"} <= scores.keys()


def test_reported_scores_are_those_of_a_plain_count_over_the_saved_model(run) -> None:
    """Score the saved folder by hand: PIL, numpy, transformers, nothing of ours but the split."""
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    from hfseg.data import load_dataset

    data, output, _ = run
    model = AutoModelForSemanticSegmentation.from_pretrained(output).eval()
    processor = AutoImageProcessor.from_pretrained(output)
    samples, _ = load_dataset("folder", str(data), split="validation")
    truth, predicted = [], []
    for row in samples["validation"]:
        outputs = model(**processor(row["image"], return_tensors="pt"))
        size = row["image"].size[::-1]
        mask = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])[0]
        label = np.array(row["label"])
        truth.append(label[label != 255])
        predicted.append(mask.numpy()[label != 255])
    truth, predicted = np.concatenate(truth), np.concatenate(predicted)
    ious = [
        ((truth == c) & (predicted == c)).sum() / ((truth == c) | (predicted == c)).sum()
        for c in range(3)
        if c in truth or c in predicted
    ]
    scores = json.loads((output / "eval_results.json").read_text())
    accuracy = (truth == predicted).mean()
    assert scores["eval_mean_iou"] == pytest.approx(np.mean(ious), abs=UNDECIDED)
    assert scores["eval_overall_accuracy"] == pytest.approx(accuracy, abs=UNDECIDED)


def test_only_the_recipe_holds_paths_of_this_machine(run) -> None:
    data, output, _ = run
    assert yaml.safe_load((output / "recipe.yaml").read_text())["dataset_path"] == str(data)
    for name in ("README.md", "config.json", "eval_results.json"):
        text = (output / name).read_text()
        assert str(data.parent) not in text and str(Path.home()) + "/" not in text


def test_loads_in_a_process_without_hfseg_with_the_same_mask(run, tmp_path: Path) -> None:
    from hfseg import Segmenter

    data, output, _ = run
    image = data / "images" / "003.png"
    expected = Segmenter.from_pretrained(output)(image, return_probabilities=True)
    scores = np.log(expected.probabilities)
    (tmp_path / "elsewhere.py").write_text(
        """
import sys
import numpy as np
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, pipeline

folder, image_file, output = sys.argv[1:]
image = Image.open(image_file)
processor = AutoImageProcessor.from_pretrained(folder)
model = AutoModelForSemanticSegmentation.from_pretrained(folder).eval()
outputs = model(**processor(image, return_tensors="pt"))
sizes = [image.size[::-1]]
auto = processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)[0].numpy()
piped = np.full(auto.shape, 255)
for segment in pipeline("image-segmentation", model=folder)(image_file):
    piped[np.array(segment["mask"]) > 0] = model.config.label2id[segment["label"]]
assert "hfseg" not in sys.modules
np.savez(output, auto=auto, piped=piped, palette=model.config.palette)
"""
    )
    done = subprocess.run(
        [sys.executable, "elsewhere.py", str(output), str(image), "masks.npz"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=""),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    masks = np.load(tmp_path / "masks.npz")
    assert_same_mask(masks["auto"], expected.mask, scores)
    assert_same_mask(masks["piped"], expected.mask, scores)
    assert masks["palette"].shape == (3, 3)


def test_recipe_repeats_the_run_to_the_same_weights(run, tmp_path: Path) -> None:
    _, output, _ = run
    run_finetune(
        "--config", str(output / "recipe.yaml"), "--output_dir", str(tmp_path / "again"),
    )  # fmt: skip
    first = (output / "model.safetensors").read_bytes()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == first


def test_finished_run_is_not_overwritten_by_accident(run) -> None:
    data, output, _ = run
    before = (output / "model.safetensors").stat().st_mtime_ns
    done = run_finetune(
        "--dataset_name", "folder", "--dataset_path", str(data), "--output_dir", str(output),
        "--model_name_or_path", "segformer-tiny", "--from_scratch",
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "already contains a run" in done.stderr and "Traceback" not in done.stderr
    assert (output / "model.safetensors").stat().st_mtime_ns == before
