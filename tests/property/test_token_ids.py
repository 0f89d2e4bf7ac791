"""A text's ids by its words are those that the tokenizer gives the whole of it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from rag.embedding import token_ids
from rag.embedding.token_ids import TokenIds

_PARTS = (
    *"abzAZ09 \t\n\r\f\v.,-_'()[]<>$^`~|",
    *"\x00\x01\x0e\x1c\x1f\x7f\x80\x85\xa0\xad",  # control characters and white space of other kinds
    *"éÉßİıſΣσς\u0300\u0345\u00c5\u212b",  # letters that change, and marks
    *"—’“…·€→中文字한あ\u3000\u2028\u200b\u200d\ufeff\ufffd🙂\U0001f468\u200d\U0001f469",
    "the", "Rivers", "carry", "water", "unaffable", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "[cls]", "x" * 101,
)  # fmt: skip
_texts = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(_PARTS), max_size=40).map("".join))


@pytest.fixture(scope="module")
def tokenizer(embedder_path):
    tokenizer = Tokenizer.from_file(str(embedder_path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@pytest.fixture(scope="module")
def ids(tokenizer):
    return TokenIds(tokenizer)


@settings(max_examples=1500, deadline=None)
@given(texts=st.lists(_texts, max_size=4))
def test_they_are_those_of_the_tokenizer(tokenizer, ids, texts):
    assert ids.of(texts) == [tokenizer.encode(text).ids for text in texts]


def test_words_are_forgotten_and_learned_again(tokenizer, monkeypatch):
    monkeypatch.setattr(token_ids, "_MOST_WORDS", 40)
    ids, chance = TokenIds(tokenizer), random.Random(5)  # noqa: S311
    words = [f"word{number}x" for number in range(100)]
    for _ in range(200):
        text = " ".join(chance.choices(words, k=chance.randint(1, 60)))
        assert ids.of([text]) == [tokenizer.encode(text).ids]


def test_words_come_from_memory(tokenizer):
    counting = _Counting(tokenizer)
    ids = TokenIds(counting)
    text = "Rivers carry water, and water carries rivers."
    words = {"Rivers", "carry", "water", ",", "and", "carries", "rivers", "."}
    assert ids.of([text, f"{text} {text}"]) == [tokenizer.encode(text).ids, tokenizer.encode(f"{text} {text}").ids]
    assert counting.tokenized == len(words)


def test_texts_come_from_memory(tokenizer, monkeypatch):
    """Of tokenizers of any kind, for as long as they are among the last."""
    monkeypatch.setattr(token_ids, "_MOST_CHARS", 40)
    monkeypatch.setattr(token_ids, "_around", lambda _: None)
    counting = _Counting(tokenizer)
    ids = TokenIds(counting)
    for text, tokenized in [
        ("Rivers carry water.", 1),
        ("Rivers carry water.", 1),
        ("", 2),
        ("Rain fills rivers.", 3),
        ("Wind carries rain.", 4),  # the first three are those before
        ("Rivers carry water.", 4),
        ("Clouds carry water.", 5),
        ("Water carries silt.", 6),
        ("Rivers carry water.", 7),
    ]:
        assert ids.of([text, text]) == [tokenizer.encode(text).ids] * 2
        assert counting.tokenized == tokenized, text


def test_a_text_without_tokens_is_remembered_too(monkeypatch):
    monkeypatch.setattr(token_ids, "_MOST_CHARS", 1)
    ids = TokenIds(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))  # noqa: S106
    assert [ids.of([text]) for text in ("", "a", "a a", "")] == [[[]], [[0]], [[0]], [[]]]
    ids.of(["", "a b c"])
    assert ids.of(["", ""]) == [[], []]


def test_long_texts_are_not_remembered(tokenizer, monkeypatch):
    monkeypatch.setattr(token_ids, "_around", lambda _: None)
    counting = _Counting(tokenizer)
    ids = TokenIds(counting)
    text = "water " * 2000
    assert ids.of([text]) == ids.of([text]) == [tokenizer.encode(text).ids]
    assert counting.tokenized == 2


@pytest.mark.parametrize("change", ["normalizer", "splitter", "token"])
def test_a_tokenizer_of_another_kind_reads_whole_texts(change):
    pieces = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4, "ab": 5}
    other = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))  # noqa: S106
    other.normalizer = normalizers.BertNormalizer()
    other.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    other.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    assert other.encode("a b").ids == [1, 3, 4, 2]
    if change == "normalizer":
        other.normalizer = normalizers.Replace(" ", "")
    elif change == "splitter":
        other.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        other.add_tokens([AddedToken("A B", normalized=True)])  # looked for in what the normalizer makes of the text
    counting = _Counting(other)
    assert TokenIds(counting).of(["a b", "ab"]) == [other.encode("a b").ids, other.encode("ab").ids]
    assert counting.tokenized == 2


class _Counting:
    """A tokenizer, with how many texts it was given; what a text begins and ends with is no text."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self.tokenized = 0

    def encode(self, text, **options):
        self.tokenized += bool(text)
        return self._tokenizer.encode(text, **options)

    def encode_batch_fast(self, texts, **options):
        self.tokenized += len(texts)
        return self._tokenizer.encode_batch_fast(texts, **options)

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)
