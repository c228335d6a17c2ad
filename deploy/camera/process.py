"""The server's process: one RTSP port, any number of cameras, any number of clients.

``python -P -m deploy.camera.process --host H --port P --record FD NAME=FILE...`` prints ``ready PORT`` or ``error
REASON`` once on its standard output, and events of its clients on its standard error. It ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import secrets
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from deploy.camera import rtsp
from deploy.camera.film import FilmError, read_film
from deploy.camera.live import Camera, Viewer
from deploy.camera.rtp import RtpStream
from deploy.camera.rtsp import Refused, Request

#: Timeout stated for every session. A session ends with its RTSP connection, so the timeout is not enforced.
_SESSION_SECONDS = 60
#: Time for a client that does not play to complete its next request.
_IDLE_SECONDS = 60.0
#: Time for a client to read the last answer after an invalid request.
_FAREWELL_SECONDS = 1.0
_MAX_BODY = 65_536
#: Buffer of pictures for a slow client, bytes (Linux doubles it): old pictures would be useless to it.
_SEND_BUFFER = 262_144


class Connection:
    """One client, from its first request to its last; at most one session."""

    def __init__(
        self, cameras: Mapping[str, Camera], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._cameras = cameras
        self._reader, self._writer = reader, writer
        peer = writer.get_extra_info("peername")
        self._client = f"{peer[0]}:{peer[1]}" if peer else "a client"
        self._own_host = str(writer.get_extra_info("sockname")[0])
        self._session = ""
        self._camera: Camera | None = None
        self._viewer: Viewer | None = None
        self._playing = False

    async def serve(self) -> None:
        """Answer requests until the client closes the connection or sends an invalid one."""
        try:
            await self._answer_all()
            self._end_session()
            # Closing the connection with unread data could lose the answer.
            self._writer.write_eof()
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while await self._reader.read(_MAX_BODY):
                    pass
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self._writer.transport.abort()
        finally:
            self._end_session()
            self._writer.close()

    async def _answer_all(self) -> None:
        while True:
            async with asyncio.timeout(None if self._playing else _IDLE_SECONDS):
                first = await self._reader.readexactly(1)
                if first == b"$":  # a report of the client inside the connection; ignored
                    _, high, low = await self._reader.readexactly(3)
                    await self._reader.readexactly(high << 8 | low)
                elif first not in b"\r\n" and not await self._request(first):
                    return

    async def _request(self, first: bytes) -> bool:
        """Read and answer one request; return False if the start of the next one is unknown."""
        sequence = None
        try:
            head = first + await self._reader.readuntil(b"\r\n\r\n")
            request = rtsp.parse(head)
            sequence = request.headers.get("cseq")
            if request.body_bytes > _MAX_BODY:
                raise Refused(413)
            await self._reader.readexactly(request.body_bytes)
        except (Refused, asyncio.LimitOverrunError) as error:
            status = error.status if isinstance(error, Refused) else 400
            self._writer.write(rtsp.answer(status, sequence, {"Connection": "close"}))
            await self._writer.drain()
            return False
        try:
            request.check()
            reply = self._answer(request)
        except Refused as refused:
            reply = rtsp.answer(refused.status, sequence, refused.headers)
        self._writer.write(reply)
        # A client that never reads its answers is not read from either.
        await self._writer.drain()
        return True

    def _answer(self, request: Request) -> bytes:
        sequence = request.headers["cseq"]
        if request.session is not None and request.session != self._session:
            raise Refused(454)
        session = self._session_header()
        match request.method:
            case "OPTIONS":
                return rtsp.answer(200, sequence, {"Public": ", ".join(rtsp.METHODS), **session})
            case "GET_PARAMETER":  # the client's keep-alive
                return rtsp.answer(200, sequence, session)
            case "DESCRIBE":
                camera = self._wanted(request)
                headers = {"Content-Type": "application/sdp", "Content-Base": request.base()}
                return rtsp.answer(200, sequence, headers, rtsp.description(camera.film, camera.name, self._own_host))
            case "SETUP":
                return self._setup(request)
            case "PLAY":
                return self._play(request)
            case _:
                self._check_session(request)
                self._end_session()
                return rtsp.answer(200, sequence)

    def _setup(self, request: Request) -> bytes:
        camera = self._wanted(request)
        channels = request.channels()
        if self._session:  # one camera has one stream, and one connection shows one camera
            raise Refused(455)
        self._session = secrets.token_hex(8)
        self._camera = camera
        stream = RtpStream(*channels)
        self._viewer = Viewer(self._writer.transport, stream, self._client)
        transport = f"RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]};ssrc={stream.source:08X}"
        return rtsp.answer(200, request.headers["cseq"], {"Transport": transport, **self._session_header()})

    def _play(self, request: Request) -> bytes:
        self._check_session(request)
        if self._wanted(request) is not self._camera:
            raise Refused(455)
        request.check_range()
        assert self._camera is not None
        assert self._viewer is not None
        headers = {"Range": "npt=now-", **self._session_header()}
        if not self._playing:
            first, timestamp = self._viewer.stream.sequence, self._camera.next_key_timestamp()
            headers["RTP-Info"] = f"url={request.base()}{rtsp.TRACK};seq={first};rtptime={timestamp}"
            self._playing = True
            self._camera.join(self._viewer)
        return rtsp.answer(200, request.headers["cseq"], headers)

    def _wanted(self, request: Request) -> Camera:
        camera = self._cameras.get(request.camera())
        if camera is None:
            raise Refused(404)
        return camera

    def _check_session(self, request: Request) -> None:
        if not request.session:
            raise Refused(454)

    def _session_header(self) -> dict[str, str]:
        return {"Session": f"{self._session};timeout={_SESSION_SECONDS}"} if self._session else {}

    def _end_session(self) -> None:
        if self._camera is not None and self._viewer is not None:
            self._camera.leave(self._viewer)
        self._camera = self._viewer = None
        self._session = ""
        self._playing = False


async def _serve(listener: socket.socket, cameras: Mapping[str, Camera]) -> None:
    """Serve until SIGTERM."""
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)

    clients: set[asyncio.Task[None]] = set()

    def serve_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Our own task: asyncio logs an error when a stop cancels its tasks.
        task = asyncio.create_task(Connection(cameras, reader, writer).serve())
        clients.add(task)
        task.add_done_callback(clients.discard)

    server = await asyncio.start_server(serve_client, sock=listener, limit=rtsp.MAX_HEAD)
    print("ready", listener.getsockname()[1], flush=True)
    running = [asyncio.create_task(camera.run()) for camera in cameras.values()]
    ended = asyncio.create_task(terminated.wait())
    await asyncio.wait([ended, *running], return_when=asyncio.FIRST_COMPLETED)
    server.close()
    for task in running:
        if task.done():
            task.result()  # a camera never ends by itself: it raises what ended it


def _fail(reason: str) -> NoReturn:
    print("error", " ".join(reason.split()), flush=True)
    sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", type=int, required=True, help="file descriptor of the record of sendings")
    parser.add_argument("cameras", nargs="+", metavar="NAME=FILE")
    arguments = parser.parse_args()
    cameras = {}
    for number, text in enumerate(arguments.cameras):
        name, _, file = text.partition("=")
        try:
            cameras[name] = Camera(name, read_film(Path(file)), number, arguments.record)
        except FilmError as error:
            _fail(f"camera {name}: {file}: {error}")
    try:
        family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
        listener = socket.create_server((arguments.host, arguments.port), family=family)
    except OSError as error:
        reason = "the port is taken" if error.errno == errno.EADDRINUSE else "cannot bind"
        _fail(f"{arguments.host}:{arguments.port}: {reason} ({error.strerror})")
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)  # its connections inherit it
    asyncio.run(_serve(listener, cameras))


if __name__ == "__main__":
    main()
