"""robots.txt (RFC 9309): what a site asks programs to leave alone, and how fast to go."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from protego import Protego

from indexer.web.connections import AGENT
from indexer.web.urls import origin_of
from rag.errors import SourceDisallowed, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

# As much has to be read (section 2.5); rules beyond it are not followed.
ROBOTS_BYTES: Final = 500 << 10
_LONGEST_DELAY_S: Final = 30.0
_TOO_MANY_REQUESTS: Final = 429
# Names stand without versions (section 2.2.1); who takes one from a log has it with its version.
_VERSION: Final = re.compile(r"^([ \t]*+user-agent[ \t]*+:[ \t]*+[\w-]++)/[^\r\n]*+", re.IGNORECASE | re.MULTILINE)


class RulesUnread(SourceDisallowed):
    """Nobody knows what is allowed, so nothing is."""


class Robots:
    """Asks each site once for its rules, and keeps them for the run."""

    def __init__(self, read: Callable[[str], tuple[int, bytes]], slow_down: Callable[[str, float], None]) -> None:
        """``read`` gets a URL, redirects followed: its status and content. ``slow_down`` is told a site's delay."""
        self._read, self._slow_down = read, slow_down
        self._rules: dict[str, Protego | SourceError] = {}

    def check(self, url: str) -> None:
        """Raises SourceError: the site's rules forbid it, or could not be read, which forbids everything."""
        origin = origin_of(url)
        if origin not in self._rules:
            self._rules[origin] = self._fetch(origin)
        rules = self._rules[origin]
        if isinstance(rules, SourceError):
            raise rules.with_traceback(None)
        if not rules.can_fetch(url, AGENT):
            raise SourceDisallowed(
                f"{origin}/robots.txt asks programs not to fetch {url}.",
                hint=f"Ask whoever runs the site to allow {AGENT}, or save the page and ingest the file.",
            )

    def _fetch(self, origin: str) -> Protego | SourceError:
        try:
            status, content = self._read(f"{origin}/robots.txt")
        except SourceError as error:  # asked once: what is down now is not waited for with every page
            return error
        if status >= 500 or status == _TOO_MANY_REQUESTS:
            return RulesUnread(
                f"{origin}/robots.txt could not be read (HTTP {status}), and without it nothing there may be fetched.",
                hint="Try again later.",
            )
        text = content.decode("utf-8-sig", errors="replace") if status < 300 else ""
        rules = Protego.parse(_VERSION.sub(r"\1", text))
        if (delay := rules.crawl_delay(AGENT)) is not None:
            self._slow_down(origin, min(float(delay), _LONGEST_DELAY_S))
        return rules
