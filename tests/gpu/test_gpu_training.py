"""Training on a GPU: the quickstart in every precision, memory, and several processes."""

import json
import math
from pathlib import Path

import pytest
from conftest import make_folder
from launch import REPOSITORY, SCRIPT
from on_gpu import REHEARSAL, need_gpus, run_on_gpu, run_task
from safetensors.torch import load_file

pytestmark = pytest.mark.gpu

SHORT = (
    "--max_steps=20", "--warmup_steps=2", "--logging_steps=5", "--eval_steps=20",
    "--save_steps=20", "--max_eval_samples=8",
)  # fmt: skip
FAMILIES = (
    "segformer-b0", "deeplabv3plus-mobilenet-v2", "upernet-convnext-tiny", "upernet-swin-tiny",
    "upernet-resnet50", "unet-resnet34", "deeplabv3plus-resnet50", "pspnet-resnet50",
    "fcn-resnet50",
)  # fmt: skip


def logged_losses(run: Path) -> list[float]:
    state = json.loads((run / "checkpoint-20" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_twenty_steps_of_the_quickstart_lower_the_loss(precision: str, tmp_path: Path) -> None:
    need_gpus(rehearsed=precision == "no")
    run = tmp_path / "run"
    report = run_task("finetune", *SHORT, f"--mixed_precision={precision}", f"--output_dir={run}")
    losses = logged_losses(run)
    assert len(losses) == 4 and all(map(math.isfinite, losses))
    assert losses[-1] < losses[0]
    assert REHEARSAL or report["peak_memory"] > 0
    assert json.loads((run / "eval_results.json").read_text())["eval_mean_iou"] > 0


def test_losses_and_gradients_are_those_of_the_cpu() -> None:
    need_gpus()
    for name, (expected, found) in run_task("losses").items():
        assert found == pytest.approx(expected, rel=1e-4), name


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_of_every_family_needs_less_than_eight_gibibytes(name: str) -> None:
    need_gpus(rehearsed=False)  # two crops of 512 x 512 are slow on a CPU
    report = run_task("training_step", name, 512, "ce+0.5*dice")
    print(f"{name}: peak {report['peak_memory'] / 2**30:.2f} GiB")
    assert math.isfinite(report["loss"]) and report["finite"]
    assert report["devices"] == ["cuda"]
    assert 0 < report["peak_memory"] < 8 * 2**30


def test_a_small_step_with_every_loss_has_finite_gradients() -> None:
    need_gpus()
    every = "ce+focal+dice+jaccard+tversky+lovasz+ohem"
    report = run_task("training_step", "segformer-tiny", 64, every)
    assert math.isfinite(report["loss"]) and report["finite"]


def test_two_gpus_compute_the_update_of_one(tmp_path: Path) -> None:
    need_gpus(2)
    data = make_folder(tmp_path / "data", count=16)
    worker = Path(__file__).parents[1] / "worker.py"
    launch = (
        "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", "0",
    )  # fmt: skip
    every = "ce+focal+dice+jaccard+tversky+lovasz+ohem"
    run_on_gpu(worker, "update", data, tmp_path / "one", 8, 1, every)
    run_on_gpu(*launch, worker, "update", data, tmp_path / "two", 4, 1, every, gpus=2)
    report = json.loads((tmp_path / "two" / "rank-1.json").read_text())
    assert report["world_size"] == 2
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    # sums in another order, by other kernels for other batch sizes
    worst = max((one[name] - two[name]).abs().max().item() for name in one)
    assert worst < 1e-4


def test_fully_sharded_training_on_one_gpu_saves_a_whole_model(tmp_path: Path) -> None:
    need_gpus(rehearsed=False)
    config = REPOSITORY / "hfseg" / "config" / "accelerate" / "fsdp.yaml"
    run = tmp_path / "run"
    run_on_gpu(
        "-m", "accelerate.commands.launch", "--config_file", config, "--num_processes", "1",
        SCRIPT, *SHORT, f"--output_dir={run}",
    )  # fmt: skip
    losses = logged_losses(run)
    assert losses[-1] < losses[0]
    report = run_task("segment", run, "fp32")  # loads, and predicts the same on both devices
    assert report["agreement"] > 0.99


def test_synchronized_batch_norm_trains_on_one_gpu(tmp_path: Path) -> None:
    need_gpus(rehearsed=False)
    run = tmp_path / "run"
    run_on_gpu(
        "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1",
        SCRIPT, *SHORT, "--model_name_or_path=unet-resnet18", "--sync_batch_norm",
        f"--output_dir={run}",
    )  # fmt: skip
    losses = logged_losses(run)
    assert losses[-1] < losses[0]
