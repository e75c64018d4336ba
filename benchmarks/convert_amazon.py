"""Claim: five million Amazon reviews convert in under two minutes and in under two gigabytes.

Makes a gzipped file of reviews as the 2018 edition publishes them (long-tailed items, texts of the usual length) and
the metadata of its items, and converts both, 5-core included, in a process of its own. Beside it, the least that one
would write by hand: gzip, json, pandas, sorted and saved, without a core and without the items. Seconds are the wall's,
`cpu_seconds` those of all threads: a busy machine shows in their difference. Memory is each process's peak.

    python benchmarks/convert_amazon.py [--quick] [--reviews 5000000] [--folder DIR] [--by-hand]
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from pathlib import Path

from side_by_side import claim, common_options, in_fresh_process

N_REVIEWS, N_QUICK = 5_000_000, 200_000
REVIEWS_PER_USER, REVIEWS_PER_ITEM = 8, 25
SECONDS, GIBIBYTES = 120, 2

WORDS = (
    "great",
    "strings",
    "for",
    "the",
    "price",
    "sound",
    "good",
    "would",
    "buy",
    "again",
    "my",
    "son",
    "loves",
    "it",
)


def make_files(folder: Path, n_reviews: int) -> tuple[Path, Path]:
    """Writes reviews of 700 bytes each, of which 450 are text, and a record of 1,000 bytes for each item."""
    import numpy as np

    rng = np.random.default_rng(0)
    n_users, n_items = n_reviews // REVIEWS_PER_USER, n_reviews // REVIEWS_PER_ITEM
    texts = [" ".join(rng.choice(WORDS, 95)) for _ in range(5_000)]
    reviews, meta = folder / "reviews.json.gz", folder / "meta.json.gz"
    with gzip.open(reviews, "wb", compresslevel=3) as stream:
        for start in range(0, n_reviews, 100_000):
            n = min(100_000, n_reviews - start)
            columns = [
                rng.integers(1, 6, n),
                (n_users * rng.power(0.7, n)).astype(int),
                (n_items * rng.power(0.4, n)).astype(int),
                rng.integers(1_100_000_000, 1_530_000_000, n),
                rng.integers(0, len(texts), n),
            ]
            lines = (_review(*row, texts) for row in zip(*map(list, columns), strict=True))
            stream.write("".join(lines).encode())
    with gzip.open(meta, "wt", compresslevel=3) as lines_out:
        for item in range(n_items):
            lines_out.write(json.dumps(_item(item, texts)) + "\n")
    return reviews, meta


def _review(rating: int, user: int, item: int, at: int, text: int, texts: list[str]) -> str:
    return (
        f'{{"overall": {rating}.0, "vote": "2", "verified": true, "reviewTime": "06 17, 2018", '
        f'"reviewerID": "A{user:013d}", "asin": "B{item:09d}", "style": {{"Color:": " Black"}}, '
        f'"reviewerName": "john \\"jo\\" stoiber", "reviewText": "{texts[text]}", "summary": "Five Stars", '
        f'"unixReviewTime": {at}}}\n'
    )


def _item(item: int, texts: list[str]) -> dict[str, object]:
    return {
        "category": ["Musical Instruments", "Guitars &amp; Strings", f"Kind {item % 300}"],
        "title": f"Strings {item}, Set of {item % 7}",
        "brand": f"Brand {item % 5_000}",
        "description": [texts[item % len(texts)]],
        "price": f"${item % 90}.99" if item % 3 else "",
        "asin": f"B{item:09d}",
        "also_view": [f"B{other:09d}" for other in range(item, item + 20)],
        "imageURLHighRes": [f"https://images.example/{item}.jpg"],
    }


def ours(reviews: Path, meta: Path, folder: Path) -> tuple[float, dict[str, float]]:
    """Seconds, imports included, and what was written."""
    began = time.perf_counter()
    from recbole_pixel.convert import Options, RowRules, amazon_source, convert

    with amazon_source(reviews, meta, folder=folder) as source:
        made = convert(source, "synthetic", folder, Options(rules=RowRules(k_core=5)))
    counts = {"rows": made.interactions.n_rows, "users": made.interactions.n_users, "items": len(made.items.tokens)}
    return time.perf_counter() - began, {"cpu_seconds": time.process_time(), **counts}


def by_hand(reviews: Path, folder: Path) -> float:
    """Seconds of reading each line with json, sorting with pandas and saving."""
    began = time.perf_counter()
    import pandas as pd

    with gzip.open(reviews, "rb") as lines:
        records = [json.loads(line) for line in lines]
    frame = pd.DataFrame(records)[["reviewerID", "asin", "unixReviewTime", "overall"]]
    frame.sort_values(["reviewerID", "unixReviewTime"], kind="stable").to_csv(folder / "a.inter", sep="\t", index=False)
    return time.perf_counter() - began


def main() -> None:
    """Prints the claims."""
    parser = common_options(__doc__, rounds=1)
    parser.add_argument("--reviews", type=int, help=f"how many (default {N_REVIEWS:,})")
    parser.add_argument("--by-hand", action="store_true", help="compare at full size too: gigabytes of memory")
    arguments = parser.parse_args()
    n_reviews = arguments.reviews or (N_QUICK if arguments.quick else N_REVIEWS)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        reviews, meta = make_files(folder, n_reviews)
        measured = [in_fresh_process(ours, reviews, meta, folder) for _ in range(arguments.rounds)]
        seconds, peak = min(answer[0] for answer, _ in measured), max(memory for _, memory in measured)
        counts = measured[0][0][1]
        size = {"reviews": n_reviews, "mib_compressed": reviews.stat().st_size / 2**20}
        claim("convert_amazon_seconds", SECONDS / seconds, 1.0, seconds=seconds, **size, **counts)
        claim("convert_amazon_memory", GIBIBYTES * 1024 / peak, 1.0, peak_mib=peak)
        if arguments.quick or arguments.by_hand:
            hand_seconds, hand_peak = in_fresh_process(by_hand, reviews, folder)
            claim("convert_amazon_time_by_hand", hand_seconds / seconds, None, seconds=hand_seconds)
            claim("convert_amazon_memory_by_hand", hand_peak / peak, None, peak_mib=hand_peak)


if __name__ == "__main__":
    main()
