"""What stops a training from outside is one sentence, and nothing that was saved is lost."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import make_folder
from PIL import Image
from safetensors.torch import save_file
from small_run import OPTIONS
from torch.utils.data import DataLoader, Dataset
from transformers import TrainerCallback

from hfseg import load_dataset
from hfseg.config.resolve import resolve
from hfseg.data.samples import TrainingSamples
from hfseg.data.transforms import TrainingTransform
from hfseg.disk import explain_disk_error, write_text
from hfseg.errors import UserError
from hfseg.hub.commit import call_hub
from hfseg.training.checkpoints import list_checkpoints, what_is_missing
from hfseg.training.divergence import DivergenceCheck
from hfseg.training.faults import faults_explained
from hfseg.training.trainer import SegmentationTrainer
from hfseg.workflows.finetune import finetune

# ---- a loss that is not a number ----


def test_a_training_that_diverges_stops_and_keeps_its_best_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Diverge(TrainerCallback):
        def on_step_begin(self, args, state, control, model, **kwargs) -> None:
            if state.global_step == 4:
                next(model.parameters()).data.fill_(float("inf"))

    make_trainer = SegmentationTrainer.__init__

    def with_callback(self, **kwargs) -> None:
        make_trainer(self, **kwargs)
        self.add_callback(Diverge)

    monkeypatch.setattr(SegmentationTrainer, "__init__", with_callback)
    data = make_folder(tmp_path / "data", count=13, size=(32, 32))
    run = tmp_path / "run"
    more = {"dataset_path": str(data), "output_dir": str(run), "eval_steps": 2, "save_steps": 2}
    with pytest.raises(UserError) as caught:
        finetune(resolve({**OPTIONS, **more, "save_strategy": "steps"}))
    said = str(caught.value)
    assert "step 4 left weights that are not finite (0" in said and ".png" in said
    best = said.rpartition("the best checkpoint is kept: ")[2]
    assert what_is_missing(Path(best)) is None
    assert [path.name for path in list_checkpoints(run)] == ["checkpoint-2", "checkpoint-4"]


@pytest.fixture
def samples(tmp_path: Path) -> TrainingSamples:
    data, _ = load_dataset("folder", str(make_folder(tmp_path / "data", count=4, size=(8, 8))))
    return TrainingSamples(data["train"], TrainingTransform("none", None, 0))


def check(each: DivergenceCheck, loss: float, samples: object, step: int = 11) -> None:
    state = SimpleNamespace(global_step=step, best_model_checkpoint=None)
    index = torch.tensor([1, 0])
    each.note(torch.tensor(loss), index, torch.nn.Linear(1, 1), samples, state, "nowhere")


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_names_step_and_images(samples, loss: float) -> None:
    watched = DivergenceCheck(fp16=False)
    check(watched, 1.0, samples)
    with pytest.raises(UserError, match=rf"the loss is {loss:g} in step 12 \(00\d.png, 00\d.png\)"):
        check(watched, loss, samples)


def test_single_overflows_of_fp16_are_left_to_the_loss_scaler(samples) -> None:
    watched = DivergenceCheck(fp16=True)
    for step in range(60):
        check(watched, float("inf") if step % 10 else 1.0, samples, step)
    with pytest.raises(UserError, match="the loss is inf"):
        for step in range(60, 100):
            check(watched, float("inf"), samples, step)


def test_on_a_gpu_a_loss_is_read_before_a_checkpoint_is_saved(samples) -> None:
    watched = DivergenceCheck(fp16=False)
    state = SimpleNamespace(global_step=11, best_model_checkpoint=None)
    for loss in (1.0, float("nan"), 1.0):  # "meta" is any device but the CPU; it can't be read
        watched.note(
            torch.tensor(loss, device="meta"), torch.tensor([0]), None, samples, state, "."
        )
    unread = [batch.loss for batch in watched._unread]
    assert [each.device.type for each in unread] == ["meta"] * 3
    values = (1.0, float("nan"), 1.0)
    watched._unread = [
        batch._replace(loss=torch.tensor(value))
        for batch, value in zip(watched._unread, values, strict=True)
    ]
    with pytest.raises(UserError, match=r"the loss is nan in step 12 \(000.png\)"):
        watched.check(torch.nn.Linear(1, 1), samples, state, "nowhere")


def test_a_stream_has_no_names_to_give() -> None:
    with pytest.raises(UserError, match="the loss is nan in step 12: look at"):
        check(DivergenceCheck(fp16=False), float("nan"), iter(()))


# ---- data workers ----


class Fails(Dataset):
    def __init__(self, how: str) -> None:
        self.how = how

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "memory":
            raise MemoryError
        raise UserError("a.png: the image can't be read (broken); replace the file")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("killed", r"a data worker \(process \d+\) .*, usually for lack of memory: lower"),
        ("memory", "a data worker ran out of memory: lower --dataloader_num_workers"),
        ("image", r"^a\.png: the image can't be read \(broken\); replace the file, then start"),
    ],
)
def test_a_data_worker_that_fails_is_one_sentence(tmp_path: Path, how: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught, faults_explained(tmp_path):
        list(DataLoader(Fails(how), num_workers=1))
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a bug"), faults_explained(tmp_path):
        raise RuntimeError("a bug")


def test_the_sentence_says_how_to_resume(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-4").mkdir()
    words = f"resume with: hfseg finetune --output_dir {tmp_path} --resume_from_checkpoint true"
    with pytest.raises(UserError, match=words), faults_explained(tmp_path):
        raise MemoryError


@pytest.mark.parametrize(
    "said",
    [
        "[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:4711",
        "[Rank 0]: NCCL communicator was aborted: remote process exited or there was a network",
    ],
)
def test_a_process_whose_partner_died_says_so(tmp_path: Path, said: str) -> None:
    with pytest.raises(UserError, match="another process of this run"), faults_explained(tmp_path):
        raise RuntimeError(said)


# ---- disks ----


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses to write more bytes to a file, as a full disk does."""
    resource = pytest.importorskip("resource")  # not on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "write",
    [
        lambda file: torch.save({"weights": torch.zeros(100_000)}, file),
        lambda file: save_file({"weights": torch.zeros(100_000)}, file),
        lambda file: Image.effect_noise((400, 400), 90).save(file, "PNG"),
        lambda file: write_text(file, "x" * 100_000),
    ],
    ids=["torch", "safetensors", "image", "text"],
)
def test_a_full_disk_is_recognized_whoever_writes(tmp_path: Path, write) -> None:
    said = pytest.raises(UserError, match="writing failed because")
    with said, faults_explained(tmp_path), files_of_at_most(10_000):
        write(tmp_path / "file")


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "results.json"
    write_text(file, "before")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_text(file, "after")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_errors_that_are_not_of_the_disk_are_not_taken_for_it() -> None:
    for error in (RuntimeError("size mismatch"), FileNotFoundError(2, "no file"), ValueError("28")):
        assert explain_disk_error(error) is None


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_push_from_a_full_disk_is_not_repeated(wrapped: bool) -> None:
    calls = []

    def push() -> None:
        calls.append(1)
        full = OSError(28, "No space left on device")
        if wrapped:  # as a lost connection, which alone would be tried again
            raise ConnectionError("upload failed") from full
        raise full

    with pytest.raises(UserError, match="can't push to me/model: the disk is full"):
        call_hub(push, "me/model", "model")
    assert calls == [1]


# ---- a clock that jumps ----


def test_a_clock_that_jumps_back_keeps_the_newest_checkpoint(tmp_path: Path, monkeypatch) -> None:
    published = "hfseg.training.resumable.publish"

    def publish(staging: Path, run_dir: Path) -> None:
        from hfseg.training.checkpoints import publish as real

        real(staging, run_dir)
        for checkpoint in list_checkpoints(run_dir):  # each looks older than the one before
            seconds = 2e9 - 1000 * int(checkpoint.name.split("-")[1])
            os.utime(checkpoint, (seconds, seconds))

    monkeypatch.setattr(published, publish)
    data = make_folder(tmp_path / "data", count=13, size=(32, 32))
    more = {
        "dataset_path": str(data), "output_dir": str(tmp_path / "run"), "max_steps": 4,
        "eval_strategy": "no", "save_strategy": "steps", "save_steps": 2, "save_total_limit": 1,
    }  # fmt: skip
    finetune(resolve({**OPTIONS, **more}))
    assert [path.name for path in list_checkpoints(tmp_path / "run")] == ["checkpoint-4"]
