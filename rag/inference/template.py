"""The chat template a GGUF brings along, rendered in a sandbox; ChatML for models without a usable one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rag.errors import InvalidRequest
from rag.telemetry import get_logger

_log = get_logger("inference")

_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"  # an expression: Jinja drops a newline that ends a template
)
_CHATML_END = "<|im_end|>"
# What a template's own code may raise: Jinja's errors and those of the Python operations it runs.
_RENDER_ERRORS = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    role: str
    content: str


class ChatTemplate:
    """Messages to the text a model expects, ending where its answer begins.

    ``stop`` strings end an answer for models whose vocabulary does not hold the template's end of a turn.
    """

    def __init__(self, source: str | None, *, bos: str = "", eos: str = "") -> None:
        self._bos, self._eos = bos, eos
        self._merge_system = False
        self.stop: tuple[str, ...] = ()
        reason = "it has none" if source is None else self._unusable(source)
        if reason is not None:
            _log.warning("the model's chat template cannot be used; ChatML is used instead", reason=reason)
            self._template = _environment().from_string(_CHATML)
            self.stop = (_CHATML_END,)

    def render(self, messages: list[Message]) -> str:
        """Raises InvalidRequest if the template refuses this sequence of roles."""
        if self._merge_system:
            messages = _system_merged(messages)
        try:
            return self._render(messages)
        except _RENDER_ERRORS as error:
            roles = ", ".join(message.role for message in messages)
            raise InvalidRequest(
                f"The model's chat template cannot express this conversation ({roles}): {error}."
            ) from error

    def _unusable(self, source: str) -> str | None:
        """Why the template cannot be used. Tries it with a system message, then with that merged into the user's."""
        probe = [Message(role="system", content="\ue000S"), Message(role="user", content="\ue000U")]
        reason = "it leaves messages out"
        try:
            self._template = _environment().from_string(source)
        except _RENDER_ERRORS as error:
            return str(error)
        for self._merge_system in (False, True):
            try:
                text = self._render(_system_merged(probe) if self._merge_system else probe)
            except _RENDER_ERRORS as error:
                reason = str(error)
                continue
            if all(text.count(message.content) == 1 for message in probe):
                return None
        self._merge_system = False
        return reason

    def _render(self, messages: list[Message]) -> str:
        return self._template.render(
            messages=[{"role": message.role, "content": message.content} for message in messages],
            add_generation_prompt=True,
            bos_token=self._bos,
            eos_token=self._eos,
            # Templates that know it leave out the reasoning before the answer, which nobody would see.
            enable_thinking=False,
        )


def _system_merged(messages: list[Message]) -> list[Message]:
    """Put a leading system message before the first user message, for templates without that role."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return messages
    merged = Message(role="user", content=f"{messages[0].content}\n\n{messages[1].content}")
    return [merged, *messages[2:]]


def _environment() -> ImmutableSandboxedEnvironment:
    # The same options and functions as transformers gives: templates are written against them.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)
