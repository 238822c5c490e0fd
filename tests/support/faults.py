"""A proxy in front of a server that breaks connections where a test says so.

One request a connection: the proxy asks the server to close after its answer, so the answer's end is the
connection's end. Rules are looked at for each request, oldest first; each is used so many times, then gone.
"""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.support.minio import S3Server

_CHUNK = 64 * 1024
FOREVER = 1 << 30


@dataclass(frozen=True)
class Request:
    """What the client asked for; headers with lower-case names."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def writes(self) -> bool:
        return self.method in ("PUT", "POST")


Matches = Callable[[Request], bool]


def anything(request: Request) -> bool:
    return True


def gets(request: Request) -> bool:
    return request.method == "GET"


def writes(request: Request) -> bool:
    return request.writes


@dataclass
class Rule:
    """What happens to the requests that match; the fields say what of it."""

    matches: Matches = anything
    times: int = 1
    skip: int = 0
    """Let so many of them through first."""
    cut_answer_at: int | None = None
    """Close after so many bytes of the answer (head and body)."""
    cut_request_at: int | None = None
    """Pass so many bytes of the body on to the server, then close both sides."""
    lose_answer: bool = False
    """The server does it all; the client hears nothing."""
    answer: tuple[int, str, bytes] | None = None
    """Status, content type, body: instead of asking the server."""
    before: Callable[[], None] | None = None
    """Called before the request goes on, such as to change the world."""


@dataclass
class FaultProxy:
    """The proxy's address, its rules and what it has seen."""

    endpoint: str
    requests: list[Request] = field(default_factory=list)
    _rules: list[Rule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def heal(self) -> None:
        """No more faults."""
        with self._lock:
            self._rules.clear()

    def refuse(self, matches: Matches = anything, times: int = FOREVER, skip: int = 0) -> None:
        """Close the connection without an answer."""
        self.add(Rule(matches, times, skip, cut_request_at=0))

    def say(self, status: int, code: str, message: str = "", times: int = 1, matches: Matches = anything) -> None:
        """Answer with an S3 error."""
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.add(Rule(matches, times, answer=(status, "application/xml", body)))

    def cut_from_write(self, number: int) -> None:
        """From the write with that number (from 0) on: that one breaks in its body, all later requests are refused.

        What a kill or a lost network in the midst of an upload looks like from the server.
        """
        self.add(Rule(writes, 1, number, cut_request_at=1, before=self.refuse))

    def rule_for(self, request: Request) -> Rule | None:
        with self._lock:
            self.requests.append(request)
            for rule in self._rules:
                if not rule.matches(request):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                rule.times -= 1
                if rule.times == 0:
                    self._rules.remove(rule)
                return rule
        return None


@contextmanager
def run_proxy(server: S3Server, address: str = "127.0.0.1") -> Iterator[FaultProxy]:
    """A proxy at `address` in front of a server that speaks plain HTTP, until the end of the block."""
    host, _, port = server.endpoint.removeprefix("http://").partition(":")
    proxy = FaultProxy("")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), socket.create_connection((host, int(port))) as upstream:
                _pass_on(self.request, upstream, proxy)

    with _Listener((address, 0), Handler) as listener:
        proxy.endpoint = f"http://{address}:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown()
            thread.join()


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


def _pass_on(client: socket.socket, upstream: socket.socket, proxy: FaultProxy) -> None:
    head, body_start = _read_head(client)
    if not head:
        return
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    rule = proxy.rule_for(Request(method, target, headers)) or Rule()
    if rule.before is not None:
        rule.before()
    length = int(headers.get("content-length", "0"))
    if rule.answer is not None:
        _discard(client, length - len(body_start))
        client.sendall(_answer(*rule.answer, with_body=method != "HEAD"))
        return
    if rule.cut_request_at is not None and min(length, rule.cut_request_at) == 0:
        return
    kept = [line for line in lines if not line.lower().startswith("connection:")]
    upstream.sendall("\r\n".join([*kept[:1], "Connection: close", *kept[1:]]).encode("latin-1") + b"\r\n\r\n")
    limit = length if rule.cut_request_at is None else rule.cut_request_at
    _copy_body(client, upstream, body_start, limit)
    if rule.cut_request_at is not None:
        return
    _copy_answer(upstream, client, rule)


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(_CHUNK)
        if not more:
            return b"", b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _copy_body(client: socket.socket, upstream: socket.socket, start: bytes, limit: int) -> None:
    data = start
    while limit > 0:
        upstream.sendall(data[:limit])
        limit -= len(data[:limit])
        if limit > 0:
            data = client.recv(_CHUNK)
            if not data:
                return


def _copy_answer(upstream: socket.socket, client: socket.socket, rule: Rule) -> None:
    left = FOREVER if rule.cut_answer_at is None else rule.cut_answer_at
    while left > 0 and (data := upstream.recv(_CHUNK)):
        if not rule.lose_answer:
            client.sendall(data[:left])
            left -= len(data[:left])


def _discard(client: socket.socket, length: int) -> None:
    while length > 0 and (data := client.recv(min(length, _CHUNK))):
        length -= len(data)


def _answer(status: int, content_type: str, body: bytes, *, with_body: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (body if with_body else b"")
