"""An S3 server for tests, over real HTTP, and servers that fail like one."""

from __future__ import annotations

import http.server
import logging
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from moto.server import ThreadedMotoServer

from pipeline.alerts.object_store import ObjectStore, StoreAddress

BUCKET = "evidence"
_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) /")
ACCESS_KEY, SECRET_KEY = "AKIDTESTTEST", "hush-hush-secret"


@contextmanager
def serving_s3() -> Iterator[str]:
    """Serve S3 with an empty bucket; gives the endpoint."""
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )
        for one in client.list_buckets()["Buckets"]:  # moto's memory is the process's
            for item in client.list_objects_v2(Bucket=one["Name"]).get("Contents", []):
                client.delete_object(Bucket=one["Name"], Key=item["Key"])
            client.delete_bucket(Bucket=one["Name"])
        client.create_bucket(Bucket=BUCKET)
        yield endpoint
    finally:
        server.stop()


def store_at(endpoint: str, bucket: str = BUCKET, **more: float) -> ObjectStore:
    """Return a client; its credentials are in the environment."""
    return ObjectStore(StoreAddress(f"s3://{bucket}/site", endpoint), **more)


def refusing_s3(status: int, code: str) -> AbstractContextManager[str]:
    """Serve an S3 that answers everything with an error, which repeats the access key as AWS does."""
    return answering_s3(status, f"<Error><Code>{code}</Code><AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId></Error>")


@contextmanager
def answering_s3(status: int, text: str, headers: list[dict[str, str]] | None = None) -> Iterator[str]:
    """Serve an S3 that answers everything alike, and appends the headers of each request to a list."""
    body = text.encode()

    class Answering(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            if headers is not None:
                headers.append(dict(self.headers))
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        do_GET = do_PUT = do_DELETE = do_POST = _answer  # noqa: N815  (names of the base class)

        def log_message(self, *_arguments: object) -> None:
            pass

    with _serving(Answering) as endpoint:
        yield endpoint


@contextmanager
def _serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Taking:
    """An S3 that takes objects, in parts or whole, and forgets them.

    Args:
        part_seconds: it answers a part after so long.

    Attributes:
        most_parts: so many parts were on their way at a time.
        has_begun: a part has begun to come.
    """

    def __init__(self, part_seconds: float = 0.0) -> None:
        self._part_seconds = part_seconds
        self._lock = threading.Lock()
        self._parts = 0
        self.most_parts = 0
        self.has_begun = threading.Event()

    @contextmanager
    def serving(self) -> Iterator[str]:
        taking = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                kind = "Initiate" if self.path.endswith(("uploads", "uploads=")) else "Complete"
                more = "<UploadId>1</UploadId>" if kind == "Initiate" else "<ETag>1</ETag>"
                name = f"{kind}MultipartUploadResult"
                self._answer(f"<{name}><Bucket>b</Bucket><Key>k</Key><Location>l</Location>{more}</{name}>".encode())

            def do_PUT(self) -> None:
                with taking._lock:
                    taking._parts += 1
                    taking.most_parts = max(taking.most_parts, taking._parts)
                taking.has_begun.set()
                try:
                    with suppress(OSError):
                        self.rfile.read(int(self.headers["content-length"]))
                        time.sleep(taking._part_seconds)
                finally:  # before the answer, after which the next part may come
                    with taking._lock:
                        taking._parts -= 1
                with suppress(OSError):
                    self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("etag", '"1"')
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        with _serving(Handler) as endpoint:
            yield endpoint


@contextmanager
def silent_s3() -> Iterator[str]:
    """Listen and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class Passing:
    """Passes bytes on between clients and a server, until it is cut off: then connections break and none is taken.

    Args:
        behind: endpoint of the server.
        most_sent: a connection breaks when its client has sent so many bytes; None: it does not.
        refuses: requests of this method get 403, with an answer that repeats the access key.

    Attributes:
        methods: number of requests by method.
    """

    def __init__(self, behind: str, *, most_sent: int | None = None, refuses: str | None = None) -> None:
        self._behind = int(behind.rpartition(":")[2])
        self._most_sent, self._refuses = most_sent, refuses
        self.methods: Counter[str] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Passing:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        for each in self._threads:
            each.join(10)

    def cut(self) -> None:
        """Break off, as a server that dies."""
        for each in [self._listener, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._behind))
            except OSError:
                return
            self._open += [client, server]
            for source, target, most in ((client, server, self._most_sent), (server, client, None)):
                thread = threading.Thread(target=self._pass, args=(source, target, most), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, target: socket.socket, most: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while content := source.recv(1 << 16):
                passed += len(content)
                if begin := _REQUEST.match(content):
                    self.methods[begin[1].decode()] += 1
                if most is not None and passed > most:
                    break
                if self._refuses is not None and content.startswith(self._refuses.encode()):
                    body = f"<Error><Code>AccessDenied</Code><AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId></Error>"
                    source.sendall(f"HTTP/1.1 403 No\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
                    break
                target.sendall(content)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
