"""`hfseg models`: the listed models, and their size and cost."""

import csv

import pytest

from hfseg.cli import run as run_command
from hfseg.errors import UserError
from hfseg.models.catalog import find_model
from hfseg.models.cost import measure
from hfseg.models.listing import COSTS, LISTED, cost_of


def test_every_listed_model_is_shown_without_counting(capsys, monkeypatch) -> None:
    monkeypatch.setattr("hfseg.models.listing.measure", None)
    run_command("models", [])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(LISTED) + 1]] == list(LISTED)


@pytest.mark.parametrize("name", ["segformer-tiny", "eomt-dinov2-vits"])
def test_the_costs_are_those_that_are_counted(name: str) -> None:
    assert cost_of(name) == measure(name)


@pytest.mark.slow
def test_all_costs_are_those_that_are_counted() -> None:
    with COSTS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cost = measure(row["name"])
            assert (cost.parameters, cost.macs) == (int(row["parameters"]), int(row["macs"]))


def test_the_license_of_the_weights_is_named(capsys) -> None:
    run_command("models", ["segformer-b0", "unet-mit_b0", "upernet-resnet18", "segformer-tiny"])
    lines = capsys.readouterr().out.splitlines()[1:5]
    nvidia = "(NVIDIA Source Code License for SegFormer)"
    ends = [nvidia, nvidia, "microsoft/resnet-18 (apache-2.0)", "none"]
    assert all(line.endswith(end) for line, end in zip(lines, ends, strict=True))


def test_an_encoder_that_only_timm_has_is_offered_by_its_name() -> None:
    with pytest.raises(UserError, match="timm has it: unet-tu-efficientnet_lite0"):
        find_model("unet-efficientnet_lite0")


@pytest.mark.parametrize(
    ("name", "millions"),
    [("tiny", 47), ("small", 69), ("base", 107), ("large", 216)],  # Cheng et al. 2022, table 5
)
def test_mask2former_has_the_published_sizes(name: str, millions: int) -> None:
    assert round(cost_of(f"mask2former-swin-{name}").parameters / 1e6) == millions
