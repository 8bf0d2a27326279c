"""A sample's augmentation is a function of (seed, epoch, index), whichever worker draws it."""

from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from hfseg.config.values import ImageSize
from hfseg.data import transforms
from hfseg.data.samples import EpochSampler, TrainingSamples
from hfseg.data.transforms import TrainingTransform
from hfseg.errors import UserError

IMAGE = np.random.default_rng(0).integers(1, 255, (40, 60, 3), dtype=np.uint8)
MASK = np.random.default_rng(1).integers(0, 5, (40, 60), dtype=np.uint8)


class Rows:
    """Stands in for a `datasets.Dataset` of one picture."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int):
        return {"image": IMAGE, "label": MASK}


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 500), st.integers(0, 10**6))
def test_same_seed_epoch_and_index_give_the_same_sample(seed: int, epoch: int, index: int) -> None:
    first = TrainingTransform("standard", (32, 32), seed)(IMAGE, MASK, epoch, index)
    used = TrainingTransform("standard", (32, 32), seed)
    used(IMAGE, MASK, 3, 7)  # what was drawn before must not matter
    second = used(IMAGE, MASK, epoch, index)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_epochs_and_samples_differ() -> None:
    transform = TrainingTransform("standard", (32, 32), 0)
    samples = [transform(IMAGE, MASK, epoch, index)[0] for epoch in (0, 1) for index in range(5)]
    assert len({sample.tobytes() for sample in samples}) == 10


def test_flip_does_not_decide_the_crop() -> None:
    """albumentations seeds each transform alike; then flipped samples would share their crop."""
    transform = TrainingTransform("light", (32, 32), 0)
    ramp = np.tile(np.arange(60, dtype=np.uint8), (40, 1))
    crops: dict[bool, set[int]] = {True: set(), False: set()}
    for index in range(200):
        _, column = transform(IMAGE, ramp, 0, index)
        flipped = bool(column[0, 0] > column[0, 1])
        crops[flipped].add(int(column.min()))
    assert len(crops[True] & crops[False]) > 10


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_draw_what_the_main_process_draws(persistent: bool) -> None:
    samples = TrainingSamples(Rows(), TrainingTransform("standard", (32, 32), 0))

    def epochs(workers: int) -> list[bytes]:
        sampler = EpochSampler(len(samples), seed=0)
        loader = DataLoader(
            samples,
            sampler=sampler,
            batch_size=None,
            num_workers=workers,
            persistent_workers=persistent and workers > 0,
        )
        seen = []
        for epoch in range(2):
            sampler.start_epoch(epoch)
            seen += [bytes(np.asarray(sample["image"])) for sample in loader]
        return seen

    alone = epochs(0)
    assert epochs(2) == alone
    assert len(set(alone)) == 18


def test_every_sample_comes_once_an_epoch_in_another_order() -> None:
    sampler = EpochSampler(50, seed=3)
    orders = []
    for epoch in range(2):
        sampler.start_epoch(epoch)
        keys = list(sampler)
        assert {key[0] for key in keys} == {epoch}
        orders.append([key[1] for key in keys])
        assert sorted(orders[-1]) == list(range(50))
    assert orders[0] != orders[1]


def test_images_are_padded_with_0_and_masks_with_255() -> None:
    image, mask = TrainingTransform("none", (64, 80), 0)(IMAGE, MASK, 0, 0)
    assert image.shape == (64, 80, 3) and mask.shape == (64, 80)
    padded = mask == 255
    assert padded.sum() == 64 * 80 - 40 * 60
    assert (image[padded] == 0).all() and (image[~padded] > 0).any()


@pytest.mark.parametrize("augmentation", ["none", "light", "standard"])
def test_masks_hold_only_ids_that_were_there(augmentation: str) -> None:
    for index in range(20):
        image, mask = TrainingTransform(augmentation, (32, 48), 0)(IMAGE, MASK, 0, index)
        assert image.shape == (32, 48, 3) and image.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1, 2, 3, 4, 255}


def test_size_is_height_by_width_or_a_square() -> None:
    assert ImageSize("512x1024") == (512, 1024)
    assert ImageSize("513") == ImageSize(513) == ImageSize((513, 513)) == (513, 513)
    with pytest.raises(UserError, match="give HxW"):
        ImageSize("0x3")


OWN_RESIZES = A.Compose(
    [
        A.OneOf(
            [
                A.RandomScale(scale_limit=(-0.5, 1.0), p=1.0),
                A.RandomResizedCrop((61, 83), scale=(0.5, 1.0), p=1.0),
            ],
            p=1.0,
        )
    ]
)


@pytest.mark.parametrize("augmentation", ["standard", "own"])
def test_a_scaled_mask_stays_where_its_image_is(tmp_path: Path, augmentation: str) -> None:
    """The image has the gray value 40 outside and 200 inside of a box, which is class 1."""
    if augmentation == "own":
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(A.to_dict(OWN_RESIZES)))
        augmentation = str(tmp_path / "own.yaml")
    mask = np.zeros((101, 101), np.uint8)
    mask[:, 37:] = 1
    image = np.where(mask, 200, 40).astype(np.uint8)[..., None].repeat(3, -1)
    transform = TrainingTransform(augmentation, (202, 202), seed=0)  # large enough to hold all
    offsets = []
    for index in range(150):
        scaled, ids = transform(image, mask, 0, index)
        rows, columns = np.nonzero(ids != 255)
        inside = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        gray, ids = scaled[inside][..., 0].astype(float), ids[inside]
        if ids.min() == ids.max():
            continue  # cropped to one side of the edge
        bright = (gray - gray.min()) / (gray.max() - gray.min())
        offsets.append((bright.sum() - ids.sum()) / len(ids))
    assert len(offsets) > 100 and abs(np.mean(offsets)) < 0.08, np.mean(offsets)


@pytest.mark.parametrize("preset", ["strong", "roboflow"])
def test_what_a_rotation_brings_in_is_black_and_ignored(preset: str) -> None:
    image, mask = np.full((60, 60, 3), 200, np.uint8), np.ones((60, 60), np.uint8)
    transform = TrainingTransform(preset, None, 0)
    results = [transform(image, mask, 0, index) for index in range(20)]
    assert all(set(np.unique(ids)) <= {1, 255} for _, ids in results)
    brought_in = [picture[ids == 255].mean() for picture, ids in results if (ids == 255).any()]
    assert len(brought_in) > 3 and np.median(brought_in) < 60  # its edge is blended


def test_a_pipeline_of_ones_own_is_read_from_yaml(tmp_path: Path) -> None:
    pipeline = A.Compose([A.Affine(rotate=(45, 45), p=1.0), A.RandomBrightnessContrast(p=1.0)])
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(A.to_dict(pipeline)))
    transform = TrainingTransform(str(file), (32, 48), seed=3)
    image, _ = transform(IMAGE, MASK % 5, 1, 2)
    assert image.shape == (32, 48, 3)
    turned = TrainingTransform(str(file), None, seed=3)(IMAGE, MASK, 1, 2)[1]
    assert (turned == 255).any()  # the library's default, 0, would be a class
    again = TrainingTransform(str(file), (32, 48), seed=3)
    again(IMAGE, MASK, 0, 0)
    np.testing.assert_array_equal(again(IMAGE, MASK % 5, 1, 2)[0], image)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("transform: {__class_fullname__: Nope}", "Nope"), ("a: [", "not an albumentations pipeline")],
)
def test_a_wrong_pipeline_is_reported_before_training(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=complaint):
        TrainingTransform(str(tmp_path / "mine.yaml"), None, 0)


@pytest.mark.parametrize("own_pipeline", [False, True])
def test_random_scaling_keeps_image_and_mask_aligned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_pipeline: bool
) -> None:
    """Image and mask hold their own column: where they are aligned, they agree on average."""
    monkeypatch.setattr(transforms, "_color", lambda strength, p: A.NoOp())
    augmentation = "standard"
    if own_pipeline:
        augmentation = str(tmp_path / "mine.yaml")
        pipeline = A.Compose([A.RandomScale((-0.5, 1.0), p=1.0)])
        Path(augmentation).write_text(yaml.safe_dump(A.to_dict(pipeline)))
    column = np.tile(np.arange(160, dtype=np.uint8), (40, 1))
    shifts = []
    for index in range(60):
        transform = TrainingTransform(augmentation, (30, 60), 0)
        image, mask = transform(np.repeat(column[..., None], 3, -1), column, 0, index)
        seen = mask != 255
        shift = (mask[seen].astype(float) - image[seen][:, 0]).mean()
        shifts.append(-shift if mask[0, 20] > mask[0, 40] else shift)
    assert abs(np.mean(shifts)) < 0.15
