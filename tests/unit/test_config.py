from __future__ import annotations

import pytest

from rag.config import Settings, load_settings
from rag.errors import InvalidSettings


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_host_names_are_a_json_list(monkeypatch):
    monkeypatch.setenv("RAG_ALLOWED_HOSTS", '["rag.example.org", "api"]')
    assert load_settings().allowed_hosts == ("rag.example.org", "api")
    assert Settings(allowed_hosts=("api",)).allowed_hosts == ("api",)


@pytest.mark.parametrize("value", ["example.org", "", "[", '{"a": 1}', "[1]"])
def test_host_names_that_are_none_are_a_setting_to_correct(monkeypatch, value):
    monkeypatch.setenv("RAG_ALLOWED_HOSTS", value)
    with pytest.raises(InvalidSettings, match="RAG_ALLOWED_HOSTS: "):
        load_settings()


def test_a_bare_host_name_is_answered_with_how_to_write_it(monkeypatch):
    monkeypatch.setenv("RAG_ALLOWED_HOSTS", "example.org")
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert '["rag.example.org"]' in caught.value.message


def test_a_setting_of_several_types_is_named_once_and_as_it_is_written(monkeypatch):
    monkeypatch.setenv("RAG_GPU_LAYERS", "foo")
    monkeypatch.setenv("RAG_PORT", "70000")
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert caught.value.message.count("RAG_GPU_LAYERS") == 1
    assert "RAG_GPU_LAYERS: " in caught.value.message
    assert "RAG_PORT: " in caught.value.message


def test_a_settings_file_that_is_not_utf8_is_an_error_that_says_so(tmp_path):
    (tmp_path / ".env").write_bytes("RAG_HOME=/tmp/h\u00e4user\n".encode("latin-1"))
    with pytest.raises(InvalidSettings, match=r"\.env") as caught:
        load_settings()
    assert "UTF-8" in caught.value.hint


def test_the_folder_one_works_in_cannot_name_a_command(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("RAG_PIP_COMMAND=./evil\nRAG_TOP_K=3\n")
    settings = load_settings()
    assert (settings.pip_command, settings.top_k) == (None, 3)
    monkeypatch.setenv("RAG_PIP_COMMAND", "uv pip")
    assert load_settings().pip_command == "uv pip"


def test_no_settings_file_is_read_where_none_is_wanted(tmp_path):
    (tmp_path / ".env").write_text("RAG_TOP_K=3\n")
    assert Settings(_env_file=None).top_k == 6
