"""A log that strangers cannot fill."""

import logging
import time

REPEATS = 5
"""How often the same message is written within WINDOW."""
WINDOW = 600  # seconds


class Repeats(logging.Filter):
    """Drops a message that was written REPEATS times within WINDOW, whatever its arguments."""

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
    """Bound what this page, its server and its event loop write."""
    for name in ("hfseg.demo", "uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(_repeats)
