"""`Segmenter`: the rule for pixels, in batches, tiles and views, with every kind of model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny_segformer import NAMES, photo, save_tiny
from tolerance import TOLERANCE, assert_same_mask
from transformers import (
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    MobileNetV2Config,
    MobileNetV2ForSemanticSegmentation,
    MobileNetV2ImageProcessor,
    pipeline,
)

from hfseg.errors import UserError
from hfseg.inference import Segmenter
from hfseg.inference import segmenter as segmenter_module


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> Segmenter:
    return Segmenter.from_pretrained(folder, device="cpu")


def log_probabilities(segmenter: Segmenter, image: object) -> np.ndarray:
    return np.log(segmenter(image, return_probabilities=True).probabilities)


@pytest.mark.parametrize(
    "processor", [{}, {"size": {"height": 64, "width": 64}, "do_resize": True}]
)
def test_mask_follows_the_rule_for_pixels(tmp_path, processor):
    folder = save_tiny(tmp_path, **processor)
    image = photo(50, 83)

    model = AutoModelForSemanticSegmentation.from_pretrained(folder).eval()
    pixel_values = AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")
    with torch.no_grad():
        logits = model(**pixel_values).logits
    logits = F.interpolate(logits, size=(50, 83), mode="bilinear", align_corners=False)[0]

    result = Segmenter.from_pretrained(folder, device="cpu")(image, return_probabilities=True)
    assert result.mask.dtype == np.uint8 and result.mask.shape == (50, 83)
    assert len(np.unique(result.mask)) > 1
    assert_same_mask(result.mask, logits.argmax(0), logits)
    assert result.probabilities.dtype == np.float32
    np.testing.assert_allclose(result.probabilities, logits.softmax(0), atol=TOLERANCE)


def test_probabilities_are_kept_only_when_asked(segmenter):
    assert segmenter(photo(32, 32)).probabilities is None


def test_mask_equals_the_processors_post_processing_and_the_pipeline(folder, segmenter):
    image = Image.fromarray(photo(61, 40))
    mask = segmenter(image).mask

    inputs = segmenter.image_processor(image, return_tensors="pt")
    with torch.no_grad():
        outputs = segmenter.model(**inputs)
    theirs = segmenter.image_processor.post_process_semantic_segmentation(outputs, [(61, 40)])[0]
    scores = log_probabilities(segmenter, image)
    assert_same_mask(mask, theirs, scores)

    segments = pipeline("image-segmentation", model=str(folder), device="cpu")(image)
    assert [segment["label"] for segment in segments] == [NAMES[i] for i in np.unique(mask)]
    piped = np.full(mask.shape, 255)
    for segment in segments:
        piped[np.asarray(segment["mask"]) == 255] = NAMES.index(segment["label"])
    assert_same_mask(mask, piped, scores)


def test_a_list_of_different_sizes_gets_the_answers_of_its_images(segmenter):
    images = [photo(48, 64, 1), photo(33, 47, 2), photo(48, 64, 3)]
    results = segmenter(images)
    assert isinstance(results, list)
    for image, result in zip(images, results, strict=True):
        assert_same_mask(result.mask, segmenter(image).mask, log_probabilities(segmenter, image))
        np.testing.assert_array_equal(np.asarray(result.image), image)


def test_argmax_in_bounded_memory_is_the_plain_argmax(monkeypatch):
    logits = torch.randn(2, 7, 6, 9, generator=torch.Generator().manual_seed(0))
    logits[:, 5] = logits[:, 1]  # a tie: the smaller id wins
    plain = F.interpolate(logits, size=(31, 20), mode="bilinear", align_corners=False).argmax(1)
    monkeypatch.setattr(segmenter_module, "_RESIZED_VALUES_AT_ONCE", 2 * 31 * 20 * 3)
    assert torch.equal(segmenter_module.resized_argmax(logits, (31, 20))[0], plain)
    assert 1 in plain and 5 not in plain


def test_a_centre_crop_inherited_from_classification_is_left_out(segmenter):
    image = photo(48, 96)
    crop = {"do_resize": False, "crop_size": {"height": 32, "width": 32}}
    cropping = Segmenter(segmenter.model, MobileNetV2ImageProcessor(do_center_crop=True, **crop))
    plain = Segmenter(segmenter.model, MobileNetV2ImageProcessor(do_center_crop=False, **crop))
    assert_same_mask(cropping(image).mask, plain(image).mask, log_probabilities(plain, image))


def test_labels_and_colors_come_from_the_model(tmp_path):
    save_tiny(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["palette"] = [[index, 2 * index, 250] for index in range(len(NAMES))]
    (tmp_path / "config.json").write_text(json.dumps(config))
    labels = Segmenter.from_pretrained(tmp_path, device="cpu")(photo(32, 32)).labels
    assert labels.names == NAMES
    assert labels.palette[3] == (3, 6, 250)


def test_overlay_is_the_image_at_its_own_size_and_grows_by_a_legend(segmenter):
    result = segmenter(photo(40, 60))
    assert result.overlay(opacity=0.5, legend=False).size == (60, 40)
    with_legend = result.overlay()
    assert with_legend.height / with_legend.width > 40 / 60


def test_a_photo_with_exif_orientation_comes_out_upright(tmp_path, segmenter):
    upright = Image.fromarray(photo(40, 64))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    upright.rotate(90, expand=True).save(tmp_path / "photo.png", exif=exif)
    result = segmenter(tmp_path / "photo.png")
    np.testing.assert_array_equal(np.asarray(result.image), np.asarray(upright))
    scores = log_probabilities(segmenter, upright)
    assert_same_mask(result.mask, segmenter(upright).mask, scores)


# many images, tiles and views


def test_a_batch_of_one_size_gets_the_answers_of_its_images(segmenter):
    images = [photo(48, 64, 1), photo(33, 47, 2), photo(48, 64, 3), photo(48, 64, 4)]
    results = segmenter(images, batch_size=3, return_confidence=True)
    for image, result in zip(images, results, strict=True):
        alone = segmenter(image, return_confidence=True)
        assert_same_mask(result.mask, alone.mask, log_probabilities(segmenter, image))
        np.testing.assert_allclose(result.confidence, alone.confidence, atol=TOLERANCE)
        np.testing.assert_array_equal(np.asarray(result.image), image)


def test_a_folder_is_read_as_it_goes_in_the_order_of_names(tmp_path, segmenter):
    (tmp_path / "inner").mkdir()
    for name in ("b.png", "a.jpg", "inner/c.png"):
        Image.fromarray(photo(40, 48)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    results = segmenter(tmp_path)
    assert not isinstance(results, list)
    names = [Path(result.source).relative_to(tmp_path).as_posix() for result in results]
    assert names == ["a.jpg", "b.png", "inner/c.png"]


def test_a_generator_is_not_read_to_its_end_before_the_first_answer(segmenter):
    read = []

    def endless():
        while True:
            read.append(1)
            yield photo(32, 32)

    results = segmenter(endless())
    assert next(results).mask.shape == (32, 32)
    assert len(read) < 6


def test_an_address_is_downloaded(tmp_path, segmenter):
    import functools
    import http.server
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    Image.fromarray(photo(40, 48)).save(tmp_path / "a.png")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        assert_same_mask(
            segmenter(f"{address}/a.png").mask,
            segmenter(photo(40, 48)).mask,
            log_probabilities(segmenter, photo(40, 48)),
        )
        with pytest.raises(UserError, match=r"cannot be downloaded \(.*404"):
            segmenter(f"{address}/b.png")
        server.shutdown()


def test_confidence_is_the_probability_of_the_class_chosen(segmenter):
    result = segmenter(photo(40, 56), return_probabilities=True, return_confidence=True)
    chosen = np.take_along_axis(result.probabilities, result.mask[None].astype(int), 0)[0]
    np.testing.assert_array_equal(result.confidence, chosen)
    np.testing.assert_allclose(result.confidence, result.probabilities.max(0))


def test_a_window_as_large_as_the_image_changes_nothing(segmenter):
    image = photo(50, 70)
    scores = log_probabilities(segmenter, image)
    assert_same_mask(segmenter(image, sliding_window=(64, 80)).mask, segmenter(image).mask, scores)


def test_flipped_views_make_the_answer_symmetric(segmenter):
    image = photo(48, 64)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    ours = segmenter(image, tta="flip,0.5,1.0", return_probabilities=True).probabilities
    theirs = segmenter(mirrored, tta="flip,0.5,1.0", return_probabilities=True).probabilities
    np.testing.assert_allclose(ours, theirs[..., ::-1], atol=TOLERANCE)
    np.testing.assert_allclose(ours.sum(0), 1, atol=1e-5)
    plain = segmenter(image, return_probabilities=True).probabilities
    one_view = segmenter(image, tta="1.0", return_probabilities=True).probabilities
    np.testing.assert_allclose(one_view, plain, atol=TOLERANCE)
    assert np.abs(ours - plain).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tta": "flop"}, "'flop' must be flip or a scale"),
        ({"tta": "1.0,1.0"}, "each at most once"),
        ({"sliding_window": 0}, "at least 1"),
        ({"sliding_window": 32, "stride": 40}, "a larger one would leave gaps"),
        ({"stride": 40}, "needs a sliding window"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_options_without_sense_are_reported(segmenter, options, words):
    with pytest.raises(UserError, match=words):
        segmenter(photo(32, 32), **options)


def test_a_tensor_is_refused_with_what_to_give_instead(segmenter):
    with pytest.raises(UserError, match=r"not a tensor: .* give tensor\.numpy\(\)"):
        segmenter(torch.zeros(32, 32, 3, dtype=torch.uint8))


def test_half_precision_answers_nearly_the_same(folder, segmenter):
    half = Segmenter.from_pretrained(folder, device="cpu", dtype="bf16")
    image = photo(48, 64)
    assert (half(image).mask == segmenter(image).mask).mean() > 0.9
    with pytest.raises(UserError, match="dtype 'int4': choose from fp32"):
        Segmenter.from_pretrained(folder, dtype="int4")


def test_a_convolutional_network_is_laid_out_channels_last_and_answers_the_same(tmp_path, folder):
    torch.manual_seed(0)
    config = MobileNetV2Config(depth_multiplier=0.35, num_labels=5)
    model = MobileNetV2ForSemanticSegmentation(config)
    model.save_pretrained(tmp_path)
    processor = MobileNetV2ImageProcessor(do_resize=False, do_center_crop=False)
    processor.save_pretrained(tmp_path)
    fast, plain = Segmenter.from_pretrained(tmp_path, device="cpu"), Segmenter(model, processor)
    scores = [
        segmenter(photo(97, 80), return_probabilities=True).probabilities
        for segmenter in (fast, plain)
    ]
    np.testing.assert_allclose(*scores, atol=TOLERANCE)

    def channels_last(segmenter: Segmenter) -> bool:
        return all(
            weight.is_contiguous(memory_format=torch.channels_last)
            for weight in segmenter.model.parameters()
            if weight.ndim == 4
        )

    assert channels_last(fast) and not channels_last(plain)
    assert not channels_last(Segmenter.from_pretrained(folder, device="cpu"))


@pytest.mark.slow
def test_a_compiled_model_answers_the_same_at_every_size(folder, segmenter):
    compiled = Segmenter.from_pretrained(folder, device="cpu", compile=True)
    for seed, size in enumerate([(48, 64), (64, 48), (48, 64)]):
        image = photo(*size, seed)
        assert (compiled(image).mask == segmenter(image).mask).mean() > 0.999
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


def test_an_image_smaller_than_the_models_stride_is_segmented(segmenter):
    assert segmenter(photo(5, 9)).mask.shape == (5, 9)


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (5, 300), (300, 1)])
def test_a_model_given_as_an_object_segments_small_images_as_its_folder_does(segmenter, size):
    model = type(segmenter.model)(segmenter.model.config)  # without what from_pretrained adds
    model.load_state_dict(segmenter.model.state_dict())
    image = photo(*size)
    for _ in range(2):  # two segmenters may share a model
        given = Segmenter(model, segmenter.image_processor)
        np.testing.assert_array_equal(given(image).mask, segmenter(image).mask)


def test_a_universal_checkpoint_answers_as_its_processor_does(tmp_path):
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, hidden_dim=32, mask_feature_size=32, feature_size=32,
        encoder_feedforward_dim=32, dim_feedforward=32, encoder_layers=1, decoder_layers=2,
        num_attention_heads=2, num_queries=6, id2label=dict(enumerate(NAMES)),
        label2id={name: index for index, name in enumerate(NAMES)},
    )  # fmt: skip
    Mask2FormerForUniversalSegmentation(config).save_pretrained(tmp_path)
    Mask2FormerImageProcessor(size={"height": 384, "width": 384}).save_pretrained(tmp_path)
    universal = Segmenter.from_pretrained(tmp_path, device="cpu")
    image = Image.fromarray(photo(50, 70))
    result = universal(image, return_probabilities=True)

    inputs = universal.image_processor(image, return_tensors="pt")
    with torch.no_grad():
        outputs = universal.model(**inputs)
    theirs = universal.image_processor.post_process_semantic_segmentation(
        outputs, target_sizes=[(50, 70)]
    )[0]
    assert_same_mask(result.mask, theirs, np.log(result.probabilities))
    np.testing.assert_allclose(result.probabilities.sum(0), 1, rtol=1e-4)
    assert universal([image, image], batch_size=2, tta="flip")[1].mask.shape == (50, 70)
