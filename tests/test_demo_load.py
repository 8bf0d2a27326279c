"""Fifty visitors at once: nobody's answer is lost, and memory stays where it was."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from demo_server import DEMO, REPOSITORY, draw_photo, tiny_segmenter
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import QueueError
from PIL import Image
from tolerance import assert_same_mask

CLIENTS = 50
ROUNDS = 3
PORT = 17860


def resident_mib(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_fifty_clients_at_once_lose_nothing_and_memory_is_bounded(tmp_path):
    segmenter = tiny_segmenter()
    segmenter.model.save_pretrained(tmp_path / "model")
    segmenter.image_processor.save_pretrained(tmp_path / "model")
    photos = [tmp_path / f"{index}.png" for index in range(CLIENTS)]
    for index, photo in enumerate(photos):
        draw_photo(photo, (640 + index, 480))
    expected = [segmenter(photo).mask for photo in photos]

    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, DEMO / "app.py", "--models", tmp_path / "model", "--port", str(PORT)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        report = _visit(server, photos, expected)
    finally:
        server.terminate()
        server.wait(20)
    print(report)
    assert "Traceback" not in (tmp_path / "log").read_text()


def _visit(server: subprocess.Popen, photos: list[Path], expected: list[np.ndarray]) -> str:
    address = f"http://127.0.0.1:{PORT}"
    for _ in range(120):
        try:
            clients = [Client(address, verbose=False)]
            break
        except Exception:  # not up yet
            time.sleep(0.5)
    clients += [Client(address, verbose=False) for _ in photos[1:]]
    clients[0].predict(handle_file(photos[0]), api_name="/segment")
    memory = [resident_mib(server.pid)]

    def visit(index: int) -> tuple[str, float]:
        start = time.perf_counter()
        try:
            mask, _, _ = clients[index].predict(handle_file(photos[index]), api_name="/segment")
        except (QueueError, AppError) as error:
            assert "queue is full" in str(error).lower(), error
            return "full", time.perf_counter() - start
        assert_same_mask(Image.open(mask), expected[index])
        return "answered", time.perf_counter() - start

    lines = []
    for number in range(ROUNDS):
        start = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            visits = list(threads.map(visit, range(CLIENTS)))
        took = time.perf_counter() - start
        answered = [seconds for said, seconds in visits if said == "answered"]
        memory.append(resident_mib(server.pid))
        lines.append(
            f"round {number + 1}: {len(answered)} answered, {CLIENTS - len(answered)} told that "
            f"the queue is full, in {took:.1f} s; an answer took {np.median(answered):.1f} s "
            f"(median), {max(answered):.1f} s (longest); memory {memory[-1]:.0f} MiB"
        )
        assert len(answered) >= 32  # as many as may wait
        assert clients[0].predict(api_name="/health")["status"] == "ok"
    assert memory[-1] - memory[1] < 150, memory  # the first round fills the allocator's pools
    assert memory[-1] - memory[0] < 600, memory
    return f"\n50 clients, 640 x 480 pixels, before: {memory[0]:.0f} MiB\n" + "\n".join(lines)
