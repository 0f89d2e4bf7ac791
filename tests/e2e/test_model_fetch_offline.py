"""After the first pull nothing asks the network again: models are checked and loaded with every way out closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)

GUARD = """
import socket

def refuse(*arguments, **_):
    raise AssertionError(f"the network was asked: {arguments}")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
"""

CHECK = (
    GUARD
    + """
from click.testing import CliRunner
from rag.commands.models import models

for arguments in (["pull"], ["verify"], ["path", "all-minilm-l6-v2"], ["list"]):
    result = CliRunner().invoke(models, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
"""
)

LOAD = (
    GUARD
    + """
from rag.catalog import Catalog
from rag.config import load_settings

catalog = Catalog.load(load_settings())
from sentence_transformers import SentenceTransformer
vector = SentenceTransformer(str(catalog.path("all-minilm-l6-v2")), device="cpu").encode("plumb line")
assert vector.shape == (384,)
import asyncio
from rag.model_types import SamplingParams
from tests.integration.solo import load, say
from tests.unit.inference_prompts import make_prompt

generator = load(catalog.path("smollm2-135m-instruct"), context_tokens=256)
reply = asyncio.run(say(generator, make_prompt("At what temperature does water boil?"), SamplingParams(max_tokens=2)))
assert reply.text
generator.close()
"""
)


def _run(code: str, models_dir: Path) -> None:
    environment = {
        **os.environ,
        "RAG_MODELS_DIR": str(models_dir),
        "RAG_GENERATOR": "smollm2-135m-instruct",
        "HF_ENDPOINT": "http://127.0.0.1:1",
        "PIP_NO_INDEX": "1",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_models_are_checked_without_a_network(models_dir: Path, embedder_path: Path, smollm_path: Path) -> None:
    _run(CHECK, models_dir)


def test_models_are_loaded_without_a_network(models_dir: Path, embedder_path: Path, smollm_path: Path) -> None:
    _run(LOAD, models_dir)
