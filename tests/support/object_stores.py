"""An S3 server for tests, over real HTTP, and servers that fail like one."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from pipeline.alerts.object_store import ObjectStore, StoreAddress

BUCKET = "evidence"
ACCESS_KEY, SECRET_KEY = "AKIDTESTTEST", "hush-hush-secret"


@contextmanager
def serving_s3() -> Iterator[str]:
    """Serve S3 with an empty bucket; gives the endpoint."""
    import boto3

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


def store_at(endpoint: str, bucket: str = BUCKET) -> ObjectStore:
    """Return a client; its credentials are in the environment, see :func:`credentials`."""
    return ObjectStore(StoreAddress(f"s3://{bucket}/site", endpoint))


@contextmanager
def refusing_s3(status: int, code: str) -> Iterator[str]:
    """Serve an S3 that answers everything with an error, which repeats the access key as AWS does."""
    body = f"<Error><Code>{code}</Code><AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId></Error>".encode()

    class Refusing(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = do_POST = _answer  # noqa: N815  (names of the base class)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silent_s3() -> Iterator[str]:
    """Listen and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
