"""`--push_to_hub`, and loading what was pushed in processes that never saw the training."""

import getpass
import io
import json
import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Hub, make_folder
from hub_repos import STRANGER as STRANGER_TOKEN
from hub_repos import TOKEN, Repo
from hub_server import HubServer
from huggingface_hub import ModelCard
from launch import finetune_command, on_cpu
from PIL import Image
from tolerance import UNDECIDED, assert_same_mask

from hfseg.config.resolve import parse
from hfseg.hub.training import destination
from hfseg.metrics.table import TRAINING_METRICS

FLAGS = (
    "--from_scratch", "--max_steps", "1", "--lr_scheduler_type", "constant", "--warmup_steps", "0",
    "--crop_size", "32", "--dataloader_num_workers", "0", "--per_device_train_batch_size", "2",
    "--image_size", "32", "--max_train_samples", "2", "--max_eval_samples", "2",
    "--disable_tqdm", "true",
    "--eval_strategy", "no", "--save_strategy", "no", "--seed", "3",
)  # fmt: skip
PRETRAINED = tuple(flag for flag in FLAGS if flag != "--from_scratch")
SECRETS = {"A_SECRET": "swordfish-9", "WANDB_API_KEY": "0123456789abcdef0123"}
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
    """The smallest SegFormer after one step of two processes, from weights in a local folder."""
    root = tmp_path_factory.mktemp("private-folder") / "jane-doe"
    data = make_folder(root / "data", count=12)
    save_encoder(root / "weights" / "own-mit")
    with HubServer() as server:
        hub = Hub(server, root / "hf-home")
        done = train(
            hub, "--dataset_name", "folder", "--dataset_path", str(data), *PRETRAINED,
            "--model_name_or_path", "segformer-tiny", "--encoder_weights",
            str(root / "weights" / "own-mit"), "--output_dir", str(root / "run"),
            "--push_to_hub", "--hub_model_id", "me/roofs",
            "--hub_token", TOKEN, processes=2, USER="jane-doe", LOGNAME="jane-doe", **SECRETS,
            **on_cpu(bf16=True),
        )  # fmt: skip
        yield Pushed(hub, root / "run", data, done.stdout)


def save_encoder(folder: Path) -> None:
    """The encoder of the smallest SegFormer, as others publish theirs: weights and processor."""
    from hfseg.labels import LabelSet
    from hfseg.models import load_model

    model, processor = load_model("segformer-tiny", LabelSet(("a", "b")), pretrained=False)
    model.segformer.save_pretrained(folder)
    processor.save_pretrained(folder)


def test_two_processes_push_in_one_commit_what_a_user_needs(pushed: Pushed) -> None:
    assert [commit.title for commit in pushed.repo.commits[1:]] == ["Model, results and card"]
    assert pushed.repo.private
    examples = {path for path in pushed.repo.files if path.startswith("examples/")}
    assert len(examples) in (2, 4, 6)  # photos and their masks, which the demo offers
    assert set(pushed.repo.files) - examples == {
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json", "recipe.yaml",
        "train_results.json", "eval_results.json", "test_results.json", "report/curves.png",
        "report/confusion_matrix.png", "report/per_class_iou.png", "report/predictions.png",
        "report/reliability.png",
    }  # fmt: skip
    *_, push, last = pushed.stdout.splitlines()
    assert push.startswith("pushed to http") and last.startswith("eval_mean_iou ")


def readable(path: str, content: bytes) -> bytes:
    """A file's bytes, and what is said in the metadata of pictures and weights."""
    if path.endswith(".png"):
        with Image.open(io.BytesIO(content)) as picture:
            return content + repr([picture.info, dict(picture.getexif())]).encode()
    return content  # the metadata of safetensors are plain JSON at its start


def test_the_pushed_files_reveal_nothing_about_the_machine(pushed: Pushed) -> None:
    folder = str(pushed.run.parent)
    forbidden = {folder, str(Path.home()) + "/", str(REPOSITORY), TOKEN, *SECRETS.values()}
    forbidden |= {f"/{getpass.getuser()}/", "private-folder", "jane-doe", platform.node()}
    forbidden |= {value for value in pushed.hub.env.values() if len(value) >= 12}
    path = re.compile(rb"(?<![\w.:/<])/(?:home|root|tmp|mnt|usr|var|work|Users)/")
    for name, content in pushed.repo.files.items():
        said = readable(name, content)
        for words in forbidden:
            assert len(words) < 6 or words.encode() not in said, f"{name} holds {words}"
        assert name.endswith((".png", ".safetensors")) or not path.search(said), name
    assert b"hub_" not in pushed.repo.files["recipe.yaml"]
    assert b"encoder_weights: own-mit" in pushed.repo.files["recipe.yaml"]


READ_CARD = """
import json
from huggingface_hub import ModelCard
card = ModelCard.load("me/roofs")
card.validate()
print(json.dumps({
    "scores": {each.metric_type: each.metric_value for each in card.data.eval_results},
    "splits": sorted({each.dataset_split for each in card.data.eval_results}),
    "data": {k: v for k, v in card.data.to_dict().items() if k != "model-index"},
    "name": card.data.model_name,
    "text": card.text,
}))
"""


def test_the_card_reads_back_with_the_numbers_of_the_run(pushed: Pushed) -> None:
    card = last_json(pushed.hub.run("-c", READ_CARD))
    assert ("POST", "/api/validate-yaml") in pushed.hub.server.requests
    scores = json.loads(pushed.repo.files["eval_results.json"])
    assert card["scores"] == {
        metric.name: scores[f"eval_{metric.name}"] for metric in TRAINING_METRICS
    }
    assert card["splits"] == ["validation"] and card["name"] == "roofs"
    assert card["data"]["pipeline_tag"] == "image-segmentation"
    assert "base_model" not in card["data"] and "license" not in card["data"]  # local, unknown
    assert scores["eval_mean_iou_interval_95"] is None  # of one image
    assert "on `validation`: none, because there is only 1 image" in card["text"]
    assert "is this folder" not in card["text"]
    tested = json.loads(pushed.repo.files["test_results.json"])["test_mean_iou"]
    assert f"| mean IoU | {scores['eval_mean_iou']:.4f} | {tested:.4f} |" in card["text"]


def test_the_usage_of_the_card_works_as_pasted(pushed: Pushed, tmp_path: Path) -> None:
    use_card(pushed.hub, "me/roofs", Path(pushed.photo), tmp_path)


def blocks_of(hub: Hub, repo_id: str) -> list[str]:
    card = hub.server.repos["model", repo_id].files["README.md"].decode()
    return re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)


def use_card(hub: Hub, repo_id: str, photo: Path, folder: Path) -> None:
    """Run the three blocks of a card, one after the other, as somebody with hfseg does."""
    blocks = blocks_of(hub, repo_id)
    assert len(blocks) == 3 and all(f'"{repo_id}"' in block for block in blocks)
    code = f"import os; os.chdir({str(folder)!r})\n" + "\n".join(blocks)
    Image.open(photo).convert("RGB").save(folder / "photo.jpg")
    hub.run("-c", code)
    assert Image.open(folder / "overlay.png").width % 64 == 0  # enlarged, to hold a legend


def check_loading(hub: Hub, repo_id: str, run: Path, photo: str, root: Path) -> None:
    """The masks of the trainer's own folder, everywhere and with every loader."""
    files = hub.server.repos["model", repo_id].files
    custom = any(path.startswith("modeling_") for path in files)
    options = json.dumps({"trust_remote_code": True} if custom else {})
    elsewhere = {"PYTHONPATH": ""}  # hfseg is not there
    expected = last_json(hub.run("-c", OURS, run, photo, "{}"))["segmenter"]
    assert np.array(expected).shape == Image.open(photo).size[::-1]
    assert_same_mask(last_json(hub.run("-c", OURS, repo_id, photo, "{}"))["segmenter"], expected)
    got = last_json(hub.run("-c", STRANGER, repo_id, photo, options, **elsewhere))
    assert not got["hfseg"]
    assert_same_mask(got["auto"], expected)
    assert_same_mask(got["pipeline"], expected)

    nobody = {**elsewhere, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    cached = last_json(hub.run("-c", STRANGER, repo_id, photo, options, **nobody))
    assert_same_mask(cached["auto"], expected)
    assert_same_mask(cached["pipeline"], expected)

    for path, content in files.items():
        (root / "copy" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "copy" / path).write_bytes(content)
    nobody["HF_HOME"] = str(root / "empty")
    copied = last_json(hub.run("-c", STRANGER, root / "copy", photo, options, **nobody))
    assert_same_mask(copied["auto"], expected)
    assert_same_mask(copied["pipeline"], expected)


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
    photo = data / "images" / "000.png"
    check_loading(hub, "me/model", run, str(photo), tmp_path)
    use_card(hub, "me/model", photo, tmp_path)
    without_ours = "\n".join([*blocks_of(hub, "me/model")[:2], "print([*mask.shape])"])
    foreign = hub.run(
        "-c", f"import os; os.chdir({str(tmp_path)!r})\n{without_ours}", PYTHONPATH=""
    )
    assert last_json(foreign) == [48, 64]
    evaluate = (
        REPOSITORY / "scripts" / "evaluate_model.py", "--model_name_or_path", "me/model",
        "--dataset_name", "folder", "--dataset_path", data, "--image_size", "32",
        "--max_eval_samples", "2", "--check_card", "--output_dir", tmp_path / "evaluation",
    )  # fmt: skip
    hub.run(*evaluate)
    measured = json.loads((tmp_path / "evaluation" / "results.json").read_text())
    trained = json.loads((run / "eval_results.json").read_text())
    assert measured["mean_iou"] == pytest.approx(trained["eval_mean_iou"], abs=UNDECIDED)
    interval = trained["eval_mean_iou_interval_95"]
    assert measured["mean_iou_interval_95"] == pytest.approx(interval, abs=UNDECIDED)


@pytest.mark.parametrize(("value", "private"), [(None, True), ("true", True), ("false", False)])
def test_a_new_repository_is_private_unless_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, value: str | None, private: bool
) -> None:
    monkeypatch.setattr("hfseg.hub.training.check_token", lambda *_: None)
    flags = [] if value is None else ["--hub_private_repo", value]
    arguments = parse(["--push_to_hub", "--hub_model_id", "me/x", *flags])
    requested = destination(arguments.training)
    assert requested is not None and requested.private is private


def test_a_wrong_token_stops_the_run_before_it_starts(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stopped = train(
        hub, *FLAGS, "--output_dir", str(folder), "--push_to_hub", "--hub_model_id", "me/x",
        check=False, HF_TOKEN="hf_expired",
    )  # fmt: skip
    assert stopped.returncode == 2
    assert "does not accept the token" in stopped.stderr and "Traceback" not in stopped.stderr
    assert not folder.exists()


def test_invalid_data_leaves_no_repository_behind(hub: Hub, tmp_path: Path) -> None:
    stopped = train(
        hub, *FLAGS, "--dataset_name", "folder", "--dataset_path", str(tmp_path / "none"),
        "--output_dir", str(tmp_path / "run"), "--push_to_hub", "--hub_model_id", "me/x",
        check=False,
    )  # fmt: skip
    assert stopped.returncode == 2 and "none" in stopped.stderr
    assert ("GET", "/api/whoami-v2") in hub.server.requests
    assert not hub.server.repos


@pytest.mark.slow
def test_a_repository_without_write_access_stops_the_run_before_training(
    hub: Hub, tmp_path: Path
) -> None:
    data, folder = make_folder(tmp_path / "data", count=12), tmp_path / "run"
    stopped = train(
        hub, "--dataset_name", "folder", "--dataset_path", str(data), *FLAGS,
        "--model_name_or_path", "segformer-tiny", "--output_dir", str(folder), "--push_to_hub",
        "--hub_model_id", "me/x", check=False, HF_TOKEN=STRANGER_TOKEN,
    )  # fmt: skip
    assert stopped.returncode == 2 and "may not write to me/x" in stopped.stderr
    assert not list(folder.glob("*")) and not hub.server.repos


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
    command = re.search(r"hfseg (push model .+)$", failed.stderr, flags=re.MULTILINE)
    assert command is not None
    hub.server.faults.clear()
    hub.run("-m", "hfseg", *command[1].split())
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
    save_encoder(encoder)
    files = {path.name: path.read_bytes() for path in encoder.iterdir()}
    hub.server.add("model", "them/mit-tiny", {**files, "README.md": b"---\nlicense: mit\n---\n"})
    push = REPOSITORY / "scripts" / "push_dataset.py"
    source = ("--dataset_name", "folder", "--dataset_path", data)
    hub.run(push, *source, "--repo_id", "me/mini-camseq")
    train(
        hub, "--dataset_name", "me/mini-camseq", *PRETRAINED,
        "--model_name_or_path", "segformer-tiny", "--encoder_weights", "them/mit-tiny",
        "--output_dir", str(tmp_path / "run"), "--push_to_hub", "--hub_model_id", "me/mini",
    )  # fmt: skip
    card = ModelCard(hub.server.repos["model", "me/mini"].files["README.md"].decode())
    assert card.data.datasets == ["me/mini-camseq"]
    assert card.data.base_model == "them/mit-tiny"
    data_card = hub.server.repos["dataset", "me/mini-camseq"].files["README.md"].decode()
    assert "license: other" in data_card  # so the model's says whose terms hold, not "mit"
    assert (card.data.license, card.data.license_name) == ("other", "terms-of-me-mini-camseq")
