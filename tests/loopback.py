"""A server on this machine that gives one file over https, as servers do and as they should not."""

import shutil
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NO_OPENSSL = shutil.which("openssl") is None
_CERTIFICATE = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"


class Server(ThreadingHTTPServer):
    """What the next answers are: their content, how much of it goes out, whether parts are given, where else to go."""

    content, most, parts, elsewhere = b"", None, True, None

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str | None] = []  # the ranges

    @property
    def port(self) -> int:
        return self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers["Range"]
        self.server.asked.append(wanted)
        if self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere)
            self.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.parts else 0
        content = self.server.content
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.most])

    def log_message(self, *_):
        pass


def certificate(folder):
    """A key and a certificate for 127.0.0.1 in one file, made by openssl."""
    key, made = folder / "key.pem", folder / "certificate.pem"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    subprocess.run(["openssl", *_CERTIFICATE.split(), *names], check=True, capture_output=True)
    made.write_bytes(made.read_bytes() + key.read_bytes())
    return made


@contextmanager
def serving(secured_by=None):
    """A server in a thread; over https with a certificate."""
    server = Server()
    if secured_by:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(secured_by)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
