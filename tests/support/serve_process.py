"""`facelake serve` as a process of its own, and requests to it over loopback."""

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

BOUNDARY = "b0undary"


class Server:
    """A running server.

    Args:
        process: of the command.
        address: host and port.
        token: that it printed.
    """

    def __init__(self, process, address, token):
        self.process, self.address, self.token = process, address, token

    def ask(self, method, path, body=None, made=None, **headers):
        """Return status, headers and body; on the connection `made` if there is one."""
        sent = {"Authorization": f"Bearer {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = made or http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request(
                method, path, body, {k: v for k, v in sent.items() if v is not None},
                encode_chunked=body is not None and not isinstance(body, bytes),
            )  # fmt: skip
            got = connection.getresponse()
            text = got.read()
        finally:
            if made is None:
                connection.close()
        kind = got.headers.get("content-type", "")
        return got.status, got.headers, json.loads(text) if "json" in kind else text.decode()

    def recognise(self, photo, made=None, **headers):
        return self.ask("POST", "/v1/recognise", photo, made, Content_Type="image/jpeg", **headers)

    def verify(self, a, b):
        kind, body = multipart(("a", a), ("b", b))
        return self.ask("POST", "/v1/verify", body, Content_Type=kind)


def multipart(*files):
    """Return content type and body of a form with files."""
    body = b""
    for name, data in files:
        about = f'Content-Disposition: form-data; name="{name}"; filename="x"'
        body += f"--{BOUNDARY}\r\n{about}\r\n\r\n".encode() + data + b"\r\n"
    return f"multipart/form-data; boundary={BOUNDARY}", body + f"--{BOUNDARY}--\r\n".encode()


@contextmanager
def running(model, *options):
    """Give the server of a model once it is ready; the process is ended afterwards."""
    command = [sys.executable, "-m", "pipeline.commands.main", "serve", "--model", str(model)]
    process = subprocess.Popen(
        [*command, *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        said = [process.stdout.readline() for _ in range(2)]
        if not said[0]:
            raise RuntimeError(process.stderr.read())
        url = urlsplit(re.search(r"http://\S+", said[0])[0])
        server = Server(process, (url.hostname, url.port), said[1].split()[-1])
        server.errors = []
        reader = threading.Thread(target=lambda: server.errors.extend(process.stderr), daemon=True)
        reader.start()
        deadline = time.monotonic() + 120
        while server.ask("GET", "/v1/health", Authorization=None)[0] != 200:
            assert process.poll() is None, server.errors
            assert time.monotonic() < deadline, "the server does not become ready"
            time.sleep(0.1)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        reader.join()
        process.stderr.close()
