"""What only a real server and real connections show: streaming, hanging up, draining."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
import uvicorn

from api import streaming
from api.app import create_app
from rag.config import Settings
from tests.unit.api_library import ANSWERED, Hang, ScriptedLibrary

PATIENCE_S = 20


@asynccontextmanager
async def listening(library, *, drain_s=None, **settings):
    """A server on a free loopback port; yields (server, port)."""
    app = create_app(Settings(_env_file=None, **settings), library)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            lifespan="on",
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=drain_s,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            await asyncio.wait_for(serving, PATIENCE_S)


async def send_query(port, **body):
    """Open a connection and send a query; returns the streams."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    payload = json.dumps({"question": "What?", **body}).encode()
    writer.write(
        b"POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        + f"content-length: {len(payload)}\r\n\r\n".encode()
        + payload
    )
    await writer.drain()
    return reader, writer


async def hang_up(writer):
    writer.close()
    await writer.wait_closed()


async def eventually(event):
    await asyncio.wait_for(event.wait(), PATIENCE_S)


@pytest.mark.parametrize(
    ("stream", "script"),
    [
        (False, (Hang(),)),
        (True, (Hang(),)),  # before the first event
        (True, (ANSWERED[0], Hang())),  # while the model is at work
    ],
)
async def test_hanging_up_cancels_the_work_and_frees_the_place(stream, script):
    library = ScriptedLibrary(*script)
    async with listening(library, max_concurrent_queries=1) as (_, port):
        reader, writer = await send_query(port, stream=stream)
        await eventually(library.pipeline.started)
        if len(script) > 1:
            await asyncio.wait_for(reader.readuntil(b"event: passages"), PATIENCE_S)
        await hang_up(writer)
        await eventually(library.pipeline.closed)

        library.pipeline.script = ANSWERED
        status = b""
        while b" 200 " not in status:  # 429 until the place is free
            reader, writer = await send_query(port)
            status = await asyncio.wait_for(reader.readline(), PATIENCE_S)
            await hang_up(writer)


async def test_hanging_up_while_the_client_does_not_read():
    # The stream is then suspended in sending, not in waiting for the model.
    library = ScriptedLibrary(*[ANSWERED[1]] * 200_000, Hang())
    async with listening(library) as (_, port):
        _, writer = await send_query(port, stream=True)
        await eventually(library.pipeline.started)
        writer.transport.abort()
        await eventually(library.pipeline.closed)


async def test_hanging_up_before_the_body_is_sent_is_no_error_of_ours(capsys):
    library = ScriptedLibrary()
    async with listening(library) as (_, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 99\r\n\r\n{"
        )
        await writer.drain()
        await hang_up(writer)
    assert library.pipeline.asked == []
    logged = capsys.readouterr()
    assert "status=499" in logged.out + logged.err
    assert "unexpected error" not in logged.out + logged.err


async def test_events_arrive_while_the_model_is_still_at_work():
    library = ScriptedLibrary(*ANSWERED[:3], Hang())
    async with listening(library) as (_, port):
        reader, writer = await send_query(port, stream=True)
        seen = await asyncio.wait_for(reader.readuntil(b"event: citation"), PATIENCE_S)
        assert not library.pipeline.closed.is_set()
        assert b"event: delta" in seen
        assert b"\r\nserver:" not in seen.lower()
        await hang_up(writer)


async def test_a_silent_stream_is_kept_alive_by_comments(monkeypatch):
    monkeypatch.setattr(streaming, "_HEARTBEAT_S", 0.01)
    library = ScriptedLibrary(ANSWERED[0], Hang())
    async with listening(library) as (_, port):
        reader, writer = await send_query(port, stream=True)
        await asyncio.wait_for(reader.readuntil(b": still working"), PATIENCE_S)
        await asyncio.wait_for(reader.readuntil(b": still working"), PATIENCE_S)
        await hang_up(writer)


async def test_shutting_down_lets_an_answer_finish():
    library = ScriptedLibrary()
    release = asyncio.Event()

    async def stream(question, *, collection, k):
        library.pipeline.started.set()
        yield ANSWERED[0]
        await release.wait()
        for event in ANSWERED[1:]:
            yield event

    library.pipeline.stream = stream
    async with listening(library) as (server, port):
        reader, writer = await send_query(port, stream=True)
        await asyncio.wait_for(reader.readuntil(b"event: passages"), PATIENCE_S)
        server.should_exit = True
        release.set()
        rest = await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert b"event: done" in rest
        writer.close()


async def test_an_answer_cut_off_by_the_shutdown_is_told_so(capsys, caplog):
    library = ScriptedLibrary(Hang())
    async with listening(library, drain_s=0.01) as (server, port):
        reader, writer = await send_query(port)
        await eventually(library.pipeline.started)
        server.should_exit = True
        response = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 5" in head
    assert json.loads(body)["code"] == "shutting_down"
    assert library.pipeline.closed.is_set()
    logged = capsys.readouterr()
    assert "status=503" in logged.out + logged.err
    assert "Exception in ASGI application" not in logged.out + logged.err + caplog.text


async def test_a_stream_cut_off_by_the_shutdown_ends_with_an_error_event(capsys, caplog):
    library = ScriptedLibrary(ANSWERED[0], Hang())
    async with listening(library, drain_s=0.01) as (server, port):
        reader, writer = await send_query(port, stream=True)
        await asyncio.wait_for(reader.readuntil(b"event: passages"), PATIENCE_S)
        server.should_exit = True
        rest = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
    assert b"event: error" in rest
    assert b'"code":"shutting_down"' in rest
    assert rest.endswith(b"0\r\n\r\n")  # the response is complete
    logged = capsys.readouterr()
    assert "Exception in ASGI application" not in logged.out + logged.err + caplog.text
