"""RTSP cameras that misbehave on command, in a process of their own: ``faulty_camera_main.py NAME=PORT…``.

Each camera plays blinking films in real time, over TCP or UDP, in its own time: a client joins where the camera is.
Commands are JSON lines on standard input: ``{"camera": NAME, KEY: VALUE…}``; the keys are the fields of `Steering`,
and ``reset`` and ``junk``, which act once on every client. Each is answered by the line ``done``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
import re
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from faulty_films import TICKS, Film, Packet, film, payloads


@dataclass
class Steering:
    """The state of one camera.

    Attributes:
        listening: False refuses connections, and closes those that there are.
        silent: connections are accepted and live on, and nothing is ever sent.
        password: None lets everybody in; else of the user ``viewer``.
        film: see `film`.
        loss: share of the packets that are not sent.
        garbage: share of the packets whose payload is random.
        stamps: ``true``, ``still``, ``zero`` (from zero on, as after a reboot), ``back`` (an hour earlier from now on)
            or ``stray`` (one picture is an hour off, then ``true`` again).
    """

    listening: bool = True
    silent: bool = False
    password: str | None = None
    film: str = "h264"
    loss: float = 0.0
    garbage: float = 0.0
    stamps: str = "true"


class Camera:
    """One camera on one port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.steering = Steering()
        self.clients: set[Client] = set()
        self._listener: socket.socket | None = None
        self._stamps_since = time.monotonic()  # when the stamps have begun
        self._stray_due = False
        self.epoch = time.monotonic()
        self.listen()

    def listen(self) -> None:
        """Begin to accept connections."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=16)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                client = Client(self, connection)
                self.clients.add(client)
                threading.Thread(target=client.run, daemon=True).start()

    def steer(self, command: dict[str, Any]) -> None:
        """Obey a command."""
        for key, value in command.items():
            if key == "reset":
                for client in list(self.clients):
                    client.ends = "reset"
            elif key == "junk":
                for client in list(self.clients):
                    client.ends = "junk"
            else:
                if key == "film":
                    film(value)  # made once, before all clients ask for it at the same time
                setattr(self.steering, key, value)
                if key == "stamps":
                    self._stamps_since, self._stray_due = time.monotonic(), value == "stray"
        if self.steering.listening:
            self.listen()
        elif self._listener is not None:
            listener, self._listener = self._listener, None
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            for client in list(self.clients):
                client.hang_up()

    def stamp(self, true: float) -> int:
        """The stamp of a picture that is due at ``true``, seconds of the camera's time."""
        since = self._stamps_since - self.epoch
        match self.steering.stamps:
            case "still":
                true = since
            case "zero":
                true -= since
            case "back":
                true -= 3600
            case "stray" if self._stray_due and true > since:
                self._stray_due = False
                true += 7200
        return round((true + 10_000) * TICKS) if self.steering.stamps != "zero" else round(max(0.0, true) * TICKS)


class Client:
    """One connection to a camera."""

    def __init__(self, camera: Camera, connection: socket.socket) -> None:
        self.camera = camera
        self.ends: str | None = None  #: a fault that is due once
        self._socket = connection
        self._lock = threading.Lock()
        self._udp: tuple[socket.socket, tuple[str, int]] | None = None
        self._channel = 0
        self._playing = False
        self._over = False
        self._resets = False
        self._sequence = random.getrandbits(15)
        self._draw = random.Random(7)

    def hang_up(self) -> None:
        """Close the connection."""
        self._over = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Answer requests until the connection ends."""
        with contextlib.suppress(OSError, ValueError), self._socket.makefile("rb") as stream:
            while first := stream.read(1):
                if first == b"$":
                    stream.read(struct.unpack(">xH", stream.read(3))[0])
                    continue
                lines = [(first + stream.readline()).decode("latin-1").strip()]
                while line := stream.readline().decode("latin-1").strip():
                    lines.append(line)
                while self.camera.steering.silent and not self._over:
                    time.sleep(0.05)
                fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
                if not self._answer(lines[0].split(" ")[0], lines[0].split(" ")[1], fields):
                    break
        if not self._resets:
            self.hang_up()
        self._socket.close()
        if self._udp is not None:
            self._udp[0].close()
        self.camera.clients.discard(self)

    def _answer(self, method: str, url: str, fields: dict[str, str]) -> bool:
        def say(status: str, *headers: str, body: str = "") -> None:
            head = [f"RTSP/1.0 {status}", f"CSeq: {fields.get('cseq', '0')}", "Session: 1", *headers]
            self._send(("\r\n".join([*head, f"Content-Length: {len(body)}"]) + "\r\n\r\n" + body).encode())

        steering = self.camera.steering
        wanted = (
            None if steering.password is None else base64.b64encode(f"viewer:{steering.password}".encode()).decode()
        )
        if method == "OPTIONS":
            say("200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
        elif wanted is not None and fields.get("authorization") != f"Basic {wanted}":
            say("401 Unauthorized", 'WWW-Authenticate: Basic realm="faulty"')
        elif method == "DESCRIBE":
            head = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=faulty\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
            body = head + film(steering.film).description() + "a=control:trackID=0\r\n"
            say("200 OK", "Content-Type: application/sdp", f"Content-Base: {url.rstrip('/')}/", body=body)
        elif method == "SETUP":
            asked = fields.get("transport", "")
            if "TCP" in asked:
                found = re.search(r"interleaved=(\d+)", asked)
                self._channel = int(found[1]) if found else 0
                say("200 OK", f"Transport: RTP/AVP/TCP;unicast;interleaved={self._channel}-{self._channel + 1}")
            elif found := re.search(r"client_port=(\d+)-(\d+)", asked):
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sender.bind(("127.0.0.1", 0))
                self._udp = (sender, ("127.0.0.1", int(found[1])))
                port = sender.getsockname()[1]
                say(
                    "200 OK",
                    f"Transport: RTP/AVP;unicast;client_port={found[1]}-{found[2]};server_port={port}-{port + 1}",
                )
            else:
                say("461 Unsupported Transport")
        elif method == "PLAY":
            say("200 OK", "Range: npt=0.000-")
            if not self._playing:
                self._playing = True
                threading.Thread(target=self._play, daemon=True).start()
        else:
            say("200 OK")
        return method != "TEARDOWN"

    def _play(self) -> None:
        """Send the pictures when they are due; begin with a key picture."""
        camera = self.camera
        playing = film(camera.steering.film)
        begin = self._next_key(playing)
        number = begin
        with contextlib.suppress(OSError):
            while not self._over:
                if (now := film(camera.steering.film)) is not playing:
                    playing = now  # in mid-stream
                    number = self._next_key(playing)
                due = camera.epoch + number / playing.fps
                time.sleep(max(0.0, min(due - time.monotonic(), 0.1)))
                if time.monotonic() < due:
                    continue
                loop, at = divmod(number, len(playing.packets))
                packet = playing.packets[at]
                number += 1
                if camera.steering.silent:
                    continue
                shown = (loop * len(playing.packets) + packet.shown) / playing.fps
                self._send_picture(packet, camera.stamp(shown), playing)
        if not self._resets:
            self.hang_up()

    def _next_key(self, playing: Film) -> int:
        number = int((time.monotonic() - self.camera.epoch) * playing.fps) + 1
        while not playing.packets[number % len(playing.packets)].key:
            number += 1
        return number

    def _send_picture(self, picture: Packet, stamp: int, playing: Film) -> None:
        parts = [part for unit in picture.units for part in payloads(unit, hevc=playing.hevc)]
        steering = self.camera.steering
        for place, payload in enumerate(parts):
            marker = 0x80 if place == len(parts) - 1 else 0
            if self._draw.random() < steering.garbage:
                payload = payload[:1] + self._draw.randbytes(len(payload))
            head = struct.pack(
                ">BBHII", 0x80, marker | playing.payload_type, self._sequence, stamp & 0xFFFFFFFF, 0xFA17
            )
            self._sequence = (self._sequence + 1) & 0xFFFF
            if self._draw.random() < steering.loss:
                continue
            if self._udp is not None:
                self._udp[0].sendto(head + payload, self._udp[1])
                continue
            wire = struct.pack(">cBH", b"$", self._channel, 12 + len(payload)) + head + payload
            if (fault := self.ends) is not None:
                self.ends = None
                self._end(fault, wire)
            self._send(wire)

    def _end(self, fault: str, wire: bytes) -> None:
        """Send half of a packet, and then reset the connection or go on with junk."""
        self._send(wire[: len(wire) // 2])
        if fault == "junk":
            self._send(self._draw.randbytes(5000))
            return
        # A close with a linger of 0 is a reset. The thread that reads does it: a read keeps the socket open.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._over = self._resets = True
        self._socket.shutdown(socket.SHUT_RD)
        raise ConnectionResetError

    def _send(self, data: bytes) -> None:
        with self._lock:
            self._socket.sendall(data)


def main() -> None:
    """Obey until standard input ends."""
    film(Steering.film)
    cameras = {name: Camera(int(port)) for name, _, port in (each.partition("=") for each in sys.argv[1:])}
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        cameras[command.pop("camera")].steer(command)
        print("done", flush=True)


if __name__ == "__main__":
    main()
