"""`hfseg rank-unlabeled`: images the model is unsure of, unlike each other and the labeled ones."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_folder
from PIL import Image

from hfseg import LabelSet, Segmenter, load_model
from hfseg.config.data import DataArguments
from hfseg.config.rank_unlabeled import RankArguments
from hfseg.errors import UserError
from hfseg.evaluation.acquisition import k_center, rank, uncertainty
from hfseg.inference.encoder_features import EncoderFeatures
from hfseg.models.loading import encoder_parts
from hfseg.workflows import rank_unlabeled as workflow
from hfseg.workflows.evaluate import load_split

# ---- the choice ----


@pytest.mark.parametrize("kind", ["entropy", "margin"])
def test_uncertainty_is_0_for_a_sure_model_and_1_for_equally_likely_classes(kind: str) -> None:
    sure = np.zeros((4, 3, 5), np.float32)
    sure[2] = 1
    assert uncertainty(sure, kind) == pytest.approx(0, abs=1e-6)
    assert uncertainty(np.full((4, 3, 5), 0.25, np.float32), kind) == pytest.approx(1, abs=1e-6)
    assert uncertainty(np.ones((1, 3, 5), np.float32), kind) == 0


def test_entropy_and_margin_are_their_formulas() -> None:
    probabilities = np.array([0.7, 0.2, 0.1], np.float32)[:, None, None]
    entropy = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1)) / np.log(3)
    assert uncertainty(probabilities) == pytest.approx(entropy, abs=1e-6)
    assert uncertainty(probabilities, "margin") == pytest.approx(1 - (0.7 - 0.2), abs=1e-6)


def test_k_center_takes_the_farthest_from_all_before() -> None:
    line = np.array([[0.0], [1.0], [9.0], [10.0], [4.0]])
    assert k_center(line, 3) == [(0, np.inf), (3, 10.0), (4, 4.0)]
    assert [index for index, _ in k_center(line, 2, labeled=np.array([[10.0]]))] == [0, 4]
    assert sorted(index for index, _ in k_center(np.zeros((4, 2)), 4)) == [0, 1, 2, 3]


def test_only_candidates_are_chosen_and_the_others_follow_by_uncertainty() -> None:
    unsure = np.array([0.1, 0.9, 0.8, 0.7, 0.2])
    features = np.array([[50.0], [0.0], [0.1], [5.0], [90.0]])  # 0 and 4 differ most, but are sure
    ranked = rank(unsure, features, budget=2, candidates=1.5)
    assert [each.index for each in ranked] == [1, 3, 2, 4, 0]
    assert ranked[1].distance == 5 and np.isnan(ranked[2].distance)
    assert [each.index for each in rank(unsure, features, 2, 1)][:2] == [1, 2]
    assert [each.index for each in rank(unsure, None, 2, 1)] == [1, 2, 3, 4, 0]
    assert len(rank(unsure, features, budget=9, candidates=2)) == 5


# ---- the features ----


@pytest.mark.parametrize("name", ["segformer-tiny", "unet-resnet18", "deeplabv3plus-mobilenet-v2"])
def test_the_features_are_those_of_the_encoder_and_answers_stay(name: str) -> None:
    torch.manual_seed(0)
    model, processor = load_model(name, LabelSet(("a", "b")), pretrained=False)
    segmenter = Segmenter(model, processor)
    dark, bright = (np.full((64, 96, 3), value, np.uint8) for value in (20, 220))
    plain = segmenter(dark).mask
    with EncoderFeatures(segmenter.model) as features:
        found = []
        for image in (dark, bright, dark):
            mask = segmenter(image).mask
            found.append(features.take())
    np.testing.assert_array_equal(mask, plain)
    np.testing.assert_array_equal(found[0], found[2])
    assert found[0].ndim == 1 and np.linalg.norm(found[0]) == pytest.approx(1, abs=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-4
    assert not any(part._forward_hooks for part in encoder_parts(model).values())
    with pytest.raises(UserError, match="give --candidates 1"):
        features.take()


# ---- the command ----


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos, of which the last two are one."""
    folder = make_folder(tmp_path_factory.mktemp("ranked") / "new", 6, (32, 36)) / "images"
    (folder / "005.png").write_bytes((folder / "004.png").read_bytes())
    return folder


def ranking(model: Path, photos: Path, output: Path, labeled: bool = False, **options: object):
    wanted = RankArguments(model_name_or_path=str(model), **{"budget": 2, **options})
    data = DataArguments()
    if labeled:
        data = DataArguments(dataset_name="folder", dataset_path=str(model.parent / "data"))
    paths = workflow.rank_unlabeled(wanted, data, [str(photos)], str(output))
    with (output / "ranking.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [path.as_posix() for path in paths]
    return rows


def test_every_image_is_ranked_and_the_budget_is_marked(
    finished_run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = ranking(finished_run, photos, tmp_path, budget=3, candidates=1)
    assert [row["rank"] for row in rows] == list("123456")
    assert [row["label"] for row in rows] == ["yes"] * 3 + ["no"] * 3
    unsure = [float(row["uncertainty"]) for row in rows]
    assert unsure == sorted(unsure, reverse=True) and 0 < unsure[-1] <= unsure[0] < 1
    segmenter = Segmenter.from_pretrained(finished_run, device="cpu")
    first = segmenter(rows[0]["image"], return_probabilities=True)
    assert unsure[0] == pytest.approx(uncertainty(first.probabilities), abs=1e-4)
    assert "3 of 6 images to label next" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path)) == ["ranking.csv"]


def test_of_two_equal_photos_one_is_chosen(
    finished_run: Path, photos: Path, tmp_path: Path
) -> None:
    rows = ranking(finished_run, photos, tmp_path, budget=5, candidates=2)
    chosen = {Path(row["image"]).name for row in rows if row["label"] == "yes"}
    assert len(chosen) == 5 and len(chosen & {"004.png", "005.png"}) == 1


def test_what_is_labeled_already_is_not_chosen_again(finished_run: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    data = finished_run.parent / "data"
    train, _ = load_split("train", DataArguments(dataset_name="folder", dataset_path=str(data)))
    for index in range(3):
        train[index]["image"].save(mixed / f"old{index}.png")
    new = Image.fromarray(np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    new.save(mixed / "new.png")
    rows = ranking(finished_run, mixed, tmp_path / "out", labeled=True, budget=1, candidates=9)
    assert rows[0]["image"].endswith("new.png") and float(rows[0]["distance"]) > 0


def test_a_stopped_command_goes_on_and_a_ranking_is_not_replaced_by_accident(
    finished_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfseg.shared_work.SECONDS", 0.0)
    looked = []

    def counted(*arguments: object) -> float:
        looked.append(arguments)
        if len(looked) == 4:
            raise KeyboardInterrupt
        return uncertainty(*arguments)

    monkeypatch.setattr(workflow, "uncertainty", counted)
    with pytest.raises(KeyboardInterrupt):
        ranking(finished_run, photos, tmp_path / "out")
    rows = ranking(finished_run, photos, tmp_path / "out")
    assert len(looked) == 4 + 3  # three were done
    assert rows == ranking(finished_run, photos, tmp_path / "again")
    with pytest.raises(UserError, match=r"ranking.csv exists already"):
        ranking(finished_run, photos, tmp_path / "out")


def test_broken_files_are_named_after_the_others_are_ranked(
    finished_run: Path, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "good.png").write_bytes((photos / "000.png").read_bytes())
    (folder / "bad.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1 of 2 files can't be read(.|\n)*bad.png"):
        ranking(finished_run, folder, tmp_path / "out")
    assert "good.png" in (tmp_path / "out" / "ranking.csv").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 0}, "budget"),
        ({"candidates": 0.5}, "--candidates must be at least 1"),
        ({"uncertainty": "variance"}, "uncertainty"),
    ],
)
def test_impossible_choices_are_refused(options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        RankArguments(model_name_or_path="m", **{"budget": 2, **options})
