"""What `Segmenter.from_pretrained` says of a checkpoint that it can't use."""

from pathlib import Path

import pytest
from tiny_segformer import TINY, save_tiny
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from hfseg.errors import UserError
from hfseg.inference import Segmenter


def refuse(path: Path | str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        Segmenter.from_pretrained(path)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_reported_without_asking_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("the network was asked"))
    refuse(tmp_path / "nothing", "there is no model folder .*nothing: train one")
    refuse("runs/nothing", "there is no model folder runs/nothing")


def test_a_name_that_the_hub_cannot_give_is_reported():
    refuse(
        "someone/no-such-model", "someone/no-such-model is not a local folder, and the Hub reports"
    )


def test_an_empty_folder_holds_no_model(tmp_path):
    refuse(tmp_path, "contains no model")


def test_a_classification_checkpoint_of_the_same_family_is_refused(tmp_path):
    # transformers would load it, with a random segmentation head
    SegformerForImageClassification(SegformerConfig(**TINY)).save_pretrained(tmp_path)
    refuse(tmp_path, "is not a trained semantic-segmentation checkpoint: it lacks 1. weights")


def test_a_classification_checkpoint_of_another_family_is_refused(tmp_path):
    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        image_size=32,
    )
    ViTForImageClassification(config).save_pretrained(tmp_path)
    refuse(tmp_path, "is not a semantic-segmentation checkpoint: give one that")


def test_damaged_weights_are_reported(tmp_path):
    save_tiny(tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").write_bytes(b"cut")
    refuse(tmp_path / "copy", "copy can't be loaded")


def test_a_missing_image_processor_is_reported(tmp_path):
    save_tiny(tmp_path / "copy")
    (tmp_path / "copy" / "preprocessor_config.json").unlink()
    refuse(tmp_path / "copy", "has no usable image processor")
