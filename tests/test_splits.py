"""Splits are disjoint, complete, and the same however the files are listed."""

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
