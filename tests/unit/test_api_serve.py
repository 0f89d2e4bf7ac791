"""``rag serve`` up to the point where it serves."""

from __future__ import annotations

import socket
import tempfile
from contextlib import nullcontext

import pytest
from click.testing import CliRunner

from rag.commands import serve
from rag.errors import InvalidSettings, PortInUse
from rag.stores.jobs.blobs import Blobs
from tests.unit.api_library import ScriptedLibrary


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Runs the command with a scripted library; the server itself is left out."""
    library = ScriptedLibrary()
    library.blobs = Blobs(tmp_path / "blobs")
    monkeypatch.setattr(tempfile, "tempdir", None)  # the command changes it for its process
    monkeypatch.setattr(serve, "open_library", lambda settings: nullcontext(library))
    monkeypatch.setattr(serve, "run", lambda app, listener, *, drain_timeout_s: None)
    monkeypatch.setattr(serve, "configure_logging", lambda **_: None)

    def run(*arguments):
        return CliRunner().invoke(serve.serve, arguments)

    return run


def test_it_says_where_it_listens(start):
    result = start("--port", "0")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.startswith("Plumbline is listening on http://127.0.0.1:")
    assert int(result.stderr.split()[4].rpartition(":")[2]) > 0
    assert "WARNING" not in result.stderr


def test_uploads_are_spooled_where_they_wait(start, tmp_path):
    start("--port", "0")
    with tempfile.TemporaryFile(dir=tempfile.gettempdir()):
        assert tempfile.gettempdir() == str(tmp_path / "blobs")


def test_it_warns_where_others_can_reach_it(start):
    result = start("--host", "0.0.0.0", "--port", "0")  # noqa: S104 - closed at once
    assert result.exit_code == 0
    assert "no authentication" in result.stderr
    assert "publish a container's port" in result.stderr  # where nothing but 0.0.0.0 can be bound


def test_a_taken_port_is_named_with_what_to_do(start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = start("--port", str(other.getsockname()[1]))
    assert isinstance(result.exception, PortInUse)
    assert "--port" in result.exception.hint


def test_an_empty_address_is_not_every_address(start):
    result = start("--host", "", "--port", "0")
    assert isinstance(result.exception, InvalidSettings)
    assert "empty" in str(result.exception)


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b"])
def test_a_host_that_cannot_be_bound_is_a_setting_to_correct(start, host):
    result = start("--host", host, "--port", "0")
    assert isinstance(result.exception, InvalidSettings)
    assert host in str(result.exception)


def test_addresses_as_urls():
    assert serve._url("127.0.0.1", 80) == "http://127.0.0.1:80"
    assert serve._url("::1", 8000) == "http://[::1]:8000"
