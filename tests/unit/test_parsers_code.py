import pytest

from indexer.chunking import chunk_blocks
from indexer.formats import CODE
from indexer.parsers.registry import LANGUAGES
from rag.embedding.fake import HashingEmbedder
from tests.unit.parsing import parsed

BODY = "    " + "x = compute(1, 2, 3)\n    " * 25 + "return x\n"

PYTHON = f'''"""What it is."""

import os

LIMIT = 3


@cached
def area(a):
{BODY}

# About rivers.
class River:
    """It runs."""

    def speed(self):
{BODY.replace("    ", "        ")}
    def depth(self):
{BODY.replace("    ", "        ")}

if LIMIT:
    print("end")
'''


def headings(result):
    return [(block.level, block.heading) for block in result.blocks if block.kind == "heading"]


def test_python_is_split_at_functions_and_classes():
    result = parsed("text/x-python", PYTHON)
    assert result.text == PYTHON
    assert headings(result) == [(1, "area"), (1, "River"), (2, "speed"), (2, "depth"), (1, "")]
    code = result.of("code")
    assert code[1].startswith("@cached\ndef area")
    assert code[2].startswith("# About rivers.\nclass River")


def test_chunks_of_code_carry_the_names_around_them():
    embedder = HashingEmbedder()
    chunks = list(
        chunk_blocks(
            parsed("text/x-python", PYTHON).blocks, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens
        )
    )
    assert all(PYTHON[chunk.span.start : chunk.span.end] == chunk.text for chunk in chunks)
    paths = {chunk.heading_path for chunk in chunks}
    assert paths == {(), ("area",), ("River",), ("River", "speed"), ("River", "depth")}
    assert chunks[-1].heading_path == ()


def test_small_neighbours_share_a_section():
    source = "".join(f"def get_{n}():\n    return {n}\n\n\n" for n in range(3))
    assert headings(parsed("text/x-python", source)) == [(1, "get_0, get_1, get_2")]


LINES = "a = a + 1;\n" * 45
BRACES = f"{{\n{LINES}{LINES}}}\n"
SAMPLES = {
    "javascript": (
        f"export class A {{\n go() {BRACES} stop() {BRACES}}}\nfunction f() {BRACES}",
        ["A", "go", "stop", "f"],
    ),
    "typescript": (f"interface I {{ a: number }}\nexport function f(a: number): void {BRACES}", ["I", "f"]),
    "tsx": (f"function View() {{\n{LINES} return <b>x</b>;\n}}\n", ["View"]),
    "java": (f"package p;\nclass A {{\n int f() {BRACES} int g() {BRACES}}}\n", ["A", "f", "g"]),
    "go": (f"package p\n\ntype T struct{{}}\n\nfunc (t T) Run() {BRACES}", ["T", "Run"]),
    "rust": (f"struct S;\nimpl S {{\n fn f() {BRACES} fn g() {BRACES}}}\n", ["S", "f", "g"]),
    "c": (f"#include <a.h>\nstatic int *f(int a) {BRACES}int g(void) {BRACES}", ["f", "g"]),
    "cpp": (f"namespace n {{\nclass A {{\n int f() {BRACES} int g() {BRACES}}};\n}}\n", ["n", "A", "f", "g"]),
    "csharp": (f"namespace N {{\nclass A {{\n int F() {BRACES} int G() {BRACES}}}\n}}\n", ["N", "A", "F", "G"]),
    "ruby": (f"class A\n def f\n{LINES * 2} end\n def g\n{LINES * 2} end\nend\n", ["A", "f", "g"]),
    "php": (f"<?php\nclass A {{\n function f() {BRACES} function g() {BRACES}}}\n", ["A", "f", "g"]),
    "shell": (f"f() {BRACES}g() {BRACES}", ["f", "g"]),
}


@pytest.mark.parametrize("language", sorted(SAMPLES))
def test_every_language_names_its_definitions(language):
    source, names = SAMPLES[language]
    result = parsed(f"text/x-{language}", source)
    assert result.text == source
    assert [name for _level, name in headings(result) if name] == names


def test_every_language_has_a_sample():
    assert set(SAMPLES) | {"python"} == set(LANGUAGES)


def test_code_of_an_unknown_language_is_code_as_it_stands():
    result = parsed(CODE, "fun a() = 1\n\nfun b() = 2\n")
    assert result.kinds() == [("code", "fun a() = 1\n\nfun b() = 2")]


def test_code_that_is_broken_is_still_whole():
    source = "def f(:\n  class \n\n\x00 )))\n" * 50 + "def g():\n    return 1\n"
    assert parsed("text/x-python", source).text == source.replace("\x00", "")
