"""One answer as its user saw it. Every side is timed alike: from outside, by the clock, on the same token ids."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Seconds from the moment the request was sent to its first text and to its end, and the tokens it is made of.

    ``cached_tokens`` of the prompt were not read again, as the side itself reports it; None where it does not.
    """

    prompt_tokens: int
    tokens: int
    first_token_s: float
    total_s: float
    text: str = ""
    cached_tokens: int | None = None
    drafted_tokens: int = 0
    accepted_tokens: int = 0

    @property
    def prefill_tokens_per_s(self) -> float:
        """Prompt tokens, reused ones not counted, by the time to the first token."""
        return (self.prompt_tokens - (self.cached_tokens or 0)) / self.first_token_s

    @property
    def decode_s(self) -> float:
        return self.total_s - self.first_token_s

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens after the first, by the time they took; zero if there was only one."""
        return (self.tokens - 1) / self.decode_s if self.tokens > 1 else 0.0
