"""Uploading an export to a hub of our own on loopback, and what happens where there is none."""

import base64
import contextlib
import http.server
import json
import threading

import pytest

from armorm import StorageError
from armorm.model.exports import check_repository, push_export

COMMIT = "0" * 40


class Hub(http.server.BaseHTTPRequestHandler):
    """The calls of the hub's API that an upload of small files makes."""

    def do_POST(self):
        server, body = self.server, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.calls.append((self.path, body))
        if self.path.endswith("/repos/create"):
            self._answer(server.status, {"url": f"{server.address}/owner/name", "error": "no"})
        elif "/preupload/" in self.path:
            files = [f["path"] for f in json.loads(body)["files"]]
            modes = [
                {"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files
            ]
            self._answer(200, {"files": modes})
        else:
            url = f"{server.address}/owner/name/commit/{COMMIT}"
            self._answer(200, {"commitUrl": url, "commitOid": COMMIT})

    def do_GET(self):
        self.server.calls.append((self.path, b""))
        self._answer(self.server.status, {"id": "owner/name", "sha": COMMIT, "siblings": []})

    def _answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """Say nothing."""


def forget_connections():
    """Drop the hub client's kept sessions, which in huggingface_hub 0.x remember offline mode."""
    from huggingface_hub.utils import _http

    names = vars(_http)
    names["reset_sessions" if "reset_sessions" in names else "close_session"]()


@pytest.fixture
def hub(monkeypatch):
    from huggingface_hub import constants, get_session

    get_session()  # as an earlier test may have left it: made while offline
    forget_connections()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_local")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.calls, server.status = [], 200
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    forget_connections()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path):
    for name in ("README.md", "config.json"):
        (tmp_path / name).write_text(json.dumps({"file": name}))
    return tmp_path


@pytest.mark.parametrize("private", [False, True])
def test_a_repository_is_made_and_every_file_uploaded(hub, folder, private):
    url = push_export(folder, "owner/name", private=private, endpoint=hub.address)
    assert url == f"{hub.address}/owner/name/commit/{COMMIT}"
    made = json.loads(next(body for path, body in hub.calls if path.endswith("/repos/create")))
    assert (made["organization"], made["name"]) == ("owner", "name")
    # huggingface_hub 0.36 says `private`, 2.x says `visibility`.
    assert (made.get("private") is True or made.get("visibility") == "private") == private
    body = next(body for path, body in hub.calls if "/commit/" in path)
    lines = [json.loads(line) for line in body.decode().splitlines()]
    files = {x["value"]["path"]: x["value"]["content"] for x in lines if x["key"] == "file"}
    assert sorted(files) == ["README.md", "config.json"]
    assert json.loads(base64.b64decode(files["config.json"])) == {"file": "config.json"}


def test_a_hub_that_refuses_is_one_sentence_and_the_export_stays(hub, folder):
    hub.status = 401
    text = rf"owner/name: the hub did not take the export, which is in {folder}: .*401"
    with pytest.raises(StorageError, match=text):
        push_export(folder, "owner/name", endpoint=hub.address)
    assert (folder / "config.json").is_file()


def test_a_hub_that_cannot_be_reached_is_one_sentence(hub, folder):
    with contextlib.suppress(OSError):
        hub.socket.close()
    with pytest.raises(StorageError, match="owner/name: the hub did not take the export"):
        push_export(folder, "owner/name", endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize("name", ["name", "owner/", "/name", "a/b/c", "owner/na me", ""])
def test_a_name_that_no_repository_can_have(name):
    with pytest.raises(ValueError, match=f"a repository must be named owner/name; got '{name}'"):
        check_repository(name)


def test_a_name_that_one_can_have():
    assert check_repository("owner/name-v0.1_x") is None
