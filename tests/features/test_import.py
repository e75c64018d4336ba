"""Feature files of others: every row at its item, or a refusal that says what is wrong."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recbole_pixel.features import json_vectors
from recbole_pixel.features.importing import import_features
from recbole_pixel.features.json_vectors import read_vectors
from recbole_pixel.features.sources import open_features
from recbole_pixel.store import MEAN_TOKEN, ArrayStore

VECTORS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
TOKENS = ["i9", "007", "7", "é", "i1"]


@pytest.fixture
def listed(tmp_path) -> Path:
    path = tmp_path / "tokens.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return path


def saved(folder: Path, array: np.ndarray, name: str = "f.npy") -> Path:
    np.save(folder / name, array)
    return folder / name


def imported(path: Path, *, out: Path | None = None, overwrite: bool = False, **own: Any) -> ArrayStore:
    source = open_features(path, **own)
    return import_features(source, out or path.with_suffix(".array"), overwrite=overwrite, progress=False)[0]


def by_token(store: ArrayStore) -> dict[str, np.ndarray]:
    return dict(zip(store.tokens, store.gather(np.arange(len(store))), strict=True))


def test_rows_of_a_list(tmp_path, listed):
    store = imported(saved(tmp_path, VECTORS), tokens=listed)
    found = by_token(store)
    assert [*found] == [*TOKENS, MEAN_TOKEN]
    assert np.array_equal(store.gather(np.arange(5)), VECTORS)
    assert np.allclose(found[MEAN_TOKEN], VECTORS.mean(axis=0))
    assert store.provenance["source"] == "f.npy"
    assert store.provenance["format"] == "npy"
    assert len(store.provenance["source_sha256"]) == 64


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".inter", ".item"])
def test_rows_of_a_tables_distinct_items(tmp_path, suffix):
    header = "user_id:token\titem_id:token" if suffix in (".inter", ".item") else "user_id\titem_id"
    lines = [header, *(f"u{n}\t{token}" for n, token in enumerate([*TOKENS[:3], *TOKENS, *TOKENS]))]
    table = tmp_path / f"t{suffix}"
    table.write_text("\n".join(lines).replace("\t", "," if suffix == ".csv" else "\t") + "\n", encoding="utf-8")
    found = by_token(imported(saved(tmp_path, VECTORS), tokens=table))
    for token, vector in zip(TOKENS, VECTORS, strict=True):
        assert np.array_equal(found[token], vector)


def test_pixelrecs_rows_are_in_the_order_of_factorize_behind_a_row_of_padding(tmp_path):
    items = ["i7", "i2", "i7", "i30", "i2", "i1", "i30"]
    table = pd.DataFrame({"item_id": items, "user_id": [f"u{n}" for n in range(7)], "timestamp": range(7, 0, -1)})
    table.to_csv(tmp_path / "Pixel.csv", index=False)
    padded = np.concatenate([np.full((1, 3), 77, np.float32), VECTORS[:4]])
    path = saved(tmp_path, padded)
    found = by_token(imported(path, layout="pixelrec", tokens=tmp_path / "Pixel.csv"))
    for token, code in zip(items, pd.factorize(table["item_id"])[0], strict=True):
        assert np.array_equal(found[token], padded[code + 1])
    assert not np.isin(77, list(found.values()))


def test_mmrecs_rows_are_in_the_order_of_its_mapping(tmp_path):
    lines = ["asin\titemID", "7\t2", "i9\t0", "i1\t4", "007\t1", "é\t3"]
    (tmp_path / "i_id_mapping.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    store = imported(saved(tmp_path, VECTORS.astype(np.float64), "image_feat.npy"))
    assert store.provenance["format"] == "mmrec"
    assert store.dtype == np.float32
    assert np.array_equal(store.gather(store.positions(TOKENS)), VECTORS)


def test_feature_maps_become_positions_row_by_row(tmp_path, listed):
    maps = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32)  # as PixelRec's layer4: channels last
    last = imported(saved(tmp_path, maps), tokens=listed)
    assert last.shape == (6, 4)
    assert np.array_equal(by_token(last)["7"][4], maps[2, 1, 1])
    first = imported(saved(tmp_path, maps.transpose(0, 3, 1, 2), "g.npy"), tokens=listed, channels_first=True)
    assert np.array_equal(first.gather(np.arange(6)), last.gather(np.arange(6)))


def write_json(path: Path, n_items: int, width: int) -> dict[str, list[float]]:
    values = np.random.default_rng(0).normal(size=(n_items, width)).tolist()
    vectors = {f'item {n} ü\\"': value for n, value in enumerate(values)}
    path.write_text(json.dumps(vectors), encoding="utf-8")
    return vectors


@pytest.mark.parametrize("piece", [1, 7, 100, 1 << 20])
def test_json_is_read_in_any_pieces(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(json_vectors, "PIECE", piece)
    vectors = write_json(tmp_path / "f.json", 6, 4)
    assert {token: vector.tolist() for token, vector in read_vectors(tmp_path / "f.json")} == vectors
    (tmp_path / "f.json").write_text(' \n{ "a" : [1, 2.5e1 ,\n-3] , "b":[0,0,0]}\n')
    assert [(token, vector.tolist()) for token, vector in read_vectors(tmp_path / "f.json")] == [
        ("a", [1, 25, -3]),
        ("b", [0, 0, 0]),
    ]


def test_json_of_any_size_takes_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_vectors, "PIECE", 1 << 14)
    vectors = write_json(tmp_path / "image_feature.json", 400, 256)
    size = (tmp_path / "image_feature.json").stat().st_size
    tracemalloc.start()
    try:
        total = sum(vector.sum() for _, vector in read_vectors(tmp_path / "image_feature.json"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == pytest.approx(np.sum(list(vectors.values())))
    assert size > 2_000_000
    assert peak < 200_000


def test_json_is_imported_under_its_tokens(tmp_path):
    vectors = write_json(tmp_path / "image_feature.json", 8, 4)
    store = imported(tmp_path / "image_feature.json")
    found = by_token(store)
    assert store.provenance["format"] == "pixelrec"
    assert len(found) == 9
    for token, vector in vectors.items():
        assert np.array_equal(found[token], np.array(vector, np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1, 2], "b": [1, 2', "cut short"),
        ('{"a": [1, 2], "b"', "cut short"),
        ('{"a": [1, 2]', "cut short"),
        ("[[1, 2]]", r"expected '\{', found '\['"),
        ('{"a": {"x": 1}}', "expected a string or a list"),
        ('{"a": ["1"]}', "item 'a' has .*expected a list of numbers"),
        ('{"a": [1, null]}', "item 'a' has .*expected a list of numbers"),
        ('{"a": []}', "item 'a' has .*expected a list of numbers"),
        ('{"a": [1, 2], "b": [1]}', r"item 'b' has \(1,\) numbers, item 'a' has \(2,\)"),
        ('{"a": [1], "a": [2]}', r"1 items come more than once, e\.g\. \['a'\]"),
        ("{}", "holds no items"),
    ],
)
def test_broken_json_is_refused(tmp_path, text, message):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_features(tmp_path / "f.json")


def test_rows_and_tokens_must_fit(tmp_path, listed):
    with pytest.raises(ValueError, match="4 rows, expected 5: 5 items"):
        open_features(saved(tmp_path, VECTORS[:4]), tokens=listed)
    padded = saved(tmp_path, np.concatenate([VECTORS[:1], VECTORS]))
    with pytest.raises(ValueError, match=r"6 rows, expected 5: .* Then use --format pixelrec"):
        open_features(padded, tokens=listed)
    assert len(open_features(padded, "pixelrec", tokens=listed).tokens) == 5
    with pytest.raises(ValueError, match="5 rows, expected 6: 5 items and 1 row of padding"):
        open_features(saved(tmp_path, VECTORS), "pixelrec", tokens=listed)
    listed.write_text("a\nb\na\nb\nc\n")
    with pytest.raises(ValueError, match=r"2 items come more than once, e\.g\. \['a', 'b'\]"):
        open_features(saved(tmp_path, VECTORS), tokens=listed)
    listed.write_text("a\n\nb\n")
    with pytest.raises(ValueError, match="line 2 is blank"):
        open_features(saved(tmp_path, VECTORS), tokens=listed)
    (tmp_path / "i_id_mapping.csv").write_text("asin\titemID\n" + "".join(f"t{n}\t{n + 1}\n" for n in range(5)))
    with pytest.raises(ValueError, match="5 lines, but no itemID 0; expected each of 0 to 4 once"):
        open_features(saved(tmp_path, VECTORS))


def test_a_file_that_does_not_name_its_items_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--tokens FILE.*--interactions CSV.*i_id_mapping\.csv"):
        open_features(saved(tmp_path, VECTORS))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.arange(30).reshape(5, 3, 2), r"int64 of shape \(5, 3, 2\); expected floats.*semantic ids"),
        (np.zeros(5, np.float32), r"float32 of shape \(5,\)"),
        (np.array([{"a": 1}] * 5, dtype=object), "not a plain array"),
    ],
)
def test_arrays_of_other_types_are_refused(tmp_path, listed, array, message):
    with pytest.raises(ValueError, match=message):
        open_features(saved(tmp_path, array), tokens=listed)


def test_a_pickle_is_not_opened(tmp_path, listed):
    path = tmp_path / "f.npy"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
    with pytest.raises(ValueError, match="not a plain array"):
        open_features(path, tokens=listed)
    assert not (tmp_path / "owned").exists()


def test_numbers_that_are_not_finite_are_counted_and_named_before_anything_is_written(tmp_path, listed):
    broken = VECTORS.astype(np.float64)
    broken[1, 2], broken[3, 0], broken[4, 1] = np.nan, -np.inf, 1e39  # the last one is too large for float32
    with pytest.raises(
        ValueError, match=r"arrays of 3 of 5 items .* not finite in float32, e\.g\. of \['007', 'é', 'i1'\]"
    ):
        imported(saved(tmp_path, broken), tokens=listed)
    assert not list(tmp_path.glob("*.array*"))


def test_json_numbers_are_looked_at_too(tmp_path):
    (tmp_path / "f.json").write_text('{"a": [1, 2], "b": [NaN, 2], "c": [1e5, 2]}')
    with pytest.raises(ValueError, match=r"1 of 3 items .* float32, e\.g\. of \['b'\]"):
        imported(tmp_path / "f.json")
    source = open_features(tmp_path / "f.json")
    with pytest.raises(ValueError, match=r"2 of 3 items .* float16, e\.g\. of \['b', 'c'\]"):
        import_features(source, tmp_path / "f.array", dtype="float16", progress=False)


def test_the_same_file_is_not_imported_twice_and_a_new_one_is(tmp_path, listed):
    first = imported(saved(tmp_path, VECTORS), tokens=listed)
    source = open_features(tmp_path / "f.npy", tokens=listed)
    assert not import_features(source, tmp_path / "f.array", progress=False)[1]
    second = imported(saved(tmp_path, 2 * VECTORS), tokens=listed)
    assert second.fingerprint != first.fingerprint
    assert np.array_equal(second.gather(np.array([0]))[0], 2 * VECTORS[0])
    listed.write_text("\n".join(reversed(TOKENS)), encoding="utf-8")
    with pytest.raises(FileExistsError, match="made otherwise: tokens_sha256"):
        imported(tmp_path / "f.npy", tokens=listed)
    turned = imported(tmp_path / "f.npy", tokens=listed, overwrite=True)
    assert np.array_equal(by_token(turned)["i1"], 2 * VECTORS[0])


def test_an_import_goes_on_where_it_stopped(tmp_path, listed, monkeypatch):
    monkeypatch.setattr("recbole_pixel.features.sources.BLOCK_BYTES", 2 * VECTORS[0].nbytes)
    source = open_features(saved(tmp_path, VECTORS), tokens=listed)
    asked = []

    def cut(start: int) -> Any:
        asked.append(start)
        for number, block in enumerate(source.blocks(start)):
            if len(asked) == 2 and number == 1:
                raise KeyboardInterrupt
            yield block

    watched = type(source)(source.path, source.tokens, source.shape, cut, source.provenance)
    with pytest.raises(KeyboardInterrupt):
        import_features(watched, tmp_path / "f.array", progress=False)
    store, _ = import_features(watched, tmp_path / "f.array", progress=False)
    assert asked == [0, 0, 0, 2]  # each time all of it is looked at first
    assert np.array_equal(store.gather(np.arange(5)), VECTORS)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32"])
def test_semantic_ids_come_as_they_are(tmp_path, listed, dtype):
    codes = np.array([[0, 5], [3, 1], [255, 0], [7, 7], [0, 5]], dtype=dtype)
    store = imported(saved(tmp_path, codes), tokens=listed)
    assert store.dtype == np.int32
    assert store.tokens == TOKENS  # no mean: there is none of codes
    assert np.array_equal(store.gather(np.arange(5)), codes)
    assert store.provenance["kind"] == "codes"


def test_codes_below_zero_are_refused_by_item(tmp_path, listed):
    codes = np.array([[0, 5], [3, -1], [255, 0], [7, 7], [0, 5]])
    with pytest.raises(ValueError, match=r"1 of 5 items have codes.*'007'"):
        imported(saved(tmp_path, codes), tokens=listed)
    assert not (tmp_path / "f.array").exists()
