"""A hundred pictures that are odd or bad, by name: each is read right, or refused with a reason."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from store_world import BLUE, RED, DictSource, encoded, plain, python
from wild_pictures import (
    ARITHMETIC,
    GREY,
    PLAIN,
    SIDE,
    WHITE,
    animation,
    bmp_header,
    chunk,
    cmyk,
    deep,
    grey_tiff,
    halves,
    huge_icc,
    icon,
    icon_of,
    jpeg,
    many_scans,
    palette,
    png,
    png_header,
    tiled_tiff,
    turned,
    turned_tiff,
    twelve_bits,
    unmarked,
    with_app,
    ycck,
    zipped_png,
)

from recbole_pixel.serve.stored_form import file_of
from recbole_pixel.store import ImageStore, PictureError, build_image_store, decode_image
from recbole_pixel.store.jpeg_scans import refuse_scan_bomb
from recbole_pixel.store.picture import FORMATS

CLEAR_RED, CLEAR_BLUE = (*RED, 0), (*BLUE, 255)
BLACK = (0, 0, 0)
USUAL = halves()
ON_WHITE = halves(WHITE, BLUE)
GREYS = halves((40, 40, 40), (200, 200, 200))
PNG = encoded(PLAIN)
SHADES = GREYS[..., 0]
INVERTED = (65_535 - SHADES.astype("<u2") * 257).tobytes()
grey = Image.fromarray(SHADES)
bits = Image.fromarray(halves((0,), (255,))[..., 0]).convert("1")

# name -> bytes, what is to be seen, by how much a sample may differ (coding that loses)
READ = {
    "png rgb": (PNG, USUAL, 0),
    "png palette": (palette(), USUAL, 0),
    "png palette of 2 bits": (palette(bits=2), USUAL, 0),
    "png palette, one colour clear": (palette(transparency=1), ON_WHITE, 0),
    "png palette, a table of alphas": (palette(transparency=bytes([255, 0, 255])), ON_WHITE, 0),
    "png 1 bit": (encoded(bits), halves(BLACK, WHITE), 0),
    "png grey": (encoded(grey), GREYS, 0),
    "png grey with alpha": (png(halves((40, 0), (200, 255)), 4), halves(WHITE, (200, 200, 200)), 0),
    "png rgb with alpha": (png(halves(CLEAR_RED, CLEAR_BLUE), 6), ON_WHITE, 0),
    "png half clear black": (png(halves((0, 0, 0, 127), CLEAR_BLUE), 6), halves(GREY, BLUE), 1),
    "png rgb, one colour clear": (png(USUAL, 2, extra=[(b"tRNS", struct.pack(">3H", *RED))]), ON_WHITE, 0),
    "png 16-bit grey": (png(deep((40,), (200,)), 0, 16), GREYS, 0),
    "png 16-bit grey, one value clear": (
        png(deep((40,), (200,)), 0, 16, [(b"tRNS", struct.pack(">H", 40 * 256 + 77))]),
        halves(WHITE, (200, 200, 200)),
        0,
    ),
    "png 16-bit grey with alpha": (png(deep((40, 0), (200, 255)), 4, 16), halves(WHITE, (200, 200, 200)), 1),
    "png 16-bit rgb": (png(deep(RED, BLUE), 2, 16), USUAL, 0),
    "png 16-bit rgb with alpha": (png(deep(CLEAR_RED, CLEAR_BLUE), 6, 16), ON_WHITE, 1),
    "png with broken colour profile": (png(USUAL, 2, extra=[(b"iCCP", b"x\0\0" + zlib.compress(b"junk"))]), USUAL, 0),
    "png with a megabyte of text": (png(USUAL, 2, extra=[(b"tEXt", b"Comment\0" + b"x" * 2**20)]), USUAL, 0),
    "png with a text bomb": (png(USUAL, 2, extra=[(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**21)))]), USUAL, 0),
    "png with a profile bomb": (png(USUAL, 2, extra=[(b"iCCP", b"k\0\0" + zlib.compress(bytes(2**21)))]), USUAL, 0),
    "png with junk behind it": (PNG + b"junk" * 99, USUAL, 0),
    "png whose note has a wrong checksum": (PNG[:33] + chunk(b"eXIf", b"MM\0*junk", 1) + PNG[33:], USUAL, 0),
    "png on its head by exif": (turned(3, "PNG"), USUAL, 0),
    "animated png": (animation("PNG"), USUAL, 0),
    "jpeg": (jpeg(), USUAL, 6),
    "jpeg with coarse colours": (jpeg(subsampling=2), USUAL, 6),
    "progressive jpeg": (jpeg(progressive=True), USUAL, 6),
    "arithmetic-coded jpeg": (ARITHMETIC, USUAL, 6),
    "jpeg rgb without ycc": (jpeg(keep_rgb=True), USUAL, 6),
    "jpeg grey": (jpeg(grey), GREYS, 6),
    "jpeg cmyk, inverted as adobe does": (cmyk(), halves((255, 0, 0), (0, 0, 255)), 6),
    "jpeg cmyk without adobe's mark, read as browsers do": (unmarked(cmyk()), halves((255, 0, 0), (0, 0, 255)), 6),
    "jpeg ycck": (ycck(), halves((255, 0, 0), (255, 0, 0)), 6),
    "jpeg with torn exif": (with_app(jpeg(), 0xE1, b"Exif\0\0" + b"\xff" * 8), USUAL, 6),
    "jpeg with impossible orientation": (
        with_app(jpeg(), 0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0"),
        USUAL,
        6,
    ),
    "jpeg with a huge, senseless colour profile": (huge_icc(), USUAL, 6),
    "jpeg with junk behind it": (jpeg() + bytes(4000), USUAL, 6),
    "jpeg with a note full of scan marks": (with_app(jpeg(progressive=True), 0xE9, b"\xff\xda" * 9000), USUAL, 6),
    "jpeg with scans behind its end": (jpeg(progressive=True) + many_scans(5_000), USUAL, 6),
    **{f"jpeg of exif orientation {turn}": (turned(turn), USUAL, 6) for turn in range(1, 9)},
    "jpeg of two pictures (mpo)": (animation("MPO", quality=98, subsampling=0), USUAL, 6),
    "gif": (encoded(PLAIN, "GIF"), USUAL, 0),
    "animated gif": (animation("GIF"), USUAL, 0),
    "gif, one colour clear": (encoded(Image.fromarray(halves(CLEAR_RED, CLEAR_BLUE)), "GIF"), ON_WHITE, 0),
    "webp": (encoded(PLAIN, "WEBP", quality=95), USUAL, 12),
    "webp without loss": (encoded(PLAIN, "WEBP", lossless=True), USUAL, 0),
    "webp with alpha": (encoded(Image.fromarray(halves(CLEAR_RED, CLEAR_BLUE)), "WEBP", lossless=True), ON_WHITE, 0),
    "animated webp": (animation("WEBP", lossless=True), USUAL, 0),
    "tiff": (encoded(PLAIN, "TIFF"), USUAL, 0),
    "tiff lzw": (encoded(PLAIN, "TIFF", compression="tiff_lzw"), USUAL, 0),
    "tiff of two pages": (animation("TIFF"), USUAL, 0),
    "tiff in tiles": (tiled_tiff(), USUAL, 0),
    "tiff cmyk": (
        encoded(Image.fromarray(halves((0, 255, 255, 0), (255, 255, 0, 0)), "CMYK"), "TIFF"),
        halves((255, 0, 0), (0, 0, 255)),
        0,
    ),
    "tiff 16-bit grey": (encoded(Image.fromarray(deep((40,), (200,))[..., 0].astype("<u2")), "TIFF"), GREYS, 0),
    "tiff 16-bit grey, zero is white": (grey_tiff(INVERTED, 16, 0), GREYS, 0),
    "tiff 16-bit grey, zero is white, turned": (grey_tiff(INVERTED, 16, 0, orientation=3), GREYS[:, ::-1], 0),
    "tiff 12-bit grey": (grey_tiff(twelve_bits(SHADES * 16.0 + 7), 12), GREYS, 0),
    "tiff 8-bit grey, zero is white": (grey_tiff((255 - SHADES).tobytes(), 8, 0), GREYS, 0),
    "tiff of a fax": (encoded(bits, "TIFF", compression="group4"), halves(BLACK, WHITE), 0),
    "tiff on its head": (turned_tiff(), USUAL, 0),
    "bmp": (encoded(PLAIN, "BMP"), USUAL, 0),
    "bmp by palette": (encoded(PLAIN.quantize(2), "BMP"), USUAL, 0),
    "dib": (encoded(PLAIN, "DIB"), USUAL, 0),
    "ppm": (encoded(PLAIN, "PPM"), USUAL, 0),
    "ppm as text": (b"P3 2 1 255 220 20 30 20 30 220\n", np.array([[RED, BLUE]], np.uint8), 0),
    "pgm of 16 bits": (b"P5 2 1 65535\n" + b"\x28\x00\xc8\x00", np.array([[(40,) * 3, (200,) * 3]], np.uint8), 1),
    "pbm": (b"P4 8 1\n\xf0", np.array([[BLACK] * 4 + [WHITE] * 4], np.uint8), 0),
    "ico, its largest": (icon(), halves(side=32), 0),
    "jpeg 2000": (encoded(PLAIN, "JPEG2000"), USUAL, 1),
    "jpeg 2000 codestream": (encoded(PLAIN, "JPEG2000", no_jp2=True), USUAL, 1),
    "1 x 1": (plain(RED, 1), np.full((1, 1, 3), RED, np.uint8), 0),
    "30,000 x 2": (encoded(Image.new("RGB", (30_000, 2), RED)), np.full((2, 30_000, 3), RED, np.uint8), 0),
    "2 x 30,000": (encoded(Image.new("RGB", (2, 30_000), RED)), np.full((30_000, 2, 3), RED, np.uint8), 0),
}
if "AVIF" in FORMATS:
    READ["avif"] = (encoded(PLAIN, "AVIF", quality=95), USUAL, 12)

JPEG, NOISE = jpeg(), Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
INKS = PLAIN.convert("CMYK")
NOISY = jpeg(NOISE)
SCAN = NOISY.index(b"\xff\xda") + 400


def cut(data: bytes, part: float) -> bytes:
    return data[: int(len(data) * part)]


# name -> bytes, the reason
REFUSED = {
    "zero bytes": (b"", "empty file"),
    "one byte": (b"\xff", "not a picture of a known format"),
    "a thousand zeros": (bytes(1000), "all of them zero"),
    "noise": (bytes(range(200)), "not a picture of a known format"),
    "html named .jpg": (b"  <!DOCTYPE html><html>404", "text, not a picture"),
    "html with a byte order mark": (b"\xef\xbb\xbf<html>", "text, not a picture"),
    "xml error": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "text, not a picture"),
    "json": (b'{"error": "not found"}', "text, not a picture"),
    "plain text": (b"this picture is not available", "not a picture of a known format: it begins b'this pic'"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>', "text, not a picture"),
    "pdf named .png": (b"%PDF-1.7\n1 0 obj", "a PDF document"),
    "eps, which Pillow hands to Ghostscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
    "zip": (b"PK\x03\x04" + bytes(40), "a ZIP archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(40), "gzip-compressed"),
    "photoshop": (b"8BPS\0\x01" + bytes(40), "a Photoshop file"),
    "jpeg xl": (b"\xff\x0a" + bytes(40), "a JPEG XL picture"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(40), "a video"),
    "mp4": (b"\0\0\0\x18ftypisom" + bytes(40), "a video"),
    "program": (b"\x7fELF" + bytes(40), "a program"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(50), "damaged" if "HEIF" in FORMATS else r"install pillow-heif"),
    "jpeg cut after its header": (JPEG[:200], "damaged"),
    "jpeg cut in the middle": (cut(NOISY, 0.5), "damaged"),
    "jpeg without its last bytes": (NOISY[:-30], "damaged"),
    "progressive jpeg cut": (cut(jpeg(NOISE, progressive=True), 0.6), "damaged"),
    "jpeg with exif, cut": (cut(turned(6), 0.9), "damaged"),
    "cmyk jpeg cut": (cut(cmyk(), 0.95), "damaged"),
    "arithmetic-coded jpeg cut": (ARITHMETIC[:-10], "damaged"),
    "jpeg with a torn scan": (NOISY[:SCAN] + b"\xff\xd9" + NOISY[SCAN + 2000 :], "damaged"),
    "png cut in its header": (PNG[:20], "not a picture|damaged"),
    "png cut in the middle": (cut(encoded(NOISE), 0.5), "damaged"),
    "png without its last rows": (encoded(NOISE)[:-300], "damaged"),
    "png with a flipped bit": (PNG[:45] + bytes([PNG[45] ^ 4]) + PNG[46:], "the checksum of its IDAT differs"),
    "png with a wrong checksum of its data": (png(USUAL, 2, IDAT=1), "the checksum of its IDAT differs"),
    "png with a wrong checksum of its header": (png(USUAL, 2, IHDR=1), "the checksum of its IHDR differs"),
    "png with no data": (png_header(4, 4) + chunk(b"IEND"), "damaged"),
    "png of no pixels": (png_header(0, 4) + chunk(b"IEND"), "damaged|not a picture"),
    "gif cut": (cut(encoded(NOISE, "GIF"), 0.5), "damaged"),
    "webp cut": (cut(encoded(NOISE, "WEBP"), 0.5), "damaged"),
    "tiff cut": (cut(encoded(NOISE, "TIFF"), 0.9), "damaged|not a picture"),
    "bmp cut": (cut(encoded(NOISE, "BMP"), 0.5), "damaged"),
    "ppm cut": (cut(encoded(NOISE, "PPM"), 0.5), "damaged"),
    "jpeg 2000 cut": (cut(encoded(NOISE, "JPEG2000"), 0.5), "damaged"),
    "ico cut": (cut(icon(), 0.5), "damaged|not a picture"),
    "tiff of floats": (encoded(Image.new("F", (4, 4), 0.5), "TIFF"), "no defined white"),
    "tiff of 32-bit numbers": (encoded(Image.new("I", (4, 4), 70_000), "TIFF"), "no defined white"),
    "tiff of numbers below zero": (encoded(Image.new("I", (4, 4), -5), "TIFF"), "no defined white"),
    "pfm of floats": (b"Pf\n2 2\n-1.0\n" + struct.pack("<4f", 0, 1, 0, 1), "no defined white|not a picture"),
    "tiff of small 32-bit numbers": (grey_tiff(SHADES.astype("<u4").tobytes(), 32), "samples of 32 bits have no"),
    "tiff of 16 bits with a sign": (grey_tiff(INVERTED, 16, form=2), "samples of 16 bits with a sign have no defined"),
    "tiff of 8 bits with a sign": (grey_tiff(SHADES.tobytes(), 8, form=2), "samples of 8 bits with a sign have no"),
    "png that says 50,000 x 50,000": (png_header(50_000, 50_000) + chunk(b"IDAT", bytes(9)), "decompression bomb"),
    "png just above the limit": (png_header(9_460, 9_460) + chunk(b"IDAT", bytes(9)), "decompression bomb"),
    "zipped png of 50,000 x 50,000": (zipped_png(50_000), "decompression bomb"),
    "zipped png in an ico": (icon_of(zipped_png(13_000)), "decompression bomb"),
    "jpeg that says 65,500 x 65,500": (JPEG.replace(b"\0\x10\0\x10\x03", b"\xff\xdc" * 2 + b"\x03"), "bomb"),
    "gif that says 65,535 x 65,535": (b"GIF89a\xff\xff\xff\xff\0\0\0" + encoded(PLAIN, "GIF")[13:], "bomb"),
    "bmp that says 40,000 x 40,000": (bmp_header(40_000, 40_000), "decompression bomb"),
    "ppm that says 90,000 x 90,000": (b"P6 90000 90000 255\n" + bytes(99), "decompression bomb"),
    "progressive jpeg of 5,000 scans": (many_scans(5_000), "more than 100 scans of 16 x 16 pixels: .* bomb"),
    "progressive cmyk jpeg of 5,000 scans": (many_scans(5_000, INKS), "more than 100 scans of 16 x 16 pixels"),
    "progressive jpeg of 40 scans of 81 million pixels": (
        many_scans(30).replace(b"\0\x10\0\x10\x03", struct.pack(">HHB", 9000, 9000, 3)),
        "more than 37 scans of 9000 x 9000 pixels: a decompression bomb",
    ),
    "base64 of a picture": (base64.b64encode(PNG), "a known format: it begins b'iVBORw0K'"),
    "rar": (b"Rar!\x1a\x07\0" + bytes(40), "not a picture of a known format"),
    "tar": (b"a.jpg" + bytes(252) + b"ustar\x0000" + bytes(248), "not a picture of a known format"),
    "windows program": (b"MZ\x90\0" + bytes(60), "a program"),
    "wave sound": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(30), "not a picture of a known format"),
    "mp3 sound": (b"ID3\x04" + bytes(60), "not a picture of a known format"),
    "jpeg of a start and an end": (b"\xff\xd8\xff\xd9", "not a picture|damaged"),
    "png of its signature": (PNG[:8], "not a picture|damaged"),
    "webp of no frame": (b"RIFF\x04\0\0\0WEBP", "not a picture|damaged"),
    "gif of no frame": (encoded(PLAIN, "GIF")[:13] + b";", "not a picture|damaged"),
    "ico of no picture": (b"\0\0\1\0\0\0", "not a picture|damaged"),
    "icns cut": (b"icns\0\0\x01\0" + bytes(20), "not a picture|damaged"),
}  # fmt: skip
if "AVIF" in FORMATS:
    REFUSED["avif cut"] = (cut(encoded(NOISE, "AVIF"), 0.5), "damaged")

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")


@pytest.mark.parametrize("name", READ)
def test_odd_pictures_are_read_right(name: str):
    data, expected, tolerance = READ[name]
    found = decode_image(data)
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected)
    if tolerance > 1:  # coarse colours run into each other where they meet
        difference = np.delete(difference, slice(SIDE // 2 - 2, SIDE // 2 + 2), axis=1)
    assert difference.max() <= tolerance


@pytest.mark.parametrize("name", REFUSED)
def test_bad_pictures_are_refused_with_the_reason(name: str):
    data, reason = REFUSED[name]
    with pytest.raises(PictureError, match=reason):
        decode_image(data, SIDE)


def test_a_build_names_every_bad_picture_and_keeps_every_odd_one(tmp_path):
    everything = {name: data for name, (data, *_) in {**READ, **REFUSED}.items()}
    report = build_image_store(DictSource(everything), tmp_path / "s", size=SIDE, workers=2, progress=False)
    assert set(report.bad) == set(REFUSED)
    assert set(ImageStore(tmp_path / "s").tokens()) == set(READ)
    assert all(f"{name!r}: " in str(report) for name in REFUSED)
    assert len(REFUSED) >= 66 + ("AVIF" in FORMATS)
    assert len(READ) >= 65


def test_the_page_of_faults_lists_them_all():
    page = " ".join((Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8").split())
    read = [name for name in READ if "exif orientation" not in name]
    assert [name for name in read if f" {name};" not in page] == []
    assert [name for name in REFUSED if f"| {name} | " not in page] == []
    n_avif = "AVIF" not in FORMATS  # one of each, which this Pillow cannot make
    assert f" {len(READ) + n_avif}, each compared with the pixels" in page
    assert f" {len(REFUSED) + n_avif}, by name" in page


def test_pictures_that_pillow_has_opened_are_read_alike():
    opened = Image.open(io.BytesIO(READ["tiff 16-bit grey, zero is white, turned"][0]))
    assert np.array_equal(decode_image(file_of(opened)), GREYS[:, ::-1])


def test_a_hundred_scans_are_looked_at_and_one_more_is_not():
    refuse_scan_bomb(many_scans(90))
    with pytest.raises(PictureError, match="more than 100 scans"):
        refuse_scan_bomb(many_scans(91))


def test_heic_is_read_where_pillow_heif_is_installed():
    pytest.importorskip("pillow_heif")
    assert np.abs(decode_image(encoded(PLAIN, "HEIF", quality=95)).astype(int) - USUAL).max() <= 40


BOMBS = """
import warnings
from recbole_pixel.store import PictureError, decode_image
from test_wild_pictures import REFUSED
warnings.simplefilter("ignore")
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before, n = peak(), 0
for name, (data, reason) in REFUSED.items():
    if "bomb" in reason or "bomb" in name:
        try:
            decode_image(data, 16)
        except PictureError:
            n += 1
print(n, (peak() - before) // 1024)
"""


def test_bombs_are_refused_before_memory_is_taken():
    output, errors = python(BOMBS).communicate()
    n_bombs, mib = map(int, output.split()) if output else pytest.fail(errors)
    assert n_bombs >= 8
    assert mib < 32, "a picture of 50,000 x 50,000 has 7,153 MiB"
