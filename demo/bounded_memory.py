"""Limits the memory that the allocator keeps for threads."""

import contextlib
import ctypes
import sys

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def bound_the_memory() -> None:
    """Let all threads share two heaps; call it before they start.

    glibc gives each of the threads that answer visitors a heap of its own and keeps what they
    freed, so that the page would grow with every thousand requests.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
