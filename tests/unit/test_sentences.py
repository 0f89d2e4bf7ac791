import pytest

from rag.generation.sentences import SentenceBuffer, split_sentences, without_list_mark

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
@pytest.mark.parametrize(
    "text",
    [
        "Paris is the capital. It has 2.1 million people. It lies on the Seine",
        "Two facts:\n1. Cats sleep 14 hours.\n2. Dogs sleep less. They bark.\n",
    ],
)
def test_streaming_gives_the_same_sentences_as_the_whole(text: str, step: int) -> None:
    buffer = SentenceBuffer()
    found = [s for i in range(0, len(text), step) for s in buffer.add(text[i : i + step])]
    found.append(buffer.rest())
    assert [s.strip() for s in found] == [s.strip() for s in split_sentences(text)]
    assert "".join(found) == text
    assert buffer.rest() == ""


@pytest.mark.parametrize("text", ["\n B\xa0.B?", "A\u2028B. C", "One.\u3000Two.\ufeff Three", "\x0b.\x0c"])
def test_unusual_white_space_neither_breaks_nor_loses_text(text: str) -> None:
    assert "".join(split_sentences(text)) == text


def test_the_mark_of_a_list_item_is_part_of_its_sentence() -> None:
    text = "Two facts:\n1. Cats sleep 14 hours.\n2) Dogs bark. Often.\n- More"
    pieces = [piece.strip() for piece in split_sentences(text)]
    assert pieces == ["Two facts:", "1. Cats sleep 14 hours.", "2) Dogs bark.", "Often.", "- More"]
    assert [without_list_mark(piece) for piece in pieces[1:3]] == ["Cats sleep 14 hours.", "Dogs bark."]
    assert without_list_mark("12 cats sleep.") == "12 cats sleep."
