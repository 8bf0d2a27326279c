"""`--report_to tensorboard` shows predictions beside the curves."""

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from launch import run_finetune
from PIL import Image

pytest.importorskip("tensorboard", reason="TensorBoard: pip install tensorboard")


@pytest.mark.slow
def test_predictions_are_shown_after_every_evaluation(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data, output = make_folder(tmp_path / "data", count=13), tmp_path / "run"
    run_finetune(
        "--dataset_name", "folder", "--dataset_path", str(data), "--output_dir", str(output),
        "--model_name_or_path", "segformer-tiny", "--from_scratch", "--crop_size", "32x48",
        "--per_device_train_batch_size", "5", "--max_steps", "4", "--eval_strategy", "steps",
        "--eval_steps", "2", "--save_strategy", "no", "--load_best_model_at_end", "false",
        "--mixed_precision", "no", "--report_to", "tensorboard",
    )  # fmt: skip
    folder = next(output.rglob("events.out.tfevents.*")).parent
    log = EventAccumulator(str(folder), size_guidance={"images": 0})
    log.Reload()
    assert "eval/mean_iou" in log.Tags()["scalars"]
    shown = log.Images("predictions/0")
    assert {event.step for event in shown} == {2, 4}
    picture = np.asarray(Image.open(io.BytesIO(shown[0].encoded_image_string)))
    assert picture.shape == (48, 3 * 64, 3)
    truth = picture[:, 64:128].reshape(-1, 3)
    assert {tuple(color) for color in truth.tolist()} <= {
        (0, 0, 0), (0, 114, 178), (230, 159, 0), (0, 158, 115),
    }  # fmt: skip
