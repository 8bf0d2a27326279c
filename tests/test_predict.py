"""`scripts/predict.py`: names, resume, and finished work that is kept."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_segformer import NAMES, photo, save_tiny
from tolerance import assert_same_mask

from hfseg.cli import run
from hfseg.errors import UserError
from hfseg.inference import Segmenter
from hfseg.inference.result import Options
from hfseg.workflows.predict_files import name_outputs, predict_files


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Segmenter:
    return Segmenter.from_pretrained(save_tiny(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    for index, name in enumerate(("a.png", "b.jpg", "inner/a.png")):
        Image.fromarray(photo(40, 48 + index, index)).save(folder / name)
    return folder


def predict(
    segmenter, *inputs, to, overwrite=False, options: Options | None = None, **settings
) -> int:
    names, options = [str(each) for each in inputs], options or Options()
    return predict_files(lambda: segmenter, names, to, settings, options, overwrite)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_folder_keeps_its_structure_and_gets_masks_overlays_and_a_legend(
    tmp_path, photos, segmenter
):
    assert predict(segmenter, photos, to=tmp_path / "out") == 3
    assert files(tmp_path / "out") == [
        "labels.json", "legend.png", "masks/a.png", "masks/b.png", "masks/inner/a.png",
        "overlays/a.jpg", "overlays/b.jpg", "overlays/inner/a.jpg", "predictions.json",
    ]  # fmt: skip
    mask = Image.open(tmp_path / "out/masks/inner/a.png")
    assert mask.mode == "P"
    expected = segmenter(photos / "inner/a.png", return_probabilities=True)
    assert_same_mask(mask, expected.mask, np.log(expected.probabilities))
    assert json.loads((tmp_path / "out/labels.json").read_text())["names"] == list(NAMES)


def test_images_that_have_a_mask_are_skipped(tmp_path, photos, segmenter, capsys):
    out = tmp_path / "out"
    predict(segmenter, photos, to=out)
    (out / "masks/b.png").unlink()
    before = (out / "masks/a.png").stat().st_mtime_ns
    assert predict(segmenter, photos, to=out) == 3
    assert "2 of 3 have a mask already" in capsys.readouterr().out
    assert (out / "masks/a.png").stat().st_mtime_ns == before and (out / "masks/b.png").exists()


def test_predictions_of_another_model_are_not_overwritten_silently(tmp_path, photos, segmenter):
    out = tmp_path / "out"
    predict(segmenter, photos, to=out, model="one", tta=None)
    with pytest.raises(UserError, match="made with another model; give another folder"):
        predict(segmenter, photos, to=out, model="two", tta=None)
    predict(segmenter, photos, to=out, model="two", tta=None, overwrite=True)
    assert json.loads((out / "predictions.json").read_text())["model"] == "two"


def test_a_folder_with_other_files_is_not_written_to(tmp_path, photos, segmenter):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="not empty, and not an earlier output of hfseg"):
        predict(segmenter, photos, to=tmp_path / "out")
    assert files(tmp_path / "out") == ["thesis.tex"]


def test_images_that_differ_in_their_suffix_get_two_names(photos):
    Image.open(photos / "a.png").save(photos / "a.jpg")
    names = name_outputs([str(photos)], photos.parent / "out")
    assert sorted(names.values()) == ["a.jpg", "a.png", "b", "inner/a"]


def test_several_folders_keep_their_names_apart(tmp_path, photos):
    other = tmp_path / "other"
    other.mkdir()
    Image.open(photos / "a.png").save(other / "a.png")
    names = name_outputs([str(photos), str(other)], tmp_path / "out")
    assert sorted(names.values()) == ["other/a", "photos/a", "photos/b", "photos/inner/a"]


def test_a_link_to_an_image_elsewhere_keeps_its_own_name(tmp_path, photos):
    Image.fromarray(photo(40, 48)).save(tmp_path / "elsewhere.png")
    (photos / "inner" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    names = name_outputs([str(photos)], tmp_path / "out")
    assert names[photos / "inner" / "link.png"] == "inner/link"


def test_two_images_with_the_same_name_are_reported(tmp_path, photos):
    with pytest.raises(UserError, match=r"would both be written as a.*two output folders"):
        name_outputs([str(photos / "a.png"), str(photos / "inner/a.png")], tmp_path / "out")


def test_an_output_folder_among_the_inputs_is_not_read(photos, segmenter):
    assert predict(segmenter, photos, to=photos / "out") == 3
    assert predict(segmenter, photos, to=photos / "out") == 3


def test_an_unreadable_image_is_reported_after_all_others_are_done(tmp_path, photos, segmenter):
    (photos / "aa.png").write_text("no image")
    (photos / "ab.png").write_text("nor this")
    said = r"(?s)2 of 5 files can't be read; the other 3 are done, .*aa\.png.*\n.*ab\.png"
    with pytest.raises(UserError, match=said):
        predict(segmenter, photos, to=tmp_path / "out")
    assert (tmp_path / "out/masks/inner/a.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux: needs /dev/full, a full device")
def test_a_full_disk_is_reported_and_finished_masks_are_kept(tmp_path, photos, segmenter):
    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "b.png.part").symlink_to("/dev/full")  # writing b.png meets a full disk
    with pytest.raises(UserError, match=r"the disk is full; the 1 of 3 .* run the same command"):
        predict(segmenter, photos, to=out, overwrite=True)
    assert (out / "masks/a.png").exists() and not (out / "masks/b.png").exists()
    assert not list(out.rglob("*.part"))
    assert predict(segmenter, photos, to=out) == 3


def test_a_missing_input_is_reported_in_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(
            "predict",
            ["nowhere", "--model_name_or_path", "x", "--output_dir", str(tmp_path / "out")],
        )
    assert exit_.value.code == 2
    assert capsys.readouterr().err == (
        "error: there is no image, video or folder nowhere: check the path\n"
    )


def test_a_video_gets_a_mask_for_every_frame_and_a_video_of_overlays(tmp_path, segmenter):
    from hfseg.data.video import Video, VideoWriter

    (tmp_path / "in").mkdir()
    with VideoWriter(tmp_path / "in" / "clip.webm", (64, 48), 10) as writer:
        for seed in range(4):
            writer.write(photo(48, 64, seed))
    Image.fromarray(photo(40, 48)).save(tmp_path / "in" / "photo.png")
    assert predict(segmenter, tmp_path / "in", to=tmp_path / "out") == 2
    masks = sorted((tmp_path / "out" / "masks" / "clip").glob("*.png"))
    assert [mask.name for mask in masks] == [f"{index:06d}.png" for index in range(4)]
    with Video(tmp_path / "in" / "clip.webm") as video:
        for frame, mask in zip(video, masks, strict=True):
            assert_same_mask(Image.open(mask), segmenter(frame).mask)
    with Video(tmp_path / "out" / "overlays" / "clip.webm") as video:
        assert sum(1 for _ in video) == 4 and video.info.rate == 10


def test_a_file_that_is_no_video_is_one_sentence(tmp_path):
    from hfseg.data.video import BoundedVideo, Video

    (tmp_path / "clip.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(UserError, match=r"clip\.mp4 cannot be read as a video"):
        Video(tmp_path / "clip.mp4")
    with pytest.raises(UserError, match="cannot be read as a video"):
        BoundedVideo(tmp_path / "clip.mp4", max_side=64, max_frames=10, seconds=60)


def test_a_large_photo_is_pointed_to_the_sliding_window(tmp_path, segmenter, capsys, monkeypatch):
    monkeypatch.setattr("hfseg.workflows.predict_files._LARGE", 1000)
    Image.new("RGB", (64, 48)).save(tmp_path / "large.png")
    predict(segmenter, tmp_path / "large.png", to=tmp_path / "out")
    printed = capsys.readouterr().err
    assert "64 x 48 pixels" in printed and "--sliding_window 1024" in printed


def test_a_photo_that_is_scaled_down_far_is_pointed_to_the_sliding_window(
    tmp_path, segmenter, capsys, monkeypatch
):
    monkeypatch.setattr(segmenter.image_processor, "do_resize", True)
    monkeypatch.setattr(segmenter.image_processor, "size", {"height": 32, "width": 48})
    Image.new("RGB", (193, 128)).save(tmp_path / "tiny_input.png")
    predict(segmenter, tmp_path / "tiny_input.png", to=tmp_path / "out")
    assert capsys.readouterr().err == ""  # tiles of 32 pixels would show nothing it knows
    monkeypatch.setattr("hfseg.workflows.predict_files._SMALLEST_TILE", 32)
    Image.new("RGB", (192, 128)).save(tmp_path / "a.png")
    predict(segmenter, tmp_path / "a.png", to=tmp_path / "out")
    assert capsys.readouterr().err == ""
    Image.new("RGB", (193, 128)).save(tmp_path / "b.png")
    predict(segmenter, tmp_path / "b.png", to=tmp_path / "out")
    printed = capsys.readouterr().err
    assert "scaled down to 32 x 48" in printed and "--sliding_window 32 " in printed


def test_an_image_beyond_the_limits_of_its_formats_is_segmented_in_tiles(
    tmp_path, segmenter, monkeypatch
):
    expected = photo(50, 120)
    Image.fromarray(expected).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2500)
    monkeypatch.setattr("hfseg.workflows.predict_files._JPEG_SIDE", 60)
    with pytest.raises(UserError, match=r"large\.png has too many pixels .*--sliding_window"):
        predict(segmenter, tmp_path / "large.png", to=tmp_path / "out")
    tiles = Options.make(sliding_window=32)
    assert predict(segmenter, tmp_path / "large.png", to=tmp_path / "out", options=tiles) == 1
    monkeypatch.undo()
    found = segmenter(expected, sliding_window=32, return_probabilities=True)
    mask = Image.open(tmp_path / "out" / "masks" / "large.png")
    assert_same_mask(mask, found.mask, np.log(found.probabilities))
    assert Image.open(tmp_path / "out" / "overlays" / "large.jpg").size == (60, 25)


def test_the_tiles_of_a_large_image_are_counted_while_it_is_segmented(
    tmp_path, segmenter, capsys, monkeypatch
):
    monkeypatch.setattr("hfseg.progress.DELAY", 0.0)
    monkeypatch.setattr("hfseg.progress.LINE_EVERY", 0.0)
    Image.new("RGB", (96, 64)).save(tmp_path / "large.png")
    tiles = Options.make(sliding_window=32, stride=32)
    predict(segmenter, tmp_path / "large.png", to=tmp_path / "out", options=tiles)
    assert "segmenting large.png: 6 tiles" in capsys.readouterr().err
