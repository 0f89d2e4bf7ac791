"""Chat templates as GGUF files bring them: good, unusual and hostile."""

from __future__ import annotations

import pytest

from rag.errors import InvalidRequest
from rag.inference.template import ChatTemplate, Message

CHATML = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
SYSTEM, USER, ANSWER = (
    Message(role="system", content="S"),
    Message(role="user", content="U"),
    Message(role="assistant", content="A"),
)


def test_the_models_own_template_is_used_with_its_tokens() -> None:
    template = ChatTemplate(
        "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}",
        bos="<s>",
        eos="</s>",
    )
    assert template.render([SYSTEM, USER]) == "<s>[system]S</s>[user]U</s>[assistant]"
    assert template.stop == ()


@pytest.mark.parametrize(
    "source",
    [
        None,
        "{% for m in messages %}",  # does not parse
        "{{ messages.nothing.there }}",  # fails
        "always the same",  # drops the messages
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",  # reaches for Python
        "{{ messages.append(1) }}",  # changes what it is given
    ],
)
def test_an_unusable_template_is_replaced_by_chatml(source: str | None) -> None:
    template = ChatTemplate(source)
    assert template.render([Message(role="user", content="Hi")]) == CHATML
    assert template.stop == ("<|im_end|>",)


def test_a_template_without_a_system_role_gets_it_inside_the_first_user_message() -> None:
    template = ChatTemplate(
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    )
    assert template.render([SYSTEM, USER, ANSWER, USER]) == "<user>S\n\nU<assistant>A<user>U"


def test_a_conversation_the_template_refuses_is_the_callers_error() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('must alternate') }}{% endif %}"
        "{{ m.content }}{% endfor %}"
    )
    with pytest.raises(InvalidRequest, match=r"system, user, assistant.*must alternate"):
        template.render([SYSTEM, USER, ANSWER])


def test_common_extensions_are_there() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}{% break %}{% endif %}{% endfor %}"
        "{{ strftime_now('%Y')|length }}{{ enable_thinking }}"
    )
    assert template.render([SYSTEM, USER, ANSWER]) == "SU4False"
