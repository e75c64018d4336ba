"""Builds an image store from a source: in parallel, resumable, never twice, bad pictures named and left out."""

from __future__ import annotations

import hashlib
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recbole_pixel.store.build_lock import BuildLock
from recbole_pixel.store.build_report import BuildReport
from recbole_pixel.store.durable import ready_to_replace
from recbole_pixel.store.errors import StoreError
from recbole_pixel.store.fit import FITS
from recbole_pixel.store.image_index import FORMAT, MAX_KEY_BYTES, IndexEntry, key_of
from recbole_pixel.store.image_store import ImageStore
from recbole_pixel.store.image_writer import SETTINGS, ImageStoreWriter
from recbole_pixel.store.in_order import in_order
from recbole_pixel.store.picture import decode_image, encode_image
from recbole_pixel.store.source import ImageSource

MAX_SIDE = 4096


def build_image_store(
    source: ImageSource,
    out: str | Path,
    *,
    size: int = 224,
    fit: str = "squash",
    keep_original: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> BuildReport:
    """Builds the image store `out` from `source`; goes on with an interrupted build, does nothing if nothing changed.

    Interrupted in any way, run it again: pictures already in `out`.partial are not decoded again. If the source changed
    since, or since `out` was finished, its pictures are read and compared, and decoded only where they differ.

    Args:
        source: the pictures.
        out: the store to make, `NAME/images.lmdb`; an older store there is replaced when the new one is complete.
        size: side of the stored squares in pixels.
        fit: how other aspect ratios become square, see `decode_image`.
        keep_original: store the files as they are (each still decoded once, to know that it can be).
        workers: threads that decode; one per core by default.
        progress: show a progress bar.

    Raises:
        ValueError: `size`, `fit` or `workers` out of range; no pictures in the source, or none that can be read.
        BlockingIOError: another process is building the same store.
        FileExistsError: `out` exists and is not an image store.
        OSError: the disk is full or cannot be written; what was done is kept.
    """
    check_options(size, fit, workers)
    started = time.monotonic()
    out = Path(out).absolute()
    settings = {
        "source": source.name,
        "size": None if keep_original else size,
        "fit": None if keep_original else fit,
        "keep_original": keep_original,
    }
    with BuildLock(out):
        ready_to_replace(out, FORMAT, SETTINGS)
        report = BuildReport(out, warnings=list(getattr(source, "warnings", ())))
        fingerprint = source.fingerprint()
        if not _is_up_to_date(report, {**settings, "source_fingerprint": fingerprint}):
            with ImageStoreWriter(out, settings) as writer:
                _Builder(source, writer, fingerprint, size, fit, keep_original).run(report, workers, progress)
    report.seconds = time.monotonic() - started
    return report


def check_options(size: int, fit: str, workers: int | None) -> None:
    """Raises ValueError for a side, a fit or a number of threads that no store can be built with."""
    if not 1 <= size <= MAX_SIDE:
        raise ValueError(f"size is {size}, expected 1 to {MAX_SIDE} pixels")
    if fit not in FITS:
        raise ValueError(f"fit is {fit!r}, expected one of {', '.join(FITS)}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")


def _is_up_to_date(report: BuildReport, wanted: dict[str, Any]) -> bool:
    """Fills the report from the finished store if it was made of the same source in the same way."""
    try:
        store = ImageStore(report.path)
    except (FileNotFoundError, StoreError):  # a damaged store is built anew
        return False
    if store.manifest["n_unread"] or any(store.manifest.get(key) != value for key, value in wanted.items()):
        return False
    report.up_to_date, report.n_skipped, report.bad = True, len(store), dict(store.manifest["bad"])
    return True


@dataclass
class _Picture:
    """What became of one token: bytes to store, or a reason why not, or neither if the stored ones still hold."""

    token: str
    data: bytes | None = None
    reason: str | None = None
    is_unread: bool = False
    source_checksum: int = 0


class _Builder:
    """One run over the source: threads prepare pictures, the calling thread alone writes."""

    def __init__(
        self, source: ImageSource, writer: ImageStoreWriter, fingerprint: str, size: int, fit: str, keep: bool
    ) -> None:
        self.source, self.writer, self.fingerprint = source, writer, fingerprint
        self.size, self.fit, self.keep_original = size, fit, keep
        self.stamp = hashlib.sha256(fingerprint.encode("utf-8", "surrogatepass")).digest()[:8]

    def run(self, report: BuildReport, workers: int | None, progress: bool) -> None:
        """Brings the store in line with the source, and says in ``report`` what became of each picture.

        Raises:
            ValueError: the source holds no picture, or none that can be read.
        """
        tokens = self.source.tokens()
        if not tokens:
            raise ValueError(f"no pictures in {self.source.name}; {'; '.join(report.warnings) or 'it is empty'}")
        before = dict(self.writer.known)
        for token in before.keys() - set(tokens):
            self.writer.remove(token)
        todo = [token for token in tokens if token not in before or before[token].source_stamp != self.stamp]
        report.n_skipped = len(tokens) - len(todo)
        with tqdm(
            total=len(tokens), initial=report.n_skipped, unit=" pictures", disable=not progress, desc="images"
        ) as bar:
            for picture in in_order(lambda token: self._prepared(token, before.get(token)), todo, workers):
                self._keep(picture, report)
                bar.update()
        self.writer.commit()
        if not self.writer.known:
            raise ValueError(
                f"none of the {len(tokens)} pictures in {self.source.name} can be read, e.g. "
                + "; ".join(f"{token}: {reason}" for token, reason in list(report.bad.items())[:3])
            )
        if self._has_changed():
            report.warnings.append(
                f"{self.source.name} changed while it was read: run the same build again, which compares every picture"
            )
        self.writer.finish({"source_fingerprint": self.fingerprint, "bad": report.bad, "n_unread": report.n_unread})

    def _has_changed(self) -> bool:
        """Whether the source is another than when the build began; the manifest keeps the state from then."""
        try:
            return self.source.fingerprint() != self.fingerprint
        except OSError:  # it is gone
            return True

    def _prepared(self, token: str, known: IndexEntry | None) -> _Picture:
        """Runs in the threads. Whatever is wrong with one picture is this picture's business only."""
        if key_of(token) is None:
            return _Picture(token, reason=f"its token is empty, not Unicode, or longer than {MAX_KEY_BYTES} bytes")
        try:
            raw = self.source.read(token)
            checksum = zlib.crc32(raw)
            if known is not None and known.source_checksum == checksum:
                return _Picture(token)
            pixels = decode_image(raw, self.size, self.fit)
            return _Picture(token, raw if self.keep_original else encode_image(pixels), source_checksum=checksum)
        except Exception as error:
            # A file that is not there shows in the source's fingerprint when it comes; other failures to read may not.
            is_unread = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
            return _Picture(token, reason=str(error) or type(error).__name__, is_unread=is_unread)

    def _keep(self, picture: _Picture, report: BuildReport) -> None:
        if picture.reason is not None:
            report.bad[picture.token] = picture.reason
            report.n_unread += picture.is_unread
            if picture.token in self.writer.known:
                self.writer.remove(picture.token)
        elif picture.data is None:
            report.n_skipped += 1
            self.writer.confirm(picture.token, self.stamp)
        else:
            report.n_written += 1
            self.writer.add(picture.token, picture.data, picture.source_checksum, self.stamp)
