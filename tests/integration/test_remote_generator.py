"""The remote generator against a server on loopback: what it sends, and what it makes of every way to answer."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import socket
from contextlib import aclosing, contextmanager

import pytest

from rag.errors import (
    DeadlineExceeded,
    GenerationFailed,
    InvalidRequest,
    InvalidSettings,
    Overloaded,
    QuestionTooLong,
    RemoteUnavailable,
    ShuttingDown,
    UnsupportedSampling,
)
from rag.inference.remote.generator import RemoteGenerator
from rag.inference.remote.requests import chat_messages
from rag.inference.segments import _MARKER, _messages
from rag.model_types import Caller, Prompt, SamplingParams, Segment, SegmentKind
from tests.integration.openai_server import ADAPTER, MODEL, VOCABULARY, Refusal, rendered, serving, words
from tests.unit.inference_prompts import TOWER, make_prompt

PROMPT = make_prompt("When was it built?")
AT_ONCE = {"Retry-After-Ms": "1"}  # so that trying again takes no time
CHAT = "/v1/chat/completions"
STYLES = ("llama-server", "vllm", "plain")


@contextmanager
def connected(server, **settings):
    settings = {"model": None, "api_key": None, "context_tokens": 4096, "timeout_s": 60, "max_retries": 2} | settings
    generator = RemoteGenerator.connect(settings.pop("url", server.url), **settings)
    try:
        yield generator
    finally:
        generator.close()


@pytest.fixture(params=STYLES)
def server(request):
    with serving(style=request.param) as server:
        yield server


@pytest.fixture
def llama_server():
    with serving() as server:
        yield server


async def collect(generator, params=None, prompt=PROMPT, **options):
    async with aclosing(generator.stream(prompt, params or SamplingParams(), **options)) as chunks:
        return [chunk async for chunk in chunks]


def text_of(chunks):
    return "".join(chunk.text for chunk in chunks)


def unused_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


# Connecting


def test_the_only_model_is_found_and_the_smaller_context_counts(server):
    with connected(server) as generator:
        assert generator.info.model == MODEL
        assert generator.info.context_tokens == (4096 if server.style == "plain" else 256)
        assert server.url in generator.info.backend
        assert generator.failure is None
    with connected(server, model="not-served", context_tokens=100) as generator:
        assert (generator.info.model, generator.info.context_tokens) == (MODEL, 100)


def test_an_alias_and_an_adapter_are_served_models(llama_server):
    llama_server.models = [MODEL, "other"]
    with connected(llama_server, model="words") as generator:
        assert generator.info.model == MODEL
    with serving(style="vllm") as vllm, connected(vllm, model=ADAPTER) as generator:
        assert generator.info.model == ADAPTER


@pytest.mark.parametrize("wanted", [None, "third"])
def test_which_of_several_models_must_be_said(server, wanted):
    server.models = ["first", "second"]
    with pytest.raises(InvalidSettings, match=r"first, second.*RAG_GENERATOR"):
        RemoteGenerator.connect(server.url, model=wanted, api_key=None, context_tokens=512, timeout_s=9)
    with connected(server, model="second") as generator:
        assert generator.info.model == "second"


@pytest.mark.parametrize("url", ["localhost:8080/v1", "ftp://host/v1", "http://", "/v1"])
def test_what_is_no_address_is_refused_without_repeating_it(url):
    with pytest.raises(InvalidSettings, match="RAG_GENERATOR_URL"):
        RemoteGenerator.connect(url, model=None, api_key=None, context_tokens=512, timeout_s=9)


def test_a_server_that_is_not_there_is_named_without_its_password():
    url = unused_address().replace("//", "//somebody:hunter2@")
    with pytest.raises(RemoteUnavailable, match=r"http://127\.0\.0\.1:\d+/v1 is not available") as caught:
        RemoteGenerator.connect(url, model=None, api_key="sesame", context_tokens=512, timeout_s=9, max_retries=0)
    assert "hunter2" not in str(caught.value)
    assert "RAG_GENERATOR_URL" in caught.value.hint


def test_an_address_without_the_api_says_so(llama_server):
    with pytest.raises(RemoteUnavailable, match=r"404.*/v1"):
        RemoteGenerator.connect(
            llama_server.url.removesuffix("/v1"), model=None, api_key=None, context_tokens=512, timeout_s=9
        )


async def test_the_key_is_sent_and_a_wrong_one_named_as_the_cause(server):
    server.api_key = "sesame"
    with connected(server, api_key="sesame") as generator:
        assert text_of(await collect(generator)) == server.reply
        server.api_key = "changed"
        with pytest.raises(RemoteUnavailable, match=r"401.*RAG_GENERATOR_API_KEY") as caught:
            await collect(generator)
        assert "sesame" not in str(caught.value) + str(generator.info)
    with pytest.raises(RemoteUnavailable, match="RAG_GENERATOR_API_KEY"):
        RemoteGenerator.connect(server.url, model=None, api_key=None, context_tokens=512, timeout_s=9)


async def test_a_login_in_the_address_is_sent_and_never_written(llama_server, caplog):
    caplog.set_level(logging.DEBUG)
    with connected(llama_server, url=llama_server.url.replace("//", "//somebody:hunter2@")) as generator:
        await collect(generator)
        assert "hunter2" not in str(generator.info) + caplog.text
    login = base64.b64encode(b"somebody:hunter2").decode()
    assert {request.headers.get("authorization") for request in llama_server.requests} == {f"Basic {login}"}


async def test_secrets_meant_for_another_service_stay_here(llama_server, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "not-for-you")
    with connected(llama_server) as generator:
        await collect(generator)
    assert llama_server.requests
    for request in llama_server.requests:
        assert "authorization" not in request.headers
        assert "not-for-you" not in str(request.headers)


# What is sent


def test_messages_are_joined_as_in_process():
    kinds = SegmentKind
    segments = [
        (kinds.PREFIX, "Answer."),
        (kinds.HISTORY_USER, "Before?"),
        (kinds.HISTORY_ASSISTANT, "That."),
        (kinds.HISTORY_USER, "And?"),
        (kinds.PASSAGE, "One.\n\n"),
        (kinds.PASSAGE, "Two.\n\n"),
        (kinds.QUESTION, "Why?"),
        (kinds.HISTORY_ASSISTANT, "So."),
        (kinds.PASSAGE, "Three.\n\n"),
    ]
    prompt = Prompt(segments=tuple(Segment(kind=kind, text=text) for kind, text in segments))
    in_process = [
        (message.role, _MARKER.sub(lambda match: prompt.segments[int(match[1])].text, message.content))
        for message in _messages(prompt)
    ]
    assert [(message.role, message.content) for message in chat_messages(prompt)] == in_process
    assert in_process[3] == ("user", "And?\n\nOne.\n\nTwo.\n\nWhy?")


async def test_every_parameter_reaches_a_server_that_has_them_all(llama_server):
    params = SamplingParams(
        max_tokens=7,
        temperature=0.5,
        top_k=40,
        top_p=0.9,
        min_p=0.1,
        repeat_penalty=1.1,
        frequency_penalty=0.2,
        presence_penalty=0.3,
        seed=2**31 + 5,
        stop=("END",),
        logit_bias=((17, -math.inf), (18, 2.5)),
        logprobs=0,
        json_schema='{"type": "string"}',
        speculate=False,
    )
    with connected(llama_server) as generator:
        chunks = await collect(generator, params)
    assert llama_server.asked == {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "Answer from the passages."},
            {"role": "user", "content": TOWER + "When was it built?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "temperature": 0.5,
        "top_k": 40,
        "top_p": 0.9,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "repetition_penalty": 1.1,
        "frequency_penalty": 0.2,
        "presence_penalty": 0.3,
        "seed": 5,
        "stop": ["END"],
        "logit_bias": {"17": -100, "18": 2.5},
        "logprobs": True,
        "top_logprobs": 1,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": {"type": "string", "minLength": 0}},
        },
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert [logprob.alternatives for chunk in chunks for logprob in chunk.logprobs] == [()] * 5


async def test_a_plain_server_gets_the_protocol_and_nothing_else():
    with serving(style="plain") as server, connected(server) as generator:
        await collect(generator, SamplingParams(max_tokens=9))
        assert set(server.asked) == {
            "model", "messages", "stream", "stream_options", "max_tokens", "temperature", "top_p", "seed",
            "frequency_penalty", "presence_penalty",
        }  # fmt: skip
        for params in (SamplingParams(top_k=5), SamplingParams(min_p=0.1), SamplingParams(repeat_penalty=1.2)):
            with pytest.raises(UnsupportedSampling, match="may ignore"):
                await collect(generator, params)


@pytest.mark.parametrize(
    ("params", "why"),
    [
        (SamplingParams(labels=("1", "2")), "labels"),
        (SamplingParams(deterministic=True), "last bit"),
        (SamplingParams(adapter="medical"), f"'medical'.*{MODEL}"),
    ],
)
async def test_what_no_server_can_be_held_to_is_refused_before_it_is_asked(server, params, why):
    with connected(server) as generator:
        with pytest.raises(UnsupportedSampling, match=why):
            await collect(generator, params)
        with pytest.raises(UnsupportedSampling, match="score"):
            await generator.score([PROMPT], "Yes")
    assert server.seen(CHAT) == []


async def test_an_adapter_is_a_model_of_the_server():
    with serving(style="vllm") as server, connected(server) as generator:
        await collect(generator, SamplingParams(adapter=ADAPTER))
        assert server.asked["model"] == ADAPTER
        assert generator.info.model == MODEL


@pytest.mark.parametrize(
    ("schema", "error", "why"),
    [
        ("{", InvalidRequest, "not JSON"),
        ('{"enum": [NaN]}', InvalidRequest, "NaN is not a JSON value"),
        ('{"enum": [1e999]}', InvalidRequest, "not JSON"),
        ('{"enum": ["\\ud800"]}', InvalidRequest, "surrogate"),
        ('{"pattern": "^a$", "not": {}}', UnsupportedSampling, "`pattern` at #"),
        ('{"type": "object", "properties": {"a": {"oneOf": [{}]}}}', UnsupportedSampling, "`oneOf` at #/properties/a"),
    ],
)
async def test_a_schema_that_cannot_be_kept_to_is_refused_before_anything_is_asked(server, schema, error, why):
    with connected(server) as generator, pytest.raises(error, match=why):
        await collect(generator, SamplingParams(json_schema=schema))
    assert server.seen(CHAT) == []


@pytest.mark.parametrize("style", ["llama-server", "vllm"])
async def test_a_schema_is_sent_with_what_it_leaves_unsaid(style):
    schema = {"properties": {"name": {"maxLength": 3, "title": "Name"}, "next": {"$ref": "#"}}, "required": ["name"]}
    with serving(style=style) as server, connected(server) as generator:
        await collect(generator, SamplingParams(json_schema=json.dumps(schema)))
        assert server.asked["response_format"]["json_schema"]["schema"] == {
            "$ref": "#/$defs/shared-0",
            "$defs": {
                "shared-0": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string", "minLength": 0, "maxLength": 3},
                        "next": {"$ref": "#/$defs/shared-0"},
                    },
                    "required": ["name"],
                    "additionalProperties": False,
                }
            },
        }


async def test_a_server_of_an_unknown_kind_is_not_trusted_with_a_schema():
    with serving(style="plain") as server, connected(server) as generator:
        with pytest.raises(UnsupportedSampling, match=r"may ignore json_schema.*RAG_GENERATOR_URL.*/tokenize"):
            await collect(generator, SamplingParams(json_schema='{"type": "string"}'))
        assert server.seen(CHAT) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("temperature", math.nan),
        ("temperature", -1.0),
        ("top_p", math.nan),
        ("frequency_penalty", math.inf),
        ("logprobs", 50),
        ("stop", ("",)),
        ("stop", ("\ud800",)),
        ("logit_bias", ((3, math.nan),)),
        ("logit_bias", ((-1, 1.0),)),
        ("logit_bias", ((3, 1.0), (3, 2.0))),
    ],
)
async def test_a_value_out_of_range_is_refused_as_in_process(server, name, value):
    with connected(server) as generator:
        asked = len(server.requests)
        with pytest.raises(InvalidRequest, match=name):
            await collect(generator, SamplingParams(**{name: value}))
        assert len(server.requests) == asked
        assert generator.stats().failed == 0


async def test_a_bias_that_the_protocol_cannot_carry_is_refused(server):
    with connected(server) as generator:
        for bias in (100.5, -1000.0):
            with pytest.raises(UnsupportedSampling, match=r"logit_bias.*-inf for never"):
                await collect(generator, SamplingParams(logit_bias=((3, bias),)))
        await collect(generator, SamplingParams(logit_bias=((3, 100.0), (4, -100.0))))
        assert server.asked["logit_bias"] == {"3": 100, "4": -100}


async def test_a_bias_for_a_token_that_llama_server_would_pass_over_is_refused(llama_server):
    with connected(llama_server) as generator:
        with pytest.raises(InvalidRequest, match=f"token {VOCABULARY}.*0 to {VOCABULARY - 1}"):
            await collect(generator, SamplingParams(logit_bias=((VOCABULARY, 1.0),)))
        await collect(generator, SamplingParams(logit_bias=((VOCABULARY - 1, 1.0),)))


async def test_half_a_character_is_sent_as_the_local_model_reads_it(server):
    with connected(server) as generator:
        assert generator.count_tokens("a \ud800") == generator.count_tokens("a ?")
        assert text_of(await collect(generator, prompt=make_prompt("What is \ud800?"))) == server.reply
        assert server.asked["messages"][-1]["content"].endswith("What is ??")


# Counting


def test_tokens_are_counted_by_the_server_or_estimated(server):
    with connected(server) as generator:
        messages = [{"role": message.role, "content": message.content} for message in chat_messages(PROMPT)]
        count, prompt_count = generator.count_tokens(TOWER), generator.count_prompt_tokens(PROMPT)
        if server.style == "plain":
            assert "estimated" in generator.info.reuse
            assert count == (len(TOWER) + 1) // 2
            assert generator.count_tokens("a b c") == 3
            assert prompt_count > count
        else:
            assert "counted by the server" in generator.info.reuse
            assert count == len(words(TOWER))
            assert prompt_count == 1 + len(words(rendered(messages)))


def test_nothing_is_counted_twice(server):
    with connected(server) as generator:
        generator.count_tokens(TOWER)
        generator.count_prompt_tokens(PROMPT)
        asked = len(server.requests)
        generator.count_tokens(TOWER)
        generator.count_prompt_tokens(make_prompt("When was it built?"))
        assert len(server.requests) == asked
        generator.count_tokens("another")
        assert len(server.requests) == asked + (server.style != "plain")


async def test_a_megabyte_is_refused_before_it_is_sent_anywhere(server):
    with connected(server) as generator:
        asked = len(server.requests)
        with pytest.raises(QuestionTooLong, match=r"2000\d\d\d bytes.*tokens"):
            await collect(generator, prompt=make_prompt("word " * 400_000))
        assert len(server.requests) == asked


async def test_a_server_whose_tokens_are_estimated_judges_itself_what_fits():
    with serving(style="plain") as server, connected(server, context_tokens=64) as generator:
        prompt = make_prompt("word " * 60)
        assert generator.count_prompt_tokens(prompt) > 64
        assert text_of(await collect(generator, prompt=prompt)) == "It"
        assert server.asked["max_tokens"] == 1
        with pytest.raises(QuestionTooLong, match=r"request \(\d+ tokens\).*256 tokens"):
            await collect(generator, prompt=make_prompt("word " * 280))


# Answers


async def test_usage_is_what_the_server_says(server):
    with connected(server) as generator:
        usage = (await collect(generator))[-1].usage
        assert (usage.completion_tokens, usage.cached_tokens) == (5, 2)
        assert usage.first_token_ms > 0
        stats = generator.stats()
        assert (stats.tokens_decoded, stats.tokens_cached) == (5, 2)
        assert stats.tokens_prefilled == usage.prompt_tokens - 2
        if server.style == "llama-server":
            assert (usage.prefill_ms, usage.decode_ms) == (12.5, 40)
            assert (usage.drafted_tokens, usage.accepted_tokens) == (4, 3)
        else:
            assert usage.prefill_ms == usage.first_token_ms


async def test_usage_is_measured_where_the_server_is_silent_about_it(server):
    server.tells_usage = False
    with connected(server) as generator:
        usage = (await collect(generator))[-1].usage
        assert usage.prompt_tokens == generator.count_prompt_tokens(PROMPT)
        assert usage.completion_tokens == 5
        assert usage.first_token_ms > 0


async def test_log_probabilities_come_with_their_tokens(llama_server):
    with connected(llama_server) as generator:
        chunks = await collect(generator, SamplingParams(logprobs=2, max_tokens=3))
        tokens = [logprob for chunk in chunks for logprob in chunk.logprobs]
        assert "".join(token.text for token in tokens) == text_of(chunks) == "It was built"
        assert [token.token for token in tokens] == [1, 2, 3]
        assert tokens[0].alternatives == (("It", -0.25), ("No", -1.75))
        llama_server.tells_logprobs = False
        with pytest.raises(UnsupportedSampling, match="no log-probabilities"):
            await collect(generator, SamplingParams(logprobs=2))
        with pytest.raises(UnsupportedSampling, match="no log-probabilities"):
            await generator.next_token_probabilities(PROMPT, ["Yes"])


async def test_a_candidate_has_the_probability_of_the_longest_token_it_begins_with(llama_server):
    llama_server.reply = "Yes indeed"
    with connected(llama_server) as generator:
        found = await generator.next_token_probabilities(PROMPT, ["Yesterday", "No", "Yonder", "Never", "yes"])
    assert found.values == pytest.approx([math.exp(-0.25), math.exp(-1.75), math.exp(-4), 0, 0])
    asked = llama_server.asked
    assert (asked["max_tokens"], asked["temperature"], asked["top_logprobs"]) == (1, 0, 20)
    assert not asked.get("stream")


@pytest.mark.parametrize("tells_usage", [True, False])
async def test_what_probabilities_took_is_told_by_the_server_or_measured(llama_server, tells_usage):
    llama_server.tells_usage = tells_usage
    with connected(llama_server) as generator:
        usage = (await generator.next_token_probabilities(PROMPT, ["Yes"])).usage
        assert usage.prompt_tokens == generator.count_prompt_tokens(PROMPT)
        stats = generator.stats()
    assert (usage.completion_tokens, usage.first_token_ms, usage.decode_ms) == (0, 0, 0)
    assert usage.cached_tokens == stats.tokens_cached == (2 if tells_usage else 0)
    assert stats.tokens_prefilled == usage.prompt_tokens - usage.cached_tokens
    assert (usage.prefill_ms == 12.5) is tells_usage
    assert usage.prefill_ms > 0


# Errors


@pytest.mark.parametrize(
    ("refusal", "error", "says"),
    [
        (Refusal(400, "temperature is too high"), InvalidRequest, "temperature is too high"),
        (Refusal(422, "bad body"), InvalidRequest, "bad body"),
        (Refusal(400, "too many", kind="exceed_context_size_error"), QuestionTooLong, "does not fit"),
        (Refusal(400, "This model's maximum context length is 64 tokens."), QuestionTooLong, "64 tokens"),
        (Refusal(403), RemoteUnavailable, "RAG_GENERATOR_API_KEY"),
        (Refusal(404, "gone"), RemoteUnavailable, rf"'{MODEL}'.*served: {MODEL}"),
        (Refusal(429, "busy", headers={"Retry-After": "7"} | AT_ONCE), Overloaded, "busy"),
        (Refusal(500, "broken", headers=AT_ONCE), GenerationFailed, "broken"),
        (Refusal(503, "Loading model", headers=AT_ONCE), RemoteUnavailable, "Loading model"),
    ],
)
async def test_a_refusal_is_an_error_of_ours(llama_server, refusal, error, says):
    llama_server.refusals.extend([refusal] * 3)
    with connected(llama_server) as generator:
        with pytest.raises(error, match=says) as caught:
            await collect(generator)
        assert caught.value.__suppress_context__
        stats = generator.stats()
        assert stats.rejected == (error is Overloaded)
        assert stats.failed == (error in {RemoteUnavailable, GenerationFailed})
        assert stats.running == 0
        if isinstance(caught.value, Overloaded):
            assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(("status", "attempts"), [(429, 3), (500, 3), (503, 3), (400, 1), (401, 1), (404, 1)])
async def test_what_may_pass_is_tried_again_before_the_first_byte(llama_server, status, attempts):
    llama_server.refusals.extend([Refusal(status, headers=AT_ONCE)] * 2)
    with connected(llama_server) as generator:
        if attempts == 3:
            assert text_of(await collect(generator)) == llama_server.reply
        else:
            with pytest.raises((InvalidRequest, RemoteUnavailable)):
                await collect(generator)
    assert len(llama_server.seen(CHAT)) == attempts


@pytest.fixture
def pauses(monkeypatch):
    """Those between attempts, in seconds, none of which is taken."""
    taken = []

    async def skip(seconds):
        taken.append(seconds)

    monkeypatch.setattr("openai._base_client.anyio.sleep", skip)
    return taken


async def test_pauses_between_attempts_grow_and_are_jittered(llama_server, pauses):
    with connected(llama_server, max_retries=3) as generator:
        for _ in range(4):
            llama_server.refusals.extend([Refusal(503)] * 3)
            assert text_of(await collect(generator)) == llama_server.reply
    assert len(set(pauses)) == len(pauses) == 12
    for nth, base in enumerate((0.5, 1, 2)):
        assert all(0.75 * base <= pause <= base for pause in pauses[nth::3])


async def test_a_server_says_itself_how_long_to_wait(llama_server, pauses):
    with connected(llama_server) as generator:
        llama_server.refusals.append(Refusal(429, headers={"Retry-After": "7"}))
        assert text_of(await collect(generator)) == llama_server.reply
        assert pauses == [7]
        llama_server.refusals.append(Refusal(429, "come tomorrow", headers={"Retry-After": "86400"}))
        with pytest.raises(Overloaded, match="come tomorrow") as caught:
            await collect(generator)
        assert caught.value.retry_after_s == 86400
        assert pauses == [7]


async def test_a_pause_ends_with_the_callers_time(llama_server):
    llama_server.refusals.append(Refusal(429, headers={"Retry-After": "100"}))
    with connected(llama_server) as generator:
        with pytest.raises(DeadlineExceeded):
            await collect(generator, caller=Caller(timeout_s=1))
        assert len(llama_server.seen(CHAT)) == 1


async def test_a_connection_closed_before_the_first_byte_is_tried_again(server, pauses):
    server.hang_ups = 2
    with connected(server) as generator:
        assert text_of(await collect(generator)) == server.reply
        assert len(server.seen(CHAT)) == 3
        server.hang_ups = 3
        with pytest.raises(RemoteUnavailable, match="is not available"):
            await collect(generator)
        assert len(server.seen(CHAT)) == 6
    assert len(pauses) == 4


async def test_a_connection_closed_before_the_first_word_is_not_tried_again(server):
    server.break_after = 0
    with connected(server) as generator, pytest.raises(GenerationFailed, match="middle"):
        await collect(generator)
    assert len(server.seen(CHAT)) == 1


async def test_a_body_that_just_ends_is_no_complete_answer(server):
    server.break_after, server.breaks_cleanly = 2, True
    with connected(server) as generator:
        with pytest.raises(GenerationFailed, match="unfinished"):
            await collect(generator)
        assert generator.stats().failed == 1
        server.break_after = None
        assert text_of(await collect(generator)) == server.reply
    assert len(server.seen(CHAT)) == 2


async def test_a_connection_that_breaks_in_the_middle_fails_and_is_not_tried_again(server):
    server.break_after = 2
    with connected(server) as generator:
        with pytest.raises(GenerationFailed, match="middle"):
            await collect(generator)
        assert len(server.seen(CHAT)) == 1
        assert generator.stats().failed == 1
        server.break_after = None
        assert text_of(await collect(generator)) == server.reply


async def test_an_error_inside_the_stream_is_an_error(llama_server):
    llama_server.error_event = {"message": "out of memory", "code": 500}
    with connected(llama_server) as generator:
        with pytest.raises(GenerationFailed, match="out of memory"):
            await collect(generator)
        llama_server.error_event, llama_server.finish = None, "content_filter"
        with pytest.raises(GenerationFailed, match="content_filter"):
            await collect(generator)


async def test_a_server_that_goes_away_is_unreachable():
    with serving() as server:
        generator = RemoteGenerator.connect(
            server.url, model=None, api_key=None, context_tokens=512, timeout_s=9, max_retries=0
        )
        await collect(generator)
    with pytest.raises(RemoteUnavailable, match=r"127\.0\.0\.1.*RAG_GENERATOR_URL"):
        await collect(generator)
    with pytest.raises(RemoteUnavailable, match="is not available"):
        generator.count_tokens("not counted before")
    assert generator.failure is None
    generator.close()


async def test_silence_is_not_asked_twice(llama_server):
    with connected(llama_server, timeout_s=1) as generator:
        llama_server.silent = {CHAT}
        with pytest.raises(RemoteUnavailable, match="RAG_GENERATOR_TIMEOUT_S"):
            await collect(generator)
        assert len(llama_server.seen(CHAT)) == 1
        assert await gone(llama_server)


def test_silence_while_counting_is_not_asked_twice(llama_server):
    with connected(llama_server, timeout_s=1) as generator:
        llama_server.silent = {"/tokenize"}
        counted = len(llama_server.seen("/tokenize"))
        with pytest.raises(RemoteUnavailable, match="RAG_GENERATOR_TIMEOUT_S"):
            generator.count_tokens("not counted before")
        assert len(llama_server.seen("/tokenize")) == counted + 1


async def test_silence_in_the_middle_ends_the_answer(llama_server):
    llama_server.hold_after = 2
    with connected(llama_server, timeout_s=1) as generator:
        with pytest.raises(GenerationFailed, match=r"middle.*RAG_GENERATOR_TIMEOUT_S"):
            await collect(generator)
        assert len(llama_server.seen(CHAT)) == 1
        assert await gone(llama_server)


async def test_no_text_of_the_prompt_is_in_errors_or_logs(llama_server, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    echo = json.dumps([{"msg": "wrong", "input": {"messages": "Eiffel Tower"}}])
    llama_server.refusals.append(Refusal(400, echo))
    with connected(llama_server) as generator:
        with pytest.raises(InvalidRequest, match="wrong") as caught:
            await collect(generator)
        await collect(generator)
    printed = capsys.readouterr()
    for said in (str(caught.value), caplog.text, printed.out, printed.err):
        assert "Eiffel" not in said
        assert "1889" not in said


# Time and ends


async def first_words_of(generator, server, **options):
    server.hold_after = 2
    chunks = generator.stream(PROMPT, SamplingParams(), **options)
    assert (await anext(chunks)).text + (await anext(chunks)).text == "It was"
    await asyncio.to_thread(server.held.wait, 60)
    return chunks


async def gone(server):
    return await asyncio.to_thread(server.gone.wait, 60)


async def test_closing_the_iterator_hangs_up(server):
    with connected(server) as generator:
        chunks = await first_words_of(generator, server)
        await chunks.aclose()
        assert await gone(server)
        assert generator.stats().cancelled == 1
        assert generator.stats().running == 0


async def test_cancelling_the_task_hangs_up(server):
    with connected(server) as generator:
        chunks = await first_words_of(generator, server)
        waiting = asyncio.create_task(anext(chunks))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await gone(server)
        assert generator.stats().cancelled == 1


async def test_a_deadline_in_the_middle_hangs_up(llama_server):
    with connected(llama_server) as generator:
        chunks = await first_words_of(generator, llama_server, caller=Caller(timeout_s=3))
        with pytest.raises(DeadlineExceeded, match="within 3 s"):
            await anext(chunks)
        assert await gone(llama_server)
        assert generator.stats().failed == 1


async def test_a_deadline_before_the_first_byte_hangs_up(llama_server):
    with connected(llama_server) as generator:
        llama_server.silent = {CHAT}
        with pytest.raises(DeadlineExceeded):
            await generator.next_token_probabilities(PROMPT, ["Yes"], caller=Caller(timeout_s=1))
        assert await gone(llama_server)


async def test_close_from_another_thread_ends_what_is_awaited(server):
    with connected(server) as generator:
        chunks = await first_words_of(generator, server)
        last = asyncio.create_task(anext(chunks))
        await asyncio.sleep(0)
        await asyncio.to_thread(generator.close)
        assert (await last).finish_reason == "cancelled"
        assert await gone(server)
        assert generator.failure
        with pytest.raises(GenerationFailed, match="closed"):
            generator.count_tokens("word")


async def test_drain_waits_for_answers_under_way(llama_server):
    with connected(llama_server) as generator:
        chunks = await first_words_of(generator, llama_server)
        draining = asyncio.create_task(generator.drain())
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown, match="shutting down"):
            await collect(generator)
        with pytest.raises(ShuttingDown):
            await generator.next_token_probabilities(PROMPT, ["Yes"])
        assert (generator.stats().rejected, generator.stats().failed) == (2, 0)
        assert not draining.done()
        llama_server.release.set()
        assert text_of([chunk async for chunk in chunks]) == " built in 1889."
        await draining


def test_it_serves_one_event_loop_after_another(server):
    with connected(server) as generator:
        for _ in range(3):
            assert text_of(asyncio.run(collect(generator))) == server.reply
