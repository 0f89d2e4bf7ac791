"""Downloads over the hub's protocol, against a server that misbehaves in every way the network does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from rag.catalog import Catalog
from rag.catalog.sources import transfer
from rag.config import Settings
from rag.errors import ModelMissing, ModelSourcesFailed
from tests.integration.model_fetch_server import COMMIT, Hub, describe_model, serving

CONTENT = hashlib.shake_256(b"model").digest(3_000_000)
FILES = {"tiny.gguf": CONTENT}
HUB_SOURCE = f'from = "hf:owner/tiny-GGUF@{COMMIT}"'


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    monkeypatch.setattr(transfer, "pause", taken.append)
    return taken


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pauses: list[float]) -> Iterator[Hub]:
    with serving(dict(FILES)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", "secret")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        for proxy in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(proxy, raising=False)
        yield server


def _catalog(models_dir: Path, *sources: str, files: dict[str, bytes] | None = None) -> Catalog:
    describe_model(models_dir, files or FILES, *(sources or (HUB_SOURCE,)))
    return Catalog.load(Settings(models_dir=models_dir))


def _partial_files(models_dir: Path) -> list[Path]:
    return [path for path in (models_dir / ".partial").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_file_behind_a_redirect_is_verified_and_put_in_place(hub: Hub, tmp_path: Path) -> None:
    model = _catalog(tmp_path / "m").pull("tiny")
    assert model.path == tmp_path / "m" / "tiny" / "tiny.gguf"
    assert model.path.read_bytes() == CONTENT
    assert model.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert _partial_files(tmp_path / "m") == []


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(hub: Hub, tmp_path: Path) -> None:
    _catalog(tmp_path / "m").pull("tiny")
    assert [request.headers["authorization"] for request in hub.seen("hub")] == ["Bearer secret"]
    assert ["authorization" in request.headers for request in hub.seen("cdn")] == [False]


def test_only_the_wanted_file_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    _catalog(tmp_path / "m").pull("tiny")
    assert [request.path for request in hub.seen("hub")] == [f"/owner/tiny-GGUF/resolve/{COMMIT}/tiny.gguf"]
    assert hub.seen("hub")[0].headers["user-agent"].startswith("plumbline/")


def test_several_files_keep_their_folders(hub: Hub, tmp_path: Path) -> None:
    files = {"model.gguf": b"a" * 100, "1_Pooling/config.json": b"{}"}
    hub.files = files
    model = _catalog(tmp_path / "m", files=files).pull("tiny")
    assert (model.path.parent / "1_Pooling" / "config.json").read_bytes() == b"{}"


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub, tmp_path: Path, pauses: list[float]) -> None:
    hub.wrong.cuts = [1_000_000, 500_000]
    model = _catalog(tmp_path / "m").pull("tiny")
    assert model.path.read_bytes() == CONTENT
    asked = [request.headers.get("range") for request in hub.seen("cdn")]
    assert asked == [None, "bytes=1000000-", "bytes=1500000-"]
    assert all("if-range" in request.headers for request in hub.seen("cdn")[1:])
    assert len(pauses) == 2


def test_a_pull_after_a_failed_one_goes_on_with_its_partial_file(hub: Hub, tmp_path: Path) -> None:
    catalog = _catalog(tmp_path / "m")
    hub.wrong.cuts = [2_000_000, 0, 0, 0, 0]
    with pytest.raises(ModelSourcesFailed, match="broke off 5 times"):
        catalog.pull("tiny")
    with pytest.raises(ModelMissing):
        catalog.resolve("tiny")
    before = len(hub.seen("cdn"))
    assert catalog.pull("tiny").path.read_bytes() == CONTENT
    assert [request.headers.get("range") for request in hub.seen("cdn")[before:]] == ["bytes=2000000-"]


def test_a_partial_of_another_content_is_not_continued(hub: Hub, tmp_path: Path) -> None:
    catalog = _catalog(tmp_path / "m")
    hub.wrong.cuts = [2_000_000, 0, 0, 0, 0]
    with pytest.raises(ModelSourcesFailed):
        catalog.pull("tiny")
    tag_file = next(path for path in _partial_files(tmp_path / "m") if path.suffix == ".etag")
    tag_file.write_text('"of-another-file"')  # what a changed file on the server amounts to
    assert catalog.pull("tiny").path.read_bytes() == CONTENT


def test_a_server_without_ranges_is_read_from_the_start(hub: Hub, tmp_path: Path) -> None:
    hub.wrong.cuts = [1_000_000]
    hub.wrong.ignore_range = True
    assert _catalog(tmp_path / "m").pull("tiny").path.read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(hub: Hub, tmp_path: Path, pauses: list[float]) -> None:
    hub.wrong.busy = 2
    assert _catalog(tmp_path / "m").pull("tiny").path.read_bytes() == CONTENT
    assert len(pauses) == 2


def test_a_flipped_byte_is_noticed_and_nothing_of_it_stays(hub: Hub, tmp_path: Path) -> None:
    hub.wrong.flip_byte = 2_345_678
    catalog = _catalog(tmp_path / "m")
    with pytest.raises(ModelSourcesFailed, match="sha256"):
        catalog.pull("tiny")
    assert not (tmp_path / "m" / "tiny").exists()
    assert _partial_files(tmp_path / "m") == []


def test_after_a_flipped_byte_the_next_source_is_tried(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "tiny.gguf").write_bytes(CONTENT)
    hub.wrong.flip_byte = 0
    model = _catalog(tmp_path / "m", HUB_SOURCE, 'from = "file:../share"').pull("tiny")
    assert model.path.read_bytes() == CONTENT


def test_another_file_is_refused_before_it_is_downloaded(hub: Hub, tmp_path: Path) -> None:
    hub.wrong.linked_size = 17
    with pytest.raises(ModelSourcesFailed, match="17 bytes"):
        _catalog(tmp_path / "m").pull("tiny")
    assert _partial_files(tmp_path / "m") == []


def test_a_gated_model_says_what_is_needed(hub: Hub, tmp_path: Path) -> None:
    hub.wrong.gated = True
    with pytest.raises(ModelSourcesFailed, match="restricted") as caught:
        _catalog(tmp_path / "m").pull("tiny")
    assert "HF_TOKEN" in caught.value.hint


def test_an_unknown_file_is_not_asked_for_twice(hub: Hub, tmp_path: Path, pauses: list[float]) -> None:
    hub.files = {}
    with pytest.raises(ModelSourcesFailed, match="EntryNotFound"):
        _catalog(tmp_path / "m").pull("tiny")
    assert pauses == []


def test_an_unreachable_hub_is_given_up_at_once(
    hub: Hub, tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ModelSourcesFailed, match="cannot be reached") as caught:
        _catalog(tmp_path / "m").pull("tiny")
    assert pauses == []
    for help_text in ("HTTPS_PROXY", "HF_ENDPOINT", str(tmp_path / "m" / "tiny" / "tiny.gguf")):
        assert help_text in caught.value.hint


def test_every_source_is_named_with_its_cause(hub: Hub, tmp_path: Path) -> None:
    hub.files = {}
    with pytest.raises(ModelSourcesFailed) as caught:
        _catalog(tmp_path / "m", HUB_SOURCE, 'from = "file:nowhere"', f'from = "{hub.cdn}/plain"').pull("tiny")
    for part in ("hf:owner/tiny-GGUF", "EntryNotFound", "nowhere", "No such file", f"{hub.cdn}/plain", "HTTP 404"):
        assert part in caught.value.message


def test_plain_urls_are_read_with_ranges_too(hub: Hub, tmp_path: Path) -> None:
    hub.wrong.cuts = [123_456]
    model = _catalog(tmp_path / "m", f'from = "{hub.cdn}/plain"').pull("tiny")
    assert model.path.read_bytes() == CONTENT
    assert [request.headers.get("range") for request in hub.seen("cdn")] == [None, "bytes=123456-"]


def test_a_redirect_to_plain_http_elsewhere_is_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.wrong.redirect_to = "http://mirror.invalid/tiny.gguf"
    with transfer.open_client() as client, pytest.raises(transfer.SourceFailure, match=r"mirror\.invalid.*refused"):
        client.get(f"{hub.endpoint}/owner/tiny-GGUF/resolve/{COMMIT}/tiny.gguf")


def test_a_copy_in_the_hub_cache_spares_the_download(hub: Hub, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub-cache" / "models--owner--tiny-GGUF" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "tiny.gguf").write_bytes(CONTENT)
    assert _catalog(tmp_path / "m").pull("tiny").path.read_bytes() == CONTENT
    assert hub.requests == []


def test_offline_mode_of_the_hub_library_is_respected(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelSourcesFailed, match="HF_HUB_OFFLINE"):
        _catalog(tmp_path / "m").pull("tiny")
    assert hub.requests == []


def test_a_model_that_is_there_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    catalog = _catalog(tmp_path / "m")
    catalog.pull("tiny")
    before = len(hub.requests)
    catalog.pull("tiny")
    assert len(hub.requests) == before


def test_progress_counts_up_to_the_whole_model(hub: Hub, tmp_path: Path) -> None:
    events = []
    hub.wrong.cuts = [1_000_000]
    _catalog(tmp_path / "m").pull("tiny", events.append)
    downloading = [event.done for event in events if event.phase == "downloading"]
    assert downloading == sorted(downloading)
    assert downloading[-1] == len(CONTENT)
    assert {event.total for event in events} == {len(CONTENT)}
    assert [event.phase for event in events if event.phase not in ("downloading", "verifying")] == [
        "source",
        "placed",
        "ready",
    ]
