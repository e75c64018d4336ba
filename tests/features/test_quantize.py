"""Semantic ids: nearest centroids of what the levels before left, the same ones again for the same seed."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from recbole_pixel.features.kmeans import centroids, nearest
from recbole_pixel.features.quantize import Quantised, codebooks_path, codes_path, n_colliding, quantize
from recbole_pixel.features.writing import write_features
from recbole_pixel.store import MEAN_TOKEN, ArrayStore

N_ITEMS, WIDTH = 300, 8


def stored(path: Path, vectors: np.ndarray) -> ArrayStore:
    tokens = [f"i{n}" for n in range(len(vectors))]
    return write_features(
        path, tokens, vectors.shape[1:], "float32", {"kind": "features"}, lambda start: iter([vectors[start:]]),
        progress=False,
    )  # fmt: skip


@pytest.fixture
def vectors() -> np.ndarray:
    """Vectors in 16 groups, far from zero, as features are."""
    rng = np.random.default_rng(0)
    return (5 + 3 * rng.normal(size=(16, WIDTH))[np.arange(N_ITEMS) % 16] + rng.normal(size=(N_ITEMS, WIDTH))).astype(
        np.float32
    )


@pytest.fixture
def features(tmp_path, vectors) -> ArrayStore:
    return stored(tmp_path / "f.array", vectors)


def made(features: ArrayStore, name: str = "c.array", **own) -> Quantised:
    return quantize(
        features, features.path.parent / name, **{"n_levels": 3, "n_codes": 16, "backend": "sklearn", **own}
    )


def all_codes(result: Quantised) -> np.ndarray:
    return result.codes.gather(result.codes.positions([f"i{n}" for n in range(N_ITEMS)]))


def test_every_code_is_the_nearest_centroid_of_what_is_left(features, vectors):
    result = made(features)
    codes, tables = all_codes(result), result.codebooks.gather(np.arange(3))
    assert (codes.dtype, codes.shape, tables.dtype, tables.shape) == (np.int32, (300, 3), np.float32, (3, 16, 8))
    left = vectors.astype(np.float64)
    variance = ((left - left.mean(axis=0)) ** 2).sum(axis=1).mean()
    for level, report in enumerate(result.levels):
        distances = ((left[:, None] - tables[level]) ** 2).sum(axis=2)
        assert np.array_equal(codes[:, level], distances.argmin(axis=1))
        left -= tables[level][codes[:, level]]
        assert report.distortion == pytest.approx((left**2).sum(axis=1).mean() / variance, rel=1e-4)
        shares = np.bincount(codes[:, level], minlength=16) / N_ITEMS
        entropy = -sum(share * np.log(share) for share in shares if share)
        assert (report.n_used, report.perplexity) == ((shares > 0).sum(), pytest.approx(np.exp(entropy)))


def test_main_directions_spread_the_codes_and_the_nearest_centroid_stays_the_nearest(tmp_path):
    """Noise in many directions, where k-means on all of them gives single vectors a cluster each."""
    rng = np.random.default_rng(0)
    wide = (3 + rng.normal(size=(N_ITEMS, 60)) * np.linspace(3, 1, 60)).astype(np.float32)
    features = stored(tmp_path / "w.array", wide)
    few, whole = (made(features, f"{n}.array", n_directions=n, n_codes=48) for n in (6, 0))
    for level in (1, 2):
        assert few.levels[level].perplexity > 2 * whole.levels[level].perplexity
        assert few.levels[level].distortion < few.levels[level - 1].distortion < 1
    left, tables = wide.astype(np.float64), few.codebooks.gather(np.arange(3))
    for level, codes in enumerate(all_codes(few).T):
        assert np.array_equal(codes, ((left[:, None] - tables[level]) ** 2).sum(axis=2).argmin(axis=1))
        left -= tables[level][codes]


def test_every_level_leaves_less(features):
    errors = [level.distortion for level in made(features, n_levels=4).levels]
    assert errors[0] < 0.5  # the groups
    assert all(later < earlier for earlier, later in pairwise(errors))


def test_the_stand_in_has_codes_but_no_say(tmp_path, features, vectors):
    result = made(features)
    lone = made(stored(tmp_path / "g.array", vectors), "lone.array")
    mean, tables = vectors.mean(axis=0, dtype=np.float64), result.codebooks.gather(np.arange(3))
    for level, code in enumerate(result.codes.gather(result.codes.positions([MEAN_TOKEN]))[0]):
        assert code == ((tables[level] - mean) ** 2).sum(axis=1).argmin()
        mean = mean - tables[level][code]
    assert np.array_equal(all_codes(result), all_codes(lone))
    assert np.array_equal(tables[0], centroids(vectors, 16, seed=0, backend="sklearn"))  # of the 300 items only


def test_the_same_seed_gives_the_same_codes(features):
    first, again, other = made(features), made(features, "d.array"), made(features, "e.array", seed=7)
    assert np.array_equal(all_codes(first), all_codes(again))
    assert np.array_equal(first.codebooks.gather(np.arange(3)), again.codebooks.gather(np.arange(3)))
    assert not np.array_equal(all_codes(first), all_codes(other))


def test_large_catalogues_are_clustered_in_mini_batches(features, vectors, monkeypatch):
    whole = made(features).levels[0]
    monkeypatch.setattr("recbole_pixel.features.kmeans.LARGE", 100)
    first, again = made(features, "d.array"), made(features, "e.array")
    assert np.array_equal(all_codes(first), all_codes(again))
    assert first.levels[0].distortion < 1.3 * whole.distortion


def test_faiss_where_it_is_installed(features, vectors):
    pytest.importorskip("faiss", reason="faiss is not installed")
    first, again = made(features, backend="faiss"), made(features, "d.array", backend="auto")
    assert first.codes.provenance["backend"] == again.codes.provenance["backend"] == "faiss"
    assert np.array_equal(all_codes(first), all_codes(again))
    errors = [level.distortion for level in first.levels]
    assert errors[0] < 0.5
    assert all(later < earlier for earlier, later in pairwise(errors))


def test_a_backend_that_is_not_there_says_how_to_get_it(features, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr("recbole_pixel.features.kmeans.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install faiss-cpu"):
        made(features, backend="faiss")
    assert made(features, backend="auto").codes.provenance["backend"] == "sklearn"


def test_like_items_collide(tmp_path, vectors):
    vectors[5] = vectors[9] = vectors[200]
    result = made(stored(tmp_path / "f.array", vectors), n_levels=4, n_codes=64)
    codes = all_codes(result)
    assert np.array_equal(codes[5], codes[9])
    assert np.array_equal(codes[5], codes[200])
    rows = [tuple(row) for row in codes.tolist()]
    assert result.n_colliding == sum(rows.count(row) > 1 for row in rows) >= 3
    assert n_colliding(np.array([[1, 2], [1, 3], [1, 2], [0, 0], [1, 2]])) == 3


def test_a_second_run_does_nothing_and_new_features_are_quantised_anew(tmp_path, features, vectors, monkeypatch):
    first = made(features)
    with monkeypatch.context() as patch:
        patch.setattr("recbole_pixel.features.quantize.centroids", None)
        second = made(features)
    assert (second.levels, second.n_colliding) == ((), first.n_colliding)
    assert second.codes.fingerprint == first.codes.fingerprint
    assert first.codes.provenance["features"] == features.fingerprint
    with pytest.raises(FileExistsError, match=r"made otherwise: levels 3 \(wanted: 2\)"):
        made(features, n_levels=2)
    other = stored(tmp_path / "g.array", vectors[::-1].copy())
    assert made(other).codes.provenance["features"] == other.fingerprint


def test_codes_without_their_codebooks_are_made_again(features):
    import shutil

    first = made(features)
    shutil.rmtree(codebooks_path(first.codes.path))
    assert len(made(features).levels) == 3
    assert ArrayStore(codebooks_path(first.codes.path)).fingerprint == first.codebooks.fingerprint


def test_places_by_default_are_beside_the_features():
    codes = codes_path(Path("x/r50-pooled.array"), 5, 512)
    assert codes == Path("x/r50-pooled-codes-5x512.array")
    assert codebooks_path(codes) == Path("x/r50-pooled-codes-5x512-codebooks.array")


def test_what_cannot_be_quantised_says_why(tmp_path, features):
    with pytest.raises(ValueError, match="3 levels of 301 codes for 300 items"):
        made(features, n_codes=301)
    maps = stored(tmp_path / "m.array", np.zeros((4, 2, 3), np.float32))
    with pytest.raises(ValueError, match="semantic ids are made of vectors"):
        made(maps)
    with pytest.raises(ValueError, match="semantic ids are made of vectors"):
        made(made(features).codes)


def test_small_differences_of_large_numbers_are_seen():
    table = np.array([[10_000.0], [10_000.5], [10_001.0]], np.float32)
    assert nearest(np.array([[10_000.3], [10_000.2], [10_000.9]], np.float32), table).tolist() == [1, 0, 2]
