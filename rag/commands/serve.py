"""``rag serve``: the HTTP API."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import tempfile
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import rich_click as click

from rag.config import load_settings
from rag.errors import InvalidSettings, PortInUse
from rag.factory import open_library
from rag.telemetry import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from litestar import Litestar

_BACKLOG = 128


@click.command()
@click.option("--host", default=None, help="Address to bind; RAG_HOST if left out.")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port to bind, 0 for any; or RAG_PORT.")
@click.pass_context
def serve(ctx: click.Context, host: str | None, port: int | None) -> None:
    """Serve the HTTP API until interrupted.

    SIGTERM or Ctrl-C stops it once running answers are complete, or after RAG_DRAIN_TIMEOUT_S; a second one at once.
    """
    configure_logging(level=logging.DEBUG if ctx.find_root().params.get("verbose") else logging.INFO)
    configured = load_settings()
    settings = configured.model_copy(
        update={
            "host": configured.host if host is None else host,
            "port": configured.port if port is None else port,
        }
    )
    # Bound before anything slow is imported or loaded: a taken port is known at once.
    with closing(_bind(settings.host, settings.port)) as listener, open_library(settings) as library:
        # Uploads wait where they are kept: the system's directory may be small, or lie in memory.
        tempfile.tempdir = str(library.blobs.made())
        from api.app import create_app
        from api.security import is_loopback

        app = create_app(settings, library)
        address = listener.getsockname()
        click.echo(f"Plumbline is listening on {_url(address[0], address[1])}", err=True)
        if not is_loopback(address[0]):
            click.secho(
                "WARNING: there is no authentication yet. Everyone who can reach this address can read every "
                "document. Bind 127.0.0.1, publish a container's port on it alone, or put an authenticating proxy in "
                "front.",
                err=True,
                bold=True,
                fg="yellow",
            )
        run(app, listener, drain_timeout_s=settings.drain_timeout_s)


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket. Listening at once, because two sockets may bind one port as long as neither listens.

    Raises:
        PortInUse, InvalidSettings: the host cannot be bound.
    """
    if not host:  # for the system it would be every address
        raise InvalidSettings("The address to bind is empty.", hint="Correct --host: 127.0.0.1 is this machine alone.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # the latter where it cannot be a host name at all
        raise InvalidSettings(f"Cannot bind {host}: {error}.", hint="Correct --host or RAG_HOST.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"Port {port} on {host} is taken by another program.",
                hint="Stop that program, or choose another port with --port (0 picks a free one).",
            ) from error
        raise InvalidSettings(
            f"Cannot bind port {port} on {host}: {error.strerror}.", hint="Correct --host and --port."
        ) from error
    return listener


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run(app: Litestar, listener: socket.socket, *, drain_timeout_s: int) -> None:
    """Serve until SIGTERM or Ctrl-C; then answers under way get ``drain_timeout_s`` to finish.

    What then still runs is cancelled, and its client told so. A second signal ends the process without any of that:
    what is on disk is safe at every moment.
    """
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Without uvicorn's raising the signal again at the end: a stop that was asked for is no failure."""
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.should_exit:
                signal.signal(sig, signal.SIG_DFL)
                signal.raise_signal(sig)
            super().handle_exit(sig, frame)

    Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            backlog=_BACKLOG,
            timeout_graceful_shutdown=drain_timeout_s,
        )
    ).run(sockets=[listener])
