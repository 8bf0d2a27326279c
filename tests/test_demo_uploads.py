"""The files of visitors: how much each may keep, and that nothing is left behind."""

import os
import shutil
import signal
import sys
import time

import httpx
from demo_server import (
    DEMO,
    REPOSITORY,
    free_port,
    save_tiny_segmenter,
    served,
    started,
    tiny_models,
)


def test_a_client_at_its_quota_loses_its_own_oldest_files_and_nobody_elses(tmp_path, monkeypatch):
    from demo import uploads

    monkeypatch.setattr(uploads, "MAX_PER_CLIENT", 5 << 20)
    folder = tmp_path / "page"
    with served(tiny_models(), folder) as address:
        other = {"X-Forwarded-For": "10.0.0.9"}

        def upload(index: int, headers: dict | None = None) -> str:
            content = bytes([index]) * (1 << 20)
            files = {"files": (f"{index}.png", content)}
            answer = httpx.post(f"{address}gradio_api/upload", files=files, headers=headers)
            assert answer.status_code == 200, answer.text
            return answer.json()[0]

        kept = upload(100, other)
        mine = [upload(index) for index in range(12)]
        there = [os.path.exists(path) for path in mine]
        assert there == [False] * sum(not each for each in there) + [True] * sum(there)
        assert 3 <= sum(there) <= 5
        assert os.path.exists(kept)


def test_a_full_folder_makes_room_by_dropping_what_is_oldest(tmp_path, monkeypatch):
    from demo import uploads

    monkeypatch.setattr(uploads, "MAX_KEPT", 5 << 20)
    with served(tiny_models(), tmp_path / "page") as address:
        paths = []
        for index in range(10):
            files = {"files": (f"{index}.png", bytes([index]) * (1 << 20))}
            headers = {"X-Forwarded-For": f"10.0.0.{index}"}
            answer = httpx.post(f"{address}gradio_api/upload", files=files, headers=headers)
            assert answer.status_code == 200, answer.text
            paths.append(answer.json()[0])
        assert not os.path.exists(paths[0]) and os.path.exists(paths[-1])
        image = {"path": paths[0], "meta": {"_type": "gradio.FileData"}}
        answer = httpx.post(f"{address}gradio_api/call/segment", json={"data": [image]})
        assert answer.status_code == 422 and "upload it again" in answer.json()["detail"]


def test_what_is_deleted_leaves_no_folder_and_small_files_are_few(tmp_path, monkeypatch):
    from demo import uploads

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(uploads, "MAX_FILES", 3)
    kept = uploads.Uploads()
    kept.since = 0.0
    files = [tmp_path / str(index) / "a.png" for index in range(6)]
    for index, file in enumerate(files):
        file.parent.mkdir()
        file.write_bytes(b"1")
        os.utime(file, (time.time() - 60 + index,) * 2)
    (tmp_path / "partial").write_bytes(b"1")
    os.utime(tmp_path / "partial", (time.time() - 600,) * 2)
    kept.sweep(always=True)
    assert sorted(tmp_path.iterdir()) == [file.parent for file in files[3:]]

    for file in files[3:]:
        shutil.rmtree(file.parent)
    (tmp_path / "partial").write_bytes(b"1")
    os.utime(tmp_path / "partial", (time.time() - 600,) * 2)
    kept.sweep(always=True)
    assert tmp_path.is_dir() and not any(tmp_path.iterdir())


def test_the_folder_is_not_searched_for_every_small_upload(tmp_path, monkeypatch):
    from demo import uploads

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    searches = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda folder: searches.append(folder) or walk(folder))
    kept = uploads.Uploads()
    for _ in range(100):
        kept.make_room("10.0.0.1", 1000)
    assert len(searches) == 1
    kept.make_room("10.0.0.1", uploads.MAX_KEPT // 16)
    assert len(searches) == 2


def test_sigterm_removes_what_visitors_uploaded(tmp_path):
    save_tiny_segmenter(tmp_path / "model")
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path / "tmp")}
    port = free_port()
    command = [sys.executable, DEMO / "app.py", "--models", tmp_path / "model", "--port", port]
    with started(command, port, tmp_path / "log", env=environment) as server:
        upload = f"http://127.0.0.1:{port}/gradio_api/upload"
        answer = httpx.post(upload, files={"files": ("a.png", bytes(1000))}, timeout=60)
        path = answer.json()[0]
        assert os.path.exists(path)
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    assert not os.path.exists(path)
    assert not any(each.name.startswith("hfseg-demo") for each in (tmp_path / "tmp").iterdir())
    assert "Traceback" not in (tmp_path / "log").read_text()
