"""Of every format that is read: its chunks are slices of its text, of the page and the heading where they stand."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer import formats
from indexer.detection import images as image_detection
from indexer.detection import office as office_detection
from indexer.detection.media_types import detect
from indexer.formats import CONTAINERS, SUFFIX_TYPES
from indexer.parsers import image
from indexer.parsers.blocks import Member
from indexer.parsers.registry import PARSERS, load_parser
from indexer.sources import scan_file
from rag.embedding.fake import HashingEmbedder
from tests.property.verbatim import require_verbatim
from tests.unit.every_format import CASES, Content
from tests.unit.parsing import LIMITS, Result
from tests.unit.scripted_ocr import ScriptedRecognizer

if TYPE_CHECKING:
    from indexer.parsers.blocks import Parsed

# Few, for there are many formats; what is found is often found soon.
FEW = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])

_SIGNS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "M")), min_size=1, max_size=6)
_WORDS = st.one_of(
    st.sampled_from(["Alpha", "beta.", "3.5", "日本語", "Größe", "x" * 120, "1287", "a|b", "-", "#", "Dr.", "1.", "|"]),
    _SIGNS,
)
_LINES = st.lists(_WORDS, min_size=1, max_size=12).map(" ".join)
_LONG = st.tuples(_LINES, st.integers(1, 25)).map(lambda pair: " ".join([pair[0]] * pair[1]))
_SECTIONS = st.tuples(_LINES, st.lists(st.one_of(_LINES, _LONG), min_size=1, max_size=4))
_ROWS = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(_LINES, min_size=width, max_size=width), min_size=2, max_size=30)
)
CONTENTS = st.builds(
    Content, sections=st.lists(_SECTIONS, min_size=1, max_size=4), rows=_ROWS, caption=st.one_of(_LINES, _LONG)
)


def media_types(module) -> set[str]:
    """The media types that a module names."""
    named = {key: value for key, value in vars(module).items() if key.isupper() and key[0] != "_"}
    return {value for value in named.values() if isinstance(value, str) and "/" in value}


def results(name: str, content: bytes) -> list[tuple[str, Result]]:
    """The media type and what was found of a file and of all that it holds."""
    found: list[Parsed] = []
    members: list[tuple[str, bytes]] = []
    detected = detect(PurePosixPath(name), scan_file(io.BytesIO(content)))
    is_container = detected.media_type in CONTAINERS
    limits = [LIMITS] if is_container else []
    with TemporaryFile() if is_container else io.BytesIO() as file:  # containers ask for the file's number
        file.write(content)
        file.seek(0)
        for item in load_parser(PARSERS[detected.media_type])(file, detected.encoding, *limits):
            found.append(item)
            if isinstance(item, Member):
                members.append((item.name, b"".join(item.content)))
    inner = [each for member in members for each in results(*member)]
    return [(detected.media_type, Result(found)), *inner]


def test_every_format_has_a_case():
    named = {*media_types(formats), *media_types(office_detection), *media_types(image_detection)}
    assert named | set(SUFFIX_TYPES.values()) == set(PARSERS) == set(CASES)


@pytest.mark.parametrize("media_type", CASES)
@FEW
@given(content=CONTENTS, max_tokens=st.sampled_from([48, 256]))
def test_chunks_are_slices_of_the_text(media_type, content, max_tokens):
    case = CASES[media_type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image, "recognizer", lambda: ScriptedRecognizer(*content.lines))
        found = results(case.name, case.file(content))
    assert found[0][0] == media_type
    for _type, result in found:
        require_verbatim(result.blocks, HashingEmbedder(max_tokens=max_tokens))
    assert "".join(result.text for _type, result in found).strip()
