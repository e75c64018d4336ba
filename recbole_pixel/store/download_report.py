"""What a download of pictures did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from recbole_pixel.store.download_outcome import PERMANENT, Failure, Job

N_EXAMPLES = 3


@dataclass
class DownloadReport:
    """What a download did; counts are of items, not of URLs.

    Attributes:
        path: the store.
        failures: the file of JSON lines that names every failure.
        n_items: in the items' table.
        n_without_url: those of them that name no picture.
        n_written: pictures fetched and stored in this run.
        n_present: pictures that were already there.
        n_requests: requests made, retries and redirects included.
        n_bytes: bytes of the pictures as they came.
        n_failed: reason -> items that have no picture for it, those not asked again included.
        n_permanent: items that earlier runs found gone for good, not asked again.
        examples: reason -> a few of its items with URL and detail.
        not_asked: host -> items left for another run since the host did not answer.
        n_orphaned: pictures in the store whose items are not in the table.
        n_pruned: such pictures that were taken out.
        is_up_to_date: nothing was to be done.
        seconds: wall time.
    """

    path: Path
    failures: Path
    n_items: int = 0
    n_without_url: int = 0
    n_written: int = 0
    n_present: int = 0
    n_requests: int = 0
    n_bytes: int = 0
    n_failed: Counter[str] = field(default_factory=Counter)
    n_permanent: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)
    not_asked: Counter[str] = field(default_factory=Counter)
    n_orphaned: int = 0
    n_pruned: int = 0
    is_up_to_date: bool = False
    seconds: float = 0.0

    @property
    def is_fruitless(self) -> bool:
        """Pictures were asked for, or would have been, and none came."""
        n_wanted = self.n_failed.total() - self.n_permanent + self.not_asked.total()
        return n_wanted > 0 and not self.n_written

    def add_failure(self, job: Job, failure: Failure) -> None:
        """Counts a failure for each item of a job."""
        self.n_failed[failure.reason] += len(job.tokens)
        examples = self.examples.setdefault(failure.reason, [])
        examples += [f"{token!r} ({job.url}: {failure.detail})" for token in job.tokens[: N_EXAMPLES - len(examples)]]

    def failure_lines(self) -> list[str]:
        """A line for each reason, the most frequent first, and for each host that did not answer."""
        lines = [
            f"{reason}: {n:,} items, e.g. {'; '.join(self.examples.get(reason, []))}"
            for reason, n in self.n_failed.most_common()
        ]
        return lines + [
            f"{host} does not answer, or refuses: {n:,} items left for another run"
            for host, n in self.not_asked.most_common()
        ]

    def __str__(self) -> str:
        """The report as lines of text."""
        if self.is_up_to_date:
            gone = f"; {self.n_permanent:,} are gone, --retry-failed asks again" if self.n_permanent else ""
            return f"{self.path} is up to date: {self.n_present:,} pictures, nothing to fetch{gone}"
        lines = [
            f"{self.path}: {self.n_written:,} pictures fetched, {self.n_present:,} already there, "
            f"{self.n_failed.total():,} failed, {self.n_without_url:,} items without a URL; "
            f"{self.n_requests:,} requests, {self.n_bytes:,} bytes, {self.seconds:.1f} s"
        ]
        lines += self.failure_lines()
        if self.n_failed:
            gone = ", ".join(sorted(reason for reason in self.n_failed if reason in PERMANENT))
            lines.append(f"each is named in {self.failures}; the same command tries them again")
            lines += [f"{gone} only with --retry-failed"] if gone else []
        if self.n_pruned:
            lines.append(f"{self.n_pruned:,} pictures taken out: their items are no longer in the table")
        elif self.n_orphaned:
            lines.append(f"{self.n_orphaned:,} pictures belong to no item of the table any more; --prune removes them")
        return "\n".join(lines)
