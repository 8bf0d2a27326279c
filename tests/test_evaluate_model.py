"""`scripts/evaluate_model.py`: what is scored, by which ids, and what is told about bad input."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from launch import REPOSITORY, environment
from PIL import Image
from tolerance import UNDECIDED
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

from hfseg.config.data import DataArguments
from hfseg.config.evaluation import EvaluationArguments
from hfseg.config.values import Fractions
from hfseg.data import load_dataset
from hfseg.data.rows import sample_names
from hfseg.errors import UserError
from hfseg.evaluation.claimed_score import claimed_mean_iou
from hfseg.evaluation.class_map import prediction_table
from hfseg.inference import Segmenter
from hfseg.labels import LabelSet
from hfseg.workflows.evaluate import _output_dir, evaluate_model

NAMES = ("ground", "wall", "roof")


def save_model(folder: Path, names=NAMES) -> Path:
    torch.manual_seed(0)
    config = SegformerConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8, id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )  # fmt: skip
    model = SegformerForSemanticSegmentation(config)
    with torch.no_grad():
        for parameter in model.decode_head.parameters():
            parameter.normal_()
    model.save_pretrained(folder)
    SegformerImageProcessor(do_resize=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


def evaluate(model, data, output: Path, **options):
    wanted = EvaluationArguments(model_name_or_path=str(model), output_dir=str(output), **options)
    return evaluate_model(wanted, DataArguments(dataset_name="folder", dataset_path=str(data)))


def test_the_folder_of_the_results_is_named_after_the_data(monkeypatch, tmp_path) -> None:
    wanted = EvaluationArguments(model_name_or_path="me/model", split="test")
    folders = [
        _output_dir(wanted, DataArguments(dataset_name=name, dataset_path=path)).name
        for name, path in (("folder", "a/mine"), ("coco", "b/theirs"), ("me/data", None))
    ]
    assert folders == ["model-mine-test", "model-theirs-test", "model-me-data-test"]


def test_images_that_the_model_was_trained_on_are_noticed(finished_run, tmp_path, caplog) -> None:
    def score(name: str, data: Path, split: str, **options) -> str:
        caplog.clear()
        wanted = EvaluationArguments(
            model_name_or_path=str(finished_run), output_dir=str(tmp_path / name), split=split
        )
        source = {"dataset_name": "folder", "dataset_path": str(data), **options}
        evaluate_model(wanted, DataArguments(**source))
        return caplog.text

    data = finished_run.parent / "data"
    fractions = Fractions("0.2,0.8,0")
    with caplog.at_level("WARNING", logger="hfseg"):
        assert "were used to train" not in score("same", data, "validation")
        assert "were used to train" not in score("train", data, "train")
        found = score("other", data, "validation", train_val_test_split=fractions)
        names = [
            set(sample_names(rows[split], split))
            for rows, split in (
                (load_dataset("folder", str(data))[0], "train"),
                (
                    load_dataset("folder", str(data), train_val_test_split=fractions)[0],
                    "validation",
                ),
            )
        ]
        shared = len(names[0] & names[1])
        assert f" {shared} of the 10 images of validation (such as " in found
        assert "at least" not in found and "were used to train" in found
        shutil.copytree(data, tmp_path / "data")
        for image in (tmp_path / "data" / "images").iterdir():  # other photos of the same names
            Image.open(image).rotate(180).save(image)
        other = {"train_val_test_split": fractions}
        assert "were used to train" not in score("new", tmp_path / "data", "validation", **other)


def test_scores_equal_those_of_the_segmenters_masks(tmp_path, model, segmentation_folder, capsys):
    results = evaluate(model, segmentation_folder, tmp_path / "out", split="train")
    data, _ = load_dataset("folder", str(segmentation_folder), split="train")
    segmenter = Segmenter.from_pretrained(model, device="cpu")
    hits, truth, predicted = np.zeros((3, 3))
    for row in data["train"]:
        label, mask = np.asarray(row["label"]), segmenter(row["image"]).mask
        for index in range(3):
            ours = (mask == index) & (label != 255)
            hits[index] += (ours & (label == index)).sum()
            truth[index] += (label == index).sum()
            predicted[index] += ours.sum()
    iou = hits / (truth + predicted - hits)
    found = [results["per_class"][name]["iou"] for name in NAMES]
    assert found == pytest.approx(iou, abs=UNDECIDED)
    assert results["mean_iou"] == pytest.approx(np.mean(found))
    low, high = results["mean_iou_interval_95"]
    assert low < results["mean_iou"] < high
    assert f"mean_iou {results['mean_iou']:.4f}" in capsys.readouterr().out.splitlines()[-1]


def test_evaluate_writes_results_table_ranking_and_figures(tmp_path, model, segmentation_folder):
    out = tmp_path / "out"
    results = evaluate(
        model, segmentation_folder, out, split="train", sliding_window=32, tta="flip"
    )
    stored = json.loads((out / "results.json").read_text())
    assert stored["mean_iou"] == results["mean_iou"] and stored["sliding_window"] == [32, 32]
    assert "Sliding window of 32 x 32" in (out / "results.md").read_text()
    rows = list(csv.DictReader((out / "images.csv").open()))
    assert {row["image"] for row in rows} <= {f"{index:03d}.png" for index in range(13)}
    ranking = [float(row["mean_iou"]) for row in rows]
    assert len(ranking) == stored["num_images"] and ranking == sorted(ranking)
    for name in ("per_class_iou", "confusion_matrix", "worst"):
        assert Image.open(out / f"{name}.png").width > 300
    with pytest.raises(UserError, match="already contains results"):
        evaluate(model, segmentation_folder, out, split="train")


def test_masks_without_names_are_scored_under_the_names_of_the_model(
    tmp_path, model, segmentation_folder
):
    (segmentation_folder / "classes.txt").unlink()
    results = evaluate(model, segmentation_folder, tmp_path / "out", split="train")
    assert tuple(results["per_class"]) == NAMES


# whose class is whose


def test_equal_names_are_matched_whatever_the_order_and_spelling():
    data = LabelSet(("sky", "traffic light", "car"))
    model = LabelSet(("Car", "Traffic_Light", "tree", "sky"))
    assert prediction_table(model, data)[:5].tolist() == [2, 1, 3, 0, 3]


def test_unnamed_classes_are_matched_by_id(caplog):
    data = LabelSet(("a", "b"))
    assert prediction_table(LabelSet(("LABEL_0", "LABEL_1")), data)[:3].tolist() == [0, 1, 2]
    assert caplog.text == ""
    assert prediction_table(data, LabelSet.numbered(2))[:3].tolist() == [0, 1, 2]
    assert "the dataset's ids are read as those of the model: 0 a, 1 b" in caplog.text


def test_unnamed_classes_of_another_number_are_refused():
    with pytest.raises(UserError, match=r"no names for its 2 classes.* 3 .*labels=run\.labels"):
        prediction_table(LabelSet(("a", "b", "c")), LabelSet.numbered(2))


def test_a_class_map_joins_classes_and_drops_others(tmp_path):
    data, model = LabelSet(("car", "road")), LabelSet(("car", "truck", "road", "sky"))
    (tmp_path / "map.yaml").write_text("truck: car\nsky: null\n")
    assert prediction_table(model, data, tmp_path / "map.yaml")[:4].tolist() == [0, 0, 1, 2]
    (tmp_path / "map.json").write_text(json.dumps({"road": None}))
    assert prediction_table(model, data, tmp_path / "map.json")[:4].tolist() == [0, 2, 2, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lorry: car", "the model has no class 'lorry'"),
        ("car: auto", "the dataset has no class 'auto'"),
        ("- car", "expected lines of"),
        ("{", "not readable as JSON or YAML"),
        ("car: null\nroad: null", "maps no model class to a dataset class"),
    ],
)
def test_an_invalid_class_map_is_reported_in_one_sentence(tmp_path, text, words):
    (tmp_path / "map.yaml").write_text(text)
    labels = LabelSet(("car", "road"))
    with pytest.raises(UserError, match=words) as caught:
        prediction_table(labels, labels, tmp_path / "map.yaml")
    assert "\n" not in str(caught.value)


def test_classes_without_a_match_are_reported_with_the_remedy():
    with pytest.raises(UserError, match=r"'roof' has no match.*give --class_map FILE"):
        prediction_table(LabelSet(("ground", "wall")), LabelSet(NAMES))


def test_a_missing_class_map_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        prediction_table(LabelSet(NAMES), LabelSet(NAMES), tmp_path / "none.json")


# the claim of a card


def write_card(folder: Path, value: float) -> None:
    (folder / "README.md").write_text(
        "---\nmodel-index:\n- name: m\n  results:\n  - task:\n      type: image-segmentation\n"
        "    dataset:\n      type: folder\n      name: folder\n      split: train\n"
        f"    metrics:\n    - type: mean_iou\n      value: {value}\n---\n# m\n"
    )


def test_a_claim_equal_to_the_measured_score_is_confirmed(tmp_path, segmentation_folder, capsys):
    model = save_model(tmp_path / "model")
    results = evaluate(model, segmentation_folder, tmp_path / "first", split="train")
    write_card(model, round(results["mean_iou"], 4))
    evaluate(model, segmentation_folder, tmp_path / "second", split="train", check_card=True)
    assert "they agree" in capsys.readouterr().out
    write_card(model, 0.99)
    with pytest.raises(SystemExit) as caught:
        evaluate(model, segmentation_folder, tmp_path / "third", split="train", check_card=True)
    assert caught.value.code == 1
    assert "card 0.9900" in capsys.readouterr().out and (tmp_path / "third/results.json").exists()


def test_a_missing_card_or_claim_is_reported(tmp_path):
    with pytest.raises(UserError, match="has no model card"):
        claimed_mean_iou(str(tmp_path), "validation")
    (tmp_path / "README.md").write_text("# a model\n")
    with pytest.raises(UserError, match="claims no mean_iou"):
        claimed_mean_iou(str(tmp_path), "validation")


# bad input: one sentence, nothing written


def test_an_unknown_split_is_reported(tmp_path, model, segmentation_folder):
    with pytest.raises(UserError, match="no split 'holdout'; it has train, validation, test"):
        evaluate(model, segmentation_folder, tmp_path / "out", split="holdout")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_one_sentence_without_a_traceback(tmp_path, segmentation_folder):
    from transformers import SegformerForImageClassification

    SegformerForImageClassification(SegformerConfig(depths=[1] * 4)).save_pretrained(tmp_path / "m")
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "evaluate_model.py"), "--model_name_or_path",
         str(tmp_path / "m"), "--dataset_name", "folder", "--dataset_path",
         str(segmentation_folder)],
        env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    printed = done.stderr.splitlines()
    assert printed[-1].startswith("error: ") and len(printed) == 2  # and of the small splits
    assert "not a trained semantic-segmentation checkpoint" in done.stderr
    assert not (tmp_path / "runs").exists()
