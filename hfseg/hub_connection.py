"""Whether the Hub can be reached: checked once, and quickly."""

import functools
import logging
import os
import socket
from urllib.parse import urlsplit

from huggingface_hub import constants

logger = logging.getLogger("hfseg")

_SECONDS = 5.0
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


_no_network = False


def found_no_network() -> bool:
    """Whether this process works offline because the Hub couldn't be reached."""
    return _no_network


@functools.cache
def work_offline_without_network() -> None:
    """Use only the cache if the Hub can't be reached.

    Hugging Face's libraries would retry for half a minute before they report it.
    """
    global _no_network
    if constants.HF_HUB_OFFLINE or any(os.environ.get(name) for name in PROXIES):
        return
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=_SECONDS).close()
    except OSError:
        import datasets

        logger.warning("%s can't be reached: using the local cache", constants.ENDPOINT)
        _no_network = constants.HF_HUB_OFFLINE = True
        datasets.config.HF_HUB_OFFLINE = True
