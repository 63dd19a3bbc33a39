"""Weights are the published ones or those of the first use, fetched whole, and never taken from a web page."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundstate.atoms import ModelError, RunError
from groundstate.zoo import weights
from groundstate.zoo.catalogue import Card
from toy_family import SHA, WEIGHTS, record


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GROUNDSTATE_MODELS", str(tmp_path / "models"))
    for name in ("OFFLINE", "GROUNDSTATE_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "models"


def card(url: str = "", sha256: str = SHA) -> Card:
    files = [{"name": "spring.txt", "url": url, "sha256": sha256}]
    return Card.from_dict(record(weights={"source": "download", "files": files, "page": "https://example.org/spring"}))


class _Server(http.server.BaseHTTPRequestHandler):
    content, kind = b"", "application/octet-stream"

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start:])

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(_Server, "content", WEIGHTS)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}/spring.txt"
        serving.shutdown()
        thread.join()


def test_missing_weights_say_what_to_get_and_where_to_put_it(folder: Path) -> None:
    with pytest.raises(ModelError) as refusal:
        weights.located(card("https://example.org/spring.txt"), None)
    assert refusal.value.code == "E-WEIGHTS-MISSING"
    for word in ("https://example.org/spring.txt", "--offline-file", str(folder / "spring-1")):
        assert word in str(refusal.value)


def test_a_download_is_checked_and_kept(server: str, folder: Path) -> None:
    reported: list[tuple[int, int]] = []
    weights.fetch(card(server), report=lambda done, total: reported.append((done, total)))
    assert (folder / "spring-1" / "spring.txt").read_bytes() == WEIGHTS
    assert reported[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert weights.located(card(server), None)[1] == SHA


def test_a_download_goes_on_where_it_was_killed(server: str, folder: Path) -> None:
    (folder / "spring-1").mkdir(parents=True)
    (folder / "spring-1" / "spring.txt.part").write_bytes(WEIGHTS[:2])
    weights.fetch(card(server))
    assert (folder / "spring-1" / "spring.txt").read_bytes() == WEIGHTS


def test_other_weights_are_refused_and_not_kept(server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Server, "content", b"9.9")
    with pytest.raises(ModelError, match="not the published ones") as refusal:
        weights.fetch(card(server))
    assert refusal.value.code == "E-WEIGHTS"
    assert [path.name for path in (folder / "spring-1").iterdir()] == ["lock"]


def test_a_web_page_is_not_taken_for_weights(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Server, "kind", "text/html; charset=utf-8")
    with pytest.raises(RunError, match="web page"):
        weights.fetch(card(server, sha256=""))


def test_nothing_is_fetched_offline(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFLINE", "1")
    with pytest.raises(RunError, match="OFFLINE") as refusal:
        weights.fetch(card(server))
    assert refusal.value.code == "E-OFFLINE"
    assert server in refusal.value.fix


def test_an_unreachable_server_is_told() -> None:
    with pytest.raises(RunError) as refusal:
        weights.fetch(card("http://127.0.0.1:9/spring.txt"))
    assert refusal.value.code == "E-DOWNLOAD"


def test_unpinned_weights_are_fixed_by_the_first_use(tmp_path: Path, folder: Path) -> None:
    brought = tmp_path / "brought.txt"
    brought.write_bytes(WEIGHTS)
    unpinned = card(sha256="")
    assert unpinned.id == "spring-1"
    target = weights.bring(unpinned, brought)
    assert weights.pins(unpinned) == {"spring.txt": SHA}
    target.write_bytes(b"3.5")
    with pytest.raises(ModelError, match="not those of the first use"):
        weights.located(unpinned, None)
    brought.write_bytes(b"3.5")
    with pytest.raises(RunError, match="E-OUTPUT-EXISTS"):
        weights.bring(unpinned, brought)
    weights.bring(unpinned, brought, overwrite=True)
    assert weights.located(unpinned, None)[1] != SHA


def test_a_brought_file_is_checked_before_it_is_kept(tmp_path: Path, folder: Path) -> None:
    brought = tmp_path / "brought.txt"
    brought.write_bytes(b"3.5")
    with pytest.raises(ModelError, match="not the published ones"):
        weights.bring(card(), brought)
    assert not (folder / "spring-1" / "spring.txt").exists()
