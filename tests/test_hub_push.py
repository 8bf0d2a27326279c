"""`--push_to_hub`, and loading what was pushed in processes that never saw the training."""

import getpass
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Hub, make_folder
from hub_server import TOKEN, HubServer, Repo
from huggingface_hub import ModelCard
from launch import finetune_command
from PIL import Image

FLAGS = (
    "--from_scratch", "--max_steps", "1", "--lr_scheduler_type", "constant", "--warmup_steps", "0",
    "--crop_size", "32", "--dataloader_num_workers", "0", "--per_device_train_batch_size", "2",
    "--image_size", "32", "--max_train_samples", "2", "--max_eval_samples", "2",
    "--disable_tqdm", "true",
    "--eval_strategy", "no", "--save_strategy", "no", "--seed", "3",
)  # fmt: skip
MODELS = {
    "segformer-tiny": (),
    "deeplabv3plus-mobilenet_v2": (),
    "unet-mobilenet_v2": (),
    "fcn-mobilenet_v2": (),
    "upernet-convnext-tiny": ("--model_config", "hidden_size=16", "pool_scales=[1,2]"),
}

# What everybody has: `transformers`, and for the CNNs `segmentation_models_pytorch`; no hfseg.
STRANGER = """
import hashlib, json, sys
import numpy as np, torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, pipeline
torch.set_num_threads(1)
name, photo, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
image = Image.open(photo).convert("RGB")
processor = AutoImageProcessor.from_pretrained(name, **{k: v for k, v in options.items()})
model = AutoModelForSemanticSegmentation.from_pretrained(name, **options)
outputs = model(**processor(image, return_tensors="pt"))
mask = processor.post_process_semantic_segmentation(outputs, target_sizes=[image.size[::-1]])[0]
answer = {"auto": mask.numpy().astype(np.uint8).tolist(), "colors": model.config.palette}
segments = pipeline("image-segmentation", model=name, **options)(image)
piped = np.full(mask.shape, 255, np.uint8)
for segment in segments:
    piped[np.asarray(segment["mask"]) > 0] = model.config.label2id[segment["label"]]
answer["pipeline"] = piped.tolist()
answer["hfseg"] = "hfseg" in sys.modules
print(json.dumps(answer))
"""
OURS = """
import json, sys
import torch
from PIL import Image
import hfseg
torch.set_num_threads(1)
segmenter = hfseg.Segmenter.from_pretrained(sys.argv[1], **json.loads(sys.argv[3]))
print(json.dumps({"segmenter": segmenter(Image.open(sys.argv[2])).mask.tolist()}))
"""


def train(
    hub: Hub, *flags: str, processes: int = 1, check: bool = True, **environment: str
) -> subprocess.CompletedProcess:
    done = subprocess.run(
        finetune_command(*flags, processes=processes),
        env={**hub.env, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def last_json(done: subprocess.CompletedProcess) -> dict:
    return json.loads(done.stdout.splitlines()[-1])


@dataclass
class Pushed:
    """A run that pushed itself, and what is on the Hub since."""

    hub: Hub
    run: Path
    data: Path
    stdout: str

    @property
    def repo(self) -> Repo:
        return self.hub.server.repos["model", "me/roofs"]

    @property
    def photo(self) -> str:
        return str(self.data / "images" / "000.png")


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    """The smallest SegFormer after one step of two processes."""
    root = tmp_path_factory.mktemp("private-folder")
    data = make_folder(root / "data", count=12)
    with HubServer() as server:
        hub = Hub(server, root / "hf-home")
        done = train(
            hub, "--dataset_name", "folder", "--dataset_path", str(data), *FLAGS,
            "--model_name_or_path", "segformer-tiny", "--output_dir", str(root / "run"),
            "--push_to_hub", "--hub_model_id", "me/roofs", "--hub_private_repo", "true",
            "--hub_token", TOKEN, processes=2, A_SECRET="swordfish-9",
        )  # fmt: skip
        yield Pushed(hub, root / "run", data, done.stdout)


def test_two_processes_push_in_one_commit_what_a_user_needs(pushed: Pushed) -> None:
    assert [commit.title for commit in pushed.repo.commits[1:]] == ["Model, results and card"]
    assert pushed.repo.private
    assert set(pushed.repo.files) == {
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json", "recipe.yaml",
        "train_results.json", "eval_results.json", "test_results.json", "report/curves.png",
        "report/confusion_matrix.png", "report/per_class_iou.png", "report/predictions.png",
    }  # fmt: skip
    *_, push, last = pushed.stdout.splitlines()
    assert push.startswith("pushed to http") and last.startswith("eval_mean_iou ")


def test_the_pushed_files_tell_nothing_of_the_machine(pushed: Pushed) -> None:
    folder = str(pushed.run.parent)
    forbidden = (folder, str(Path.home()) + "/", str(REPOSITORY), TOKEN, "swordfish-9")
    forbidden += (f"/{getpass.getuser()}/", "private-folder")
    path = re.compile(rb"(?<![\w.:/<])/(?:home|root|tmp|mnt|usr|var|work|Users)/")
    for name, content in pushed.repo.files.items():
        for words in forbidden:
            assert words.encode() not in content, f"{name} holds {words}"
        assert name.endswith((".png", ".safetensors")) or not path.search(content), name
    assert b"hub_" not in pushed.repo.files["recipe.yaml"]


def test_the_card_reads_back_as_the_numbers_of_the_run(pushed: Pushed) -> None:
    card = ModelCard(pushed.repo.files["README.md"].decode())
    scores = json.loads(pushed.repo.files["eval_results.json"])
    results = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert results == {
        key: scores[f"eval_{key}"] for key in ("mean_iou", "mean_accuracy", "overall_accuracy")
    }
    assert card.data.pipeline_tag == "image-segmentation"
    assert "is this folder" not in card.text


def test_the_usage_of_the_card_works_as_pasted(pushed: Pushed, tmp_path: Path) -> None:
    card = pushed.repo.files["README.md"].decode()
    blocks = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert len(blocks) == 3 and all('"me/roofs"' in block for block in blocks)
    code = f"import os; os.chdir({str(tmp_path)!r})\n" + "\n".join(blocks)
    Image.open(pushed.photo).convert("RGB").save(tmp_path / "photo.jpg")
    pushed.hub.run("-c", code)
    assert Image.open(tmp_path / "overlay.png").width % 64 == 0  # enlarged, to hold a legend


def check_loading(hub: Hub, repo_id: str, run: Path, photo: str, root: Path) -> None:
    """The masks of the trainer's own folder, everywhere and with every loader."""
    files = hub.server.repos["model", repo_id].files
    custom = any(path.startswith("modeling_") for path in files)
    options = json.dumps({"trust_remote_code": True} if custom else {})
    elsewhere = {"PYTHONPATH": ""}  # hfseg is not there
    expected = last_json(hub.run("-c", OURS, run, photo, "{}"))["segmenter"]
    assert np.array(expected).shape == Image.open(photo).size[::-1]
    assert last_json(hub.run("-c", OURS, repo_id, photo, "{}"))["segmenter"] == expected
    got = last_json(hub.run("-c", STRANGER, repo_id, photo, options, **elsewhere))
    assert not got["hfseg"]
    assert got["auto"] == got["pipeline"] == expected

    nobody = {**elsewhere, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    cached = last_json(hub.run("-c", STRANGER, repo_id, photo, options, **nobody))
    assert cached["auto"] == cached["pipeline"] == expected

    for path, content in files.items():
        (root / "copy" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "copy" / path).write_bytes(content)
    nobody["HF_HOME"] = str(root / "empty")
    copied = last_json(hub.run("-c", STRANGER, root / "copy", photo, options, **nobody))
    assert copied["auto"] == copied["pipeline"] == expected


@pytest.mark.slow
def test_strangers_get_the_masks_of_the_trainer(pushed: Pushed, tmp_path: Path) -> None:
    check_loading(pushed.hub, "me/roofs", pushed.run, pushed.photo, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_strangers_get_the_masks_of_every_architecture(hub: Hub, tmp_path: Path, name: str) -> None:
    data, run = make_folder(tmp_path / "data", count=12), tmp_path / "run"
    train(
        hub, "--dataset_name", "folder", "--dataset_path", str(data), *FLAGS, *MODELS[name],
        "--model_name_or_path", name, "--output_dir", str(run),
        "--push_to_hub", "--hub_model_id", "me/model",
    )  # fmt: skip
    check_loading(hub, "me/model", run, str(data / "images" / "000.png"), tmp_path)


def test_a_wrong_token_stops_the_run_before_it_starts(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stopped = train(
        hub, *FLAGS, "--output_dir", str(folder), "--push_to_hub", "--hub_model_id", "me/x",
        check=False, HF_TOKEN="hf_expired",
    )  # fmt: skip
    assert stopped.returncode == 2
    assert "does not accept the token" in stopped.stderr and "Traceback" not in stopped.stderr
    assert not folder.exists()


@pytest.mark.slow
def test_a_push_that_fails_loses_nothing_and_says_how_to_repeat_it(
    hub: Hub, tmp_path: Path
) -> None:
    data, run = make_folder(tmp_path / "data", count=12), tmp_path / "run"
    hub.server.fail("POST", "/commit/", status=403, times=100)
    failed = train(
        hub, "--dataset_name", "folder", "--dataset_path", str(data), *FLAGS, "--output_dir",
        str(run), "--model_name_or_path", "segformer-tiny", "--push_to_hub", "--hub_model_id",
        "me/late", check=False,
    )  # fmt: skip
    assert failed.returncode == 2 and "Traceback" not in failed.stderr
    assert failed.stdout.splitlines()[-1].startswith("eval_mean_iou ")
    command = re.search(r"python (scripts/push_model.py .+)$", failed.stderr, flags=re.MULTILINE)
    assert command is not None
    hub.server.faults.clear()
    script, *arguments = command[1].split()
    hub.run(REPOSITORY / script, *arguments)
    repo = hub.server.repos["model", "me/late"]
    assert repo.files["model.safetensors"] == (run / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_with_every_save_the_last_commit_is_the_finished_run(hub: Hub, tmp_path: Path) -> None:
    data, run = make_folder(tmp_path / "data", count=12), tmp_path / "run"
    train(
        hub, "--dataset_name", "folder", "--dataset_path", str(data), *FLAGS, "--output_dir",
        str(run), "--model_name_or_path", "segformer-tiny", "--push_to_hub", "--hub_model_id",
        "me/often", "--hub_strategy", "checkpoint", "--save_strategy", "steps", "--save_steps", "1",
    )  # fmt: skip
    repo = hub.server.repos["model", "me/often"]
    titles = [commit.title for commit in repo.commits[1:]]
    assert titles == ["Training in progress, step 1", "Model, results and card"]
    assert {"last-checkpoint/optimizer.pt", "README.md"} <= set(repo.files)
    assert not any("training_args" in path for path in repo.files)
    assert str(tmp_path).encode() not in repo.files["last-checkpoint/trainer_state.json"]


@pytest.mark.slow
def test_data_encoder_and_result_all_live_on_the_hub(hub: Hub, tmp_path: Path) -> None:
    """`finetune.py --dataset_name me/mini-camseq --push_to_hub`."""
    data = make_folder(tmp_path / "data", count=12)
    encoder = tmp_path / "encoder"
    hub.run("-c", SAVE_ENCODER, encoder)
    hub.server.add(
        "model", "them/mit-tiny", {path.name: path.read_bytes() for path in encoder.iterdir()}
    )
    push = REPOSITORY / "scripts" / "push_dataset.py"
    source = ("--dataset_name", "folder", "--dataset_path", data)
    hub.run(push, *source, "--repo_id", "me/mini-camseq")
    flags = [flag for flag in FLAGS if flag != "--from_scratch"]
    train(
        hub, "--dataset_name", "me/mini-camseq", *flags, "--model_name_or_path", "segformer-tiny",
        "--encoder_weights", "them/mit-tiny", "--output_dir", str(tmp_path / "run"),
        "--push_to_hub", "--hub_model_id", "me/mini",
    )  # fmt: skip
    card = ModelCard(hub.server.repos["model", "me/mini"].files["README.md"].decode())
    assert card.data.datasets == ["me/mini-camseq"]
    assert card.data.base_model == "them/mit-tiny"


SAVE_ENCODER = """
import sys
from hfseg.labels import LabelSet
from hfseg.models import load_model
model, processor = load_model("segformer-tiny", LabelSet(("a", "b")), pretrained=False)
model.segformer.save_pretrained(sys.argv[1])
processor.save_pretrained(sys.argv[1])
"""
