"""EoMT and Mask2Former through `load_model`: all that `ModelTester` asks, at small sizes."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from model_tester import LABELS, ModelTester
from PIL import Image
from tiny_universal import EOMT, EOMT_DINOV3, MASK2FORMER
from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation, pipeline

from hfseg.errors import UserError
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.models import load_model
from hfseg.models.auxiliary import supervised
from hfseg.models.freezing import Probe, freeze_encoder
from hfseg.models.loading import encoder_parts
from hfseg.models.universal import class_probabilities
from hfseg.training.checks import check_crop_size
from hfseg.training.universal_loss import UniversalLoss


def training_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """As the trainer adds it up, over all layers."""
    loss = UniversalLoss(model.config)
    output = model.train()(pixel_values=batch["pixel_values"])
    return sum(loss(prediction, batch["labels"]) for prediction, _ in supervised(output, 0.4))


class UniversalTester(ModelTester):
    """What differs: no labels in `forward`, and predictions of layers instead of logits."""

    gradient_checkpointing = False
    layers: ClassVar[int]
    """Predictions that are trained."""

    @pytest.fixture(scope="class")
    def square(self) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        labels = torch.randint(0, 3, (2, 64, 64), generator=generator)
        labels[:, :20] = 255
        return {"pixel_values": torch.randn(2, 3, 64, 64, generator=generator), "labels": labels}

    def test_own_loss_ignores_255(self, model, square) -> None:
        with pytest.raises(TypeError, match="takes no labels"):
            model(**square)

    def test_backward_touches_every_parameter(self, model, square) -> None:
        assert set(Probe(model).unused) == self.unused
        training_loss(model, square).backward()
        untouched = {name for name, p in model.named_parameters() if p.grad is None}
        assert untouched == self.unused

    def test_every_layer_is_trained(self, model, square) -> None:
        output = model.train()(pixel_values=square["pixel_values"])
        assert output.logits is None and len(output.layers) == self.layers
        assert output.layers[0].masks is output.masks_queries_logits

    def test_probe_finds_whether_one_image_is_too_few(self, model) -> None:
        assert not Probe(model).pools_to_one_pixel
        model.train()(pixel_values=torch.randn(1, 3, 64, 64))

    @torch.no_grad()
    def test_saved_model_loads_with_the_auto_classes(self, model, folder, square) -> None:
        loaded = AutoModelForUniversalSegmentation.from_pretrained(folder).eval()
        theirs = loaded(pixel_values=square["pixel_values"])
        ours = model(pixel_values=square["pixel_values"])
        assert torch.equal(theirs.class_queries_logits, ours.class_queries_logits)
        assert torch.equal(theirs.masks_queries_logits, ours.masks_queries_logits)
        assert LabelSet.from_config(loaded.config) == LABELS

    def test_pipeline_segments_an_image_at_its_own_size(self, model, folder) -> None:
        segment = pipeline("image-segmentation", model=str(folder))
        parts = segment(Image.new("RGB", (77, 53), (200, 30, 60)), subtask="semantic")
        assert {part["label"] for part in parts} <= set(LABELS.names)
        assert all(part["mask"].size == (77, 53) for part in parts)

    def test_bf16_autocast_trains(self, model, square) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = training_loss(model, square)
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert loss.isfinite() and all(gradient.isfinite().all() for gradient in gradients)

    @torch.no_grad()
    def test_weights_in_bf16_predict(self, model, batch) -> None:
        if hasattr(model, "attn_mask_probs"):
            model.attn_mask_probs.zero_()  # as after training
        logits = model.to(torch.bfloat16)(pixel_values=batch["pixel_values"].bfloat16()).logits
        assert logits.isfinite().all()

    def test_frozen_encoder_gets_no_gradient(self, model, square) -> None:
        freeze_encoder(model)
        training_loss(model, square).backward()
        for part in encoder_parts(model).values():
            assert all(parameter.grad is None for parameter in part.parameters())
        assert model.class_predictor.weight.grad is not None

    @torch.no_grad()
    def test_scores_are_sums_of_probabilities(self, model, batch) -> None:
        scores = model(pixel_values=batch["pixel_values"]).logits
        assert scores.shape == (2, 3, *batch["pixel_values"].shape[-2:])
        assert (scores >= 0).all() and scores.sum(1).max() <= model.config.num_queries
        torch.testing.assert_close(class_probabilities(scores).sum(1), torch.ones(2, 64, 96))


class TestEomt(UniversalTester):
    name = "eomt-vit-small"
    model_config: ClassVar = EOMT
    layers = 3


class TestEomtDinov3(UniversalTester):
    name = "eomt-dinov3-vits"
    model_config: ClassVar = EOMT_DINOV3
    layers = 3


class TestMask2Former(UniversalTester):
    name = "mask2former-swin-tiny"
    model_config: ClassVar = MASK2FORMER
    unused: ClassVar = {
        f"model.pixel_level_module.encoder.swin.layernorm.{part}" for part in ("weight", "bias")
    }
    layers = 4


# ---- scores beside transformers' own post-processing ----


def sharpen(model: Any, mask_head: torch.nn.Linear) -> None:
    """Random heads answer alike everywhere; these make a difference."""
    torch.manual_seed(2)
    model.class_predictor.weight.data.normal_(0, 1)
    mask_head.weight.data.normal_(0, 20)


def photo(height: int, width: int) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@torch.no_grad()
def test_mask2former_answers_as_transformers_does_at_its_size_of_384() -> None:
    torch.manual_seed(0)
    model, processor = load_model("mask2former-swin-tiny", LABELS, pretrained=False, **MASK2FORMER)
    transformer = model.model.transformer_module
    for queries in (transformer.queries_features, transformer.queries_embedder):
        queries.weight.data.normal_(0, 3)
    decoder = transformer.decoder
    sharpen(model, decoder.mask_predictor.mask_embedder.layers[-1].layers[0])
    processor = type(processor)(
        **{**processor.to_dict(), "do_resize": True, "size": {"height": 384, "width": 384}}
    )
    image = photo(50, 70)
    ours = Segmenter(model, processor)(image, return_probabilities=True)
    outputs = model(**processor(image, return_tensors="pt"))
    (theirs,) = processor.post_process_semantic_segmentation(
        outputs, target_sizes=[(50, 70)], return_segmentation_scores=True
    )
    np.testing.assert_array_equal(ours.mask, theirs.segmentation.numpy())
    expected = class_probabilities(theirs.segmentation_scores, dim=0).numpy()
    assert expected.std((1, 2)).max() > 1e-3
    np.testing.assert_allclose(ours.probabilities, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [(64, 64), (64, 150), (150, 64), (100, 70)])
@torch.no_grad()
def test_eomt_answers_as_transformers_does_by_windows(size: tuple[int, int], tmp_path) -> None:
    model, processor = load_model("eomt-vit-small", LABELS, pretrained=False, **EOMT)
    sharpen(model, model.mask_head.fc3)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    image = photo(*size)
    ours = Segmenter.from_pretrained(tmp_path, device="cpu")(image).mask

    plain = AutoModelForUniversalSegmentation.from_pretrained(tmp_path).eval()
    theirs = AutoImageProcessor.from_pretrained(tmp_path)
    outputs = plain(**theirs(image, return_tensors="pt"))
    mask = theirs.post_process_semantic_segmentation(outputs, target_sizes=[size])[0]
    assert len(np.unique(ours)) > 1
    np.testing.assert_array_equal(ours, mask.numpy())


# ---- EoMT's size ----


@torch.no_grad()
def test_position_embeddings_are_interpolated_to_a_new_size(tmp_path, caplog) -> None:
    model, processor = load_model("eomt-vit-small", LABELS, pretrained=False, **EOMT)
    ramp = torch.linspace(0, 1, 4)
    model.embeddings.position_embeddings.weight[:] = ramp.repeat_interleave(4)[:, None]
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    larger, processor = load_model(str(tmp_path), LABELS, image_size=128)
    assert larger.config.image_size == 128 and processor.size["shortest_edge"] == 128
    assert "reinitialized" not in caplog.text
    rows = larger.embeddings.position_embeddings.weight[:, 0].unflatten(0, (8, 8))
    torch.testing.assert_close(rows, rows[:, :1].expand(-1, 8))
    assert (rows[1:, 0] > rows[:-1, 0]).all()
    for name, part in encoder_parts(model).items():
        if name != "embeddings":
            assert all(
                torch.equal(one, two)
                for one, two in zip(
                    part.parameters(), larger.get_submodule(name).parameters(), strict=True
                )
            )
    assert larger.train()(pixel_values=torch.randn(1, 3, 128, 128)).layers
    larger.save_pretrained(tmp_path / "larger")
    again = AutoModelForUniversalSegmentation.from_pretrained(tmp_path / "larger")
    assert torch.equal(
        again.embeddings.position_embeddings.weight, larger.embeddings.position_embeddings.weight
    )


def test_a_size_that_is_not_a_multiple_of_the_patch_is_refused(tmp_path) -> None:
    model, _ = load_model("eomt-vit-small", LABELS, pretrained=False, **EOMT)
    model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="give a multiple of the patch size, 16"):
        load_model(str(tmp_path), LABELS, image_size=100)


@pytest.mark.parametrize("crop", [None, (64, 96), (128, 128)])
def test_eomt_asks_for_crops_of_its_size(crop) -> None:
    model, _ = load_model("eomt-vit-small", LABELS, pretrained=False, **EOMT)
    check_crop_size(model, (64, 64))
    with pytest.raises(UserError, match="give --crop_size 64, or another size"):
        check_crop_size(model, crop)


# ---- encoders ----


@pytest.mark.parametrize("patch", [14, 16])
@pytest.mark.parametrize("kind", ["dinov2", "dinov2_with_registers"])
@torch.no_grad()
def test_a_dinov2_encoder_becomes_an_eomt(kind: str, patch: int, tmp_path) -> None:
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, patch_size=patch,
        image_size=4 * patch,
    )  # fmt: skip
    encoder = AutoModel.from_config(config).eval()
    encoder.embeddings.position_embeddings.normal_()
    encoder.save_pretrained(tmp_path)
    options = {"num_blocks": 1, "num_queries": 4, "image_size": 64}
    model, _ = load_model("eomt-dinov2-vits", LABELS, encoder_weights=str(tmp_path), **options)
    tokens = model.embeddings(torch.zeros(1, 3, 64, 64))
    for layer in model.layers:
        tokens = layer(tokens)
    ours = model.layernorm(tokens)
    theirs = encoder(torch.zeros(1, 3, 4 * patch, 4 * patch)).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_dinov3_encoder_becomes_an_eomt(tmp_path) -> None:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        num_register_tokens=4,
    )  # fmt: skip
    encoder = DINOv3ViTModel(config).eval()
    encoder.save_pretrained(tmp_path)
    options = {"num_blocks": 1, "num_queries": 4, "image_size": 64}
    model, _ = load_model("eomt-dinov3-vits", LABELS, encoder_weights=str(tmp_path), **options)
    image = torch.randn(1, 3, 64, 64)
    positions = model.eval().rope_embeddings(image)
    tokens = model.embeddings(image)
    for layer in model.layers:
        tokens = layer(tokens, position_embeddings=positions)
    torch.testing.assert_close(
        model.layernorm(tokens), encoder(image).last_hidden_state, rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
def test_a_swin_encoder_becomes_a_mask2former(tmp_path) -> None:
    from transformers import SwinConfig, SwinModel

    torch.manual_seed(0)
    swin = SwinModel(SwinConfig(embed_dim=12, depths=[1, 1, 2, 1], num_heads=[3, 6, 12, 24]))
    swin.save_pretrained(tmp_path)
    options = {k: v for k, v in MASK2FORMER.items() if not k.startswith("backbone_config")}
    model, _ = load_model("mask2former-swin-tiny", LABELS, encoder_weights=str(tmp_path), **options)
    (encoder,) = encoder_parts(model).values()
    loaded = dict(encoder.named_parameters())
    for name, parameter in swin.named_parameters():
        assert torch.equal(loaded[f"swin.{name}"], parameter)
