"""What strangers send to a public page: one sentence each, and the server goes on."""

import io
import json
import os
import socket
import threading
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from demo_server import draw_photo
from hostile_images import png, progressive_bomb
from PIL import Image

META = {"_type": "gradio.FileData"}
NOT_UPLOADED = "must be an uploaded file"
NO_IMAGE = "This file cannot be read as an image"


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


@pytest.fixture(scope="module")
def folder(demo_page) -> Path:
    return demo_page.folder


@pytest.fixture(scope="module")
def address(demo_page) -> str:
    return demo_page.address + "gradio_api/"


@pytest.fixture(autouse=True)
def alive(address):
    """The server goes on after every attack; that its queue does too, the next attack shows."""
    yield
    health = httpx.post(f"{address}run/health", json={"data": []}, timeout=10).json()
    assert health["data"][0]["status"] == "ok"


def upload(address: str, content: bytes, name: str = "image.png") -> str:
    answer = httpx.post(f"{address}upload", files={"files": (name, content)}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def ask(address: str, endpoint: str, data: list) -> tuple[str, object]:
    """The last event of a call, and its data."""
    answer = httpx.post(f"{address}call/{endpoint}", json={"data": data}, timeout=60)
    if answer.status_code != 200:
        return "error", {"error": answer.json()["detail"]}
    url = f"{address}call/{endpoint}/{answer.json()['event_id']}"
    lines = httpx.get(url, timeout=60).text.strip().splitlines()
    return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))


def refusal(address: str, image: object, endpoint: str = "segment", *rest: object) -> str:
    """The one sentence that a call gets."""
    event, answer = ask(address, endpoint, [image, *rest])
    assert event == "error"
    sentence = answer["error"]
    assert sentence.count("\n") == 0 and "Traceback" not in sentence and ".py" not in sentence
    assert sentence.rstrip(".").count(". ") == 0 and sentence.endswith("."), sentence
    return sentence


def refused_upload(address: str, content: bytes, name: str = "image.png") -> str:
    return refusal(address, {"path": upload(address, content, name), "meta": META})


def test_a_zip_bomb_is_no_image(address):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50_000_000))
    assert NO_IMAGE in refused_upload(address, buffer.getvalue(), "photo.png")


@pytest.mark.parametrize("side", [8000, 20_000, 2_000_000])
def test_a_png_that_unpacks_to_too_many_pixels_is_refused_by_its_header(address, side):
    # the rows are never looked at, or this would take gigabytes
    bomb = png(side, side, (b"IDAT", zlib.compress(bytes(1000))))
    assert "pixels" in refused_upload(address, bomb)


def test_a_png_whose_text_unpacks_to_much_more_is_refused(address):
    squeezer = zlib.compressobj(9)
    text = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(70)) + squeezer.flush()
    rows = zlib.compress(bytes(4 * (1 + 3 * 4)))
    bomb = png(4, 4, (b"zTXt", b"key\0\0" + text), (b"IDAT", rows))
    assert NO_IMAGE in refused_upload(address, bomb)


def test_a_jpeg_of_thousands_of_scans_is_refused_while_others_are_served(address, tmp_path):
    """Decoding it takes minutes, so it is refused by its markers: the decoder would be killed with
    another sentence."""
    photo = upload(address, draw_photo(tmp_path / "photo.png").read_bytes())
    with ThreadPoolExecutor() as visitors:
        refused = visitors.submit(refused_upload, address, progressive_bomb(60_000), "bomb.jpg")
        served = visitors.submit(ask, address, "segment", [{"path": photo, "meta": META}])
        assert "is a JPEG with 60009 scans" in refused.result()
        assert served.result()[0] == "complete"


def test_a_truncated_image_is_refused(address, tmp_path):
    whole = draw_photo(tmp_path / "photo.jpg", (400, 300)).read_bytes()
    assert NO_IMAGE in refused_upload(address, whole[: len(whole) // 2], "photo.jpg")


@pytest.mark.parametrize("name", ["drawing.svg", "drawing.png"])
def test_an_svg_is_no_image_whatever_its_name(address, name):
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script>'
        b'<image href="http://127.0.0.1/secret"/></svg>'
    )
    assert NO_IMAGE in refused_upload(address, svg, name)


def test_an_uploaded_page_is_served_as_a_download_never_as_a_page(address):
    path = upload(address, b"<script>alert(1)</script>", "page.html")
    answer = httpx.get(f"{address}file={path}")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "name",
    [
        "../../../evil.png",
        "..\\..\\evil.png",
        "/etc/evil.png",
        "%2e%2e%2fevil.png",
        "..",
        "a" * 5000,
    ],
)
def test_a_file_name_cannot_lead_out_of_the_folder(address, folder, name):
    around = set(folder.parent.iterdir())
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="'
        + name.encode()
        + b'"\r\n\r\nhello\r\n--x--\r\n'
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{address}upload", content=body, headers=headers)
    if answer.status_code == 200:
        assert Path(answer.json()[0]).resolve().is_relative_to(folder)
    else:
        assert answer.status_code in (400, 413)
    assert set(folder.parent.iterdir()) == around


@pytest.mark.parametrize(
    "image",
    [
        "facebook/sam2.1-hiera-tiny",
        "http://127.0.0.1:1/a.png",
        {"path": "http://127.0.0.1:1/a.png", "meta": META},
        {"path": "https://example.com/a.png", "meta": META},
        {"url": "http://127.0.0.1:1/a.png", "meta": META},
        {"path": "/etc/passwd", "meta": META},
        {"path": "/proc/self/environ", "meta": META},
        {"path": "../../../../etc/passwd", "meta": META},
        {"path": "a\0b", "meta": META},
        {"path": 5, "meta": 5},
        {"path": None, "url": "data:image/png;base64,@@@not base64@@@", "meta": META},
        {"path": None, "url": "data:image/png;base64,iVBORw0KGgo=", "meta": META},
        "data:image/png;base64,iVBORw0KGgo=",
        ["a", "list"],
        None,
        7,
    ],
    ids=repr,
)
def test_what_was_not_uploaded_is_no_image(address, image):
    assert NOT_UPLOADED in refusal(address, image)


def test_an_address_in_any_other_field_is_not_fetched_either(address, models, tmp_path):
    asked = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/secret.png"
    path = upload(address, draw_photo(tmp_path / "photo.png").read_bytes())
    image = {"path": path, "meta": META}
    for field in ({"path": url, "meta": META}, [[{"path": url, "meta": META}]]):
        refusal(address, image, "refine", "", "points", field)
    # the events of the page itself, which are no part of the API but can be called like it
    for index, event in enumerate(httpx.get(f"{address}../config").json()["dependencies"]):
        data = [{"path": url, "meta": META}] * max(1, len(event["inputs"]))
        body = {"data": data, "fn_index": index, "session_hash": f"stranger{index}"}
        httpx.post(f"{address}queue/join", json=body)
    assert ask(address, "segment", [image])[0] == "complete"  # all before it are done
    server.shutdown()
    assert asked == []


def test_no_model_is_loaded_for_a_client(address, models, tmp_path):
    path = upload(address, draw_photo(tmp_path / "photo.png").read_bytes())
    for name in ("nvidia/mit-b0", "/etc", "../first"):
        sentence = refusal(address, {"path": path, "meta": META}, "segment", name)
        assert sentence == "This page has no such model; choose from first, second."


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([[1, 1, 1]] * 10_000, "There are 10000 points, but only 50 are allowed"),
        ([[1e9, 1, 1]], "outside the image"),
        ([[-1, 1, 1]], "outside the image"),
        ([["a", "b", "c"]], "A point must be"),
        ([[1, 2]], "A point must be"),
        ([[1, 2, 7]], "A point must be"),
        ([[1, 2, 0]], "must be on the object"),
        ("[[1, 2, 1]]", "points must be a list"),
        ([], "needs a list of points"),
        (None, "needs a list of points"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_points_that_make_no_sense_are_refused(address, tmp_path, points, said):
    path = upload(address, draw_photo(tmp_path / "photo.png").read_bytes())
    image = {"path": path, "meta": META}
    assert said in refusal(address, image, "refine", "", "points", points)


@pytest.mark.parametrize(
    ("endpoint", "rest"),
    [
        ("segment", ["first", 1e9]),
        ("segment", ["first", "x"]),
        ("segment", [{"a": 1}]),
        ("segment_everything", [10_000]),
        ("segment_everything", [-1]),
        ("segment_everything", ["many"]),
        ("refine", ["first", "magic"]),
    ],
    ids=str,
)
def test_options_out_of_bounds_are_refused(address, tmp_path, endpoint, rest):
    path = upload(address, draw_photo(tmp_path / "photo.png").read_bytes())
    refusal(address, {"path": path, "meta": META}, endpoint, *rest)


def test_more_than_the_allowed_bytes_are_refused(address):
    large = bytes(26 << 20)
    answer = httpx.post(f"{address}upload", files={"files": ("a.png", large)}, timeout=60)
    assert answer.status_code == 413 and "25 MiB" in answer.text
    # gradio itself would count every file for itself
    parts = [("files", (f"{index}.png", bytes(5 << 20))) for index in range(6)]
    assert httpx.post(f"{address}upload", files=parts, timeout=60).status_code == 413
    text = json.dumps({"data": ["x" * (2 << 20)]})
    assert httpx.post(f"{address}call/segment", content=text).status_code == 413


def test_a_stated_length_is_refused_before_anything_is_sent(address):
    parts = urlsplit(address)
    head = b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000000\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(head)
        assert b" 413 " in connection.recv(1000).splitlines()[0]


def test_bytes_without_a_stated_length_are_counted_as_they_come(address):
    def stream():  # of many small files, none of which is too large for gradio
        part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(30):
            yield part + bytes(1 << 20) + b"\r\n"
        yield b"--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        answer = httpx.post(f"{address}upload", content=stream(), headers=headers, timeout=60)
        assert answer.status_code == 413
    except httpx.WriteError:  # the server hung up before all was sent
        pass


def test_formats_that_no_camera_writes_are_not_even_tried(address):
    for name in ("TIFF", "EPS", "PCX"):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64)).save(buffer, name)
        assert NO_IMAGE in refused_upload(address, buffer.getvalue(), "photo.png")


@pytest.mark.parametrize(
    "route",
    [
        "file=/etc/passwd",
        "file=../../../etc/passwd",
        "file=http://example.com/a.png",
        "file=https:/example.com/a.png",
        "file=%68ttp://example.com/a.png",
        "proxy=http://example.com/a.png",
        "deep_link?session_hash=a",
        "stream/a/b/1/playlist.m3u8",
    ],
)
def test_no_route_leads_to_other_files_or_hosts(address, route):
    answer = httpx.get(address + route)
    assert answer.status_code == 404 and "root:" not in answer.text


def test_direct_calls_cannot_pass_the_queue(address):
    for route in ("run/segment", "api/segment", "run/predict"):
        answer = httpx.post(address + route, json={"data": [None, "", 0.5], "fn_index": 0})
        assert answer.status_code == 404


def test_the_routes_of_recordings_and_component_functions_are_closed(address):
    for route in ("process_recording", "component_server", "vibe-edit"):
        assert httpx.post(address + route, json={}).status_code == 404


def test_a_defect_of_ours_is_one_sentence_without_the_reason(
    address, models, tmp_path, monkeypatch
):
    def broken(*args):
        raise KeyError("secret detail")

    path = upload(address, draw_photo(tmp_path / "photo.png").read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(models, "segment", broken)
        sentence = refusal(address, {"path": path, "meta": META})
    assert sentence.startswith("Something went wrong here") and "secret" not in sentence


def test_work_that_takes_too_long_is_given_up(address, models, tmp_path, monkeypatch):
    path = upload(address, draw_photo(tmp_path / "photo.png").read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(models.device, "seconds", 0.3)
        patch.setattr(models, "_segment", lambda *args: time.sleep(1))
        sentence = refusal(address, {"path": path, "meta": META})
    assert "more than 0.3 seconds" in sentence


def test_uploads_that_are_cut_off_leave_nothing_for_long(address, folder):
    from demo.uploads import Uploads

    parts = urlsplit(address)
    head = (
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        b'Content-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    )

    def half_an_upload() -> None:
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(head + bytes(200_000))
            time.sleep(0.2)

    threads = [threading.Thread(target=half_an_upload) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 30
    left: list[Path] = []
    while not left and time.monotonic() < deadline:
        time.sleep(0.2)
        left = [path for path in folder.iterdir() if path.is_file()]
    assert left, "gradio cleans up by itself now: Uploads need not"
    for path in left:
        os.utime(path, (time.time() - 1000, time.time() - 1000))
    uploads = Uploads()
    uploads.since = 0
    uploads.sweep(always=True)
    assert not any(path.exists() for path in left)


def test_an_image_within_the_limits_is_scaled_down_and_the_reader_is_reported(address, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (128, 3072, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "wide.png")
    path = upload(address, (tmp_path / "wide.png").read_bytes())
    event, answer = ask(address, "segment", [{"path": path, "meta": META}])
    assert event == "complete" and answer[2]["width"] == 1536
    assert answer[2]["note"] == "Scaled from 3072 × 128 to 1536 × 64 pixels."
