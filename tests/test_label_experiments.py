"""`scripts/label_experiments.py`: labels are damaged as it says, and rankings scored as usual."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from sklearn.metrics import average_precision_score

from hfseg import LabelSet

LABELS = LabelSet(("ground", "wall", "roof", "door"))


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))


def scene() -> np.ndarray:
    """A wall of 100 x 500 pixels with a round roof on the ground, and an ignored corner."""
    mask = np.zeros((300, 500), np.uint8)
    rows, columns = np.indices(mask.shape)
    mask[150:250, 50:150] = 1
    mask[np.hypot(rows - 120, columns - 320) < 60] = 2
    mask[:20, :20] = 255
    return mask


def damaged(kind: str, seed: int = 0) -> np.ndarray:
    from label_damage import damage

    changed = damage(scene(), kind, LABELS, np.random.default_rng(seed))
    assert changed is not None and changed.dtype == np.uint8
    return changed


@pytest.mark.parametrize("seed", range(4))
def test_a_swapped_object_has_a_third_class_and_a_dropped_one_that_around_it(seed: int) -> None:
    for kind, expected in (("swapped", {1, 2, 3}), ("dropped", {0})):
        changed, mask = damaged(kind, seed), scene()
        where = changed != mask
        (old,), (new,) = set(mask[where].tolist()), set(changed[where].tolist())
        assert new in expected - {old} and (where == (mask == old)).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_shifted_mask_lies_15_of_500_pixels_off(seed: int) -> None:
    before, after = (np.argwhere(mask == 2).mean(0) for mask in (scene(), damaged("shifted", seed)))
    assert np.linalg.norm(after - before) == pytest.approx(15, abs=1)


def test_a_simplified_object_is_a_polygon_near_its_outline() -> None:
    changed, mask = damaged("simplified"), scene()
    assert (changed == 1).sum() == (mask == 1).sum()  # a rectangle is a polygon
    rows, columns = np.nonzero((changed == 2) != (mask == 2))
    distance = np.abs(np.hypot(rows - 120, columns - 320) - 60)
    assert 2 < distance.max() <= 9


def test_all_kinds_are_equally_frequent_and_the_other_masks_stay() -> None:
    from label_damage import KINDS, damaged_masks

    masks = [np.roll(scene(), 5 * index, axis=1) for index in range(40)]
    changed, kinds = damaged_masks(masks, 0.2, LABELS, np.random.default_rng(0))
    assert Counter(kinds) == {"": 32} | dict.fromkeys(KINDS, 2)
    for before, after, kind in zip(masks, changed, kinds, strict=True):
        assert (before is after) == (kind == "")
    flat = [np.zeros((30, 40), np.uint8)]
    assert damaged_masks(flat, 1, LABELS, np.random.default_rng(0))[1] == [""]


def test_a_ranking_is_scored_by_precision_and_average_precision() -> None:
    from label_parts import ranking_quality

    rng = np.random.default_rng(0)
    scores, wrong = rng.random(50), rng.random(50) < 0.2
    precision, area = ranking_quality(scores, wrong)
    assert area == pytest.approx(average_precision_score(wrong, scores))
    first = np.argsort(-scores)[: wrong.sum()]
    assert precision == pytest.approx(wrong[first].mean())


def test_results_are_kept_and_other_flags_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import label_experiments as script

    from hfseg import UserError

    measured = []

    def measure(experiment: script.Experiment) -> dict[str, float]:
        measured.append(experiment.seed)
        return {"score": 0.5 + experiment.seed / 10}

    monkeypatch.setitem(script.PARTS, "student", (measure, script.mean_table))
    words = ["--parts", "student", "--output_dir", str(tmp_path), "--images", "20"]
    for seeds in ("0", "1"), ("0", "1", "2"):
        script.main([*words, "--seeds", *seeds])
    assert measured == [0, 1, 2]
    assert "| score | 0.600 ± 0.248 |" in capsys.readouterr().out
    with pytest.raises(UserError, match="measured with other flags"):
        script.main([*words, "--seeds", "0", "--max_steps", "7"])
