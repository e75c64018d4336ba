"""Fetches the pictures that a table of items names into an image store: politely, resumable, nothing partial kept."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recbole_pixel.store.build import check_options
from recbole_pixel.store.build_lock import BuildLock
from recbole_pixel.store.download_failures import FailureLog
from recbole_pixel.store.download_form import StoredForm
from recbole_pixel.store.download_items import ItemUrls
from recbole_pixel.store.download_options import DownloadOptions
from recbole_pixel.store.download_report import DownloadReport
from recbole_pixel.store.download_results import StoreResults
from recbole_pixel.store.download_workers import fetch_all
from recbole_pixel.store.durable import beside, ready_to_replace
from recbole_pixel.store.errors import StoreError
from recbole_pixel.store.image_index import FORMAT
from recbole_pixel.store.image_store import ImageStore
from recbole_pixel.store.image_writer import SETTINGS, ImageStoreWriter

FAILURES = ".failures.jsonl"


def download_images(
    items: str | Path,
    out: str | Path,
    *,
    url_column: str = "image_url",
    size: int = 224,
    fit: str = "squash",
    keep_original: bool = False,
    workers: int | None = None,
    options: DownloadOptions | None = None,
    retry_failed: bool = False,
    prune: bool = False,
    progress: bool = True,
) -> DownloadReport:
    """Fetches the pictures of `items` into the store `out`; goes on with an interrupted run.

    A picture is fetched if the store lacks it, or has one of another URL; of items that share a URL, once. What fails
    is named in `out`.failures.jsonl, and tried again by the next run; what was answered by 404 or 410, only with
    `retry_failed`. The store gets its name when all jobs have ended; until then an older one stays as it is.

    Args:
        items: a `.item` file with `item_id:token` and a column of URLs.
        out: the store, `NAME/images.lmdb`.
        url_column: name of the column of URLs.
        size: side of the stored squares in pixels.
        fit: how other aspect ratios become square, see `decode_image`.
        keep_original: store the files as they are (each still decoded once, to know that it can be).
        workers: threads that decode; one per core by default.
        options: how the servers are asked.
        retry_failed: ask again also for what was gone for good.
        prune: take out pictures of items that are not in `items`.
        progress: show a progress bar.

    Raises:
        ValueError: an option out of range, no URL among the items, another kind of store at `out`, or none of the
            pictures could be fetched.
        FileNotFoundError: no `items`.
        BlockingIOError: another process is building the same store.
        FileExistsError: `out` exists and is not an image store.
        OSError: the disk is full or cannot be written; what was done is kept.
    """
    check_options(size, fit, workers)
    options = options or DownloadOptions()
    started, items, out = time.monotonic(), Path(items), Path(out).absolute()
    form, urls = StoredForm(size, fit, keep_original), ItemUrls(items, url_column)
    settings = {"source": f"{url_column} of {items.name}", **form.settings()}
    with BuildLock(out):
        ready_to_replace(out, FORMAT, SETTINGS)
        _refuse_other_settings(out, settings)
        report = DownloadReport(
            out, beside(out, FAILURES), n_items=urls.n_items, n_without_url=urls.n_items - urls.n_with_url
        )
        log = FailureLog(report.failures)
        must_look = prune or (retry_failed and log.permanent)
        if must_look or not _is_up_to_date(report, {**settings, "source_fingerprint": urls.fingerprint()}, log):
            if retry_failed:
                log.permanent = {}
            with _writer(out, settings) as writer, log:
                report.n_orphaned = _orphans(urls, writer, prune)
                report.n_pruned = report.n_orphaned if prune else 0
                bar = tqdm(total=urls.n_with_url, unit=" pictures", disable=not progress, desc="download")
                results = StoreResults(writer, log, report, form, options.allow_private_hosts, bar)
                _fetch(results, urls, options, workers)
    report.seconds = time.monotonic() - started
    return report


def _refuse_other_settings(out: Path, settings: dict[str, Any]) -> None:
    """Raises ValueError if what is at `out`, or half done beside it, was made in another way and would be lost."""
    found: list[tuple[Path, dict[str, Any]]] = []
    partial = beside(out, ".partial")
    with suppress(OSError, ValueError):  # no partial, or a torn one, which the writer discards
        found.append((partial, json.loads((partial / SETTINGS).read_text(encoding="utf-8"))))
    with suppress(FileNotFoundError, StoreError):  # a damaged store is made anew
        found.append((out, ImageStore(out).manifest))
    for path, facts in found:
        other = {key: facts.get(key) for key, value in settings.items() if facts.get(key) != value}
        if other:
            raise ValueError(
                f"{path} was made with {other}, now { ({key: settings[key] for key in other}) } is wanted, which would "
                f"replace it; name another --out, use the settings it was made with, or delete it"
            )


def _is_up_to_date(report: DownloadReport, wanted: dict[str, Any], log: FailureLog) -> bool:
    """Fills the report from the finished store if it was made of the same table and nothing is left to try."""
    try:
        store = ImageStore(report.path)
    except (FileNotFoundError, StoreError):
        return False
    if store.manifest["n_unread"] or any(store.manifest.get(key) != value for key, value in wanted.items()):
        return False
    report.is_up_to_date, report.n_present, report.n_permanent = True, len(store), len(log.permanent)
    return True


@contextmanager
def _writer(out: Path, settings: dict[str, Any]) -> Iterator[ImageStoreWriter]:
    """The store, open for writing; an interrupted one stays beside it, unless there is nothing in it."""
    writer = ImageStoreWriter(out, settings)
    try:
        with writer:
            yield writer
    finally:
        if not writer.known and writer.partial.exists():
            shutil.rmtree(writer.partial)


def _orphans(urls: ItemUrls, writer: ImageStoreWriter, are_removed: bool) -> int:
    """How many pictures belong to no item of the table; takes them out if that is wanted."""
    orphans = set(writer.known)
    if orphans:
        orphans.difference_update(urls.tokens())
    for token in orphans if are_removed else ():
        writer.remove(token)
    return len(orphans)


def _fetch(results: StoreResults, urls: ItemUrls, options: DownloadOptions, workers: int | None) -> None:
    """Fetches what the store lacks, and gives it its name.

    Raises:
        ValueError: there is nothing in it.
    """
    writer, report = results.writer, results.report
    with results.bar:
        report.n_requests = fetch_all(results.jobs(urls), results, options, workers)
    writer.commit()
    results.log.compact(lambda item: item in results.failed)
    if not writer.known:
        raise ValueError(
            f"none of the {urls.n_with_url:,} pictures of {urls.file} could be fetched: "
            f"{'; '.join(report.failure_lines())}; see {report.failures}"
        )
    writer.finish(results.facts(urls.fingerprint()))
