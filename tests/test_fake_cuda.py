"""Every hot path on CUDA tensors without values: one device, and no waiting for it.

The backward pass runs on fake tensors of the CPU, since autograd asks for a real CUDA device; what
depends on values raises there too.
"""

import numpy as np
import pytest
import torch
from fake_cuda import fake_tensors, make_fake
from families import FAMILIES
from PIL import Image
from tiny_sams import FAMILY as SAMS
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor

from hfseg.config.training import SegmentationTrainingArguments
from hfseg.inference.segmenter import Segmenter
from hfseg.labels import LabelSet
from hfseg.metrics.boundary import boundary_iou_counts
from hfseg.metrics.confusion import confusion_matrix, count_pairs
from hfseg.metrics.streaming import StreamingScores
from hfseg.models import load_model
from hfseg.sam import Prompt, SamPredictor
from hfseg.training import losses
from hfseg.training.losses import IMAGE_TERMS, PIXEL_TERMS, SegmentationLoss
from hfseg.training.trainer import SegmentationTrainer

LABELS = LabelSet(("ground", "wall", "roof"))
WEIGHTS = (0.5, 1.0, 2.0)
TERMS = (*PIXEL_TERMS, *IMAGE_TERMS)
SIZE = (64, 96)


@pytest.fixture
def known_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers the one question that a loss asks the device: Lovász's, which classes occur."""
    monkeypatch.setattr(losses, "classes_of_each_image", lambda labels, count: [[0, 2]] * 2)


def batch(device: str) -> dict[str, torch.Tensor]:
    return {
        "pixel_values": torch.randn(2, 3, *SIZE, device=device),
        "labels": torch.zeros(2, *SIZE, dtype=torch.int64, device=device),
        "index": torch.zeros(2, dtype=torch.int64, device=device),
    }


def make_trainer(name: str, folder) -> SegmentationTrainer:
    model, processor = load_model(name, LABELS, pretrained=False, **FAMILIES[name])
    trainer = SegmentationTrainer(
        model=model,
        args=SegmentationTrainingArguments(
            output_dir=str(folder), eval_strategy="no", save_strategy="no", mixed_precision="no"
        ),
        image_processor=processor,
        scores=StreamingScores(LABELS),
    )
    trainer._prepare_inputs = lambda inputs: inputs  # they are where they belong
    return trainer


# ---- training ----


@pytest.mark.usefixtures("known_classes")
@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_training_step_stays_on_the_device(name: str, device: str, tmp_path) -> None:
    trainer = make_trainer(name, tmp_path)
    with fake_tensors() as reads:
        trainer.loss = SegmentationLoss("+".join(TERMS), class_weights=WEIGHTS, label_smoothing=0.1)
        model = make_fake(trainer.model, device).train()
        inputs = batch(device)
        counts = trainer._get_num_items_in_batch([inputs, inputs], torch.device(device))
        # autocast is off where there is no real CUDA
        with torch.autocast(device, torch.bfloat16, enabled=device == "cpu"):
            loss, outputs = trainer.compute_loss(model, inputs, True, counts)
        assert loss.device.type == outputs.logits.device.type == device
        has_head = getattr(model, "auxiliary_head", None) is not None
        assert ("auxiliary_logits" in outputs) == has_head
        if device == "cpu":
            loss.backward()
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            assert gradients and all(isinstance(gradient, FakeTensor) for gradient in gradients)
    assert reads.count == 0


@pytest.mark.usefixtures("known_classes")
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", TERMS)
def test_a_loss_does_not_wait_for_the_device(name: str, weights) -> None:
    with fake_tensors() as reads:
        loss = SegmentationLoss(name, class_weights=weights)
        logits = torch.randn(2, 3, 16, 24, dtype=torch.bfloat16, device="cuda")
        labels = batch("cuda")["labels"]
        assert loss(logits, labels).device.type == "cuda"
    assert reads.count == 0


def test_only_lovasz_asks_the_device_which_classes_occur() -> None:
    for name in TERMS:
        with fake_tensors():
            logits, labels = torch.randn(2, 3, *SIZE, device="cuda"), batch("cuda")["labels"]
            if name == "lovasz":
                with pytest.raises(DataDependentOutputException, match="_local_scalar_dense"):
                    SegmentationLoss(name)(logits, labels)
            else:
                SegmentationLoss(name)(logits, labels)


def test_class_weights_move_to_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = SegmentationLoss("ce", class_weights=WEIGHTS)
    labels = torch.zeros(2, 4, 4, dtype=torch.int64, device="meta")
    loss.counts(labels)
    moved = loss.class_weights
    assert moved.device.type == "meta"
    loss.counts(labels)
    assert loss.class_weights is moved


def test_class_weights_that_moved_in_an_evaluation_can_train() -> None:
    loss = SegmentationLoss("ce", class_weights=WEIGHTS)
    labels = torch.zeros(2, 4, 4, dtype=torch.int64, device="meta")
    with torch.inference_mode():
        loss.counts(labels)
    logits = torch.randn(2, 3, 4, 4, device="meta", requires_grad=True)
    loss(logits, labels).backward()
    assert logits.grad.shape == logits.shape


# ---- evaluation ----


@pytest.mark.usefixtures("known_classes")
@pytest.mark.parametrize("loss", ["ce+dice+ohem", "lovasz"])
def test_a_prediction_step_reads_nothing_back(loss: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(losses, "classes_of_each_image", lambda labels, count: [[0, 2]])
    trainer = make_trainer("segformer-tiny", tmp_path)
    with fake_tensors() as reads:
        trainer.loss = SegmentationLoss(loss, class_weights=WEIGHTS)
        model = make_fake(trainer.model).eval()
        _, (counts, parts, bins), indices = trainer.prediction_step(model, batch("cuda"), False)
        assert counts.shape == (2, 4, 4) and parts.shape == (2, 2, 2) and bins.shape == (2, 3, 15)
        assert {each.device.type for each in (counts, parts, bins, indices)} == {"cuda"}
    assert reads.count == 0


def test_counting_pairs_reads_nothing_back_and_a_confusion_matrix_one_bit() -> None:
    with fake_tensors() as reads:
        labels = batch("cuda")["labels"]
        assert count_pairs(labels, labels, 3).device.type == "cuda"
        with pytest.raises(DataDependentOutputException, match="_local_scalar_dense"):
            confusion_matrix(labels, labels, 3)  # refuses ids that are no class, so has to look
    assert reads.count == 0


def test_boundary_iou_counts_read_nothing_back() -> None:
    with fake_tensors() as reads:
        labels = batch("cuda")["labels"][0]
        assert boundary_iou_counts(labels, labels, 3).device.type == "cuda"
    assert reads.count == 0


# ---- inference ----


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({}, 1),
        ({"tta": "flip,0.75,1.0"}, 1),
        ({"return_confidence": True, "return_probabilities": True}, 3),
        ({"sliding_window": 48, "stride": 32}, 6),
        ({"sliding_window": 48, "stride": 32, "tta": "flip"}, 6),
    ],
    ids=["plain", "views", "probabilities", "tiles", "tiles and views"],
)
@pytest.mark.parametrize("name", ["segformer-tiny", "deeplabv3plus-resnet18"])
def test_a_segmenter_reads_back_its_answers_alone(name: str, options, most: int) -> None:
    model, processor = load_model(name, LABELS, pretrained=False, **FAMILIES[name])
    image = Image.new("RGB", (SIZE[1], SIZE[0]))
    with fake_tensors() as reads:
        answer = Segmenter(make_fake(model), processor)(image, **options)
    assert answer.mask.shape == SIZE
    assert reads.count == most


def test_a_batch_is_read_back_at_once() -> None:
    model, processor = load_model("segformer-tiny", LABELS, pretrained=False)
    model.to(torch.bfloat16)
    images = [Image.new("RGB", (SIZE[1], SIZE[0]))] * 8
    with fake_tensors() as reads:
        answers = Segmenter(make_fake(model), processor)(images, batch_size=8)
    assert len(answers) == 8 and reads.count == 1


@pytest.mark.parametrize("kind", SAMS)
def test_prompting_sam_reads_back_scores_and_masks_alone(kind: str, monkeypatch) -> None:
    model, processor = SAMS[kind]()
    image = Image.fromarray(np.zeros((48, 64, 3), dtype=np.uint8))
    prompts = [Prompt(points=((10, 20),)), Prompt(points=((30, 20),))]
    prepared = processor.image_processor(image, return_tensors="pt")
    sizes = [tuple(size.tolist()) for size in prepared.get("reshaped_input_sizes", [])]
    with fake_tensors() as reads:
        inputs = {"pixel_values": torch.empty(prepared["pixel_values"].shape)}
        if sizes:
            inputs["reshaped_input_sizes"] = sizes
        monkeypatch.setattr(type(processor.image_processor), "__call__", lambda *_, **__: inputs)
        masks = SamPredictor(make_fake(model), processor).prompt_each(image, prompts)
    assert masks.masks.shape == (2, 48, 64)
    assert reads.count == 2
