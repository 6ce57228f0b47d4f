"""An S3 server of our own for tests: moto, a process that speaks the protocol and keeps objects in memory.

    with S3Server() as server:
        server.url("vectors")          # s3://vectors?endpoint=http://127.0.0.1:…
        server.environment             # the credentials that it takes

It answers one request after the other, so that a conditional PUT is atomic, as S3's is; moto alone looks first and
writes later. Only the key of :attr:`S3Server.environment` is let in. Needs ``regen[test-all]``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from threading import Lock, Thread
from typing import Any, Final
from urllib.request import Request, urlopen

from regen.errors import MissingExtra

_KEY: Final = "regen-key"
_REGION: Final = "us-east-1"
_DENIED: Final = (
    b"<?xml version='1.0'?><Error><Code>InvalidAccessKeyId</Code>"
    b"<Message>The AWS Access Key Id you provided does not exist in our records.</Message></Error>"
)
_SIGNED: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/")


class S3Server:
    """One running server with no bucket."""

    def __init__(self) -> None:
        if find_spec("moto") is None or find_spec("flask") is None:
            raise MissingExtra("the library 'moto' is not installed", hint="pip install 'regen[test-all]'")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "regen.testing.s3_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> S3Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that hold credentials which the server takes."""
        return {"AWS_ACCESS_KEY_ID": _KEY, "AWS_SECRET_ACCESS_KEY": "regen-secret"}

    def url(self, place: str) -> str:
        """The URL of a store in ``bucket/prefix``."""
        return f"s3://{place}?endpoint={self.endpoint}&region={_REGION}"

    def make_bucket(self, name: str) -> None:
        """Make a bucket, as its owner does before regen comes."""
        head = {"Authorization": f"AWS4-HMAC-SHA256 Credential={_KEY}/20260101/{_REGION}/s3/aws4_request"}
        urlopen(Request(f"{self.endpoint}/{name}", method="PUT", headers=head)).close()  # noqa: S310 - our server

    def stop(self) -> None:
        """End it; what it holds is gone. Idempotent."""
        self._process.terminate()
        self._process.wait(30)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class _Gate:
    """Lets one request in at a time, and only who shows our key."""

    def __init__(self, app: Any) -> None:
        self._app, self._turn = app, Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        signed = _SIGNED.match(environ.get("HTTP_AUTHORIZATION", ""))
        if signed is None or signed[1] != _KEY:
            start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(_DENIED)))])
            return [_DENIED]
        with self._turn:
            return list(self._app(environ, start))


def _serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415 - an extra, like moto

    # A connection is kept open, and no request is logged: a test reads what its own store says.
    handling = type("Quiet", (WSGIRequestHandler,), {"protocol_version": "HTTP/1.1", "log_request": lambda *_: None})
    app = _Gate(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=handling)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # ends with whoever started us, however that ended


if __name__ == "__main__":
    _serve()
