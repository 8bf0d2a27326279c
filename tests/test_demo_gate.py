"""Which requests reach the page: routes, headers, bodies, and what the log keeps of them."""

import json
import logging
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest
from demo_server import draw_photo

META = {"_type": "gradio.FileData"}


@pytest.fixture(scope="module")
def models(demo_page):
    return demo_page.models


@pytest.fixture(scope="module")
def address(demo_page) -> str:
    return demo_page.address


@pytest.fixture(scope="module")
def api(address) -> str:
    return f"{address}gradio_api/"


@pytest.fixture
def image(api, tmp_path) -> dict:
    photo = draw_photo(tmp_path / "photo.png")
    path = httpx.post(f"{api}upload", files={"files": photo.open("rb")}).json()[0]
    return {"path": path, "meta": META}


@pytest.mark.parametrize(
    "route",
    [
        "monitoring",
        "monitoring/summary",
        "gradio_api/monitoring",
        "gradio_api/runs",
        "gradio_api/dev/reload",
        "gradio_api/file/http://127.0.0.1:9/a.png",
        "gradio_api/file//etc/passwd",
        "gradio_api/queue/status",
        "gradio_api/vibe-code",
        "gradio_api/token",
        "docs",
        "redoc",
        "no-such-page",
        "gradio_api/../monitoring",
        "static/../../../../etc/passwd",
    ],
)
def test_a_route_that_the_page_does_not_use_is_refused(address, route, capfd):
    connection = httpx.Client(follow_redirects=False)
    answer = connection.get(address + route)
    assert answer.status_code == 404, answer.text
    assert answer.json() == {"detail": "This page has no such address."}
    assert "Monitoring URL" not in capfd.readouterr().out


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_methods_that_the_page_does_not_use_are_refused(api, method):
    assert httpx.request(method, f"{api}upload").status_code == 404


def test_the_page_may_ask_nothing_of_another_host(address):
    for route in ("", "config", "no-such-page"):
        headers = httpx.get(address + route).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "form-action 'self'" in policy
        assert "http" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([5], "image must be an uploaded file"),
        ([None, "first"], "image must be an uploaded file"),
        (["IMAGE", 7], "model must be text, not a number"),
        (["IMAGE", "first", "x"], "opacity must be a number, not text"),
        (["IMAGE", "first", None], "opacity must be a number, not null"),
        (["IMAGE", "first", True], "opacity must be a number, not true or false"),
        (["IMAGE", ["first"]], "model must be text, not a list"),
        (["IMAGE", "first", 0.5, 1, 2, 3], "/segment takes at most 3 values"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_by_its_name(api, image, data, said):
    data = [image if value == "IMAGE" else value for value in data]
    answer = httpx.post(f"{api}call/segment", json={"data": data})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(api, image, number):
    text = f'{{"data": [{json.dumps(image)}, "first", {number}]}}'
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{api}call/segment", content=text, headers=headers)
    assert answer.status_code == 422
    assert "finite" in answer.json()["detail"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "5", "null", '{"data": 5}', '{"data": {"image": 1}}', "{}", "[" * 500_000,
     '{"data": [], "session_hash": 5}', "\xff\xfe"],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_body_that_is_no_request_is_refused(api, text, capfd):
    for route in ("call/segment", "run/health", "queue/join"):
        answer = httpx.post(api + route, content=text.encode("latin-1"))
        assert 400 <= answer.status_code < 500, (route, answer.text)
        assert isinstance(answer.json()["detail"], str)
    assert "Traceback" not in capfd.readouterr().err


def test_an_endpoint_that_is_not_there_is_refused_and_the_others_are_named(api, capfd):
    for route in ("call/segmemt", "run/segmemt", "api/predict", "call/v2/segment"):
        answer = httpx.post(api + route, json={"data": []})
        assert answer.status_code == 404, answer.text
    answer = httpx.post(f"{api}call/segmemt", json={"data": []})
    assert "no endpoint /segmemt" in answer.json()["detail"]
    assert "/segment" in answer.json()["detail"]
    for index in (9999, -1):
        body = {"data": [], "fn_index": index, "session_hash": "stranger"}
        assert httpx.post(f"{api}queue/join", json=body).status_code == 404
    assert "Traceback" not in capfd.readouterr().err


def test_slow_bodies_are_given_up_without_a_word_in_the_log(
    address, api, monkeypatch, capfd, caplog
):
    from demo import gate

    monkeypatch.setattr(gate, "UPLOAD_SECONDS", 0.5)
    parts = urlsplit(address)
    answers = []

    def slowly(index: int) -> None:
        route = "upload" if index % 2 else "call/segment"
        head = (
            f"POST /gradio_api/{route} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            'Content-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        )
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
            connection.sendall(head.encode())
            if index >= 20:  # the others hang up
                answers.append(connection.recv(1000).split(b"\r\n")[0])

    threads = [threading.Thread(target=slowly, args=(index,)) for index in range(40)]
    with caplog.at_level(logging.WARNING):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(0.5)
    assert answers == [b"HTTP/1.1 408 Request Timeout"] * 20
    written = capfd.readouterr()
    lines = (written.err + written.out + caplog.text).count("\n")
    assert lines < 10, (written.err + caplog.text)[:3000]


def test_the_log_of_one_failure_that_repeats_is_bounded(api, models, image, monkeypatch, caplog):
    def broken(*args):
        raise KeyError("secret detail")

    monkeypatch.setattr(models, "segment", broken)
    for _ in range(12):
        event = httpx.post(f"{api}call/segment", json={"data": [image]}).json()["event_id"]
        assert "Something went wrong" in httpx.get(f"{api}call/segment/{event}").text
    written = caplog.text
    assert "secret detail" in written  # the one who runs the page finds the reason
    assert written.count("Traceback") <= 6
