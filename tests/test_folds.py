"""Folds: every sample is held out once, and what belongs together is held out together."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfseg.data.folds import belonging, fold_numbers
from hfseg.errors import UserError

FRAMES = [f"video/frame_{index}.png" for index in range(20)]
GROUPS = [f"{photo}.rf.{copy}.jpg" for photo in "abcdef" for copy in range(3)]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(6, 40), st.sampled_from([None, "time"]), st.integers(0, 9))
def test_folds_hold_every_sample_once_and_are_equal(
    folds: int, count: int, by: str | None, seed: int
) -> None:
    numbers = fold_numbers([f"{index}.png" for index in range(count)], folds, by, seed)
    sizes = Counter(numbers)
    assert sorted(sizes) == list(range(folds)) and len(numbers) == count
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_frames_of_a_video_are_held_out_in_a_row() -> None:
    assert fold_numbers(FRAMES, 4, "time") == sorted(fold_numbers(FRAMES, 4, "time"))


def test_copies_of_a_photo_share_a_fold() -> None:
    numbers = fold_numbers(GROUPS, 3, "group")
    assert all(len(set(numbers[start : start + 3])) == 1 for start in range(0, len(GROUPS), 3))
    assert set(Counter(numbers).values()) == {6}


def test_the_order_of_the_files_does_not_matter() -> None:
    shuffled = list(reversed(FRAMES))
    assert fold_numbers(FRAMES, 4) == list(reversed(fold_numbers(shuffled, 4)))


def test_too_few_groups_are_reported() -> None:
    with pytest.raises(UserError, match="--folds 7: 6 groups allow 2 to 6 folds"):
        fold_numbers(GROUPS, 7, "group")
    with pytest.raises(UserError, match="--folds 1"):
        fold_numbers(FRAMES, 1)


def test_videos_are_known_and_copies_are_seen_by_their_names() -> None:
    assert belonging(FRAMES, "camseq", None) == "time"
    assert belonging(GROUPS, "folder", None) == "group"
    assert belonging(GROUPS, "folder", "time") == "time"
    assert belonging(FRAMES, "folder", None) is None
