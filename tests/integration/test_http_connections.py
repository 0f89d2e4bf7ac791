"""What only a real server and real connections show: streaming, hanging up, draining."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from api import streaming
from api.app import create_app
from rag.config import Settings
from tests.unit.api_library import ANSWERED, Hang, ScriptedLibrary
from tests.unit.test_pipeline import Model, pipeline

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
    async with listening(library, max_running=1, max_queued=0) as (_, port):
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


class Stuck(Model):
    """A model that does not go on at ``stage``; tells when it got there, and when it was cancelled there."""

    def __init__(self, stage):
        super().__init__("LoRA reduces trainable parameters. ", "LoRA")
        self.stage = stage
        self.reached = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def _hang(self):
        self.reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def next_token_probabilities(self, prompt, candidates, *, caller, adapter, deterministic):
        if self.stage == "judging":
            await self._hang()
        return await super().next_token_probabilities(prompt, candidates, caller=caller)

    async def stream(self, prompt, params, *, caller):
        if self.stage == "queue":
            await self._hang()
        async for chunk in super().stream(prompt, params, caller=caller):
            yield chunk
            if self.stage == "decode":
                await self._hang()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stage", ["judging", "queue", "decode"])
async def test_hanging_up_reaches_the_model_at_every_stage(stage, stream):
    library = ScriptedLibrary()
    model = Stuck(stage)
    library.pipeline = pipeline(model)
    async with listening(library) as (_, port):
        _, writer = await send_query(port, stream=stream, question="What does LoRA reduce?")
        await eventually(model.reached)
        assert not model.cancelled.is_set()
        await hang_up(writer)
        await eventually(model.cancelled)


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

    async def stream(question, **options):
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


async def test_the_library_is_let_go_of_before_the_service_ends():
    library = ScriptedLibrary()
    seen = []

    async def stream(question, **options):
        library.pipeline.started.set()
        yield ANSWERED[0]
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)  # as a model step that has to end
            seen.append("let go")

    async def drain():
        seen.append("drained")

    library.pipeline.stream, library.generator.drain = stream, drain
    async with listening(library, drain_s=0) as (server, port):
        _, writer = await send_query(port)
        await eventually(library.pipeline.started)
        server.should_exit = True
    writer.close()
    assert seen == ["let go", "drained"]


# ``rag serve`` without its library: an answer that says when it has begun, and goes on when its standard input ends.
SERVER = """
import asyncio, socket, sys
from api.app import create_app
from rag.commands.serve import run
from rag.config import Settings
from tests.unit.api_library import ANSWERED, ScriptedLibrary

async def stream(question, **options):
    yield ANSWERED[0]
    await asyncio.to_thread(sys.stdin.read)
    for event in ANSWERED[1:]:
        yield event

library = ScriptedLibrary()
library.pipeline.stream = stream
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
run(create_app(Settings(_env_file=None), library), listener, drain_timeout_s=int(sys.argv[1]))
print("closed", flush=True)
"""


@asynccontextmanager
async def serving_process(drain_s):
    """A server in a process of its own, with an answer under way; yields (process, reader of the answer)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVER,
        str(drain_s),
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 3 * PATIENCE_S))
        reader, writer = await send_query(port, stream=True)
        await asyncio.wait_for(reader.readuntil(b"event: passages"), PATIENCE_S)
        process.send_signal(signal.SIGTERM)
        await refused(port)
        yield process, reader
        writer.close()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def refused(port):
    """Wait until nobody listens any more."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:  # refused, or reset because the listener closed meanwhile
                return
            writer.close()


async def test_after_sigterm_nothing_is_admitted_and_what_runs_is_finished():
    async with serving_process(600) as (process, reader):
        process.stdin.close()
        rest = await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert b"event: done" in rest
        assert (await asyncio.wait_for(process.stdout.read(), PATIENCE_S)).endswith(b"closed\n")
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0


async def test_what_outlasts_the_time_to_drain_is_told_so():
    async with serving_process(0) as (process, reader):
        rest = await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert b'"code":"shutting_down"' in rest
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0


async def test_a_second_signal_ends_the_process_at_once():
    async with serving_process(600) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == -signal.SIGTERM
