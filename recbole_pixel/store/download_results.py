"""What is to be fetched into a store, and what becomes of it: the store, the log and the report kept in step."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from tqdm import tqdm

from recbole_pixel.store.download_addresses import host_of, url_refusal
from recbole_pixel.store.download_failures import FailureLog
from recbole_pixel.store.download_form import StoredForm
from recbole_pixel.store.download_items import ItemUrls
from recbole_pixel.store.download_outcome import PERMANENT, Body, Failure, Job, stamp_of
from recbole_pixel.store.download_report import DownloadReport
from recbole_pixel.store.image_index import MAX_KEY_BYTES, key_of
from recbole_pixel.store.image_writer import ImageStoreWriter


class StoreResults:
    """The `Results` of `fetch_all` that fill an image store.

    Args:
        writer: the store, open.
        log: where failures go, open.
        report: where counts go.
        form: how pictures are stored.
        allow_private: whether private addresses may be asked.
        bar: advanced by one for each item.

    Attributes:
        failed: the items that have no picture, those gone for good included.
    """

    def __init__(
        self,
        writer: ImageStoreWriter,
        log: FailureLog,
        report: DownloadReport,
        form: StoredForm,
        allow_private: bool,
        bar: tqdm,
    ) -> None:
        self.writer, self.log, self.report, self.form, self.bar = writer, log, report, form, bar
        self.allow_private = allow_private
        self.failed: set[str] = set()

    def jobs(self, urls: ItemUrls) -> Iterator[Job]:
        """A job for each URL that has to be asked for; what need not be, or must not, is counted on the way."""
        for url, tokens in urls.groups():
            stamp = stamp_of(url)
            missing = [token for token in tokens if not self._is_stored(token, stamp)]
            self.report.n_present += len(tokens) - len(missing)
            self.bar.update(len(tokens) - len(missing))
            wanted = [token for token in missing if not self._is_refused(token, url)]
            refusal = url_refusal(url, self.allow_private) if wanted else None
            if refusal is not None:
                self.fail(Job(url, wanted), refusal)
            elif wanted:
                yield Job(url, wanted)

    def prepare(self, body: Body) -> bytes | Failure:
        """The picture to store, or why there is none."""
        return self.form.picture(body)

    def store(self, job: Job, body: Body, picture: bytes) -> None:
        """Puts the picture of each item of the job into the store."""
        checksum, stamp = zlib.crc32(body.data), stamp_of(job.url)
        for token in job.tokens:
            self.writer.add(token, picture, checksum, stamp)

    def stored(self, job: Job, body: Body) -> None:
        """Counts pictures that are in the store."""
        self.report.n_written += len(job.tokens)
        self.report.n_bytes += len(body.data)
        self.bar.update(len(job.tokens))

    def fail(self, job: Job, failure: Failure) -> None:
        """Counts and logs a failure."""
        self.report.add_failure(job, failure)
        self.log.add(job, failure)
        self.failed.update(job.tokens)
        self.bar.set_postfix(failed=self.report.n_failed.total(), refresh=False)
        self.bar.update(len(job.tokens))

    def leave(self, job: Job) -> None:
        """Counts items that were not asked for."""
        self.report.not_asked[host_of(job.asked)] += len(job.tokens)
        self.bar.update(len(job.tokens))

    def _is_stored(self, token: str, stamp: bytes) -> bool:
        entry = self.writer.known.get(token)
        return entry is not None and entry.source_stamp == stamp

    def _is_refused(self, token: str, url: str) -> bool:
        """Counts an item that is not asked for: gone for good, or with a token that no store can have."""
        gone_url, reason = self.log.permanent.get(token, ("", ""))
        if gone_url == url:
            self.report.add_failure(Job(url, [token]), Failure(reason, "found by an earlier run"))
            self.report.n_permanent += 1
            self.failed.add(token)
            self.bar.update()
            return True
        if key_of(token) is None:
            self.fail(Job(url, [token]), Failure("item_token", f"longer than {MAX_KEY_BYTES} bytes"))
            return True
        return False

    def facts(self, fingerprint: str) -> dict[str, object]:
        """What the store's manifest says of the download."""
        n_gone = sum(n for reason, n in self.report.n_failed.items() if reason in PERMANENT)
        return {
            "source_fingerprint": fingerprint,
            "bad": {},  # possibly millions: they are in the log
            "n_failed": dict(self.report.n_failed),
            "n_unread": self.report.n_failed.total() - n_gone + self.report.not_asked.total(),
        }
