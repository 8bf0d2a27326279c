"""A run that is resumed notices other data, and adapts to another number of processes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from launch import run_finetune
from PIL import Image
from small_run import OPTIONS

from hfseg import load_dataset
from hfseg.config.resolve import resolve
from hfseg.data.fingerprint import fingerprint, what_changed
from hfseg.errors import UserError
from hfseg.training.checkpoints import list_checkpoints
from hfseg.workflows.finetune import finetune
from hfseg.workflows.run_start import START_FILE, same_steps


def fingerprint_of(folder: Path) -> dict:
    found = fingerprint(*load_dataset("folder", str(folder)))
    return json.loads(json.dumps(found))


def change_a_pixel(data: Path) -> None:
    file = data / "masks" / "003.png"
    mask = np.array(Image.open(file))
    mask[-1, -1] = 2 - mask[-1, -1]
    Image.fromarray(mask).save(file)


def replace_an_image(data: Path) -> None:
    image = np.array(Image.open(data / "images" / "003.png"))
    Image.fromarray(image[::-1]).save(data / "images" / "003.png")


def remove_a_sample(data: Path) -> None:
    for kind in ("images", "masks"):
        (data / kind / "003.png").unlink()


def rename_a_sample(data: Path) -> None:
    for kind in ("images", "masks"):
        (data / kind / "003.png").rename(data / kind / "003b.png")


def rename_a_class(data: Path) -> None:
    (data / "classes.txt").write_text("ground\nwall\ndoor\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_a_pixel, "003.png in train has changed"),
        (replace_an_image, "003.png in train has changed"),
        (remove_a_sample, "train had 8 samples, now 7"),
        (rename_a_sample, "were renamed"),
        (rename_a_class, "its classes were ground, wall, roof, now ground, wall, door"),
    ],
)
def test_every_change_of_the_data_is_found_and_named(tmp_path: Path, change, words: str) -> None:
    data = make_folder(tmp_path / "data", count=10)
    before = fingerprint_of(data)
    copy = Path(shutil.copytree(data, tmp_path / "copy", copy_function=shutil.copyfile))
    assert what_changed(before, fingerprint_of(copy)) is None
    change(copy)
    assert words in str(what_changed(before, fingerprint_of(copy)))


def test_a_mask_that_is_not_read_is_compared_as_it_is_stored(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("hfseg.data.fingerprint._READ", 1)
    data = make_folder(tmp_path / "data", count=10)
    before = fingerprint_of(data)
    change_a_pixel(data)
    assert what_changed(before, fingerprint_of(data)) == ("images or masks of train have changed")
    before["encoder"] = "of another machine"
    assert what_changed(before, fingerprint_of(data)) is None


@pytest.fixture
def stopped(finished_run: Path, tmp_path: Path) -> Path:
    """A run that was killed after step 5 of 7; its data is beside it."""
    shutil.copytree(finished_run.parent / "data", tmp_path / "data")
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(finished_run.parent), str(tmp_path)))
    shutil.rmtree(run / "checkpoint-7")
    for name in ("model.safetensors", "trainer_state.json"):
        (run / name).unlink()
    return run


def test_a_run_whose_data_has_changed_is_not_resumed(stopped: Path) -> None:
    change_a_pixel(stopped.parent / "data")
    with pytest.raises(UserError, match=r"has changed since it started: 003\.png in train"):
        finetune(resolve({"output_dir": str(stopped), "resume_from_checkpoint": "true"}))
    assert [path.name for path in list_checkpoints(stopped)] == ["checkpoint-5"]
    assert not (stopped / "model.safetensors").exists()


def test_a_damaged_note_of_the_start_is_one_sentence(stopped: Path) -> None:
    (stopped / START_FILE).write_text("{")
    with pytest.raises(UserError, match=r"start\.json is damaged; delete it"):
        finetune(resolve({"output_dir": str(stopped), "resume_from_checkpoint": "true"}))


# ---- another number of processes ----


def at(processes: int, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: int):
    """The options of a run in `folder` as this many processes would see them."""
    arguments = resolve({**OPTIONS, "output_dir": str(folder), **options})
    world_size = property(lambda self: processes)
    monkeypatch.setattr(type(arguments.training), "world_size", world_size)
    return arguments


@pytest.mark.parametrize(
    ("before", "now", "size", "accumulation", "expected"),
    [
        (1, 1, 4, 1, (4, 1)),
        (1, 2, 4, 1, (2, 1)),
        (2, 1, 4, 1, (4, 2)),  # not 8 x 1, which may not fit into memory
        (4, 2, 4, 3, (4, 6)),
        (2, 3, 6, 1, (4, 1)),
    ],
)
def test_other_processes_share_the_same_images_per_step(
    tmp_path, monkeypatch, before: int, now: int, size: int, accumulation: int, expected
) -> None:
    (tmp_path / START_FILE).write_text(json.dumps({"processes": before, "data": {}}))
    batches = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation}
    training = same_steps(at(now, tmp_path, monkeypatch, **batches)).training
    found = training.per_device_train_batch_size, training.gradient_accumulation_steps
    assert found == expected
    assert size * accumulation * before == found[0] * found[1] * now


def test_processes_that_cannot_share_a_step_are_told_which_can(tmp_path, monkeypatch) -> None:
    (tmp_path / START_FILE).write_text(json.dumps({"processes": 2, "data": {}}))
    with pytest.raises(
        UserError, match=r"8 images per step, which 3 .*--num_processes: 1, 2, 4, 8"
    ):
        same_steps(at(3, tmp_path, monkeypatch, per_device_train_batch_size=4))


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, first: int, second: int
) -> None:
    data = make_folder(tmp_path / "data", count=20, size=(32, 32))
    options = [
        "--dataset_name", "folder", "--dataset_path", str(data), "--from_scratch",
        "--model_name_or_path", "segformer-tiny", "--crop_size", "32", "--mixed_precision", "no",
        "--per_device_train_batch_size", str(4 // first), "--num_train_epochs", "3",
        "--save_strategy", "epoch", "--eval_strategy", "epoch", "--dataloader_num_workers", "0",
        "--save_total_limit", "3", "--logging_steps", "1", "--freeze_batch_norm",
        "--model_config", "drop_path_rate=0", "classifier_dropout_prob=0",
    ]  # fmt: skip
    runs = {name: tmp_path / name for name in ("whole", "changed")}
    for folder in runs.values():
        run_finetune(*options, "--output_dir", str(folder), processes=first)
    changed = runs["changed"]
    steps = [path.name for path in list_checkpoints(changed)]
    assert steps == ["checkpoint-4", "checkpoint-8", "checkpoint-12"]
    for name in steps[1:]:
        shutil.rmtree(changed / name)
    for name in ("model.safetensors", "trainer_state.json", "README.md"):
        (changed / name).unlink()
    again = ["--output_dir", str(changed), "--resume_from_checkpoint", "true"]
    done = run_finetune(*again, processes=second)
    assert f"the run had {first} processes, now {second}" in done.stderr
    assert [path.name for path in list_checkpoints(changed)] == steps
    history = {
        name: {
            log["step"]: log["loss"]
            for log in json.loads((folder / "trainer_state.json").read_text())["log_history"]
            if "loss" in log
        }
        for name, folder in runs.items()
    }
    # the same images in every step; only sums are divided differently
    assert history["changed"].keys() == history["whole"].keys()
    differ = {step: abs(history["changed"][step] - loss) for step, loss in history["whole"].items()}
    print(f"\n{first} to {second} processes: losses differ by at most {max(differ.values()):.1e}")
    assert max(differ.values()) < 1e-4, differ
