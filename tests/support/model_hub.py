"""A stand-in for the Hugging Face hub: repositories that are folders, over the requests that its client makes."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import close_session, constants
from open_clip import factory, pretrained

from tests.support.models import CONFIGS, Kind, tiny_bert_dir, tiny_open_clip_dir

COMMIT = "0" * 40
FILE = "/{repo_id}/resolve/{revision}/{filename}"


@dataclass
class Hub:
    """A running hub: folders at OWNER/NAME below `folder` are its repositories."""

    folder: Path
    endpoint: str = ""
    asked: list[str] = field(default_factory=list)
    """The path of every request."""


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, hub: Hub, *arguments: Any) -> None:
        self.hub = hub
        super().__init__(*arguments)

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.asked.append(self.path)
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"] and (self.hub.folder / parts[2] / parts[3]).is_dir():
            self._tell(parts[2], parts[3], tree="tree" in parts)
        elif (
            len(parts) == 5
            and parts[2] == "resolve"
            and (path := self.hub.folder.joinpath(*parts[:2], parts[4])).is_file()
        ):
            self._send(200, path.read_bytes())
        else:
            self._send(404, b"", **{"X-Error-Code": "EntryNotFound" if "resolve" in parts else "RepoNotFound"})

    def _tell(self, owner: str, name: str, *, tree: bool) -> None:
        files = sorted(path for path in (self.hub.folder / owner / name).iterdir() if path.is_file())
        listing = [{"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0"} for path in files]
        info = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": [{"rfilename": path.name} for path in files]}
        self._send(200, json.dumps(listing if tree else info).encode())

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        for key, value in {"Content-Length": str(len(body)), "ETag": etag, "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def run_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub to which this process's client is turned, with a cache of its own; afterwards neither is there."""
    hub = Hub(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, hub))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    cache = folder.parent / "hub-cache"
    close_session()  # one that was opened before looks for proxies of its own
    try:
        with monkeypatch.context() as patch:
            patch.setenv("NO_PROXY", "127.0.0.1")
            patch.setenv("no_proxy", "127.0.0.1")
            patch.setattr(constants, "ENDPOINT", hub.endpoint)
            patch.setattr(
                constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
            )
            patch.setattr(constants, "HF_HUB_CACHE", str(cache))
            patch.setattr(constants, "HF_HUB_OFFLINE", False)
            yield hub
    finally:
        close_session()
        server.shutdown()
        thread.join()
        server.server_close()
        shutil.rmtree(cache, ignore_errors=True)


def publish(folder: Path, name: str, tag: str, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make open_clip know a tiny model as `tag` of `name`, and lay out the repositories that hold it in `folder`."""
    config = {**CONFIGS[kind], "text_cfg": dict(CONFIGS[kind]["text_cfg"])}
    for key in {"hf_model_name", "hf_tokenizer_name"} & set(config["text_cfg"]):
        config["text_cfg"][key] = "tiny/bert"
        tiny_bert_dir(folder / "tiny" / "bert")
    made = tiny_open_clip_dir(folder / "made" / "model", kind)
    weights = folder / "tiny" / name / "open_clip_model.safetensors"
    weights.parent.mkdir(parents=True)
    shutil.copyfile(made / weights.name, weights)
    entry = {
        "hf_hub": f"tiny/{name}/",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "quick_gelu": config.get("quick_gelu", False),
    }
    monkeypatch.setitem(factory._MODEL_CONFIGS, name, config)
    monkeypatch.setitem(pretrained._PRETRAINED, name, {tag: entry})
