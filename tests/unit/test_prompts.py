import pytest

from rag.generation.prompts import REFUSAL_SENTENCE, answer_prompt, is_refusal, passage_text
from rag.model_types import SegmentKind
from tests.unit.builders import make_passage


@pytest.mark.parametrize(
    "text",
    [
        REFUSAL_SENTENCE,
        f' "{REFUSAL_SENTENCE}"',
        "The passage does not say.",
        "The provided passages do not contain the answer.",
        "the passages don't mention it",
    ],
)
def test_refusals_in_their_usual_wordings(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text", ["The passages of the canal do not freeze.", "It does not say.", "The document does say so.", ""]
)
def test_what_is_not_a_refusal(text: str) -> None:
    assert not is_refusal(text)


def test_a_passage_reads_the_same_in_every_request() -> None:
    passage = make_passage("Body.", title="Guide", heading=("Guide", "Setup"))
    assert passage_text(passage) == "From Guide > Setup:\nBody.\n\n"
    texts = [
        {s.text for s in answer_prompt(question, [passage]).segments if s.kind == SegmentKind.PASSAGE}
        for question in ("Why?", "How?")
    ]
    assert texts[0] == texts[1] == {passage_text(passage)}
