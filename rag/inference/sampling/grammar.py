"""Text held to a form while it is generated: a JSON schema, or citations of the supplied passages only."""

from __future__ import annotations

import ctypes
import functools
import importlib
import json
from typing import TYPE_CHECKING, Any

from rag.errors import InvalidRequest
from rag.inference.binding import library, loading, native_log
from rag.inference.sampling.json_schema import Dialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.inference.tokens import Vocabulary
    from rag.model_types import SamplingParams

_MAX_LABELS = 256
_MAX_LABEL_LENGTH = 128
_HEX = "[0-9a-fA-F]"
# A character of a JSON string (RFC 8259): the converter's own rule lets line breaks through. Of escaped surrogates
# only whole pairs.
_CHARACTER = (
    r'[^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" ('
    rf"[0-9a-cA-CeEfF] {_HEX} {_HEX} {_HEX} | [dD] [0-7] {_HEX} {_HEX} | "
    rf'[dD] [89abAB] {_HEX} {_HEX} "\\u" [dD] [c-fC-F] {_HEX} {_HEX}))'
)
# Exponents of up to two digits: with the converter's sixteen a number may not fit into a double.
_NUMBER = '("-"? integral-part) ("." decimal-part)? ([eE] [-+]? [0-9] [0-9]?)? space'


class Grammar:
    """A text's way through a grammar. The token that comes next is checked, then accepted. Free it before the model.

    Raises:
        InvalidRequest: llama.cpp does not take the grammar; the message has its reason.
    """

    def __init__(self, gbnf: str, vocabulary: Vocabulary) -> None:
        self._lib = lib = vocabulary.lib
        arguments = (vocabulary.pointer, gbnf.encode(), b"root")
        self._sampler: Any = lib.llama_sampler_init_grammar(*arguments)
        if not self._sampler:
            with loading:  # once more, alone: the log is shared
                native_log.clear()
                self._sampler = lib.llama_sampler_init_grammar(*arguments)
                reason = native_log.reason()
            if not self._sampler:
                raise InvalidRequest(
                    f"llama.cpp does not take the grammar of this request: {reason or 'it gave no reason'}.",
                    hint="Simplify the JSON schema.",
                )
        self._candidate = lib.llama_token_data()
        self._alone = lib.llama_token_data_array(data=ctypes.pointer(self._candidate), size=1, selected=-1)

    def allows(self, token: int) -> bool:
        """Whether ``token`` may come next; one that ends the generation may where the text is complete."""
        self._candidate.id, self._candidate.logit = token, 0.0
        self._lib.llama_sampler_apply(self._sampler, ctypes.byref(self._alone))
        return bool(self._candidate.logit == 0.0)

    def mask(self, candidates: Any) -> None:  # noqa: ANN401 - a ctypes structure
        """Set the logits of all tokens that may not come next to minus infinity, in a ``llama_token_data_array``."""
        self._lib.llama_sampler_apply(self._sampler, ctypes.byref(candidates))

    def accept(self, token: int) -> None:
        """Go on by ``token``. It must be allowed: anything else ends the process, inside llama.cpp."""
        self._lib.llama_sampler_accept(self._sampler, token)

    def free(self) -> None:
        if self._sampler:
            self._lib.llama_sampler_free(self._sampler)
            self._sampler = None


def grammar_of(params: SamplingParams) -> str | None:
    """The grammar (GBNF, start symbol ``root``) that the text must fit; None if it is free.

    Raises:
        InvalidRequest: the JSON schema or the labels are not valid.
        UnsupportedSampling: the JSON schema asks for something that cannot be enforced.
    """
    if params.json_schema is not None:
        return schema_grammar(params.json_schema)
    return label_grammar(params.labels) if params.labels else None


def label_grammar(labels: Sequence[str]) -> str:
    """Free text in which every ``[`` opens one of ``labels`` and its ``]``.

    Raises:
        InvalidRequest: no labels, or one that is empty, given twice, too long, or holds brackets or control characters.
    """
    if not labels or len(labels) > _MAX_LABELS:
        raise InvalidRequest(f"There are {len(labels)} labels: there must be 1 to {_MAX_LABELS}.")
    for label in labels:
        if not label or len(label) > _MAX_LABEL_LENGTH:
            raise InvalidRequest(f"The label {label!r} must have 1 to {_MAX_LABEL_LENGTH} characters.")
        if "[" in label or "]" in label or any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in label):
            raise InvalidRequest(f"The label {label!r} contains a square bracket or a control character.")
    if len(set(labels)) < len(labels):
        twice = next(label for i, label in enumerate(labels) if label in labels[:i])
        raise InvalidRequest(f"The label {twice!r} is given twice.")
    choice = " | ".join(map(_literal, labels))
    return f'root ::= ([^\\[] | "[" label "]")*\nlabel ::= {choice}\n'


@functools.lru_cache(maxsize=32)
def schema_grammar(schema: str) -> str:
    """The JSON values that fit ``schema`` (JSON Schema as text), with at most one space where space is allowed.

    Raises:
        InvalidRequest: the text is no JSON schema, or too large.
        UnsupportedSampling: it has a keyword that cannot be enforced; the message names it.
    """
    dialect = Dialect(schema)
    try:
        converter = _converter_class()(dialect)
        converter.visit({"$ref": dialect.start}, "")
        return str(converter.format_grammar())
    except RecursionError:
        raise InvalidRequest("The JSON schema is nested too deeply.", hint="Flatten it.") from None


@functools.cache
def _converter_class() -> Any:  # noqa: ANN401 - an untyped library's class
    """llama-cpp-python's converter with its literals, strings and numbers put right."""
    library()  # sets up the log before anything else of the package runs
    source = importlib.import_module("llama_cpp.llama_grammar")
    corrected = {
        "char": source.BuiltinRule(_CHARACTER),
        "number": source.BuiltinRule(_NUMBER, ["integral-part", "decimal-part"]),
    }

    class Converter(source.SchemaConverter):  # type: ignore[misc, name-defined]
        def __init__(self, dialect: Dialect) -> None:
            super().__init__(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
            self._refs = dialect.definitions

        def _format_literal(self, literal: str) -> str:
            # Comes as JSON in ASCII. The grammar compares whole characters, so they must stand there unescaped.
            return _literal(json.dumps(json.loads(literal), ensure_ascii=False))

        def _add_primitive(self, name: str, rule: object) -> str:
            return str(super()._add_primitive(name, corrected.get(name, rule)))

    return Converter


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
