"""Sampling through llama.cpp with a real vocabulary. Logits are made up, so no context is needed."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rag.errors import GenerationFailed, InvalidRequest, UnsupportedSampling
from rag.inference.model import Model
from rag.inference.sampling.grammar import Grammar, label_grammar, schema_grammar
from rag.inference.sampling.sampler import Sampler, check
from rag.inference.tokens import Vocabulary
from rag.model_types import SamplingParams, TokenLogprob

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

TINY = 1e-42  # below what single precision divides by


@pytest.fixture(scope="module")
def vocabulary(smollm_path: Path) -> Iterator[Vocabulary]:
    model = Model.load(smollm_path, gpu_layers=0)
    vocabulary = Vocabulary(model)
    yield vocabulary
    vocabulary.close("The tests are over.")
    model.free()


def random_logits(vocabulary: Vocabulary, seed: int, scale: float = 3.0) -> NDArray[np.float32]:
    logits = (np.random.default_rng(seed).standard_normal(vocabulary.size) * scale).astype(np.float32)
    logits.setflags(write=False)
    return logits


def peaked(vocabulary: Vocabulary, weights: dict[int, float]) -> NDArray[np.float32]:
    """Logits whose softmax is ``weights``, all other tokens impossible."""
    logits = np.full(vocabulary.size, -np.inf, dtype=np.float32)
    for token, weight in weights.items():
        logits[token] = math.log(weight)
    return logits


def choices(params: SamplingParams, vocabulary: Vocabulary, rows: list[NDArray[np.float32]]) -> list[int]:
    check(params, vocabulary)
    sampler = Sampler(params, vocabulary)
    try:
        return [sampler.choose(row) for row in rows]
    finally:
        sampler.free()


def generate(params: SamplingParams, vocabulary: Vocabulary, seed: int, *, limit: int = 600) -> str | None:
    """A text from random logits that lean more and more to tokens that close things; None if it has not ended."""
    rng = np.random.default_rng(seed)
    closing = [int(vocabulary.encode_text(text)[0]) for text in ('"', "}", "]", '"}', "true")]
    check(params, vocabulary)
    sampler = Sampler(params, vocabulary)
    text = b""
    try:
        for step in range(limit):
            logits = (rng.standard_normal(vocabulary.size) * 3).astype(np.float32)
            logits[[*closing, vocabulary.eos]] += 0.25 * step
            token = sampler.choose(logits)
            if vocabulary.ends_generation(token):
                return text.decode("utf-8", errors="replace")
            text += vocabulary.piece(token)
    finally:
        sampler.free()
    return None


def test_one_candidate_is_the_greedy_choice(vocabulary: Vocabulary) -> None:
    rows = [random_logits(vocabulary, seed) for seed in range(20)]
    greedy = choices(SamplingParams(), vocabulary, rows)
    assert greedy == [int(np.argmax(row)) for row in rows]
    assert choices(SamplingParams(temperature=1.7, top_k=1, seed=3), vocabulary, rows) == greedy
    assert choices(SamplingParams(temperature=1.7, top_p=1e-9, seed=3), vocabulary, rows) == greedy
    assert choices(SamplingParams(temperature=1.7, min_p=1.0, seed=3), vocabulary, rows) == greedy
    for temperature in (1e-6, 1e-38, TINY):
        assert choices(SamplingParams(temperature=temperature, seed=3), vocabulary, rows) == greedy


def test_equal_logits_give_the_lowest_id(vocabulary: Vocabulary) -> None:
    row = np.zeros(vocabulary.size, dtype=np.float32)
    row[[9000, 700, 40_000]] = 2.0
    for params in (
        SamplingParams(),
        SamplingParams(presence_penalty=0.1),
        SamplingParams(logit_bias=((5, -1.0),)),
        SamplingParams(temperature=1.0, top_k=1),
    ):
        assert choices(params, vocabulary, [row]) == [700]
    # Forbidding 700 through the bias leaves 9000 the lowest.
    assert choices(SamplingParams(logit_bias=((700, -math.inf),)), vocabulary, [row]) == [9000]


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others(vocabulary: Vocabulary) -> None:
    rows = [random_logits(vocabulary, seed) for seed in range(20)]

    def drawn(seed: int) -> list[int]:
        return choices(SamplingParams(temperature=1.0, seed=seed), vocabulary, rows)

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    # llama.cpp takes this value for "a random one".
    assert drawn(0xFFFFFFFF) == drawn(0xFFFFFFFF)
    assert drawn(-1) == drawn(-1)
    assert drawn(2**64 + 5) == drawn(2**64 + 5)


def test_draws_follow_the_probabilities_at_the_temperature(vocabulary: Vocabulary) -> None:
    row = peaked(vocabulary, {10: 0.1, 20: 0.6, 30: 0.3})
    for temperature in (1.0, 0.5, 2.0):
        expected = np.array([0.1, 0.6, 0.3]) ** (1 / temperature)
        expected /= expected.sum()
        drawn = choices(SamplingParams(temperature=temperature, seed=1), vocabulary, [row] * 1500)
        seen = np.array([drawn.count(token) for token in (10, 20, 30)]) / len(drawn)
        assert np.abs(seen - expected).max() < 0.05


def nucleus(row: NDArray[np.float32], params: SamplingParams) -> set[int]:
    """What may be drawn, by the definitions: top-k, then top-p, then min-p, each renormalised."""
    weights = np.exp(row.astype(np.float64) - row.max())
    ids = np.argsort(-weights, kind="stable")[: params.top_k or None]
    share = weights[ids] / weights[ids].sum()
    ids = ids[: int(np.searchsorted(np.cumsum(share), params.top_p)) + 1]
    return set(ids[weights[ids] >= params.min_p * weights[ids[0]]].tolist())


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(top_k=7),
        SamplingParams(top_p=0.6),
        SamplingParams(min_p=0.3),
        SamplingParams(top_k=12, top_p=0.7),
        SamplingParams(top_k=20, top_p=0.9, min_p=0.25),
    ],
)
def test_what_is_drawn_is_the_nucleus(vocabulary: Vocabulary, params: SamplingParams) -> None:
    rng = np.random.default_rng(5)
    row = (rng.standard_normal(vocabulary.size) * 0.5 - 12).astype(np.float32)
    row[rng.choice(vocabulary.size, 25, replace=False)] = rng.uniform(0, 2, 25).astype(np.float32)
    # A high temperature comes last and makes all that is left about equally likely.
    params = SamplingParams(
        temperature=50.0, seed=2, top_k=params.top_k, top_p=params.top_p, min_p=params.min_p, max_tokens=600
    )
    assert set(choices(params, vocabulary, [row] * 600)) == nucleus(row, params)


def test_penalties_act_on_the_tokens_generated_so_far(vocabulary: Vocabulary) -> None:
    row = np.zeros(vocabulary.size, dtype=np.float32)
    row[10], row[20], row[30] = 3.0, 2.5, 2.4
    assert choices(SamplingParams(), vocabulary, [row] * 3) == [10, 10, 10]
    assert choices(SamplingParams(presence_penalty=0.55), vocabulary, [row] * 4) == [10, 20, 10, 10]
    # 3.0, 2.5, then 2.45 against 2.4 and 1.95, then 1.9 against 2.4.
    assert choices(SamplingParams(frequency_penalty=0.55), vocabulary, [row] * 4) == [10, 20, 10, 30]
    # Halved once, however often: 1.5 and 1.25 against 2.4.
    assert choices(SamplingParams(repeat_penalty=2.0), vocabulary, [row] * 4) == [10, 20, 30, 10]


def test_penalties_reach_back_over_all_tokens(vocabulary: Vocabulary) -> None:
    row = peaked(vocabulary, dict.fromkeys(range(100, 300), 1.0))
    assert choices(SamplingParams(presence_penalty=1.0, max_tokens=200), vocabulary, [row] * 200) == list(
        range(100, 300)
    )


def test_a_bias_is_added_and_can_forbid(vocabulary: Vocabulary) -> None:
    row = random_logits(vocabulary, 1)
    best = int(np.argmax(row))
    assert choices(SamplingParams(logit_bias=((77, 100.0),)), vocabulary, [row]) == [77]
    second = int(np.argsort(-row, kind="stable")[1])
    assert choices(SamplingParams(logit_bias=((best, -math.inf),)), vocabulary, [row]) == [second]
    forbidden = SamplingParams(temperature=1.0, logit_bias=((10, -math.inf), (11, 1e6)), seed=4)
    assert choices(forbidden, vocabulary, [row] * 20) == [11] * 20


def test_a_bias_that_leaves_no_token_is_an_error(vocabulary: Vocabulary) -> None:
    row = peaked(vocabulary, {10: 1.0})
    for temperature in (0.0, 1.0):
        with pytest.raises(GenerationFailed, match="No token is left"):
            choices(SamplingParams(temperature=temperature, logit_bias=((10, -math.inf),)), vocabulary, [row])


def test_logits_that_are_no_numbers_are_an_error_for_every_kind_of_choice(vocabulary: Vocabulary) -> None:
    row = random_logits(vocabulary, 1).copy()
    row[5] = np.nan
    for params in (SamplingParams(temperature=1.0), SamplingParams(labels=("1",)), SamplingParams(logprobs=1)):
        with pytest.raises(GenerationFailed, match="not a number"):
            choices(params, vocabulary, [row])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_log_probabilities_are_the_models_own(vocabulary: Vocabulary, temperature: float) -> None:
    row = random_logits(vocabulary, 3)
    expected = row.astype(np.float64) - row.max()
    expected -= np.log(np.exp(expected).sum())
    sampler = Sampler(
        SamplingParams(temperature=temperature, logprobs=5, repeat_penalty=3.0, logit_bias=((9, 3.0),)), vocabulary
    )
    token = sampler.choose(row)
    given = sampler.last_logprob
    sampler.free()
    assert isinstance(given, TokenLogprob)
    assert (given.token, given.text) == (token, vocabulary.piece(token).decode("utf-8", "replace"))
    assert given.logprob == pytest.approx(expected[token], abs=1e-12)
    best = np.argsort(-row, kind="stable")[:5].tolist()
    assert [text for text, _ in given.alternatives] == [vocabulary.piece(i).decode("utf-8", "replace") for i in best]
    assert [logprob for _, logprob in given.alternatives] == pytest.approx(expected[best].tolist(), abs=1e-12)


def test_log_probabilities_without_alternatives_and_of_equals(vocabulary: Vocabulary) -> None:
    row = np.zeros(vocabulary.size, dtype=np.float32)
    sampler = Sampler(SamplingParams(logprobs=0), vocabulary)
    sampler.choose(row)
    assert sampler.last_logprob is not None
    assert sampler.last_logprob.alternatives == ()
    assert sampler.last_logprob.logprob == pytest.approx(-math.log(vocabulary.size))
    sampler = Sampler(SamplingParams(logprobs=2), vocabulary)
    sampler.choose(peaked(vocabulary, {70: 0.5, 60: 0.5}))
    assert sampler.last_logprob is not None
    # Tokens that are impossible are no alternatives; equals come in the order of their ids.
    assert [text for text, _ in sampler.last_logprob.alternatives] == [vocabulary.piece(i).decode() for i in (60, 70)]


SCHEMAS: list[Any] = [
    {
        "type": "object",
        "properties": {
            "answer": {"type": "string", "maxLength": 20},
            "score": {"type": "integer", "minimum": 1, "maximum": 5},
            "sure": {"type": "boolean"},
        },
        "required": ["answer", "score"],
        "additionalProperties": False,
    },
    {"enum": ['a"b', "c\\d", "é😀", "line\nbreak", "\u0001", 1.5, None, {"k": ["v"]}]},
    # Names that the converter would take for its own rules, and ones that need escaping.
    {
        "properties": {
            'qu"ote\\': {"enum": ["x"]},
            "decimal_part": {"enum": ["y"]},
            "char": {"type": "array", "items": {"type": "null"}, "maxItems": 2},
            "root": {"type": "number"},
        },
        "required": ['qu"ote\\', "decimal_part", "char", "root"],
    },
    # The same name for a property and for a definition of another type.
    {
        "$defs": {"item": {"type": "boolean"}, "string": {"type": "integer"}},
        "properties": {"item": {"enum": ["text"]}, "a": {"$ref": "#/$defs/item"}, "b": {"$ref": "#/$defs/string"}},
        "required": ["item", "a", "b"],
    },
    {"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string", "format": "date"}]},
    {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 1, "maxItems": 2},
    {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 4},
    {"type": "object", "additionalProperties": {"type": "boolean"}},
    {"type": "object", "additionalProperties": False},
    {"type": ["string", "null"], "minLength": 2, "maxLength": 4},
    {"anyOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"b": {}}}, {"type": "null"}]},
    {"type": "string"},
    {},
    True,
]


def fits(value: Any, schema: Any, root: Any) -> bool:  # noqa: C901, PLR0911 - a validator is a list of cases
    """Whether a value fits, for the keywords used above."""
    if schema is True or schema == {}:
        return True
    if schema is False:
        return False
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].split("/")[1:]:
            target = target[part]
        return fits(value, target, root)
    if "anyOf" in schema:
        return any(fits(value, alternative, root) for alternative in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    python = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
        "null": type(None),
    }  # fmt: skip
    types = schema.get("type", "object")
    types = types if isinstance(types, list) else [types]
    if not any(isinstance(value, python[t]) and (t == "boolean" or not isinstance(value, bool)) for t in types):
        return False
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        inside = all(fits(v, properties.get(k, more), root) for k, v in value.items())
        return inside and set(schema.get("required", [])) <= set(value)
    if isinstance(value, list):
        if "prefixItems" in schema:
            pairs = zip(value, schema["prefixItems"], strict=True)
            return all(fits(v, s, root) for v, s in pairs)
        long_enough = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf)
        return long_enough and all(fits(v, schema.get("items", True), root) for v in value)
    if isinstance(value, str):
        form = {"date": r"\d{4}-\d\d-\d\d", "uuid": r"[0-9a-fA-F-]{36}", None: "(?s).*"}[schema.get("format")]
        long_enough = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf)
        return long_enough and re.fullmatch(form, value) is not None
    return (
        isinstance(value, bool)
        or value is None
        or schema.get("minimum", value) <= value <= schema.get("maximum", value)
    )


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:40])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_random_logits_give_json_that_fits_the_schema(vocabulary: Vocabulary, schema: Any, temperature: float) -> None:
    params = SamplingParams(temperature=temperature, json_schema=json.dumps(schema), seed=11)
    for seed in range(4):
        text = generate(params, vocabulary, seed)
        assert text is not None
        value = json.loads(text)
        assert fits(value, schema, schema), text
        assert generate(params, vocabulary, seed) == text


def test_a_grammar_goes_with_every_other_parameter(vocabulary: Vocabulary) -> None:
    everything = SamplingParams(
        temperature=0.9, top_k=50, top_p=0.95, min_p=0.01, repeat_penalty=1.2, presence_penalty=0.3,
        frequency_penalty=0.1, logit_bias=((vocabulary.eos, 5.0),), logprobs=2, deterministic=True,
        json_schema=json.dumps(SCHEMAS[0]),
    )  # fmt: skip
    for seed in range(3):
        text = generate(everything, vocabulary, seed)
        assert text is not None
        assert fits(json.loads(text), SCHEMAS[0], SCHEMAS[0])


def test_a_greedy_choice_under_a_grammar_is_the_best_that_fits(vocabulary: Vocabulary) -> None:
    gbnf = schema_grammar('{"enum": ["yes", "no"]}')
    for seed in range(5):
        row = random_logits(vocabulary, seed)
        grammar = Grammar(gbnf, vocabulary)
        allowed = [token for token in range(vocabulary.size) if grammar.allows(token)]
        grammar.free()
        assert {vocabulary.piece(token) for token in allowed} == {b'"'}
        params = SamplingParams(labels=("yes", "no"))
        free = choices(params, vocabulary, [row])[0]
        pieces = [vocabulary.piece(token) for token in np.argsort(-row, kind="stable").tolist()]
        fitting = next(p for p in pieces if p and (b"[" not in p or re.fullmatch(rb"[^\[]*\[(y|ye|yes|n|no)?", p)))
        assert vocabulary.piece(free) == fitting


def test_the_likeliest_fits_even_where_the_grammar_rules_out_all_others(vocabulary: Vocabulary) -> None:
    row = np.zeros(vocabulary.size, dtype=np.float32)
    params = SamplingParams(json_schema='{"const": null}')
    sampler = Sampler(params, vocabulary)
    tokens = []
    while not tokens or not vocabulary.ends_generation(tokens[-1]):
        tokens.append(sampler.choose(row))
    sampler.free()
    assert json.loads(b"".join(vocabulary.piece(t) for t in tokens)) is None
    # Before the value is complete the text cannot end, afterwards nothing else can follow.
    assert not any(vocabulary.ends_generation(t) for t in tokens[:-1])


def test_labels_are_the_only_citations(vocabulary: Vocabulary) -> None:
    labels = ("S1", "S12", 'odd "\\^é] '.replace("]", ""), "7")
    openings = [int(vocabulary.encode_text(text)[0]) for text in ("[", " [", "]", "S", "1", "2", "7")]
    cited = set()
    for temperature in (0.0, 1.0):
        for seed in range(4):
            rng = np.random.default_rng(seed)
            sampler = Sampler(SamplingParams(temperature=temperature, labels=labels, seed=seed), vocabulary)
            text = b""
            for _ in range(150):
                row = (rng.standard_normal(vocabulary.size) * 2).astype(np.float32)
                row[rng.choice(openings, 3)] += 9
                row[vocabulary.eos] = -50
                text += vocabulary.piece(sampler.choose(row))
            sampler.free()
            shown = text.decode("utf-8", "replace")
            found = re.findall(r"\[([^\]\[]*)\]", shown)
            cited.update(found)
            assert set(found) <= set(labels)
            # What is not closed at the end is the beginning of a label.
            rest = shown.rpartition("[")[2] if shown.rfind("[") > shown.rfind("]") else ""
            assert any(label.startswith(rest.rstrip("�")) for label in labels)
    assert len(cited) >= 3


def test_text_with_labels_ends_anywhere_but_inside_one(vocabulary: Vocabulary) -> None:
    grammar = Grammar(label_grammar(("S1",)), vocabulary)
    assert grammar.allows(vocabulary.eos)
    for token in vocabulary.encode_text("Yes [S").tolist():
        assert grammar.allows(token)
        grammar.accept(token)
    assert not grammar.allows(vocabulary.eos)
    for token in vocabulary.encode_text("1]").tolist():
        grammar.accept(token)
    assert grammar.allows(vocabulary.eos)
    grammar.free()
    grammar.free()


def test_check_builds_the_grammar(vocabulary: Vocabulary) -> None:
    check(SamplingParams(json_schema=json.dumps(SCHEMAS[0])), vocabulary)
    check(SamplingParams(labels=("S1", "S2")), vocabulary)
    with pytest.raises(UnsupportedSampling, match="`pattern`"):
        check(SamplingParams(json_schema='{"type": "string", "pattern": "^a$"}'), vocabulary)
    with pytest.raises(InvalidRequest, match="not JSON"):
        check(SamplingParams(json_schema="{"), vocabulary)
    with pytest.raises(InvalidRequest, match=f"0 to {vocabulary.size - 1}"):
        check(SamplingParams(logit_bias=((vocabulary.size, 1.0),)), vocabulary)


def test_a_grammar_that_llama_cpp_does_not_take_is_refused_with_its_reason(
    vocabulary: Vocabulary, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidRequest, match="left recursion"):
        Grammar('root ::= root "a" | "b"', vocabulary)
    assert capfd.readouterr().err == ""


def test_the_largest_schemas_neither_fail_nor_print(vocabulary: Vocabulary, capfd: pytest.CaptureFixture[str]) -> None:
    string = {"type": "string", "minLength": 500, "maxLength": 1000}
    array = {"type": "array", "items": {"anyOf": [{"type": "null"}, {"type": "object"}]}, "maxItems": 1000}
    wide = {"properties": {f"p{i}": {"type": "null"} for i in range(256)}}
    deep: dict[str, Any] = {"type": "null"}
    for _ in range(60):
        deep = {"type": "array", "items": {"anyOf": [deep, {"type": "string"}]}, "minItems": 1, "maxItems": 3}
    for schema in (string, array, wide, deep, {"type": "array", "prefixItems": [string, array, wide]}):
        check(SamplingParams(json_schema=json.dumps(schema)), vocabulary)
    out, err = capfd.readouterr()
    assert "pars" not in out + err
