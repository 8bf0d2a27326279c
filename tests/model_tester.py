"""What every model must do. A test class per model inherits `ModelTester` and names the model."""

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tolerance import assert_same_logits
from transformers import (
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    PreTrainedModel,
    pipeline,
)
from transformers.modeling_outputs import SemanticSegmenterOutput

from hfseg.config.training import SegmentationTrainingArguments
from hfseg.labels import LabelSet
from hfseg.metrics.streaming import StreamingScores
from hfseg.models import load_model
from hfseg.models.auxiliary import auxiliary_loss_weight, expose_auxiliary_logits
from hfseg.models.freezing import Probe
from hfseg.models.loading import encoder_parts
from hfseg.models.logits import resize_logits
from hfseg.training.trainer import SegmentationTrainer

LABELS = LabelSet(("ground", "wall", "roof"))
SIZE = (64, 96)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Written out, to compare with: the mean over the pixels that are not 255."""
    log = resize_logits(logits.float(), labels.shape[-2:]).log_softmax(1)
    valid = labels != 255
    picked = log.gather(1, labels.where(valid, 0)[:, None])[:, 0]
    return -(picked * valid).sum() / valid.sum()


class ModelTester:
    name: ClassVar[str]
    model_config: ClassVar[dict[str, Any]] = {}
    unused: ClassVar[set[str]] = set()
    """Parameters no output depends on; they are frozen before a run."""
    gradient_checkpointing: ClassVar[bool] = True
    needs_two_images: ClassVar[bool] = False

    # ---- what the tests share ----

    @classmethod
    def build(cls, seed: int = 0) -> tuple[PreTrainedModel, Any]:
        torch.manual_seed(seed)
        model, processor = load_model(cls.name, LABELS, pretrained=False, **cls.model_config)
        for module in model.modules():  # statistics that make a difference
            if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        return model.eval(), processor

    @pytest.fixture(scope="class")
    def built(self) -> tuple[PreTrainedModel, Any]:
        return self.build()

    @pytest.fixture
    def model(self, built) -> Iterator[PreTrainedModel]:
        """A copy of its own for each test."""
        yield copy.deepcopy(built[0])

    @pytest.fixture(scope="class")
    def folder(self, built, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("saved")
        for part in built:
            part.save_pretrained(folder)
        return folder

    @pytest.fixture(scope="class")
    def batch(self) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        labels = torch.randint(0, 3, (2, *SIZE), generator=generator)
        labels[:, :20] = 255
        pixels = torch.randn(2, 3, *SIZE, generator=generator)
        return {"pixel_values": pixels, "labels": labels}

    # ---- the tests ----

    @torch.no_grad()
    def test_forward_returns_logits_for_every_class(self, model, batch) -> None:
        output = model(pixel_values=batch["pixel_values"])
        assert isinstance(output, SemanticSegmenterOutput)
        assert output.loss is None
        assert output.logits.shape[:2] == (2, 3)
        assert output.logits.isfinite().all()

    @torch.no_grad()
    def test_own_loss_ignores_255(self, model, batch) -> None:
        auxiliary: list[torch.Tensor] = []
        head = getattr(model, "auxiliary_head", None)
        if head is not None:
            head.register_forward_hook(lambda module, inputs, logits: auxiliary.append(logits))
        output = model(**batch)
        expected = cross_entropy(output.logits, batch["labels"])
        for logits in auxiliary:
            expected += auxiliary_loss_weight(model) * cross_entropy(logits, batch["labels"])
        assert output.loss.item() == pytest.approx(expected.item(), rel=1e-4)

    def test_backward_touches_every_parameter(self, model, batch) -> None:
        assert set(Probe(model).unused) == self.unused
        expose_auxiliary_logits(model)
        output = model.train()(pixel_values=batch["pixel_values"])
        loss = cross_entropy(output.logits, batch["labels"])
        has_head = getattr(model, "auxiliary_head", None) is not None
        assert ("auxiliary_logits" in output) == has_head
        if has_head:
            loss = loss + cross_entropy(output.auxiliary_logits, batch["labels"])
        loss.backward()
        untouched = {name for name, p in model.named_parameters() if p.grad is None}
        assert untouched == self.unused

    def test_probe_finds_whether_one_image_is_too_few(self, model) -> None:
        assert Probe(model).pools_to_one_pixel == self.needs_two_images
        one = torch.randn(1, 3, 128, 128)
        if self.needs_two_images:
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                model.train()(pixel_values=one)
        else:
            model.train()(pixel_values=one)

    @torch.no_grad()
    def test_saved_model_loads_with_the_auto_classes(self, model, folder, batch) -> None:
        loaded = AutoModelForSemanticSegmentation.from_pretrained(folder)
        assert type(loaded) is type(model)
        assert_same_state(loaded, model)
        expected = model(pixel_values=batch["pixel_values"]).logits
        assert_same_logits(loaded(pixel_values=batch["pixel_values"]).logits, expected)
        assert LabelSet.from_config(loaded.config) == LABELS
        processor = AutoImageProcessor.from_pretrained(folder)
        assert processor.do_reduce_labels is False

    def test_resume_and_best_model_restore_every_tensor(self, model, folder, tmp_path) -> None:
        other, processor = self.build(seed=5)
        trainer = SegmentationTrainer(
            model=other,
            args=SegmentationTrainingArguments(
                **{
                    "output_dir": str(tmp_path),
                    "report_to": "none",
                    "eval_strategy": "no",
                    "dataloader_pin_memory": False,
                },
                mixed_precision="no",
            ),
            image_processor=processor,
            scores=StreamingScores(LABELS),
        )
        trainer._load_from_checkpoint(str(folder))
        assert_same_state(other, model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(1.0)
        trainer.state.best_model_checkpoint = str(folder)
        trainer._load_best_model()
        assert_same_state(other, model)

    def test_weights_are_saved_as_safetensors_under_a_known_encoder(self, model, folder) -> None:
        assert load_file(folder / "model.safetensors")
        assert all(list(part.parameters()) for part in encoder_parts(model).values())

    def test_head_for_other_labels_is_reinitialised_and_named(
        self, model, folder, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, logger="hfseg")
        labels = LabelSet(("a", "b", "c", "d", "e"))
        loaded, _ = load_model(str(folder), labels)
        assert loaded.config.id2label == labels.id2label
        assert "reinitialized" in caplog.text
        for name, part in encoder_parts(model).items():
            assert_same_state(loaded.get_submodule(name), part)
        with torch.no_grad():
            logits = loaded(pixel_values=torch.randn(1, 3, *SIZE)).logits
        assert logits.shape[1] == 5 and logits.isfinite().all()
        assert logits.std() < 100

    def test_pipeline_segments_an_image_at_its_own_size(self, model, built) -> None:
        segment = pipeline("image-segmentation", model=model, image_processor=built[1])
        parts = segment(Image.new("RGB", (77, 53), (200, 30, 60)))
        assert {part["label"] for part in parts} <= set(LABELS.names)
        assert all(part["mask"].size == (77, 53) for part in parts)

    @pytest.mark.parametrize("size", [(33, 47), (129, 65), (7, 5)])
    @torch.no_grad()
    def test_images_of_any_size_work(self, model, size: tuple[int, int]) -> None:
        logits = model(pixel_values=torch.randn(1, 3, *size)).logits
        assert logits.isfinite().all()
        assert resize_logits(logits, size).shape == (1, 3, *size)

    def test_bf16_autocast_trains(self, model, batch) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model.train()(pixel_values=batch["pixel_values"]).logits
        loss = cross_entropy(logits, batch["labels"])
        loss.backward()
        assert loss.isfinite()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients and all(gradient.isfinite().all() for gradient in gradients)

    @torch.no_grad()
    def test_weights_in_bf16_predict(self, model, batch) -> None:
        logits = model.to(torch.bfloat16)(pixel_values=batch["pixel_values"].bfloat16()).logits
        assert logits.dtype == torch.bfloat16 and logits.isfinite().all()

    def test_gradient_checkpointing_changes_nothing_but_memory(self, model, batch) -> None:
        assert model.supports_gradient_checkpointing == self.gradient_checkpointing
        if not self.gradient_checkpointing:
            return
        other = copy.deepcopy(model)
        other.gradient_checkpointing_enable()
        for each in (model, other):
            torch.manual_seed(3)
            each.train()(**batch).loss.backward()
        saved = [count_stored(each, batch) for each in (model, other)]
        assert saved[1] < saved[0]
        for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
            if one.grad is not None:
                torch.testing.assert_close(two.grad, one.grad, msg=name, rtol=1e-3, atol=1e-5)
        fresh, checkpointed = dict(model.named_buffers()), dict(other.named_buffers())
        for name in fresh:
            torch.testing.assert_close(checkpointed[name], fresh[name], msg=name)

    @pytest.mark.slow
    @torch.no_grad()
    def test_compiled_model_gives_the_same_logits(self, model, batch) -> None:
        expected = model(pixel_values=batch["pixel_values"]).logits
        compiled = torch.compile(model)(pixel_values=batch["pixel_values"]).logits
        torch.testing.assert_close(compiled, expected, rtol=1e-3, atol=1e-4)


def assert_same_state(one: torch.nn.Module, two: torch.nn.Module) -> None:
    """Equal parameters and buffers, those that are not saved included."""
    tensors = [
        {**dict(each.named_parameters()), **dict(each.named_buffers())} for each in (one, two)
    ]
    assert tensors[0].keys() == tensors[1].keys()
    different = [name for name in tensors[0] if not torch.equal(tensors[0][name], tensors[1][name])]
    assert different == []


def count_stored(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> int:
    """Elements that one forward pass keeps for the backward pass."""
    stored: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        stored[tensor.data_ptr()] = tensor.numel()
        return tensor

    torch.manual_seed(4)  # dropped paths are not stored
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**batch).loss
    del loss
    return sum(stored.values())
