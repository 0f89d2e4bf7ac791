import pytest

from indexer.chunking.chunker import chunk_blocks
from indexer.formats import CODE
from indexer.parsers.registry import LANGUAGES
from rag.embedding.fake import HashingEmbedder
from tests.unit.parsing import parsed

EMBEDDER = HashingEmbedder()
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
    chunks = chunked("text/x-python", PYTHON)
    assert all(PYTHON[chunk.span.start : chunk.span.end] == chunk.text for chunk in chunks)
    paths = {chunk.heading_path for chunk in chunks}
    assert paths == {(), ("area",), ("River",), ("River", "speed"), ("River", "depth")}
    assert chunks[-1].heading_path == ()


def chunked(media_type, source, max_tokens=EMBEDDER.max_tokens):
    return list(
        chunk_blocks(parsed(media_type, source).blocks, count_tokens=EMBEDDER.count_tokens, max_tokens=max_tokens)
    )


def test_small_neighbours_share_a_section_and_a_chunk_of_a_few_names_them():
    source = "".join(f"def get_{n}():\n    return {n}\n\n\n" for n in range(3))
    assert headings(parsed("text/x-python", source)) == []
    assert [chunk.heading_path for chunk in chunked("text/x-python", source)] == [("get_0, get_1, get_2",)]
    alone = f"import os\n\n\ndef main():\n    os.abort()\n\n\ndef area(a):\n{BODY}"
    assert headings(parsed("text/x-python", alone)) == [(1, "main"), (1, "area")]


WORK = "  const x = a + b * 3;\n  console.log(x, a, b);\n  return x;\n"
SMALL = "        x = compute(1, 2, 3)\n" * 5
MANY = {
    "text/x-python": "class Vault:\n    size = 1\n\n\ndef alone():\n    return 1\n\n\n"
    + "".join(f"def f{n}(a):\n{SMALL}\n\n" for n in range(11)),
    "text/x-typescript": "export function greet(a: string) { return a; }\n\nexport class Store { a = 1; }\n\n"
    + "".join(f"export function work{n}(a: number, b: number) {{\n{WORK * 2}}}\n\n" for n in range(8)),
}


@pytest.mark.parametrize("media_type", sorted(MANY))
def test_a_chunk_names_only_what_it_holds(media_type):
    chunks = chunked(media_type, MANY[media_type])
    assert len(chunks) > 2
    assert any(chunk.heading_path for chunk in chunks)
    for chunk in chunks:
        names = ", ".join(chunk.heading_path).split(", ")
        assert len(names) <= 3
        assert all(name in chunk.text for name in names)


def test_small_methods_stand_under_their_class():
    methods = "".join(f"    def step_{n}(self):\n{SMALL}\n" for n in range(9))
    chunks = chunked("text/x-python", f"class Engine:\n    power = 1\n\n{methods}    def stop(self):\n{SMALL * 4}")
    assert {chunk.heading_path[0] for chunk in chunks} == {"Engine"}
    assert chunks[-1].heading_path == ("Engine", "stop")
    assert all(len(chunk.heading_path) == 1 or chunk.heading_path[1].split(", ")[0] in chunk.text for chunk in chunks)


def test_names_give_way_where_they_leave_the_text_no_room():
    source = "".join(f"def {'long_' * 4}{n}():\n    return {n} + a + b + c\n\n\n" for n in range(2))
    assert [chunk.heading_path for chunk in chunked("text/x-python", source)] != [()]
    tight = EMBEDDER.count_tokens([source])[0] + 1
    assert [chunk.heading_path for chunk in chunked("text/x-python", source, tight)] == [()]


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
    "go": (f"package p\n\ntype T struct{{}}\n\nfunc (t *T[K]) Run() {BRACES}", ["T", "T.Run"]),
    "rust": (f"struct S;\nimpl S {{\n fn f() {BRACES} fn g() {BRACES}}}\n", ["S", "f", "g"]),
    "c": (f"#include <a.h>\nstatic int *f(int a) {BRACES}int g(void) {BRACES}", ["f", "g"]),
    "cpp": (f"namespace n {{\nclass A {{\n int f() {BRACES} A &g() {BRACES}}};\n}}\n", ["n", "A", "f", "g"]),
    "csharp": (f"namespace N {{\nclass A {{\n int F() {BRACES} int G() {BRACES}}}\n}}\n", ["N", "A", "F", "G"]),
    "ruby": (f"class A\n def f\n{LINES * 2} end\n def g\n{LINES * 2} end\nend\n", ["A", "f", "g"]),
    "php": (f"<?php\nclass A {{\n function f() {BRACES} function g() {BRACES}}}\n", ["A", "f", "g"]),
    "shell": (f"f() {BRACES}g() {BRACES}", ["f", "g"]),
    "sql": (f"CREATE TABLE a (\n{LINES});\n\nCREATE VIEW s.b AS\n{LINES * 2};\n", ["a", "s.b"]),
    "make": (f"CC := gcc\n\na: b\n{LINES * 2}\nb c:\n{LINES * 2}", ["a", "b c"]),
    "dockerfile": (f"ARG V\nFROM a:1 AS build\n{LINES * 2}\nFROM b:2\n{LINES * 2}", ["build", "b:2"]),
}


@pytest.mark.parametrize("language", sorted(SAMPLES))
def test_every_language_names_its_definitions(language):
    source, names = SAMPLES[language]
    result = parsed(f"text/x-{language}", source)
    assert result.text == source
    assert [name for _level, name in headings(result) if name] == names


@pytest.mark.parametrize("language", ["javascript", "typescript"])
def test_functions_without_a_name_have_the_one_they_are_given(language):
    source = (
        f"// Adds.\nexport const add = (a) => {BRACES}const LIMIT = 3;\n"
        f"/* Calls. */\nexports.call = async function () {BRACES}Vault.prototype.open = function () {BRACES}"
    )
    result = parsed(f"text/x-{language}", source)
    assert result.text == source
    assert headings(result) == [(1, "add"), (1, ""), (1, "exports.call"), (1, "Vault.prototype.open")]
    assert [code.split("\n")[0] for code in result.of("code") if "{" in code] == [
        "// Adds.", "/* Calls. */", "Vault.prototype.open = function () {",
    ]  # fmt: skip


def test_every_language_has_a_sample():
    assert set(SAMPLES) | {"python"} == set(LANGUAGES)


def test_code_of_an_unknown_language_is_code_as_it_stands():
    result = parsed(CODE, "fun a() = 1\n\nfun b() = 2\n")
    assert result.kinds() == [("code", "fun a() = 1\n\nfun b() = 2")]


def test_code_that_is_broken_is_still_whole():
    source = "def f(:\n  class \n\n\x00 )))\n" * 50 + "def g():\n    return 1\n"
    assert parsed("text/x-python", source).text == source.replace("\x00", "")
