"""Write docs/openapi.json from the running application's own description; a test compares the two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from api.app import create_app
from rag.config import load_settings

TARGET = Path(__file__).with_name("openapi.json")


def openapi_document() -> dict[str, Any]:
    """The description of the app; settings do not change it."""
    return create_app(load_settings()).openapi_schema.to_schema()


def render() -> str:
    """The whole file."""
    return json.dumps(openapi_document(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
