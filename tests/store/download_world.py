"""A dataset whose pictures are on a local server, and how to fetch them quickly."""

from __future__ import annotations

import json
from pathlib import Path

from picture_server import Answer, PictureServer, picture
from store_world import plain, shade

from recbole_pixel.store import ImageStore
from recbole_pixel.store.download import download_images
from recbole_pixel.store.download_options import DownloadOptions
from recbole_pixel.store.download_report import DownloadReport

QUICK = {
    "rate": 1000.0, "backoff": 0.02, "retries": 2, "max_bytes": 1 << 20,
    "allow_private_hosts": True,
}  # fmt: skip


class Shop:
    """The dataset `shop` in `folder`, and its pictures on `server`."""

    def __init__(self, folder: Path, server: PictureServer) -> None:
        self.server = server
        self.items = folder / "shop" / "shop.item"
        self.items.parent.mkdir()
        self.path = self.items.parent / "images.lmdb"
        self.failures = self.items.parent / "images.lmdb.failures.jsonl"
        self.urls: dict[str, str] = {}

    def add(self, token: str, answer: Answer) -> None:
        """An item whose URL is answered so."""
        self.urls[token] = self.server.add(f"/{token}", answer)

    def add_pictures(self, n: int, after: float = 0.0) -> dict[str, bytes]:
        """Items `i0`, `i1`, ... with sound pictures; the files."""
        files = {f"i{i}": plain(shade(i)) for i in range(n)}
        for token, data in files.items():
            self.add(token, picture(data, after))
        return files

    def write(self) -> None:
        """The `.item` file."""
        rows = [f"{token}\tA title\t{url}\n" for token, url in self.urls.items()]
        self.items.write_text("item_id:token\ttitle:token_seq\timage_url:token\n" + "".join(rows))

    def fetch(self, retry_failed: bool = False, prune: bool = False, **options: object) -> DownloadReport:
        """Writes the table and fetches."""
        self.write()
        form = {name: options.pop(name) for name in ("size", "fit", "keep_original") if name in options}
        form.setdefault("size", 16)
        how = DownloadOptions(**{**QUICK, **options})
        return download_images(
            self.items,
            self.path,
            options=how,
            retry_failed=retry_failed,
            prune=prune,
            progress=False,
            workers=1,
            **form,
        )

    def store(self) -> ImageStore:
        return ImageStore(self.path)

    def logged(self) -> dict[str, str]:
        """Item -> reason, as the file of failures has it."""
        if not self.failures.exists():
            return {}
        lines = [json.loads(line) for line in self.failures.read_text().splitlines()]
        assert len({line["item"] for line in lines}) == len(lines)
        return {line["item"]: line["reason"] for line in lines}
