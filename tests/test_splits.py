"""Splits are disjoint, complete, and the same however the files are listed."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfseg.data.splits import SplitPlan, group_of

names = st.lists(
    st.builds(
        "{}/{}_{}.png".format,
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["clip", "IMG", "x y", "ß"]),
        st.integers(0, 2000),
    ),
    min_size=12,
    max_size=60,
    unique=True,
)
plans = st.sampled_from([(0.8, 0.1, 0.1), (0.6, 0.4), (0.5, 0.25, 0.25)])


@settings(deadline=None, max_examples=40)
@given(names, plans, st.sampled_from([None, "time", "group"]), st.integers(0, 5), st.randoms())
def test_splits_are_disjoint_complete_and_stable(files, fractions, by, seed, random) -> None:
    if by == "group" and len({group_of(name) for name in files}) < len(fractions):
        return
    plan = SplitPlan(fractions, seed, by)
    parts = plan.divide(files, files)
    together = [name for part in parts.values() for name in part]
    assert sorted(together) == sorted(files)
    shuffled = list(files)
    random.shuffle(shuffled)
    assert plan.divide(shuffled, shuffled) == parts


@settings(deadline=None, max_examples=40)
@given(names, st.integers(0, 5))
def test_a_group_is_never_divided(files, seed) -> None:
    if len({group_of(name) for name in files}) < 3:
        return
    parts = SplitPlan((0.6, 0.2, 0.2), seed, "group").divide(files, files)
    groups = [{group_of(name) for name in part} for part in parts.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert all(parts.values())


def test_frames_are_divided_in_their_order() -> None:
    frames = [f"frame_{index}.png" for index in range(20)]
    parts = SplitPlan((0.8, 0.1, 0.1), by="time").divide(sorted(frames), sorted(frames))
    assert parts["train"] == frames[:16] and parts["test"] == frames[18:]


def test_copies_that_roboflow_made_of_one_picture_belong_together() -> None:
    first = group_of("train/IMG_1_jpg.rf.0a1b.jpg")
    assert group_of("train/IMG_1_jpg.rf.ffff.jpg") == first != group_of("IMG_2_jpg.rf.0a1b.jpg")


def test_train_and_test_alone_give_a_part_of_train_to_validation() -> None:
    parts = SplitPlan().complete({"train": [f"{i}" for i in range(90)], "test": ["a", "b"]})
    assert [len(rows) for _, rows in parts.values()] == [80, 2, 10]
    train, validation = set(parts["train"][1]), set(parts["validation"][1])
    assert not train & validation and parts["test"] == ("test", [0, 1])


sizes = st.lists(st.integers(1, 40), min_size=3, max_size=7)


@settings(deadline=None, max_examples=60)
@given(sizes, plans, st.integers(0, 5))
def test_shares_of_a_group_split_are_within_half_a_group_of_the_best_possible(
    sizes: list[int], fractions: tuple[float, ...], seed: int
) -> None:
    files = [f"g{group}/{index}.png" for group, size in enumerate(sizes) for index in range(size)]
    parts = SplitPlan(fractions, seed, "group").divide(files, files)

    def furthest(counts: Sequence[int]) -> float:
        return max(
            abs(count - share * len(files)) for count, share in zip(counts, fractions, strict=True)
        )

    splits = range(len(fractions))
    best = min(
        furthest([sum(s for s, p in zip(sizes, places, strict=True) if p == i) for i in splits])
        for places in itertools.product(splits, repeat=len(sizes))
        if len(set(places)) == len(splits)
    )
    assert furthest([len(part) for part in parts.values()]) <= best + max(sizes) / 2


@pytest.mark.parametrize("seed", range(5))
def test_groups_that_match_the_shares_go_to_their_splits(seed: int) -> None:
    sizes = {"long": 80, "a": 10, "b": 10}
    files = [f"{name}/{index}.png" for name, size in sizes.items() for index in range(size)]
    parts = SplitPlan(seed=seed, by="group").divide(files, files)
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }


@pytest.mark.parametrize("by", [None, "time"])
@pytest.mark.parametrize("count", range(2, 30))
def test_a_split_has_a_validation_part_before_it_has_a_test_part(
    by: str | None, count: int
) -> None:
    files = [f"{index}.png" for index in range(count)]
    parts = SplitPlan(by=by).divide(files, files)
    assert parts["train"] and parts["validation"]
    assert sum(map(len, parts.values())) == count
