"""`hfseg.finetune`, `hfseg.evaluate`, `hfseg.predict`: what the commands do, as Python calls."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_folder
from PIL import Image

import hfseg
from hfseg import LabelSet, UserError
from hfseg.config.resolve import resolve
from hfseg.config.run_recipe import how_to_resume

LABELS = LabelSet(("ground", "wall", "roof"))
SMALL = {
    "model": "segformer-tiny", "from_scratch": True, "crop_size": "32x48", "max_steps": 4,
    "augmentation": "light", "per_device_train_batch_size": 4, "mixed_precision": "no",
    "eval_strategy": "no", "learning_rate": 2e-3, "dataloader_num_workers": 0,
}  # fmt: skip


class Pairs(torch.utils.data.Dataset):
    """A torch dataset as people write it: (image, mask) read from files."""

    def __init__(self, folder: Path) -> None:
        self.images = sorted((folder / "images").iterdir())

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        path = self.images[index]
        mask = Image.open(path.parent.parent / "masks" / path.name)
        return Image.open(path), torch.from_numpy(np.array(mask)).long()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("api") / "data", count=20)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    output = tmp_path_factory.mktemp("api-run") / "run"
    return hfseg.finetune(
        dataset="folder", dataset_path=str(folder), output_dir=str(output), **SMALL
    )


def test_a_run_has_scores_a_segmenter_and_a_folder(run, folder: Path) -> None:
    assert 0 <= run.scores["mean_iou"] <= 1 and 0 <= run.test_scores["mean_iou"] <= 1
    assert run.segmenter(folder / "images" / "000.png").mask.shape == (48, 64)
    assert (run.output_dir / "model.safetensors").is_file()
    assert "mean_iou=" in repr(run)


def test_a_run_shows_its_scores_and_pictures_in_a_notebook(run) -> None:
    shown = run._repr_html_()
    assert "roof" in shown and "data:image/png;base64," in shown
    assert run.segmenter(Image.new("RGB", (64, 48)))._repr_png_().startswith(b"\x89PNG")


def test_a_torch_dataset_trains_as_the_folder_does(
    run, folder: Path, tmp_path: Path, capsys
) -> None:
    again = hfseg.finetune(
        dataset=Pairs(folder), labels=LABELS, output_dir=str(tmp_path / "run"), **SMALL
    )
    assert again.labels.names == run.labels.names
    assert 0 <= again.scores["mean_iou"] <= 1
    assert "data in memory: train 16, validation 2, test 2" in capsys.readouterr().out
    head = (again.output_dir / "recipe.yaml").read_text().splitlines()[:2]
    assert head[1] == "# hfseg.finetune(config='recipe.yaml', dataset=..., labels=...)"


def test_a_dataset_object_takes_the_place_of_the_recipes_dataset() -> None:
    for options in ({}, {"config": "camseq-unet-resnet50"}):
        arguments = resolve(options, objects=("dataset",))
        assert arguments.data.dataset_name is None and "label_mode" not in arguments.recipe
    assert resolve({}, objects=("dataset",)).recipe["model_name_or_path"] == "segformer-b0"
    assert "hfseg.finetune(output_dir=" in how_to_resume(arguments)


def test_a_dataset_without_names_is_scored_by_ids_or_refused(run, folder, tmp_path) -> None:
    data, _ = hfseg.load_dataset("folder", str(folder))
    options = {"split": "validation", "output_dir": str(tmp_path / "out")}
    scores = hfseg.evaluate(run.output_dir, data, **options)
    assert scores["mean_iou"] == pytest.approx(run.scores["mean_iou"], abs=1e-6)
    assert scores["dataset"] == "data in memory"
    two = LabelSet(("a", "b"))
    model, processor = hfseg.load_model("segformer-tiny", two, pretrained=False)
    with pytest.raises(UserError, match="no names for its 3 classes, and the model has 2"):
        hfseg.evaluate(hfseg.Segmenter(model, processor), data, split="test")


def test_a_dataset_dict_and_a_model_object_train(folder: Path, tmp_path: Path) -> None:
    data, labels = hfseg.load_dataset("folder", str(folder))
    model, processor = hfseg.load_model("segformer-tiny", labels, pretrained=False)
    options = {key: value for key, value in SMALL.items() if key not in ("model", "from_scratch")}
    run = hfseg.finetune(
        model=model, image_processor=processor, dataset=data, labels=labels,
        output_dir=str(tmp_path / "run"), **options,
    )  # fmt: skip
    assert 0 <= run.scores["mean_iou"] <= 1


def test_a_model_object_with_another_number_of_classes_is_refused(folder, tmp_path) -> None:
    model, processor = hfseg.load_model("segformer-tiny", LabelSet(("a", "b")), pretrained=False)
    with pytest.raises(UserError, match="has 2 classes but the dataset has 3"):
        hfseg.finetune(
            model=model, image_processor=processor, dataset="folder", dataset_path=str(folder),
            output_dir=str(tmp_path / "run"), crop_size=32,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_evaluate_gives_the_scores_of_the_run(run, folder: Path, tmp_path: Path) -> None:
    result = hfseg.evaluate(
        run.output_dir, "folder", dataset_path=str(folder), output_dir=str(tmp_path / "out")
    )
    assert result["mean_iou"] == pytest.approx(run.scores["mean_iou"], abs=1e-6)
    assert "roof" in result._repr_html_() and (result.output_dir / "results.json").is_file()


def test_predict_gives_segmentations_or_fills_a_folder(run, folder: Path, tmp_path: Path) -> None:
    images = [folder / "images" / "000.png", folder / "images" / "001.png"]
    found = hfseg.predict(run.output_dir, images)
    assert [each.mask.shape for each in found] == [(48, 64)] * 2
    assert hfseg.predict(run.output_dir, images, tmp_path / "out") == 2
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hfseg.finetune(learning_rat=1), "did you mean learning_rate"),
        (lambda: hfseg.finetune(learning_rate="fast"), "--learning_rate"),
        (lambda: hfseg.evaluate("runs/x", "toyscapes", splitt="test"), "did you mean split"),
        (lambda: hfseg.finetune(dataset=[1, 2], labels=LABELS), "expected an image and a mask"),
    ],
)
def test_a_wrong_call_is_one_sentence(call, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()
