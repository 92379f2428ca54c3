"""The server's HTTP parser with a limit it lacks: how long a request's head may be."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
"""Request line and headers together; an access token is up to 24,576 characters of it."""

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)
_BODY = (
    b'{"error":{"message":"the request line and headers are longer than 65536 bytes",'
    b'"type":"invalid_request_error","param":null,"code":"head_too_large"}}'
)


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection that sends much without a request or a part of a body coming of it.

    That is a head without end, or trailers, which uvicorn would gather in memory before anybody is
    asked for credentials.
    """

    _gathered = 0

    def data_received(self, data: bytes) -> None:
        """Parse what came; what came at once, up to some 256 kB, is parsed as a whole."""
        if self.transport.is_closing():
            return
        self._gathered += len(data)
        super().data_received(data)
        if self._gathered > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LONG % (len(_BODY), _BODY))
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._gathered = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._gathered = 0
        super().on_message_complete()
