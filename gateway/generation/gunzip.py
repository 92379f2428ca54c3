"""Bodies that a server compresses though it was asked not to."""

import zlib

_PART_BYTES = 65_536
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class Gunzip:
    """Decompresses gzip and zlib bit by bit: a small part may be a large text."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._rest = b""

    def feed(self, part: bytes) -> None:
        """Take what came; the part before was read to its end."""
        self._rest = part

    def more(self) -> bytes:
        """Return some of the text; b"" where more must come first.

        Raises:
            ValueError: It is not compressed that way.
        """
        try:
            text = self._decoder.decompress(self._rest, _PART_BYTES)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        self._rest = self._decoder.unconsumed_tail
        return text
