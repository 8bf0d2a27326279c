"""Fifty visitors at once, good and bad: nobody's answer is lost, and memory stays where it was."""

import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from demo_server import (
    DEMO,
    REPOSITORY,
    draw_photo,
    free_port,
    save_tiny_segmenter,
    started,
)
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import QueueError
from PIL import Image
from soak import Usage
from tolerance import assert_same_mask

CLIENTS = int(os.environ.get("HFSEG_SOAK_CLIENTS", "50"))
PAUSE = float(os.environ.get("HFSEG_SOAK_PAUSE", "1"))
"""At most so many seconds between two visits of a client."""
SECONDS = float(os.environ.get("HFSEG_SOAK_SECONDS", "600"))
REQUESTS = float(os.environ.get("HFSEG_SOAK_REQUESTS", "inf"))
"""The visits end at the first of both."""
META = {"_type": "gradio.FileData"}


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="Linux: memory is read from /proc"
)
def test_fifty_clients_for_ten_minutes_lose_nothing_and_memory_stays_flat(tmp_path):
    segmenter = save_tiny_segmenter(tmp_path / "model")
    photos = [draw_photo(tmp_path / f"{i}.png", (320 + i, 240)) for i in range(CLIENTS)]
    expected = [segmenter(photo).mask for photo in photos]
    port = free_port()
    command = [sys.executable, DEMO / "app.py", "--models", tmp_path / "model", "--port", port]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(temporary)}
    with started(command, port, tmp_path / "log", env=environment) as server:
        usage = Usage(server.pid, temporary)
        print(_visit(usage, f"http://127.0.0.1:{port}", photos, expected))
    written = (tmp_path / "log").read_text()
    assert written.count("\n") < 200, written[:3000]


def _visit(usage: Usage, address: str, photos: list[Path], expected: list[np.ndarray]) -> str:
    patience = 300.0  # seconds: a slow answer is not a lost one
    http = httpx.Client(timeout=patience)
    clients = [Client(address, verbose=False, httpx_kwargs={"timeout": patience}) for _ in photos]
    clients[0].predict(handle_file(photos[0]), api_name="/segment")
    said: Counter[str] = Counter()
    took: list[float] = []
    usage.sample()
    start = time.monotonic()

    def is_enough() -> bool:
        return time.monotonic() - start > SECONDS or sum(list(said.values())) >= REQUESTS

    def good(index: int) -> None:
        began = time.perf_counter()
        try:
            mask, _, _ = clients[index].predict(handle_file(photos[index]), api_name="/segment")
        except (QueueError, AppError) as error:
            assert "queue is full" in str(error).lower(), error
            said["told that the queue is full"] += 1
            return
        assert_same_mask(Image.open(mask), expected[index])
        took.append(time.perf_counter() - began)
        said["answered"] += 1

    def bad(kind: int) -> None:
        api = f"{address}/gradio_api"
        if kind == 0:
            body = {"data": [{"path": "/etc/passwd"}]}
            answer = http.post(f"{api}/call/segment", json=body)
        elif kind == 1:
            answer = http.get(f"{address}/monitoring")
        elif kind == 2:
            answer = http.post(f"{api}/call/segment", content=b'{"data": [NaN]}')
        else:
            files = {"files": ("a.png", random.randbytes(100_000))}
            path = http.post(f"{api}/upload", files=files).json()[0]
            body = {"data": [{"path": path, "meta": META}]}
            answer = http.post(f"{api}/call/segment", json=body)
            if answer.status_code == 503:  # the queue is full
                said["told that the queue is full"] += 1
                return
            url = f"{api}/call/segment/{answer.json()['event_id']}"
            assert "cannot be read as an image" in http.get(url).text
            said["refused"] += 1
            return
        assert 400 <= answer.status_code < 500, answer.text
        said["refused"] += 1

    def visitor(index: int) -> None:
        dice = random.Random(index)
        while not is_enough():
            if dice.random() < 0.7:
                good(index)
            else:
                bad(dice.randrange(4))
            time.sleep(dice.random() * PAUSE)

    with ThreadPoolExecutor(CLIENTS + 1) as threads:
        visits = [threads.submit(visitor, index) for index in range(CLIENTS)]
        while not is_enough():
            time.sleep(min(10, SECONDS / 10))
            usage.sample()
        for visit in visits:
            visit.result()
    seconds = time.monotonic() - start
    assert clients[0].predict(api_name="/health")["status"] == "ok"
    assert usage.growth()["memory"] < 150, usage.samples
    return (
        f"\n{CLIENTS} clients for {seconds:.0f} s: {dict(said)}; an answer took "
        f"{np.median(took):.1f} s (median), {max(took):.1f} s (longest)\n"
        f"{usage.report(sum(said.values()) / 1000, '1,000 requests')}"
    )
