"""`hfseg find-label-errors`: what is suspicious, and by whose judgment."""

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from PIL import Image
from small_run import OPTIONS

from hfseg import load_dataset
from hfseg.data.rows import sample_names
from hfseg.errors import UserError
from hfseg.evaluation.label_quality import (
    JudgedImage,
    Suspect,
    self_confidence,
    softmin,
    suspects,
    with_suggestions,
)
from hfseg.labels import LabelSet
from hfseg.workflows import find_label_errors as workflow
from hfseg.workflows.label_errors_report import LabelErrors, write_label_errors

HEIGHT, WIDTH = 40, 60


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a model that is right with 0.9, and the ground truth it sees."""
    truth = np.zeros((HEIGHT, WIDTH), np.uint8)
    truth[10:20, 15:30] = 1
    probabilities = np.full((3, HEIGHT, WIDTH), 0.05, np.float32)
    np.put_along_axis(probabilities, truth[None].astype(int), 0.9, 0)
    return probabilities, truth


# ---- scores ----


def test_softmin_is_the_formula_of_the_paper() -> None:
    scores = np.array([0.9, 0.2, 0.55, np.nan])
    weights = np.exp((1 - scores[:3]) / 0.1)
    weights /= weights.sum()
    assert softmin(scores) == pytest.approx(float((weights * scores[:3]).sum()))
    assert softmin(np.array([np.nan])) == 1


def test_ignored_pixels_have_no_confidence() -> None:
    probabilities, label = scene()
    label[:3] = 255
    confidence = self_confidence(probabilities, label)
    assert np.isnan(confidence[:3]).all() and (confidence[3:] == np.float32(0.9)).all()


def test_a_wrong_object_is_a_suspect_with_its_box_and_both_classes() -> None:
    probabilities, label = scene()
    label[label == 1] = 2
    (found,) = suspects(probabilities, label)
    assert found.box == (15, 10, 30, 20) and found.pixels == 150
    assert (found.given, found.suggested) == (2, 1)
    assert found.score == pytest.approx(0.05)


def test_the_surer_the_model_the_more_suspicious_the_region() -> None:
    probabilities, label = scene()
    label[30:38, 40:55] = 1
    probabilities[:, 30:38, 40:55] = np.array([0.5, 0.4, 0.1], np.float32)[:, None, None]
    label[10:20, 15:30] = 2
    assert [each.given for each in suspects(probabilities, label)] == [2, 1]


def test_thin_strips_specks_and_ignored_regions_are_no_suspects() -> None:
    probabilities, label = scene()
    label[10, 15:30] = 0  # the boundary, one pixel off
    label[30, 40] = 2
    label[0:8, 0:8] = 255
    assert suspects(probabilities, label) == []


def test_suggestions_replace_the_suspects_and_nothing_else() -> None:
    probabilities, truth = scene()
    label = truth.copy()
    label[truth == 1] = 2
    label[30, 40] = 2
    found = suspects(probabilities, label)
    suggestion = with_suggestions(label, probabilities.argmax(0).astype(np.uint8), found)
    assert (suggestion[truth == 1] == 1).all() and suggestion[30, 40] == 2


# ---- the command ----


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[set, set]]]:
    """The output for 12 images with one wrong object, and what each model was trained on."""
    folder = tmp_path_factory.mktemp("errors")
    data = make_folder(folder / "data", count=12, size=(32, 32))
    options = {
        **OPTIONS, "dataset_path": str(data), "output_dir": str(folder / "out"),
        "max_steps": 2, "train_val_test_split": "0.5,0.25,0.25",
    }  # fmt: skip
    trained = []

    def spy(arguments, dataset):
        parts = dataset[0]
        trained.append(
            tuple(set(sample_names(parts[each], each)) for each in ("train", "validation"))
        )
        return finetune(arguments, dataset)

    finetune = workflow.finetune
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workflow, "finetune", spy)
        workflow.find_label_errors(options, folds=2)
        workflow.find_label_errors(options, folds=2)  # nothing is left to do
    return folder / "out", trained


def test_no_image_is_judged_by_a_model_that_was_trained_on_it(found) -> None:
    _, trained = found
    assert len(trained) == 2
    for train, held_out in trained:
        assert not train & held_out and len(train | held_out) == 12
    assert trained[0][1] | trained[1][1] == trained[0][0] | trained[0][1]


def test_all_splits_are_judged_and_the_worst_image_comes_first(found) -> None:
    output, _ = found
    images = read(output / "images.csv")
    assert len(images) == 12
    assert {row["split"] for row in images} == {"train", "validation", "test"}
    scores = [float(row["score"]) for row in images]
    assert scores == sorted(scores) and 0 <= scores[0] <= scores[-1] <= 1


def test_regions_are_listed_shown_and_suggested(found) -> None:
    output, _ = found
    regions = read(output / "label_errors.csv")
    assert regions  # after two steps the model is mostly wrong
    names = {"ground", "wall", "roof"}
    for row in regions:
        assert {row["given"], row["suggested"]} <= names and row["given"] != row["suggested"]
        assert 0 <= int(row["left"]) < int(row["right"]) <= 32
    scores = [float(row["score"]) for row in regions]
    assert scores == sorted(scores)
    page = (output / "label_errors.html").read_text(encoding="utf-8")
    crops = sorted((output / "crops").glob("*.jpg"))
    assert len(crops) == min(len(regions), 100)
    assert page.count("<img") == len(crops) and regions[0]["image"] in page
    images = [row for row in read(output / "images.csv") if row["regions"] != "0"]
    data, labels = load_dataset("folder", str(output / "suggestions"))
    assert sum(len(rows) for rows in data.values()) == len(images)
    assert labels.names == ("ground", "wall", "roof")


def test_results_of_other_images_are_not_mixed(found, tmp_path: Path) -> None:
    output, _ = found
    data = make_folder(tmp_path / "data", count=10, size=(32, 32))
    options = {**OPTIONS, "dataset_path": str(data), "output_dir": str(output)}
    with pytest.raises(UserError, match="contains results for other images"):
        workflow.find_label_errors(options, folds=2)


def test_a_page_escapes_names(tmp_path: Path) -> None:
    data, _ = load_dataset("folder", str(make_folder(tmp_path / "data", 10, (32, 32))))
    pool = workflow.Pool(data)
    suspect = Suspect((2, 2, 20, 20), 1, 2, 0.1, 100)
    image = JudgedImage("<b>.png", "train", 0, 0.1, 2.0, [suspect])
    masks = tmp_path / "out" / "folds" / "predictions"
    masks.mkdir(parents=True)
    Image.new("L", (32, 32)).save(masks / f"{image.stem}.png")
    labels = LabelSet(("<i>", "wall", "roof"))
    write_label_errors(LabelErrors([image], labels, tmp_path / "out"), pool.rows)
    page = (tmp_path / "out" / "label_errors.html").read_text(encoding="utf-8")
    assert "<b>" not in page and "<i>" not in page and "&lt;b&gt;.png" in page
