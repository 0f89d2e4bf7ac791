"""A setting that .env.example shows reaches the programs in the containers, and no setting is forgotten in either; what
is told of the services is so.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from rag.config import Settings

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))

ALL = {f"RAG_{name}".upper() for name in Settings.model_fields}
SHOWN = set(re.findall(r"^#?(RAG_[A-Z_]+)=", EXAMPLE, re.MULTILINE))

# Neither shown nor passed on, and why.
THE_IMAGES = {
    "RAG_HOME": "the image's; it is where the data volume is mounted",
    "RAG_MODELS_DIR": "the image's; it is where the models volume is mounted",
    "RAG_HOST": "the image's; nothing but 0.0.0.0 can be published",
    "RAG_PORT": "the image's; PLUMBLINE_PORT is the port of the host",
    "RAG_DATABASE_URL": "the database belongs into the data volume, where backups and locks look for it",
    "RAG_GPU_LAYERS": "compose's: the gpu profile offloads all layers, and the other image can offload none",
    "RAG_PIP_COMMAND": "a command; nothing that .env says is executed",
}
# Passed on to these services alone.
ONLY = {"RAG_GENERATOR_API_KEY": {"api", "api-gpu"}}


def passed_on(service: str) -> set[str]:
    return {name for name in COMPOSE["services"][service]["environment"] if name.startswith("RAG_")}


def test_the_example_shows_every_setting_but_those_the_image_makes() -> None:
    assert THE_IMAGES.keys() == ALL - SHOWN
    assert SHOWN <= ALL


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_every_service_is_given_every_setting_that_the_example_shows(service: str) -> None:
    kept_from_it = {name for name, services in ONLY.items() if service not in services}
    extra = {"RAG_GPU_LAYERS"} if service == "api-gpu" else set()
    assert passed_on(service) == SHOWN - kept_from_it | extra


def test_a_setting_that_is_not_set_keeps_its_default() -> None:
    given = {name: value for name, value in COMPOSE["x-settings"].items() if value is not None}
    assert given.keys() == {"RAG_ALLOWED_HOSTS"}


def test_a_worker_finds_what_is_queued_where_the_one_who_queues_it_does() -> None:
    volumes = {name: COMPOSE["services"][name]["volumes"] for name in ("ingest", "worker")}
    assert volumes["worker"] == volumes["ingest"]
    assert COMPOSE["x-documents"] in volumes["worker"]
    assert "DOCUMENTS" in COMPOSE["x-documents"]["source"]
    assert (COMPOSE["x-documents"]["target"], COMPOSE["x-documents"]["read_only"]) == ("/documents", True)


def mounted(service: str) -> set[str]:
    """Where a service has a volume of a name, or memory."""
    volumes = [each for each in COMPOSE["services"][service]["volumes"] if isinstance(each, str)]
    return {each.split(":")[1] for each in volumes} | {
        each.partition(":")[0] for each in COMPOSE["services"][service]["tmpfs"]
    }


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_no_volume_without_a_name_is_made_for_a_service(service: str) -> None:
    (asked_for,) = re.findall(r"^VOLUME (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert set(json.loads(asked_for)) | {"/tmp"} == mounted(service)  # noqa: S108 - a container's


def test_large_temporary_files_do_not_lie_in_memory() -> None:
    homes = dict(re.findall(r"(RAG_HOME|SQLITE_TMPDIR)=(\S+)", DOCKERFILE))
    assert homes["SQLITE_TMPDIR"] == homes["RAG_HOME"]


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_every_service_is_named_where_services_are(service: str) -> None:
    (line,) = [each for each in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "as services" in each]
    assert service in re.findall(r"[a-z-]+", line.partition(" ")[2])
    start = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split("\n## ")[1]
    assert f"`{service}`" in start


def test_services_that_answer_come_before_those_that_take_documents_in() -> None:
    default = 1024
    shares = {service: COMPOSE["services"][service].get("cpu_shares", default) for service in COMPOSE["services"]}
    assert shares["worker"] < shares["ingest"] < min(shares["api"], shares["api-gpu"])
