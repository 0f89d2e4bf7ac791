"""Messages as chat programs export them in JSON: what they say is there twice, once in pieces with how they look."""

from __future__ import annotations

from typing import Any, Final

_SLACK_PROFILE: Final = ("real_name", "display_name")


def said_once(value: dict[str, Any]) -> dict[str, Any]:
    """A message of Telegram or Slack with its text whole and once, and who wrote it; other objects as they are."""
    text = value.get("text")
    if "text_entities" in value:
        kept = {key: each for key, each in value.items() if key not in {"text_entities", "date_unixtime"}}
        return kept | {"text": _whole(text)} if isinstance(text, list) else kept
    if value.get("type") != "message" or not isinstance(text, str) or not text or "ts" not in value:
        return value
    kept = {key: each for key, each in value.items() if key not in {"blocks", "user_profile"}}
    profile = value.get("user_profile")
    names = [profile.get(key) for key in _SLACK_PROFILE] if isinstance(profile, dict) else []
    name = next((name for name in names if isinstance(name, str) and name), None)
    return {"name": name, **kept} if name else kept


def _whole(pieces: list[Any]) -> str:
    texts = (piece.get("text") if isinstance(piece, dict) else piece for piece in pieces)
    return "".join(text for text in texts if isinstance(text, str))
