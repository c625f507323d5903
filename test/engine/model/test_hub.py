"""Checkpoints by hub id: the real hub client against a hub on this machine, present, unwilling and absent."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from eomt_ros.engine import DeviceLostError, Segmenter
from eomt_ros.engine.errors import CheckpointError
from eomt_ros.engine.model.checkpoint import load_checkpoint
from test.engine.checkpoints import TABLE, write_checkpoint
from test.engine.pictures import picture
from test.patience import PATIENCE

NOBODY = "http://127.0.0.1:9"
"""Where nothing listens: a machine without network."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves one folder as the model `owner/videomt`, in as much of the hub's protocol as a snapshot takes."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), HubRequest)
        self.folder = folder
        self.downloads: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class HubRequest(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if "owner/gated" in path:
            self.refuse(403, "GatedRepo")
        elif "owner/videomt" not in path:
            self.refuse(404, "RepoNotFound")
        elif path in ("/api/models/owner/videomt", "/api/models/owner/videomt/revision/main"):
            self.answer({"id": "owner/videomt", "sha": COMMIT, "siblings": []})
        elif "/revision/" in path:
            self.refuse(404, "RevisionNotFound")
        elif path.startswith(f"/api/models/owner/videomt/tree/{COMMIT}"):
            files = sorted(self.server.folder.iterdir())
            self.answer(
                [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": etag(f.read_bytes())} for f in files]
            )
        else:
            file = self.server.folder / Path(path).name
            if self.command == "GET":
                self.server.downloads.append(file.name)
            self.send(file.read_bytes())

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, content: object) -> None:
        self.send(json.dumps(content).encode())

    def refuse(self, status: int, code: str) -> None:
        self.send(b"", status, {"X-Error-Code": code, "X-Error-Message": f"refused as {code}"})

    def send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        fields = {
            "Content-Length": str(len(body)),
            "ETag": f'"{etag(body)}"',
            "X-Repo-Commit": COMMIT,
            **(headers or {}),
        }
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def use_hub(monkeypatch, url: str) -> None:
    """What the client reads from `HF_ENDPOINT` when it is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture(autouse=True)
def hub_client(tmp_path, monkeypatch):
    """The hub client as on a machine that has not loaded anything yet, and whose proxies do not matter."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    use_hub(monkeypatch, NOBODY)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has a checkpoint with code and pickled weights beside it."""
    folder = write_checkpoint(tmp_path / "served")
    (folder / "modeling_trap.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    with Hub(folder) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        use_hub(monkeypatch, hub.url)
        yield hub
        hub.shutdown()
        thread.join(timeout=PATIENCE)
        assert not thread.is_alive()


def refusal(model: str) -> str:
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(model)
    return str(error.value)


@pytest.mark.parametrize("model", ["owner/videomt", "owner/videomt@main", f"owner/videomt@{COMMIT}"])
def test_a_hub_id_brings_the_checkpoint_and_neither_code_nor_pickled_weights(hub, model):
    loaded = load_checkpoint(model)
    assert loaded.name == model
    assert sorted(hub.downloads) == ["config.json", "model.safetensors", "video_preprocessor_config.json"]
    reference = load_checkpoint(hub.folder).network.state_dict()
    assert all(torch.equal(weight, reference[name]) for name, weight in loaded.network.state_dict().items())


def test_a_hub_id_brings_its_label_table_though_the_cache_keeps_a_link_to_it(hub):
    (hub.folder / "labels.yaml").write_text(TABLE)
    loaded = load_checkpoint("owner/videomt")
    assert loaded.labels.name == "test world"
    assert loaded.folder.joinpath("labels.yaml").is_symlink()
    assert load_checkpoint(loaded.folder).labels.name == "test world"


def test_a_checkpoint_that_was_loaded_once_loads_again_without_the_hub(hub, monkeypatch):
    load_checkpoint("owner/videomt")
    use_hub(monkeypatch, NOBODY)
    assert load_checkpoint("owner/videomt").name == "owner/videomt"


def test_a_folder_wins_over_a_hub_id_of_the_same_name(hub, tmp_path):
    write_checkpoint(tmp_path / "owner" / "videomt")
    assert load_checkpoint("owner/videomt").name == "videomt"
    assert hub.downloads == []


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("owner/nothing", "check the spelling; for a private model log in with `hf auth login`"),
        ("owner/gated", "accept its terms on the hub's page and log in with `hf auth login`"),
        ("owner/videomt@v9", "it has no revision 'v9'"),
    ],
)
def test_a_hub_that_refuses_is_reported_with_what_was_looked_for_and_what_to_do(hub, tmp_path, model, remedy):
    said = refusal(model)
    repository = model.partition("@")[0]
    assert f"model {repository!r}: there is no folder {tmp_path / model}, and the Hugging Face hub gave" in said
    assert remedy in said
    assert "\n" not in said


def test_a_hub_model_without_safetensors_is_refused(hub):
    (hub.folder / "model.safetensors").unlink()
    said = refusal("owner/videomt")
    assert "has no model.safetensors" in said


def test_without_a_network_the_message_says_how_to_bring_the_checkpoint(tmp_path):
    said = refusal("owner/videomt")
    assert str(tmp_path / "owner" / "videomt") in said
    assert "check the network" in said
    assert "hf download owner/videomt --local-dir FOLDER" in said
    assert "\n" not in said


def test_offline_by_choice_is_told_apart_from_a_model_that_does_not_exist(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal("owner/videomt")


def test_a_fallback_is_read_from_the_folder_that_was_loaded_and_asks_no_hub(hub, tmp_path, monkeypatch):
    segmenter = Segmenter.load("owner/videomt", device="auto", backend="torch")
    use_hub(monkeypatch, NOBODY)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "another cache"))

    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.nn.Conv2d, "forward", fail)
    with pytest.raises(DeviceLostError, match="frames run on cpu from now on"):
        segmenter.segment(picture(60, 80, 0), segmenter.open_stream())
