"""Limits the log, so that visitors can't fill it."""

import logging
import time

REPEATS = 5
"""How often the same message is written within WINDOW."""
WINDOW = 600  # seconds


class Repeats(logging.Filter):
    """Drops messages that were written REPEATS times within WINDOW, with any arguments."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[tuple[str, str, str], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        key = (record.name, str(record.msg)[:200], kind)
        now = time.monotonic()
        times = [each for each in self._written.get(key, []) if now - each < WINDOW]
        if len(times) >= REPEATS or (key not in self._written and len(self._written) > 1000):
            return False
        self._written[key] = [*times, now]
        if len(times) == REPEATS - 1:
            record.msg = f"{record.msg} (not written again for {WINDOW // 60} minutes)"
        return True


_repeats = Repeats()


def bound_the_log() -> None:
    """Limit the logs of this page, its server and its event loop."""
    for name in ("hfseg.demo", "uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(_repeats)
