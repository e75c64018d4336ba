"""What a server compressed on its way, undone a bounded piece at a time."""

from __future__ import annotations

import zlib
from typing import Any

GZIP_OR_ZLIB = 47  # of zlib: the largest window, and a header of either kind
RAW_DEFLATE = -15


class EncodingError(ValueError):
    """A body is not in the encoding that its server named, or that is one nobody asked for."""


class Decoder:
    """Undoes one Content-Encoding: none, gzip or deflate.

    None is asked for, as pictures are compressed already; some servers compress all the same. Others than these two
    are refused: their decoders make gigabytes of a kilobyte in one call, before anybody can count.

    Args:
        encoding: as the server names it; several are refused.

    Raises:
        EncodingError: it is not one of these.
    """

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding.strip().lower()
        if self.encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise EncodingError(f"Content-Encoding is {self.encoding[:40]!a}, which was not asked for")
        self._inflate: Any = None

    def decode(self, piece: bytes, limit: int) -> bytes:
        """The next bytes of the body, at most ``limit`` of them, which is at least 1; what is beyond is given up.

        Raises:
            EncodingError: they are not so encoded.
        """
        if self.encoding in ("", "identity"):
            return piece[:limit]
        if not piece:
            return b""
        try:
            return self._decompressed(piece, limit)
        except zlib.error as error:
            raise EncodingError(f"not {self.encoding}: {error}") from error

    def _decompressed(self, piece: bytes, limit: int) -> bytes:
        if self._inflate is None:
            # "deflate" should have zlib's header; servers that leave it out are as old as the web
            has_header = self.encoding != "deflate" or piece[0] & 0x0F == 8
            self._inflate = zlib.decompressobj(GZIP_OR_ZLIB if has_header else RAW_DEFLATE)
        return self._inflate.decompress(piece, limit)

    def finish(self) -> None:
        """Called behind the last piece.

        Raises:
            EncodingError: the compressed stream has no end: it was cut short.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise EncodingError(f"the {self.encoding} stream is cut short")
