import pytest

from rag.generation.sentences import SentenceBuffer, split_sentences

TEXT = "Dr. Lee measured 3.5 gigabytes. Was it e.g. fast? Yes!\n\n- first item\n- second item. And more.\n"


def test_pieces_join_to_the_text() -> None:
    assert "".join(split_sentences(TEXT)) == TEXT


def test_abbreviations_and_decimals_do_not_end_sentences() -> None:
    assert [p.strip() for p in split_sentences(TEXT)] == [
        "Dr. Lee measured 3.5 gigabytes.",
        "Was it e.g. fast?",
        "Yes!",
        "- first item",
        "- second item.",
        "And more.",
    ]


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_streaming_gives_the_same_sentences_as_the_whole(step: int) -> None:
    text = "Paris is the capital. It has 2.1 million people. It lies on the Seine"
    buffer = SentenceBuffer()
    found = [s for i in range(0, len(text), step) for s in buffer.add(text[i : i + step])]
    found.append(buffer.rest())
    assert [s.strip() for s in found] == [s.strip() for s in split_sentences(text)]
    assert "".join(found) == text
    assert buffer.rest() == ""


@pytest.mark.parametrize("text", ["\n B\xa0.B?", "A\u2028B. C", "One.\u3000Two.\ufeff Three", "\x0b.\x0c"])
def test_unusual_white_space_neither_breaks_nor_loses_text(text: str) -> None:
    assert "".join(split_sentences(text)) == text
