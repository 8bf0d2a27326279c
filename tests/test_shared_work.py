"""Items shared by processes: each is done once, whoever is stopped and however many go on."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hfseg.labels import LabelSet
from hfseg.metrics.split_scores import SplitScores
from hfseg.shared_work import FOLDER, SharedWork


@dataclass
class Process:
    """One of several processes, without the others."""

    index: int
    count: int

    @property
    def is_first(self) -> bool:
        return self.index == 0

    def share(self, items: Sequence[int]) -> Sequence[int]:
        return items[self.index :: self.count]

    def agreed(self, find: Callable[[], Any]) -> Any:
        return find()

    def wait(self) -> None:
        pass


@dataclass
class Counted:
    """How often each item was counted."""

    items: list[int] = field(default_factory=list)

    def merge(self, other: "Counted") -> None:
        self.items = self.items + other.items

    def state_dict(self) -> dict[str, Any]:
        return {"items": self.items}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.items = state["items"]


def attempt(folder: Path, count: int, processes: int, settings: object = "a") -> list[SharedWork]:
    """What the processes of a launch have left to do."""
    each = (Process(index, processes) for index in range(processes))
    return [SharedWork(count, Counted, process, folder, settings) for process in each]


def work_on(work: SharedWork, items: int) -> None:
    for item in work.waiting[:items]:
        work.part.items.append(item)
        work.done(item)


@settings(max_examples=25)
@given(
    count=st.integers(0, 20),
    attempts=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6)), max_size=3),
    last=st.integers(1, 4),
)
def test_every_item_counts_once_after_any_number_of_attempts(
    tmp_path_factory, count, attempts, last
) -> None:
    folder = tmp_path_factory.mktemp("work")
    for processes, items in attempts:
        for work in attempt(folder, count, processes):
            work_on(work, items)
            if items % 2 and work._items:
                work._save()  # half a minute has passed; else what was done is lost
    works = attempt(folder, count, last)
    assert sorted(item for work in works for item in work.waiting) == sorted(
        set(range(count)) - {item for part in works[0]._parts() for item in part["items"]}
    )
    for work in works:
        work_on(work, count)
    for work in works[1:]:
        work.merged()
    assert sorted(works[0].merged().items) == list(range(count))
    shutil.rmtree(folder)


def test_results_saved_under_other_settings_are_forgotten(tmp_path: Path) -> None:
    (work,) = attempt(tmp_path, 5, 1)
    work_on(work, 3)
    work._save()
    assert attempt(tmp_path, 5, 1)[0].waiting == [3, 4]
    assert attempt(tmp_path, 5, 1, settings="b")[0].waiting == [0, 1, 2, 3, 4]


def test_a_part_appears_complete_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    (work,) = attempt(tmp_path, 5, 1)
    work_on(work, 3)
    write = torch.save

    def cut_off(state: object, path: Path) -> None:
        write(state, path)
        path.write_bytes(path.read_bytes()[:50])
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", cut_off)
    with pytest.raises(OSError):
        work._save()
    assert attempt(tmp_path, 5, 1)[0].waiting == [0, 1, 2, 3, 4]
    work.remove()
    assert not (tmp_path / FOLDER).exists()


def test_scores_survive_being_saved() -> None:
    rng = np.random.default_rng(0)
    scores, copy = (SplitScores(LabelSet(("a", "b", "c"))) for _ in range(2))
    for index in range(3):
        prediction, label = (torch.from_numpy(rng.integers(0, 3, (9, 8))) for _ in range(2))
        scores.add(index, prediction, label, torch.from_numpy(rng.random((9, 8), np.float32)))
    copy.load_state_dict(scores.state_dict())
    empty = SplitScores(scores.labels)
    copy.merge(empty)  # of a process without images
    empty.merge(copy)
    for found in (copy, empty):
        np.testing.assert_equal(found.compute(), scores.compute())
        np.testing.assert_equal(found.image_scores(), scores.image_scores())
        assert found.calibration_error == scores.calibration_error
