"""Generated bad inputs: real files with bytes, or values of their JSON or YAML, changed."""

import hashlib
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfseg.errors import UserError

CPU_SECONDS = 10
"""One input may take; of the processor, since the machine may be busy."""

_BYTES = (b"", b"\0", b"\xff" * 4, b"\0" * 16, b"\xff\xd9", b"IDAT", b"\x7f\xff\xff\xff", b"'\"<>")
JUNK = (
    None, True, -1, 0, 1, 256, 70_000, 2**70, 1e308, -0.5, math.nan, math.inf, "", "0", "none",
    "../../../etc/passwd", "/etc/passwd", "a\0b", "x" * 5000, "<script>alert(1)</script>",
    "Straße 北", "\ud800", "{{ 7 * 7 }}", "${HOME}", "2001-13-45", [], {}, [[]], [None],
    [-1, 5], {"a": 1}, {"0": None}, [[0, 0, 0]] * 300,
)  # fmt: skip
"""Values that no reader expects in every place."""


class Hang(BaseException):
    """An input took longer than `CPU_SECONDS`; no `Exception`, so that nothing catches it."""


@contextmanager
def limited() -> Iterator[None]:
    """Raise `Hang` in the block after `CPU_SECONDS`."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@st.composite
def edited(draw: st.DrawFn, original: bytes) -> bytes:
    """A file with one to six places changed, added, removed or repeated, or cut off."""
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(content)))
        how = draw(st.sampled_from(["change", "put", "remove", "repeat", "cut", "mark"]))
        length = draw(st.sampled_from([1, 2, 4, 16, 200]))
        if how == "change" and place < len(content):
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "put":
            content[place:place] = draw(st.sampled_from(_BYTES))
        elif how == "mark":
            mark = draw(st.sampled_from(_BYTES))
            content[place : place + len(mark)] = mark
        elif how == "remove":
            del content[place : place + length]
        elif how == "repeat":
            content[place:place] = content[place : place + length] * 3
        elif how == "cut":
            del content[place:]
    return bytes(content)


def paths_in(tree: Any, path: tuple = ()) -> list[tuple]:
    """The keys that lead to each value of a tree."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in entries:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += paths_in(value, (*path, key))
    return found


@st.composite
def distorted(draw: st.DrawFn, original: Any) -> Any:
    """A tree of JSON with one to four of its values replaced by junk, removed or repeated."""
    import copy

    tree = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 4))):
        paths = paths_in(tree)
        if not paths:
            return tree
        *parents, key = draw(st.sampled_from(paths))
        place = tree
        for each in parents:
            place = place[each]
        how = draw(st.sampled_from(["junk", "junk", "junk", "remove", "repeat"]))
        if how == "junk":
            place[key] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        elif how == "remove":
            del place[key]
        elif isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
    return tree


def digest(folder: Path) -> dict[str, str]:
    """The content of every file in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fuzz(strategy: st.SearchStrategy, examples: int, read: Callable[[Any], object]) -> None:
    """Call `read` with examples; each must return or raise one `UserError` of one sentence.

    The examples are the same in every run. Prints how many there were.
    """
    results = {"read": 0, "refused": 0}

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def each(value: Any) -> None:
        with limited():
            try:
                read(value)
                results["read"] += 1
            except UserError as error:
                assert str(error).strip() and "Traceback" not in str(error)
                results["refused"] += 1

    each()
    print(f"\n{sum(results.values())} inputs: {results['read']} read, {results['refused']} refused")
