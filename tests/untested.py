"""What a test run left out, and how to get it tested: one line per subject.

The reason of a skip is `subject: how to get it tested`.
"""

from collections import Counter
from collections.abc import Iterable


def untested_lines(reasons: Iterable[str]) -> list[str]:
    """The reasons of all skips, those with the same subject joined and counted."""
    counts: Counter[str] = Counter()
    remedies: dict[str, str] = {}
    for reason in reasons:
        subject, _, remedy = reason.removeprefix("Skipped: ").partition(": ")
        counts[subject] += 1
        remedies.setdefault(subject, remedy)
    return [
        f"{subject} ({counts[subject]} skipped): {remedies[subject]}" for subject in sorted(counts)
    ]
