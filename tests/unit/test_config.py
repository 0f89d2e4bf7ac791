from __future__ import annotations

from pathlib import Path

import pytest

from rag.config import Settings, load_settings, unknown_settings
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


@pytest.mark.parametrize("name", ["RAG_HOME", "RAG_MODELS_DIR", "RAG_HOST", "RAG_TOP_K", "RAG_GENERATOR_URL"])
def test_a_setting_from_a_variable_that_is_not_set_is_refused_and_no_directory_or_address(monkeypatch, name):
    monkeypatch.setenv(name, "")
    with pytest.raises(InvalidSettings, match=f"{name}: .*empty"):
        load_settings()


def test_where_nobody_has_a_home_it_is_said_what_to_set(monkeypatch, tmp_path):
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("RAG_HOME", "RAG_MODELS_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(InvalidSettings, match="RAG_HOME is not set") as caught:
        load_settings()
    assert "RAG_MODELS_DIR" in caught.value.hint
    monkeypatch.setenv("RAG_HOME", str(tmp_path))
    monkeypatch.setenv("RAG_MODELS_DIR", str(tmp_path))
    assert load_settings().home == tmp_path


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


@pytest.mark.parametrize(("value", "expected"), [("auto", "auto"), ("all", "all"), ("0", 0), ("12", 12), ("-1", None)])
def test_gpu_layers_are_auto_all_or_a_number(monkeypatch, value, expected):
    monkeypatch.setenv("RAG_GPU_LAYERS", value)
    if expected is None:
        with pytest.raises(InvalidSettings, match="RAG_GPU_LAYERS"):
            load_settings()
    else:
        assert load_settings().gpu_layers == expected


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


def test_a_variable_that_is_nearly_a_setting_is_told_once_with_what_it_may_mean(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAG_EMBEDER", "another")
    monkeypatch.setenv("RAG_TOP_K", "3")
    monkeypatch.setenv("RAG_RERANKING_MODEL", "of another program")
    (tmp_path / ".env").write_text("RAG_CHUNK_TOKEN=90\nCOMPOSE_PROJECT_NAME=plumbline\nRAG_PORT=8001\n")
    settings, _again = load_settings(), load_settings()
    assert (settings.top_k, settings.port) == (3, 8001)
    told = capsys.readouterr().out
    assert told.count("RAG_EMBEDER is no setting and has no effect; RAG_EMBEDDER is one") == 1
    assert told.count("RAG_CHUNK_TOKEN is no setting and has no effect; RAG_CHUNK_TOKENS is one") == 1
    assert not any("warning" in line and "RERANKING" in line for line in told.splitlines())
    assert unknown_settings() == {
        "RAG_CHUNK_TOKEN": "RAG_CHUNK_TOKENS",
        "RAG_EMBEDER": "RAG_EMBEDDER",
        "RAG_RERANKING_MODEL": None,
    }


def test_no_settings_file_is_read_where_none_is_wanted(tmp_path):
    (tmp_path / ".env").write_text("RAG_TOP_K=3\n")
    assert Settings(_env_file=None).top_k == 6


def test_adapters_are_a_json_object_of_paths(monkeypatch):
    monkeypatch.setenv("RAG_LORA_ADAPTERS", '{"legal": "/models/legal.gguf"}')
    assert load_settings().lora_adapters == {"legal": Path("/models/legal.gguf")}


@pytest.mark.parametrize("value", ["legal=/models/legal.gguf", "", "[]", '{"legal": 1}'])
def test_adapters_that_are_none_are_a_setting_to_correct(monkeypatch, value):
    monkeypatch.setenv("RAG_LORA_ADAPTERS", value)
    with pytest.raises(InvalidSettings, match="RAG_LORA_ADAPTERS: ") as caught:
        load_settings()
    assert "RAG_ALLOWED_HOSTS" not in caught.value.message


def test_adapters_in_another_notation_are_answered_with_how_to_write_them(monkeypatch):
    monkeypatch.setenv("RAG_LORA_ADAPTERS", "legal=/models/legal.gguf")
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert '{"legal": "/models/legal.gguf"}' in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAG_PASSAGE_REUSE", "sometimes"),
        ("RAG_PASSAGE_ORDER", "random"),
        ("RAG_MAX_RUNNING", "0"),
        ("RAG_MAX_QUEUED", "-1"),
        ("RAG_KV_TOKENS", "-1"),
        ("RAG_KV_RAM_BYTES", "-1"),
        ("RAG_KV_DISK_BYTES", "much"),
        ("RAG_GENERATOR_TIMEOUT_S", "0"),
        ("RAG_REQUEST_TIMEOUT_S", "0"),
        ("RAG_PARSE_MEMORY_BYTES", str(1 << 63)),
    ],
)
def test_settings_out_of_range_are_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings, match=f"{name}: "):
        load_settings()


def test_the_engine_by_default():
    settings = Settings(_env_file=None)
    assert (settings.passage_reuse, settings.passage_order, settings.speculation) == ("auto", "rank", True)
    assert (settings.kv_tokens, settings.kv_ram_bytes, settings.kv_disk_bytes) == (0, 512 << 20, 4 << 30)
    assert (settings.generator_url, settings.lora_adapters) == (None, {})


def test_the_remote_servers_key_is_never_shown(monkeypatch):
    monkeypatch.setenv("RAG_GENERATOR_API_KEY", "s3cret-key")
    settings = load_settings()
    shown = f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert "s3cret-key" not in shown
    assert settings.generator_api_key.get_secret_value() == "s3cret-key"


def test_an_error_does_not_repeat_the_key(monkeypatch):
    monkeypatch.setenv("RAG_GENERATOR_API_KEY", "s3cret-key")
    monkeypatch.setenv("RAG_PORT", "s3cret-key")
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert "s3cret-key" not in str(caught.value)


def test_passages_are_not_widened_unless_that_is_set(monkeypatch):
    assert load_settings().parent_tokens == 0
    monkeypatch.setenv("RAG_PARENT_TOKENS", "-1")
    with pytest.raises(InvalidSettings, match="RAG_PARENT_TOKENS"):
        load_settings()
