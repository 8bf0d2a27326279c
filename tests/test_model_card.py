import re
from dataclasses import replace

import numpy as np
import pytest
import yaml
from hub_card_rules import card_errors
from huggingface_hub import ModelCard
from PIL import Image

from hfseg.cards.card_facts import CardInputs
from hfseg.cards.citations import citations
from hfseg.cards.licenses import License, license_of_model
from hfseg.cards.model_card import for_repository, write_model_card
from hfseg.cards.redaction import public_recipe, redacted, redacted_values
from hfseg.labels import LabelSet
from hfseg.metrics.intervals import Interval

LABELS = LabelSet(("sky", "road", "traffic sign", "car"))
RUN = CardInputs(
    model_name="street-segformer",
    model_type="segformer",
    architecture="SegFormer-B0",
    model_name_or_path="/home/someone/weights/mit-b0",
    label_set=LABELS,
    dataset_name="streets",
    split_sizes={"train": 320, "validation": 40},
    eval_split="validation",
    metrics={
        "eval_mean_iou": 0.612345678901,
        "eval_mean_accuracy": 0.7,
        "eval_overall_accuracy": 0.91,
        "eval_iou_sky": 0.9,
        "eval_iou_road": 0.52,
        "eval_iou_traffic_sign": float("nan"),
        "eval_iou_car": 0.11,
    },
    protocol="Images at their own size, scored at the size of the label.",
    command="python scripts/finetune.py --dataset_path /mnt/disk/streets --hub_token hf_"
    + "x" * 30,
    recipe={"learning_rate": 6e-5, "dataset_path": "/mnt/my disk/streets", "hub_token": "secret"},
    seed=7,
    hardware="CPU, 2 cores",
    precision="bfloat16",
    training_seconds=3725.0,
    num_steps=1500,
    epochs=12.5,
    versions={"hfseg": "0.1.0", "torch": "2.6.0"},
    num_parameters=3_715_170,
)


def card_text(tmp_path, **changes) -> str:
    return write_model_card(tmp_path, replace(RUN, **changes)).read_text(encoding="utf-8")


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_the_metadata_reads_back_as_eval_results_with_the_same_numbers(tmp_path):
    path = write_model_card(tmp_path, replace(RUN, dataset_id="someone/streets"))
    data = ModelCard.load(path).data
    assert {r.metric_type: r.metric_value for r in data.eval_results} == {
        "mean_iou": 0.612345678901,
        "mean_accuracy": 0.7,
        "overall_accuracy": 0.91,
    }
    assert {r.dataset_type for r in data.eval_results} == {"someone/streets"}
    assert {r.dataset_split for r in data.eval_results} == {"validation"}
    assert data.model_name == "street-segformer"
    assert data.datasets == ["someone/streets"]
    assert data.pipeline_tag == "image-segmentation"
    assert data.library_name == "transformers"


def test_the_card_names_the_encoder_weights_a_run_started_from(tmp_path):
    text = card_text(
        tmp_path,
        model_name_or_path="deeplabv3plus-mobilenet-v2",
        encoder_weights="/home/someone/mobilenet_v2_1.0_224",
    )
    assert "with an encoder that starts from `mobilenet_v2_1.0_224`, trained on" in text
    assert "fine-tuned from" not in text and "/home" not in text


def test_a_pushed_recipe_has_no_paths_of_this_machine():
    text = "# repeats the run 'x': --config recipe.yaml\ndataset_path: /data/my streets\nseed: 3\n"
    public = public_recipe(text)
    assert yaml.safe_load(public) == {"dataset_path": "my streets", "seed": 3}
    assert "# paths of your own to give on the command line: --dataset_path (was my streets)" in (
        public
    )


def test_an_unknown_license_is_not_invented(tmp_path):
    path = write_model_card(tmp_path, RUN)
    assert ModelCard.load(path).data.license is None
    assert "license of these weights is unknown" in path.read_text()


def test_a_license_that_the_hub_does_not_list_is_declared_as_other(tmp_path):
    data = ModelCard.load(write_model_card(tmp_path, replace(RUN, license="NVIDIA License"))).data
    assert (data.license, data.license_name) == ("other", "nvidia-license")


def test_a_license_that_the_hub_lists_is_declared_unchanged(tmp_path):
    data = ModelCard.load(write_model_card(tmp_path, replace(RUN, license="Apache-2.0"))).data
    assert (data.license, data.license_name) == ("apache-2.0", None)


OPEN, NO_SALE, OTHER = License("apache-2.0"), License("cc-by-nc-4.0"), License("other", "http://x")


@pytest.mark.parametrize(
    ("weights", "data", "from_scratch", "declared"),
    [
        (OPEN, OPEN, False, "apache-2.0"),
        (OPEN, None, False, "apache-2.0"),
        (OPEN, NO_SALE, False, "cc-by-nc-4.0"),
        (OPEN, OTHER, False, "terms of streets"),
        (NO_SALE, OPEN, False, "cc-by-nc-4.0"),
        (None, OPEN, False, None),
        (None, OPEN, True, "apache-2.0"),
        (None, OTHER, True, "terms of streets"),
        (None, None, True, None),
    ],
)
def test_the_license_never_allows_more_than_weights_and_data_do(
    weights, data, from_scratch, declared
):
    license = license_of_model(weights, data, "streets", from_scratch)
    assert (license.name if license else None) == declared


def test_the_license_that_the_hub_does_not_list_is_linked(tmp_path):
    changes = dict(
        license="NVIDIA License", license_link="https://x.org/L", license_terms="no sale"
    )
    path = write_model_card(tmp_path, replace(RUN, **changes))
    assert ModelCard.load(path).data.license_link == "https://x.org/L"
    assert "[NVIDIA License](https://x.org/L) (no sale)." in path.read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"metrics": {}},
        {"license": "NVIDIA License", "license_link": "https://x.org/L"},
        {"license": "terms of My Data!"},
        {"license": "cc-by-nc-sa-4.0", "base_model": "nvidia/mit-b0", "dataset_id": "a/b"},
        {"dataset_name": "Straßen & Wege", "base_model": "/mnt/mit-b0", "needs_remote_code": True},
    ],
)
def test_the_hub_accepts_the_metadata(tmp_path, changes):
    assert card_errors(card_text(tmp_path, **changes), "model") == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("license: mit", "license: MIT", "is not in the list"),
        ("license: mit", "license: [", "no YAML"),
        ("base_model: a/b", "base_model: /mnt/a/b", "use an id of the Hub"),
        ("pipeline_tag: image-segmentation", "pipeline_tag: semantics", "no task"),
        ("value: 0.7", "value: .nan", "must be a number"),
        ("type: mean_accuracy", "kind: mean_accuracy", '"metrics.type" is required'),
        ("type: streets", "types: streets", '"dataset.type" is required'),
        ("- name: street-segformer", "- title: street-segformer", 'name" is required'),
    ],
)
def test_the_rules_of_the_hub_find_each_mistake(tmp_path, old, new, message):
    text = card_text(tmp_path, license="mit", base_model="a/b")
    assert old in text
    assert any(message in each for each in card_errors(text.replace(old, new, 1), "model"))


def test_base_model_is_declared_only_if_it_is_a_hub_id(tmp_path):
    for base_model, declared in (("nvidia/mit-b0", "nvidia/mit-b0"), ("/mnt/mit-b0", None)):
        data = ModelCard.load(write_model_card(tmp_path, replace(RUN, base_model=base_model))).data
        assert data.base_model == declared


def test_the_card_contains_neither_local_paths_nor_tokens(tmp_path):
    text = card_text(
        tmp_path / "run",
        dataset_name="/mnt/disk/streets",
        model_name="/runs/street-segformer",
        base_model="/mnt/weights/mit-b0",
        notes=["Weights were read from /srv/weights/mit-b0."],
    )
    for part in (
        "/mnt",
        "/home",
        "/srv",
        "/runs",
        "disk",
        "someone",
        str(tmp_path),
        "secret",
        "hf_",
    ):
        assert part not in text
    assert "--dataset_path streets" in text
    assert "scripts/finetune.py" in text


def test_the_recipe_in_the_card_is_the_resolved_arguments(tmp_path):
    recipe = re.search(r"```yaml\n(.*?)```", card_text(tmp_path), flags=re.DOTALL)[1]
    assert yaml.safe_load(recipe) == {"learning_rate": 6e-5, "dataset_path": "streets"}


def test_the_card_has_no_placeholder(tmp_path):
    bare = dict(metrics={}, recipe={}, versions={}, split_sizes={}, command="", protocol="")
    for changes in ({}, bare):
        text = card_text(tmp_path, **changes)
        for placeholder in (
            "More Information Needed",
            "None",
            " nan",
            "``\n\n``",
            "bash\n\n",
            " .",
            ": .",
            "{{ ",
            "{%",
            "TODO",
            "\n\n\n\n",
        ):
            assert placeholder not in text


def test_without_metrics_the_card_says_that_nothing_was_measured(tmp_path):
    path = write_model_card(tmp_path, replace(RUN, metrics={}))
    assert "was not evaluated" in path.read_text()
    assert ModelCard.load(path).data.eval_results is None


def test_the_first_sentence_states_the_numbers_and_the_number_of_images(tmp_path):
    summary = card_text(tmp_path).split("# street-segformer\n\n")[1].split("\n")[0]
    assert "validation split (40 images)" in summary
    assert "mean IoU **0.6123**" in summary
    assert "4 classes" in summary


def test_the_interval_is_given_next_to_the_mean_iou(tmp_path):
    interval = Interval(0.6123, (0.5912, 0.6387), "40 images taken as independent")
    metrics = {**RUN.metrics, **interval.as_results("eval_mean_iou")}
    text = card_text(tmp_path, metrics=metrics)
    assert "mean IoU **0.6123** (95 % interval 0.5912 to 0.6387)" in text
    line = "on `validation`: 0.5912 to 0.6387 (40 images taken as independent)."
    assert f"95 % interval of the mean IoU {line}" in text
    assert "95 %" not in card_text(tmp_path)


def test_a_missing_interval_is_explained(tmp_path):
    interval = Interval(0.6123, None, "none, because 'bus' is in only one image")
    text = card_text(tmp_path, metrics={**RUN.metrics, **interval.as_results("eval_mean_iou")})
    assert "on `validation`: none, because 'bus' is in only one image." in text
    assert "0.6123** (95 %" not in text


def test_test_scores_are_listed_next_to_validation_scores(tmp_path):
    test = {"test_mean_iou": 0.5, "test_mean_accuracy": 0.6, "test_overall_accuracy": 0.8}
    text = card_text(tmp_path, test_metrics=test, chosen_by="mean_iou")
    assert "| mean IoU | 0.6123 | 0.5000 |" in text
    assert "those of the test split are not" in text
    assert "| mean IoU | 0.6123 |\n" in card_text(tmp_path)


def test_selection_of_the_checkpoint_on_the_validation_split_is_stated(tmp_path):
    assert "best mean IoU on the validation split" in card_text(tmp_path, chosen_by="mean_iou")
    assert "The checkpoint is" not in card_text(tmp_path)


def test_a_pushed_card_names_the_repository_everywhere(tmp_path):
    text = for_repository(card_text(tmp_path / "run-7"), "me/streets")
    assert "\n# streets\n" in text and "run-7" not in text and "street-segformer" not in text
    assert ModelCard(text).data.model_name == "streets"
    assert for_repository(text, "me/streets") == text


def test_absent_classes_are_named_and_have_no_score(tmp_path):
    text = card_text(tmp_path)
    assert "| traffic sign | absent |" in text
    assert "| car | 0.1100 |" in text
    assert "traffic sign occurs in neither the labels nor the predictions" in text


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_missing_iou_in_json_is_absent_as_well(tmp_path, value):
    text = card_text(tmp_path, metrics={**RUN.metrics, "eval_iou_sky": value})
    assert "| sky | absent |" in text


def test_without_scores_per_class_no_class_is_called_absent(tmp_path):
    text = card_text(tmp_path, metrics={"eval_mean_iou": 0.5})
    assert "absent" not in text
    assert "in neither the labels" not in text


def test_limits_follow_from_the_facts(tmp_path):
    labels = LabelSet(("a", "b", "c", "d"))
    metrics = {"eval_mean_iou": 0.5} | {
        f"eval_iou_{n}": v for n, v in zip("abcd", (0.9, 0.1, 0.3, 0.2), strict=True)
    }
    small = card_text(tmp_path, label_set=labels, metrics=metrics)
    assert "validation split is small (40 images)" in small
    assert "lowest IoU are b (0.1000), d (0.2000) and c (0.3000)" in small
    large = card_text(tmp_path, split_sizes={"train": 9000, "validation": 3000})
    assert "is small" not in large


def test_only_existing_figures_are_linked_by_relative_paths(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "curves.png").touch()
    assert re.findall(r"!\[.*?\]\((.*?)\)", card_text(tmp_path)) == ["report/curves.png"]


def test_examples_come_first_and_once(tmp_path):
    (tmp_path / "report").mkdir()
    for name in ("curves.png", "predictions.png"):
        (tmp_path / "report" / name).touch()
    text = card_text(tmp_path)
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert pictures == ["report/predictions.png", "report/curves.png"]
    assert text.index("predictions.png") < text.index("## Usage")


def test_labels_table_gives_each_class_its_color(tmp_path):
    assert "| 1 | road | `#e69f00` |" in card_text(tmp_path)


def test_a_class_name_cannot_break_a_table(tmp_path):
    text = card_text(tmp_path, label_set=LabelSet(("left|right", "b")))
    assert "| 0 | left\\|right | `#0072b2` |" in text


def test_150_classes_are_folded_and_all_listed(tmp_path):
    labels = LabelSet(tuple(f"class {index}" for index in range(150)))
    text = card_text(tmp_path, label_set=labels)
    assert len(re.findall(r"^\| \d+ \| class \d+ \| `#", text, flags=re.MULTILINE)) == 150
    assert text.count("<details>") == text.count("</details>") == 2


def test_a_pushed_model_is_used_by_its_id_with_remote_code_where_needed(tmp_path):
    text = card_text(tmp_path, repo_id="me/streets", needs_remote_code=True)
    transformers_only = [block for block in python_blocks(text) if "hfseg" not in block]
    assert len(transformers_only) == 2
    for block in transformers_only:
        assert '"me/streets"' in block
        assert "trust_remote_code=True" in block
    assert "trust_remote_code" not in card_text(tmp_path, repo_id="me/streets")


def test_a_universal_model_is_used_by_its_own_class_and_subtask(tmp_path):
    text = card_text(tmp_path, is_universal=True)
    assert '("photo.jpg", subtask="semantic")' in text
    assert "AutoModelForUniversalSegmentation.from_pretrained(" in text
    assert "AutoModelForSemanticSegmentation" not in text


def test_the_usage_works_as_pasted(tmp_path, monkeypatch):
    from transformers import (
        SegformerConfig,
        SegformerForSemanticSegmentation,
        SegformerImageProcessor,
    )

    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[4, 2],
        hidden_sizes=[8, 8],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 1],
        mlp_ratios=[1, 1],
        decoder_hidden_size=8,
        id2label=LABELS.id2label,
        label2id=LABELS.label2id,
    )
    folder = tmp_path / "streets"
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(do_resize=False).save_pretrained(folder)
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    whole, steps, segmenter = python_blocks(card_text(folder))
    names: dict = {}
    exec(whole, names)
    assert {segment["label"] for segment in names["segments"]} <= set(LABELS.names)
    exec(steps, names)
    assert tuple(names["mask"].shape) == (48, 64)
    exec(segmenter, names)
    with Image.open("overlay.png") as drawn:
        assert drawn.height >= 48


@pytest.mark.parametrize(
    ("texts", "keys"),
    [
        (["segformer", "SegFormer-B0"], ["xie2021segformer"]),
        (["deeplabv3plus-mobilenet-v2"], ["chen2018encoder", "sandler2018mobilenetv2"]),
        (["mobilenet_v2", "DeepLabV3+"], ["chen2018encoder", "sandler2018mobilenetv2"]),
        (["deeplabv3-resnet50"], ["chen2017rethinking"]),
        (["hfseg_smp", "U-Net with a ResNet-34 encoder"], ["ronneberger2015unet"]),
        (["pspnet-resnet50"], ["zhao2017pyramid"]),
        (["fcn-resnet50"], ["long2015fully"]),
        (["upernet", "upernet-convnext-tiny"], ["xiao2018unified"]),
        (["unetplusplus-resnet34", "UNet++"], []),
        (["dpt"], []),
        (["eomt_dinov3", "eomt-dinov3-vitl"], ["kerssies2025eomt"]),
        (["mask2former-swin-tiny"], ["cheng2022masked"]),
    ],
)
def test_known_architectures_are_cited_and_no_other(texts, keys):
    assert [re.match(r"@\w+\{(\w+),", entry)[1] for entry in citations(*texts)] == keys


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--dataset_path /a/b/VOC --x", "--dataset_path VOC --x"),
        ("--dataset_path=/a/b/VOC/", "--dataset_path=VOC"),
        ("--p '/a b/c d/VOC' q", "--p 'VOC' q"),
        ("~/data/VOC and ../../shared/VOC", "VOC and VOC"),
        (r"C:\Users\me\VOC", "VOC"),
        ("file:///a/b/VOC", "VOC"),
        ("https://huggingface.co/nvidia/mit-b0", "https://huggingface.co/nvidia/mit-b0"),
        (
            "scripts/finetune.py and/or H/4, plain /255",
            "scripts/finetune.py and/or H/4, plain /255",
        ),
        ("</details>", "</details>"),
    ],
)
def test_local_paths_are_reduced_to_their_name(text, expected):
    assert redacted(text) == expected


def test_redacted_values_stay_plain_yaml():
    values = {"a": (1, "/x/y z/w"), "push_to_hub_token": "t", "b": {"c": None, "d": 0.5}}
    assert redacted_values(values) == {"a": [1, "w"], "b": {"c": None, "d": 0.5}}


def test_the_precision_of_the_training_is_stated(tmp_path):
    assert "on CPU, 2 cores in bfloat16, with seed 7" in card_text(tmp_path)
