"""What `fuzz.py` feeds: each reader of other people's bytes, files that it reads, and the errors that it documents."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from fuzz_picture_targets import LMDB_Image, Target, lmdb_of_others, picture_decoder, pictures, pixelrec_unpickler


def atomic_inter(folder: Path) -> Target:
    """`read_inter`, a file of interactions."""
    from recbole_pixel.data.inter_file import UnreadableError, read_inter

    kinds = {"user_id:token": "token", "item_id:token": "token", "timestamp:float": "float"}
    head = "\t".join(kinds) + "\n"
    seeds = [
        head + "u\ti\t1.5\nv\tj\t2e9\n", head, head.replace("\n", "\r\n") + "u\ti\t-1\r\n", head + 'u\t"i"\tnan\n',
        head + "u\ti\n", head + "é\t電\t1\n" * 50, "\ufeff" + head + "u\ti\t1\n",
        head + "u\ti\t99999999999999999999.5\n",
    ]  # fmt: skip
    path = folder / "w.inter"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        found = read_inter(path, kinds, "\t")
        assert (
            len({len(column.codes if hasattr(column, "codes") else column) for column in found.columns.values()}) == 1
        )

    return Target([seed.encode() for seed in seeds], read, (UnreadableError,))


def image_store(folder: Path) -> Target:
    """`ImageStore`: its manifest and its LMDB file, one behind the other."""
    from recbole_pixel.store import ImageStore, build_image_store, open_source
    from recbole_pixel.store.errors import PictureError, StoreError

    files = dict(zip(("a", "b", "c"), pictures(), strict=False))
    source = folder / "pictures"
    source.mkdir()
    for token, data in files.items():
        (source / token).write_bytes(data)
    path = folder / "images.lmdb"
    build_image_store(open_source(source), path, size=8, progress=False, workers=1)
    manifest, data = (path / "manifest.json").read_bytes(), (path / "data.mdb").read_bytes()

    def read(mutated: bytes) -> None:
        length = int.from_bytes(mutated[:2], "little")
        (path / "manifest.json").write_bytes(mutated[2 : 2 + length])
        (path / "data.mdb").write_bytes(mutated[2 + length :])
        store = ImageStore(path)
        for token in [*store.tokens()[:20], "a"]:
            if token in store:
                store.read(token)

    seed = len(manifest).to_bytes(2, "little") + manifest + data
    return Target([seed], read, (StoreError, PictureError))


def array_store(folder: Path) -> Target:
    """`ArrayStore`: its manifest, its tokens and its numbers, one behind the other."""
    from recbole_pixel.store import ArrayStore, ArrayStoreWriter
    from recbole_pixel.store.errors import StoreError

    path = folder / "x.array"
    with ArrayStoreWriter(path, ["a", "b", "c"], (2, 2), np.dtype("float32"), {"of": "nothing"}) as writer:
        writer.write(0, np.ones((3, 2, 2), np.float32))
    parts = sorted(part.name for part in path.iterdir() if part.is_file())
    contents = {name: (path / name).read_bytes() for name in parts}

    def read(mutated: bytes) -> None:
        for name in parts:
            length = int.from_bytes(mutated[:2], "little")
            (path / name).write_bytes(mutated[2 : 2 + length])
            mutated = mutated[2 + length :]
        store = ArrayStore(path, mapped=False)
        if "a" in store:
            store.gather(store.positions(["a"]))
        store.verify()

    seed = b"".join(len(contents[name]).to_bytes(2, "little") + contents[name] for name in parts)
    return Target([seed], read, (StoreError,))


def checkpoint(folder: Path) -> Target:
    """A checkpoint: `read_checkpoint`, `Pretrained.read`, `recbole_pixel.load`'s opening, and encoder weights."""
    import torch

    from recbole_pixel.checkpoint import read_checkpoint, write_checkpoint
    from recbole_pixel.encoder.weights import read_weights
    from recbole_pixel.pretrained import Pretrained
    from recbole_pixel.serve.checkpoints import opened_checkpoint

    path = folder / "c.pth"
    state = {"config": {"model": "PixelSASRec", "item_tower": "id", "seed": 1}, "state_dict": {"w": torch.ones(2)}}
    write_checkpoint({**state, "rows": {}, "epoch": 1}, path)
    seeds = [path.read_bytes()]
    torch.save({"config": LMDB_Image(), "state_dict": {}}, path)
    seeds.append(path.read_bytes())
    torch.save({"state_dict": {"w": torch.ones(2)}}, path, _use_new_zipfile_serialization=False)
    seeds.append(path.read_bytes())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for reader in (read_checkpoint, Pretrained.read, lambda one: opened_checkpoint(one, False), read_weights):
            try:
                reader(path)
            except ValueError:
                continue

    return Target(seeds, read, ())


def amazon_record(folder: Path) -> Target:
    """`parse_record`, a line of Amazon's files."""
    from recbole_pixel.convert.amazon_records import parse_record

    seeds = [
        b'{"asin": "B01", "title": "A \\"hat\\"", "price": 9.5, "images": [{"large": "http://x"}], "x": null}',
        b"{'asin': 'B01', 'title': \"It's\", 'related': {'also_bought': ['B02']}, 'price': 1e3, 'y': None}",
        b"[1, 2]", b"{'a': __import__('os').system('true')}", "{'a': '電\\x00'}".encode(),
    ]  # fmt: skip
    return Target(seeds, parse_record, (ValueError,))


def settings(folder: Path) -> Target:
    """Settings: a YAML file, and a value that RecBole would evaluate."""
    from recbole_pixel._compat_settings import NotLiteralError, literal
    from recbole_pixel.config_files import SettingError, read_yaml

    path = folder / "f.yaml"
    seeds = [b"epochs: 1e-3\nper_model:\n  PixelSASRec: {a: [1, 2]}\n", b"[1, 2 ** 10, {'a': -1.5}]", b"a: &a [*a]\n"]

    def read(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(SettingError):
            read_yaml(path)
        literal(data.decode("utf-8", "replace"))

    return Target(seeds, read, (NotLiteralError,))


def archive(folder: Path) -> Target:
    """ZIP and TAR archives of pictures; any error of one member is that picture's."""
    from recbole_pixel.store import open_source

    some = dict(zip(("a.jpg", "b/c.png"), pictures(), strict=False))
    path, seeds = folder / "x", []
    for mode in ("w", "w:gz", "w:xz"):
        with tarfile.open(path, mode) as made:
            for name, data in some.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                made.addfile(member, io.BytesIO(data))
        seeds.append(path.read_bytes())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in some.items():
            made.writestr(name, data)
    seeds.append(path.read_bytes())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        source = open_source(path)
        for token in source.tokens()[:20]:
            try:
                source.read(token)
            except Exception:  # the protocol of sources: it marks one picture
                continue

    return Target(seeds, read, (ValueError,))


def downloaded(folder: Path) -> Target:
    """A compressed answer: its first byte chooses the encoding, its second how it comes in pieces."""
    import gzip
    import zlib

    from recbole_pixel.store.download_decoding import Decoder, EncodingError

    def read(data: bytes) -> None:
        decoder, step, made = Decoder(("gzip", "deflate", "identity")[data[:1][0] % 3 if data else 0]), 1 + len(data), 0
        step = 1 + (data[1] if len(data) > 1 else 0)
        for start in range(2, len(data), step):
            piece = decoder.decode(data[start : start + step], 1000)
            assert len(piece) <= 1000
            made += len(piece)
        decoder.finish()

    raw = json.dumps(list(range(99))).encode()
    return Target([b"\0\x20" + gzip.compress(raw), b"\1\5" + zlib.compress(raw), b"\2\1" + raw], read, (EncodingError,))


TARGETS: dict[str, Callable[[Path], Target]] = {
    "pictures": picture_decoder,
    "pixelrec": pixelrec_unpickler,
    "lmdb": lmdb_of_others,
    "inter": atomic_inter,
    "image_store": image_store,
    "array_store": array_store,
    "checkpoint": checkpoint,
    "amazon": amazon_record,
    "settings": settings,
    "archive": archive,
    "downloaded": downloaded,
}
