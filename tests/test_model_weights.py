"""Where weights come from: files, folders, torchvision; and what is reported without them."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from launch import environment
from safetensors.torch import save_file
from tolerance import assert_same_logits

from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.models import from_torchvision, load_model
from hfseg.models.encoder_weights import torchvision_to_transformers
from hfseg.models.loading import backbone_name

LABELS = LabelSet(("ground", "wall", "roof"))
RESNET50_MODELS = (
    "deeplabv3plus-resnet50", "fcn-resnet50", "pspnet-resnet50", "unet-tu-resnet50",
    "upernet-resnet50",
    *(pytest.param(name, marks=pytest.mark.slow) for name in (
        "deeplabv3-resnet50", "unet-resnet50", "unetplusplus-resnet50", "fpn-resnet50",
        "linknet-resnet50", "manet-resnet50", "pan-resnet50", "segformer-resnet50",
    )),
)  # fmt: skip


def randomize(model: torch.nn.Module) -> torch.nn.Module:
    """Statistics that make a difference, so that a forgotten buffer shows."""
    generator = torch.Generator().manual_seed(7)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1, generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A ResNet-50 state dict as torchvision saves it."""
    torch.manual_seed(0)
    state = randomize(torchvision.models.resnet50(weights=None)).state_dict()
    file = tmp_path_factory.mktemp("resnet50") / "resnet50.pth"
    torch.save(state, file)
    return file, state


@pytest.mark.parametrize("name", RESNET50_MODELS)
def test_torchvision_resnet50_loads_key_for_key(name: str, resnet50) -> None:
    file, state = resnet50
    model, _ = load_model(name, LABELS, encoder_weights=str(file))
    loaded = getattr(model, backbone_name(model)).state_dict()
    rename = torchvision_to_transformers if name == "upernet-resnet50" else str
    prefix = "model." if "-tu-" in name else ""
    for key, value in state.items():
        if not key.startswith("fc."):
            assert torch.equal(loaded.pop(prefix + rename(key)), value), key
    assert not loaded, "tensors of the encoder that the file did not fill"


@torch.no_grad()
def test_encoder_of_upernet_computes_what_torchvision_computes(resnet50) -> None:
    """The renaming of ResNet's tensors is right, not only complete."""
    file, state = resnet50
    model, _ = load_model("upernet-resnet50", LABELS, encoder_weights=str(file))
    theirs = torchvision.models.resnet50(weights=None)
    theirs.load_state_dict(state)
    body = torchvision.models._utils.IntermediateLayerGetter(theirs.eval(), {"layer4": "out"})
    image = torch.randn(1, 3, 64, 64)
    ours = model.eval().backbone(image).feature_maps[-1]
    assert_same_logits(ours, body(image)["out"])


def test_weights_may_be_safetensors_in_a_folder_under_a_prefix(resnet50, tmp_path: Path) -> None:
    _, state = resnet50
    save_file({f"backbone.{k}": v for k, v in state.items()}, tmp_path / "model.safetensors")
    model, _ = load_model("fpn-resnet50", LABELS, encoder_weights=str(tmp_path))
    assert torch.equal(model.encoder.conv1.weight, state["conv1.weight"])


def test_encoder_of_an_own_checkpoint_is_taken(tmp_path: Path) -> None:
    trained, _ = load_model("unet-resnet18", LABELS, pretrained=False)
    trained.save_pretrained(tmp_path)
    model, _ = load_model("fcn-resnet18", LABELS, encoder_weights=str(tmp_path))
    ours = model.encoder.state_dict()
    for key, value in trained.encoder.state_dict().items():
        assert torch.equal(ours[key], value)


def test_backbone_of_upernet_is_loaded_from_a_classifier(tmp_path: Path) -> None:
    from transformers import SwinConfig, SwinForImageClassification

    config = SwinConfig(embed_dim=12, depths=[1, 1, 2, 1], num_labels=7)
    classifier = SwinForImageClassification(config)
    classifier.save_pretrained(tmp_path)
    model, _ = load_model("upernet-swin-tiny", LABELS, encoder_weights=str(tmp_path))
    assert model.config.num_labels == 3
    assert model.backbone.channels == [12, 24, 48, 96]
    expected = classifier.swin.state_dict()
    loaded = model.backbone.swin.state_dict()
    assert expected.keys() == loaded.keys()
    assert all(torch.equal(loaded[key], value) for key, value in expected.items())


@pytest.mark.parametrize("architecture", ["fcn", "deeplabv3"])
@torch.no_grad()
def test_torchvision_segmentation_weights_give_its_logits(architecture: str) -> None:
    torch.manual_seed(0)
    build = getattr(torchvision.models.segmentation, f"{architecture}_resnet50")
    theirs = randomize(build(weights=None, weights_backbone=None, aux_loss=True, num_classes=21))
    ours = from_torchvision(theirs.state_dict())
    image = torch.randn(1, 3, 97, 129)
    expected = theirs(image)["out"]
    assert expected.std() > 0.1
    assert_same_logits(ours(image).logits, expected)


@torch.no_grad()
def test_torchvision_auxiliary_classifier_is_converted() -> None:
    torch.manual_seed(0)
    build = torchvision.models.segmentation.fcn_resnet50
    theirs = randomize(build(weights=None, weights_backbone=None, aux_loss=True, num_classes=3))
    ours = from_torchvision(theirs.state_dict(), LABELS)
    assert ours.config.id2label == LABELS.id2label
    image = torch.randn(1, 3, 64, 64)
    logits = ours.auxiliary_head.eval()(ours.encoder(image))
    expected = theirs.aux_classifier(theirs.backbone(image)["aux"])
    assert_same_logits(logits, expected)


# ---- one clear sentence ----


def refused(name: str, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        load_model(name, LABELS, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("deeplabv3pls-resnet50", "deeplabv3plus-resnet50"),
        ("unet-resnet35", "unet-resnet34"),
        ("segformer-b7", "segformer-b5"),
        ("upernet-convnex-tiny", "upernet-convnext-tiny"),
        ("nonsense", "`hfseg models` lists"),
    ],
)
def test_unknown_names_suggest_the_nearest(name: str, suggested: str) -> None:
    assert suggested in refused(name)


@pytest.mark.parametrize("name", ["unet-resnet34", "upernet-swin-tiny", "segformer-b0"])
def test_weights_out_of_reach_name_the_flags(name: str) -> None:
    text = refused(name)
    assert "can't be downloaded from the Hub" in text
    assert "--from_scratch" in text and ("local" in text)


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "resnet18.safetensors"
    save_file(torchvision.models.resnet18(weights=None).state_dict(), file)
    text = refused("unet-resnet34", encoder_weights=str(file))
    assert "weights of another encoder" in text and "layer1.2" in text
    assert "of another encoder" in refused("unet-efficientnet-b0", encoder_weights=str(file))


def test_unsafe_pickle_is_not_run(tmp_path: Path) -> None:
    class Dangerous:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "it ran",))

    file = tmp_path / "weights.pth"
    torch.save({"conv1.weight": Dangerous()}, file)
    text = refused("unet-resnet34", encoder_weights=str(file))
    assert "pickle" in text and "torch.save(model.state_dict())" in text
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_weights_are_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    assert str(file) in refused("unet-resnet34", encoder_weights=str(file))


def test_name_of_weights_that_an_encoder_does_not_offer(tmp_path: Path) -> None:
    text = refused("unet-resnet34", encoder_weights="swsl")
    assert "it offers: imagenet" in text


def test_checkpoint_that_is_no_segmentation_model(tmp_path: Path) -> None:
    from transformers import BertConfig, ConvNextConfig

    BertConfig().save_pretrained(tmp_path / "bert")
    assert "no head for semantic segmentation" in refused(str(tmp_path / "bert"))
    ConvNextConfig().save_pretrained(tmp_path / "convnext")
    text = refused(str(tmp_path / "convnext"))
    assert "upernet-convnext-tiny" in text and "--encoder_weights" in text


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    from transformers import ConvNextConfig

    ConvNextConfig().save_pretrained(tmp_path)
    text = refused("upernet-swin-tiny", encoder_weights=str(tmp_path))
    assert "is a 'convnext' model, but upernet-swin-tiny needs 'upernet' or 'swin'" in text


def test_options_that_do_not_exist_are_named() -> None:
    text = refused("unet-resnet18", pretrained=False, decoder_options={"decoder_chanels": 4})
    assert "decoder_chanels" in text and "decoder_channels" in text
    text = refused("upernet-swin-tiny", pretrained=False, **{"backbone_config.drop_path": 0.1})
    assert "drop_path_rate" in text


def test_encoder_that_does_not_fit_the_architecture() -> None:
    assert "not supported for Linknet" in refused("linknet-mit_b0", pretrained=False)


# ---- freezing ----


def test_frozen_encoder_gets_no_gradient_and_keeps_its_statistics() -> None:
    from hfseg.models.freezing import freeze_encoder

    model, _ = load_model("unet-resnet18", LABELS, pretrained=False)
    freeze_encoder(model)
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    image, labels = torch.randn(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.long)
    model.train()(image, labels=labels).loss.backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.encoder.state_dict().items())


def test_frozen_batch_norm_trains_on_one_image() -> None:
    from hfseg.models.freezing import Probe, freeze_batch_norm

    model, _ = load_model("deeplabv3plus-resnet18", LABELS, pretrained=False)
    assert Probe(model).pools_to_one_pixel
    assert freeze_batch_norm(model) > 20
    assert not Probe(model).pools_to_one_pixel
    before = [buffer.clone() for buffer in model.buffers()]
    model.train()(torch.randn(1, 3, 64, 64)).logits.sum().backward()
    for now, then in zip(model.buffers(), before, strict=True):
        assert torch.equal(now, then)
    assert model.encoder.bn1.weight.grad is None and model.encoder.conv1.weight.grad is not None


def test_last_batch_of_one_image_is_dropped_with_a_notice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from hfseg.config.training import SegmentationTrainingArguments
    from hfseg.training.fitting import fit_training_to_model

    def fitted(name: str, samples: int, batch: int = 4) -> bool:
        values = {"output_dir": str(tmp_path), "per_device_train_batch_size": batch}
        training = SegmentationTrainingArguments(**values, mixed_precision="no")
        model, _ = load_model(name, LABELS, pretrained=False)
        return fit_training_to_model(training, model, samples)

    caplog.set_level(logging.INFO, logger="hfseg")
    assert not fitted("unet-resnet18", samples=13)
    assert not fitted("deeplabv3-resnet18", samples=14)
    assert caplog.text == ""
    assert fitted("deeplabv3-resnet18", samples=13)
    assert "so it is dropped" in caplog.text
    with pytest.raises(UserError, match="per_device_train_batch_size 2"):
        fitted("deeplabv3-resnet18", samples=13, batch=1)


# ---- without hfseg on the other side ----

_STRANGER = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hfseg":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Hidden())
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, pipeline
folder = sys.argv[1]
model = AutoModelForSemanticSegmentation.from_pretrained(folder, trust_remote_code=True)
torch.save(model(torch.load(folder + "/image.pt")).logits, folder + "/logits.pt")
processor = AutoImageProcessor.from_pretrained(folder)
parts = pipeline("image-segmentation", model=folder, trust_remote_code=True)(
    Image.new("RGB", (70, 50), "red"))
assert parts and all(part["mask"].size == (70, 50) for part in parts), parts
assert not any(name.split(".")[0] == "hfseg" for name in sys.modules)
"""


@torch.no_grad()
def load_elsewhere(name: str, folder: Path) -> None:
    model, processor = load_model(name, LABELS, pretrained=False)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    image = torch.randn(1, 3, 65, 97)
    torch.save(image, folder / "image.pt")
    done = subprocess.run(
        [sys.executable, "-c", _STRANGER, str(folder)],
        env=environment(HF_MODULES_CACHE=str(folder / "modules")),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same_logits(torch.load(folder / "logits.pt"), model(image).logits)


def test_saved_model_loads_where_hfseg_is_not_installed(tmp_path: Path) -> None:
    load_elsewhere("unet-resnet18", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn-resnet18", "dpt-tu-vit_tiny_patch16_224", "segformer-tiny",
                                  "fpn-tu-resnetblur18", "upernet-resnet18"])  # fmt: skip
def test_every_kind_of_model_loads_where_hfseg_is_not_installed(name: str, tmp_path: Path) -> None:
    load_elsewhere(name, tmp_path)


@pytest.mark.parametrize(
    "imports",
    [
        "import hfseg\nfrom transformers import AutoModelForSemanticSegmentation as Auto",
        pytest.param(
            "from transformers import AutoModelForSemanticSegmentation as Auto\nimport hfseg",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["hfseg first", "transformers first"],
)
def test_importing_hfseg_registers_the_auto_classes(imports: str) -> None:
    code = f"""{imports}
from transformers import AutoConfig
model = Auto.from_config(AutoConfig.for_model("smp", encoder_name="resnet18"))
assert type(model).__name__ == "SmpForSemanticSegmentation"
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_import_of_hfseg_alone_does_not_import_torch() -> None:
    code = "import sys, hfseg; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment()).returncode == 0
