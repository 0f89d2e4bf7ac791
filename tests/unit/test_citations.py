import pytest

from rag.generation.citations import Attributor
from tests.unit.builders import make_passage

LORA = make_passage(
    "LoRA freezes the pretrained weights. For GPT-3 175B it reduces the number of trainable parameters by 10,000 "
    "times and the GPU memory requirement by 3 times.",
    id=1,
    title="Adapters",
)
ENERGY = make_passage(
    "Training GPT-3 consumed 1,287 MWh and caused 552 metric tons of CO2 equivalent.", id=2, title="Energy"
)
CATS = make_passage("Cats sleep for most of the day and hunt at dusk.", id=3, title="Cats")
PASSAGES = [CATS, ENERGY, LORA]


def attribute(sentence: str, question: str = "What does LoRA do for GPT-3?") -> list:
    return Attributor(question, PASSAGES).attribute(sentence)


def test_the_supporting_passage_is_cited_with_its_words() -> None:
    (found,) = attribute("LoRA cuts trainable parameters by 10,000 times and GPU memory by 3 times.")
    assert found.position == 2
    assert "10,000" in found.quote
    assert PASSAGES[2].chunk.text[found.quote_span.start : found.quote_span.end] == found.quote


@pytest.mark.parametrize(
    "sentence",
    [
        "LoRA reduces the number of trainable parameters by 5,000 times.",  # a figure no passage holds
        "LoRA was invented in a garage in Toronto by three students.",  # words no passage holds
        "Training GPT-3 consumed 552 MWh in 2019.",
        "Yes.",  # nothing to check
        "",
    ],
)
def test_what_no_passage_says_is_not_supported(sentence: str) -> None:
    assert attribute(sentence) == []


def test_words_of_the_question_do_not_support_an_answer() -> None:
    question = "How much energy did training GPT-3 consume?"
    assert attribute("Training GPT-3 consumed a volcano.", question) == []


def test_a_sentence_drawn_from_two_passages_cites_both() -> None:
    found = attribute("Training consumed 1,287 MWh, while LoRA needs 10,000 times fewer trainable parameters.")
    assert sorted(a.position for a in found) == [1, 2]
    assert all(0 < a.support < 1 for a in found)


def test_a_quote_may_join_two_neighbouring_sentences() -> None:
    passage = make_passage("The river is long. It measures 300 km. It is cold. Fish live in it.")
    (found,) = Attributor("How long is the river?", [passage]).attribute("The cold river measures 300 km.")
    assert found.quote == "It measures 300 km. It is cold."


def test_no_passages_support_nothing() -> None:
    assert Attributor("Why?", []).attribute("Because of gravity.") == []
