"""Trained weights on real images; run where the sample data lies beside the repository."""

import os
from pathlib import Path

import pytest

from hfseg.config.training import SegmentationTrainingArguments
from hfseg.data import load_dataset
from hfseg.data.samples import EvaluationSamples
from hfseg.metrics.streaming import StreamingScores
from hfseg.models import load_model
from hfseg.training.trainer import SegmentationTrainer

REPOSITORY = Path(__file__).parent.parent
DATA = Path(os.environ.get("HFSEG_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
WEIGHTS = DATA.parent / "weights"


def real(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"real data: set HFSEG_REAL_DATA to a folder with {path.name}")
    return path


@pytest.mark.slow
def test_deeplabv3plus_of_the_hub_scores_on_voc_what_a_plain_loop_measured(tmp_path: Path) -> None:
    """0.709 was measured on other images of VOC 2012 val; these are 100 of them."""
    data, labels = load_dataset("voc", str(real(DATA / "VOCdevkit")), split="validation")
    weights = real(WEIGHTS / "deeplabv3_mnv2_voc")
    model, processor = load_model(str(weights), labels)
    trainer = SegmentationTrainer(
        model=model,
        args=SegmentationTrainingArguments(
            output_dir=str(tmp_path), disable_tqdm=True, per_device_eval_batch_size=4,
            mixed_precision="no",
        ),
        eval_dataset=EvaluationSamples(data["validation"]),
        image_processor=processor,
        scores=StreamingScores(labels),
    )  # fmt: skip
    scores = trainer.evaluate()
    print(f"\n{len(data['validation'])} VOC images: mean_iou {scores['eval_mean_iou']:.4f}")
    assert len(data["validation"]) == 100
    assert 0.65 < scores["eval_mean_iou"] < 0.80
