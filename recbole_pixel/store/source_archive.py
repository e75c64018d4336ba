"""Pictures in ZIP and TAR archives, read in place: nothing is unpacked to the disk, so no member can land anywhere."""

from __future__ import annotations

import io
import lzma
import os
import struct
import tarfile
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.picture import MAX_BYTES
from recbole_pixel.store.picture_names import tokens_of

AHEAD = 512
MAX_HEADER = 1 << 20
MAX_RATIO = 100  # pictures are compressed already: an archive of them grows by a few per cent
MAX_SMALL = 1 << 30


def _check_size(n_bytes: int) -> None:
    if n_bytes > MAX_BYTES:
        raise PictureError(f"{n_bytes:,} bytes, more than {MAX_BYTES:,}")


class _ArchiveSource:
    """What both kinds have in common: one file, whose name, size and time of change are its fingerprint."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = str(self.path.resolve())
        self.warnings: list[str] = []
        self._members: dict[str, str] = {}

    def tokens(self) -> list[str]:
        """The item tokens, in the order of the archive."""
        return list(self._members)

    def fingerprint(self) -> str:
        """The archive's name, size and time of change."""
        status = self.path.stat()
        return f"{self.path.name} {status.st_size} {status.st_mtime_ns}"


class ZipSource(_ArchiveSource):
    """Pictures in a ZIP archive; item `i17` is the member `covers/i17.jpg`, in whatever folder.

    Raises:
        ValueError: not a ZIP archive, or a damaged one.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, struct.error, OverflowError) as error:
            raise ValueError(f"{self.path} is not a complete ZIP archive ({error}); download it again") from error
        members = [info.filename for info in self._zip.infolist()]
        self._members, self.warnings = tokens_of(name for name in members if name and not name.endswith("/"))
        if "" in members:
            self.warnings.append(f"{members.count('')} members without a name left out")

    def read(self, token: str) -> bytes:
        """The bytes of the item's member; checked against the archive's own checksum."""
        info = self._zip.getinfo(self._members[token])
        _check_size(info.file_size)
        return self._zip.read(info)


class _CheckedHeader(tarfile.TarInfo):
    """A header of a member; tarfile reads long names and PAX records whole, whatever size they claim."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _CheckedHeader:
        """As tarfile's.

        Raises:
            ValueError: the member is a name or a record of more than a mebibyte.
        """
        header = super().frombuf(buf, encoding, errors)
        if header.type in _NAMES_AND_RECORDS and header.size > MAX_HEADER:
            raise ValueError(f"a record of {header.size:,} bytes about a member, more than {MAX_HEADER:,}")
        return header


_NAMES_AND_RECORDS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


class TarSource(_ArchiveSource):
    """Pictures in a TAR archive: plain, or compressed by gzip, bzip2 or xz.

    A plain archive is read at random. A compressed one can only be read from its beginning: it is decompressed once to
    list it and once more to read it, as long as the pictures are asked for roughly in order. Links, devices and the
    like are left out, with a warning.

    Raises:
        ValueError: not a TAR archive, one that is cut short, or one that grows a hundredfold.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._places: dict[str, tuple[int, int]] = {}
        others: list[str] = []
        try:
            with tarfile.open(self.path, "r:*", tarinfo=_CheckedHeader) as archive:
                self._is_plain = isinstance(archive.fileobj, io.BufferedReader)
                for member in archive:
                    self._check_growth(member)
                    if member.isreg() and not member.issparse():
                        self._places.setdefault(member.name, (member.offset_data, member.size))
                    elif not member.isdir():
                        others.append(member.name)
        except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise ValueError(f"{self.path} is not a complete TAR archive ({error}); download it again") from error
        self._members, self.warnings = tokens_of(self._places)
        if others:
            self.warnings.append(f"{len(others)} members left out, no files of their own, e.g. {', '.join(others[:3])}")
        self._handle = open(self.path, "rb")  # noqa: SIM115 - lives as long as the source
        self._guard = threading.Lock()
        self._stream: Iterator[tuple[str, bytes]] = iter(())
        self._ahead: OrderedDict[str, bytes] = OrderedDict()

    def _check_growth(self, member: tarfile.TarInfo) -> None:
        """Raises ValueError before tarfile decompresses its way over a member that no archive of pictures has."""
        size = self.path.stat().st_size
        end = member.offset_data + member.size
        if not self._is_plain and end > max(MAX_SMALL, MAX_RATIO * size):
            raise ValueError(f"it claims {end:,} bytes in a file of {size:,}: an archive bomb?")

    def read(self, token: str) -> bytes:
        """The bytes of the item's member."""
        name = self._members[token]
        offset, n_bytes = self._places[name]
        _check_size(n_bytes)
        if self._is_plain:
            data = os.pread(self._handle.fileno(), n_bytes, offset)
        else:
            with self._guard:
                data = self._from_stream(name)
        if len(data) != n_bytes:
            raise PictureError(f"the archive holds {len(data):,} of its {n_bytes:,} bytes")
        return data

    def _from_stream(self, name: str) -> bytes:
        """Reads on to member `name`, keeping the last few passed by for other threads; starts again if it is gone."""
        if name in self._ahead:
            return self._ahead.pop(name)
        for _ in range(2):
            for passed, data in self._stream:
                if passed == name:
                    return data
                self._ahead[passed] = data
                if len(self._ahead) > AHEAD:
                    self._ahead.popitem(last=False)
            self._stream = self._members_in_order()
        raise PictureError(f"the archive has no member {name!r} any more")

    def _members_in_order(self) -> Iterator[tuple[str, bytes]]:
        wanted = set(self._members.values())
        with tarfile.open(self.path, "r|*", tarinfo=_CheckedHeader) as archive:
            for member in archive:
                if member.name in wanted and member.isreg() and member.size <= MAX_BYTES:
                    wanted.discard(member.name)
                    stream = archive.extractfile(member)
                    yield member.name, stream.read() if stream else b""
