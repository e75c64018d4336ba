"""What `fuzz.py` feeds: each reader of other people's bytes, files that it reads, and the errors that it documents."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Target(NamedTuple):
    """A reader.

    Attributes:
        seeds: inputs that it reads, or almost.
        read: given bytes; what it returns does not matter.
        documented: errors that it may raise. Any other is a finding, as are 10 seconds of CPU for one input, and memory
            without end.
    """

    seeds: list[bytes]
    read: Callable[[bytes], Any]
    documented: tuple[type[BaseException], ...]


def pictures() -> Iterator[bytes]:
    """Small pictures of many formats."""
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for form, mode in (
        ("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "I;16"), ("GIF", "P"),
        ("WEBP", "RGBA"), ("BMP", "RGB"), ("TIFF", "RGB"), ("PPM", "RGB"), ("ICO", "RGBA"), ("JPEG2000", "RGB"),
    ):  # fmt: skip
        image = Image.fromarray(noise)
        image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
        stream, options = io.BytesIO(), {"progressive": True} if mode == "CMYK" else {}
        image.save(stream, form, **options)
        yield stream.getvalue()
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(stream, "JPEG", exif=exif)
    yield stream.getvalue()


def picture_decoder(folder: Path) -> Target:
    """`decode_image`, at full size and resized."""
    from recbole_pixel.store import decode_image
    from recbole_pixel.store.errors import PictureError

    def read(data: bytes) -> None:
        for size, fit in ((None, "squash"), (4, "crop"), ((3, 5), "pad")):
            pixels = decode_image(data, size, fit)
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            assert size is None or pixels.shape[:2] == ((size, size) if isinstance(size, int) else size)

    return Target(list(pictures()), read, (PictureError,))


class LMDB_Image:
    """As PixelRec's generate_lmdb.py has it."""

    def __init__(self) -> None:
        self.channels, self.size, self.image, self.id = 3, (2, 3), bytes(18), "x"


def pixelrec_unpickler(folder: Path) -> Target:
    """`picture_in`, a record of PixelRec's LMDB."""
    from recbole_pixel.store.errors import PictureError
    from recbole_pixel.store.pixelrec_record import picture_in

    seeds = [pickle.dumps(LMDB_Image(), protocol) for protocol in (0, 2, 3, 4, 5)]
    seeds += [pickle.dumps(np.zeros((2, 3))), b"cos\nsystem\n(S'true'\ntR."]
    return Target(seeds, picture_in, (PictureError,))


def lmdb_of_others(folder: Path) -> Target:
    """`PixelRecSource`, somebody else's LMDB file: its pages and what is in them."""
    import lmdb

    from recbole_pixel.store.errors import PictureError, StoreError
    from recbole_pixel.store.source_pixelrec import PixelRecSource

    path = folder / "data.mdb"
    with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 20) as made, made.begin(write=True) as writing:
        for number in range(40):
            writing.put(b"i%03d" % number, pickle.dumps(LMDB_Image()))
        writing.put(b"long", bytes(9000))

    def read(data: bytes) -> None:
        path.write_bytes(data)
        source = PixelRecSource(path)
        for token in [*source.tokens()[:50], "i001", "long"]:
            with suppress(PictureError):
                source.read(token)

    return Target([path.read_bytes()], read, (StoreError,))


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
