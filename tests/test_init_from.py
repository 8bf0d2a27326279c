"""`--init_from`: a run starts with the weights of a trained model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from model_tester import LABELS, assert_same_state
from tiny_universal import EOMT, MASK2FORMER
from transformers import set_seed

from hfseg.config.resolve import parse
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.models import load_model
from hfseg.models.init_from import start_from
from hfseg.models.loading import encoder_parts
from hfseg.workflows.assemble import make_model

SWIN = {key: value for key, value in MASK2FORMER.items() if key.startswith("backbone_config")}
UPERNET = {**SWIN, "hidden_size": 16, "auxiliary_channels": 16}


def saved(folder: Path, name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    set_seed(0)
    model, processor = load_model(name, LABELS, pretrained=False, **options)
    processor.image_mean = [0.1, 0.2, 0.3]
    for part in (model, processor):
        part.save_pretrained(folder)
    return model, processor


def test_the_same_architecture_starts_as_the_whole_model(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO", logger="hfseg")
    trained, _ = saved(tmp_path, "segformer-tiny", {})
    flags = ["--dataset_name", "folder", "--model_name_or_path", "segformer-tiny", "--init_from"]
    set_seed(1)
    model, processor = make_model(parse([*flags, str(tmp_path)]), LABELS)
    assert_same_state(model, trained)
    assert list(processor.image_mean) == [0.1, 0.2, 0.3]
    assert f"--init_from {tmp_path}: the whole model" in caplog.text


@torch.no_grad()
def test_the_head_keeps_classes_of_the_same_name(tmp_path: Path) -> None:
    trained, _ = saved(tmp_path, "segformer-tiny", {})
    labels = LabelSet(("roof", "tree"))
    model, _ = load_model("segformer-tiny", labels, pretrained=False)
    start_from(model, str(tmp_path), labels)
    image = torch.randn(1, 3, 64, 64)
    before, after = (each.eval()(pixel_values=image).logits for each in (trained, model))
    torch.testing.assert_close(after[:, 0], before[:, LABELS.names.index("roof")])


@pytest.mark.parametrize(
    ("trained", "options", "name", "others"),
    [
        ("deeplabv3plus-resnet18", {}, "unet-resnet18", {}),
        ("mask2former-swin-tiny", MASK2FORMER, "upernet-swin-tiny", UPERNET),
        ("eomt-vit-small", EOMT, "eomt-vit-small", {**EOMT, "num_queries": 5}),
    ],
)
def test_another_architecture_starts_with_the_encoder(
    trained, options, name, others, tmp_path: Path, caplog
) -> None:
    caplog.set_level("INFO", logger="hfseg")
    source, _ = saved(tmp_path, trained, options)
    model, _ = load_model(name, LABELS, pretrained=False, **others)
    start_from(model, str(tmp_path), LABELS)
    parts = encoder_parts(source).values()
    for ours, theirs in zip(encoder_parts(model).values(), parts, strict=True):
        parameters = dict(theirs.named_parameters())
        for key, parameter in ours.named_parameters():
            assert torch.equal(parameter, parameters[key]), key
    assert "the encoder; the head starts at random" in caplog.text


@pytest.mark.parametrize(
    ("trained", "options", "name", "others"),
    [
        ("segformer-tiny", {}, "unet-resnet18", {}),
        ("eomt-vit-small", EOMT, "eomt-vit-small", {**EOMT, "hidden_size": 64}),
    ],
)
def test_another_encoder_is_refused(trained, options, name, others, tmp_path: Path) -> None:
    saved(tmp_path, trained, options)
    model, _ = load_model(name, LABELS, pretrained=False, **others)
    with pytest.raises(UserError, match=f"--init_from {tmp_path}: .*encoder"):
        start_from(model, str(tmp_path), LABELS)


@pytest.mark.parametrize("flag", [["--from_scratch"], ["--encoder_weights", "imagenet"]])
def test_a_second_source_of_weights_is_refused(flag: list[str]) -> None:
    with pytest.raises(UserError, match="--init_from provides the weights: leave"):
        parse(["--dataset_name", "folder", "--init_from", "runs/a", *flag])
