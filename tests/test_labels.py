import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfseg.errors import UserError
from hfseg.labels import LabelSet, default_palette


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "\ud800"])
def test_names_that_no_table_or_file_can_hold_are_refused(name):
    with pytest.raises(UserError, match="contains control characters: rename it"):
        LabelSet((name, "road"))


@given(st.integers(1, 254))
def test_default_palette_has_a_different_color_for_each_class(count: int) -> None:
    palette = default_palette(count)
    assert len(set(palette)) == count
    assert palette == default_palette(254)[:count]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1),
        min_size=1, max_size=30, unique=True,
    )
)  # fmt: skip
def test_label_set_round_trips_through_its_file(tmp_path_factory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.json"
    labels = LabelSet(tuple(names))
    labels.save(path)
    assert LabelSet.load(path) == labels


@given(st.lists(st.text(alphabet="ab _", min_size=1), min_size=1, max_size=12, unique=True))
def test_metric_names_are_unique_and_hold_no_space(names: list[str]) -> None:
    keys = LabelSet(tuple(names)).metric_names
    assert len(set(keys)) == len(names)
    assert not any(" " in key for key in keys)


def test_colliding_metric_names_are_numbered() -> None:
    assert LabelSet(("traffic light", "traffic_light")).metric_names == (
        "traffic_light",
        "traffic_light_2",
    )


@pytest.mark.parametrize(
    ("names", "palette", "words"),
    [
        ((), (), "at least one"),
        (("a", "a"), (), "'a' is repeated"),
        (("a", "b"), ((0, 0, 0),), "2 class names, but 1 colors"),
        (("a",), ((0, 0, 300),), "0 to 255"),
        (tuple(map(str, range(256))), (), "256 classes"),
    ],
)
def test_invalid_label_sets_are_rejected(names, palette, words: str) -> None:
    with pytest.raises(UserError, match=words):
        LabelSet(names, palette)
