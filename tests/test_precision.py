"""Device and precision of a run, on every kind of machine: detection is patched both ways."""

import copy

import pytest
import torch

from hfseg.config.resolve import parse
from hfseg.errors import UserError
from hfseg.labels import LabelSet
from hfseg.models import load_model
from hfseg.training.precision import (
    Hardware,
    Precision,
    choose_precision,
    detect_hardware,
    memory_format,
)

MACHINES = {
    "cpu": Hardware("cpu", bf16=False, emulates_bf16=True),
    "cpu with bf16": Hardware("cpu", bf16=True, emulates_bf16=True),
    "cuda 7.5": Hardware("cuda", bf16=False),
    "cuda 8.0": Hardware("cuda", bf16=True),
    "cuda 9.0": Hardware("cuda", bf16=True),
    "mps, macOS 13": Hardware("mps", bf16=False),
    "mps, macOS 14": Hardware("mps", bf16=False, emulates_bf16=True),
}
# machine: auto, no, bf16, fp16 -> what is trained in; None where it is refused
CHOSEN: dict[str, tuple[str, str, str | None, str | None]] = {
    "cpu": ("no", "no", "bf16", None),
    "cpu with bf16": ("bf16", "no", "bf16", None),
    "cuda 7.5": ("no", "no", None, "fp16"),
    "cuda 8.0": ("bf16", "no", "bf16", "fp16"),
    "cuda 9.0": ("bf16", "no", "bf16", "fp16"),
    "mps, macOS 13": ("no", "no", None, "fp16"),
    "mps, macOS 14": ("no", "no", "bf16", "fp16"),
}
ROWS = [
    (machine, asked, answer)
    for machine, answers in CHOSEN.items()
    for asked, answer in zip(("auto", "no", "bf16", "fp16"), answers, strict=True)
]


def name_of(chosen: Precision) -> str:
    assert not (chosen.bf16 and chosen.fp16)
    return "bf16" if chosen.bf16 else "fp16" if chosen.fp16 else "no"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Makes torch report the hardware of another machine."""

    def pretend(name: str) -> None:
        device, _, detail = name.partition(" ")
        device = device.rstrip(",")
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: device != "cpu")
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(device))
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: "bf16" in detail)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        if device == "cuda":
            capability = tuple(int(digit) for digit in detail.split("."))
            monkeypatch.setattr(torch.version, "hip", None)
            monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
            monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
        monkeypatch.setattr(
            "hfseg.training.precision.is_torch_bf16_gpu_available",
            lambda: detail == "macOS 14",
        )
        monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)

    return pretend


@pytest.mark.parametrize("name", MACHINES)
def test_every_machine_is_detected(machine, name: str) -> None:
    machine(name)
    assert detect_hardware() == MACHINES[name]


def test_one_old_gpu_among_new_ones_decides_for_all_processes(machine, monkeypatch) -> None:
    machine("cuda 9.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: [(9, 0), (7, 5)][index])
    assert not detect_hardware().bf16


@pytest.mark.parametrize("name", ["cuda 7.5", "cuda 9.0", "mps, macOS 14"])
@pytest.mark.parametrize("how", ["--use_cpu", "ACCELERATE_USE_CPU"])
def test_an_accelerator_is_left_alone_on_request(machine, monkeypatch, name: str, how: str) -> None:
    machine(name)
    if how == "ACCELERATE_USE_CPU":
        monkeypatch.setenv(how, "true")
    hardware = detect_hardware(use_cpu=how == "--use_cpu")
    assert hardware == MACHINES["cpu"]
    assert choose_precision("auto", hardware).use_cpu


@pytest.mark.parametrize(("name", "asked", "answer"), ROWS)
@pytest.mark.parametrize("how", ["--mixed_precision", "--bf16 or --fp16", "accelerate launch"])
def test_precision_of_every_machine_and_choice(name, asked, answer, how) -> None:
    hardware = MACHINES[name]

    def choose() -> Precision:
        if how == "--mixed_precision" or asked in ("auto", "no"):
            return choose_precision(asked, hardware)
        if how == "accelerate launch":
            return choose_precision("auto", hardware, launcher=asked)
        return choose_precision("auto", hardware, bf16=asked == "bf16", fp16=asked == "fp16")

    if answer is None:
        with pytest.raises(UserError, match="use --mixed_precision"):
            choose()
    else:
        chosen = choose()
        assert name_of(chosen) == answer
        assert chosen.use_cpu == (hardware.device == "cpu")


def test_launcher_decides_only_in_place_of_auto() -> None:
    fast = MACHINES["cuda 9.0"]
    assert name_of(choose_precision("auto", fast, launcher="no")) == "bf16"
    assert name_of(choose_precision("no", fast, launcher="bf16")) == "no"
    assert name_of(choose_precision("fp16", fast, launcher="bf16")) == "fp16"
    with pytest.raises(UserError, match="accelerate launch --mixed_precision fp8"):
        choose_precision("auto", fast, launcher="fp8")


@pytest.mark.parametrize(
    ("mixed_precision", "bf16", "fp16"),
    [("auto", True, True), ("no", True, False), ("fp16", True, False), ("bf16", False, True)],
)
def test_contradictions_are_refused(mixed_precision: str, bf16: bool, fp16: bool) -> None:
    with pytest.raises(UserError, match="choose one with --mixed_precision"):
        choose_precision(mixed_precision, MACHINES["cuda 9.0"], bf16=bf16, fp16=fp16)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UserError, match="'int4': choose auto, no, bf16 or fp16"):
        choose_precision("int4", MACHINES["cpu"])


# ---- memory format ----


@pytest.mark.parametrize(
    ("name", "faster"),
    [
        ("deeplabv3plus-mobilenet-v2", True),
        ("unet-tu-efficientnet_lite0", True),
        ("unet-mobilenet_v2", True),
        ("unet-resnet18", False),
        ("deeplabv3plus-resnet18", False),
        ("upernet-resnet18", False),
        ("upernet-convnext-tiny", False),
        ("segformer-b0", False),
    ],
)
def test_depthwise_networks_train_channels_last_on_a_cpu_in_float32(name, faster) -> None:
    with torch.device("meta"):
        model, _ = load_model(name, LabelSet(("a", "b")), pretrained=False)

    def chosen(use_cpu: bool, bf16: bool = False, fp16: bool = False) -> bool:
        options = Precision(use_cpu, bf16, fp16)
        return memory_format(model, options) == torch.channels_last

    assert chosen(use_cpu=True) == faster
    assert not chosen(use_cpu=True, bf16=True)
    assert not any(chosen(False, *half) for half in ((False, False), (True, False), (False, True)))


def test_channels_last_computes_the_same_gradients() -> None:
    options = {"depth_multiplier": 0.35, "classifier_dropout_prob": 0.0}
    model, _ = load_model(
        "deeplabv3plus-mobilenet-v2", LabelSet(("a", "b")), pretrained=False, **options
    )
    images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    contiguous, channels_last = (
        copy.deepcopy(model).double().train().to(memory_format=layout)
        for layout in (torch.contiguous_format, torch.channels_last)
    )
    for each in (contiguous, channels_last):
        each(pixel_values=images).logits.square().sum().backward()
    for (name, one), two in zip(
        contiguous.named_parameters(), channels_last.parameters(), strict=True
    ):
        torch.testing.assert_close(two.grad, one.grad, rtol=1e-6, atol=1e-6, msg=name)


# ---- the arguments of a run ----

RUN = ["--dataset_name", "folder", "--dataset_path", "somewhere"]


@pytest.mark.parametrize("name", ["cpu", "cpu with bf16"])
def test_arguments_of_a_run_are_accepted_on_every_cpu(machine, name: str) -> None:
    machine(name)
    training = parse(RUN).training
    assert training.use_cpu and training.device.type == "cpu"
    assert training.bf16 == (name == "cpu with bf16")
    assert training.mixed_precision == ("bf16" if training.bf16 else "no")


def test_choice_of_the_run_wins_over_the_variable_of_the_launcher(machine, monkeypatch) -> None:
    machine("cpu")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert parse(RUN).training.mixed_precision == "bf16"
    assert parse([*RUN, "--mixed_precision", "no"]).training.mixed_precision == "no"


def test_flags_override_the_precision_of_the_recipe(machine, tmp_path) -> None:
    machine("cpu")
    assert parse(["--config", "quickstart", "--bf16"]).training.bf16
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("dataset_name: toyscapes\nbf16: true\n")
    assert parse(["--config", str(recipe)]).training.bf16
    arguments = parse(["--config", str(recipe), "--mixed_precision", "no"])
    assert not arguments.training.bf16 and "bf16" not in arguments.recipe
    with pytest.raises(UserError, match="choose one with --mixed_precision"):
        parse([*RUN, "--mixed_precision", "no", "--bf16"])
