"""Pictures from the wild are read right or refused with a reason."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from store_world import BLUE, RED, assert_colour, encoded, plain

from recbole_pixel.store import PictureError, decode_image, encode_image


def test_png_keeps_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(decode_image(encoded(Image.fromarray(pixels))), pixels)


def test_result_is_a_writable_contiguous_rgb_array():
    for data in (plain(RED), encode_image(np.zeros((16, 16, 3), np.uint8))):
        pixels = decode_image(data, 8)
        assert pixels.shape == (8, 8, 3)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable


def test_cmyk_jpeg_is_red():
    assert_colour(decode_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")), (255, 0, 0), 6)


def test_palette_png():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    assert_colour(decode_image(encoded(image)), RED, 0)


def test_transparent_palette_entry_becomes_white():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    image.paste(0, (0, 0, 4, 8))
    pixels = decode_image(encoded(image, transparency=0))
    assert_colour(pixels[:, :4], (255, 255, 255), 0)
    assert_colour(pixels[:, 4:], RED, 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_half_transparent_black_on_white_is_grey(mode: str):
    colour = (0, 0, 0, 128) if mode == "RGBA" else (0, 128)
    assert_colour(decode_image(encoded(Image.new(mode, (4, 4), colour))), (127, 127, 127), 1)


def test_sixteen_bit_grey_is_scaled_not_clipped():
    deep = np.full((4, 4), 0x8000, dtype=np.uint16)
    assert_colour(decode_image(encoded(Image.fromarray(deep))), (128, 128, 128), 0)
    assert_colour(decode_image(b"P5 4 4 65535\n" + b"\x80\x00" * 16), (128, 128, 128), 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey(kind: str):
    assert_colour(decode_image(encoded(Image.new("L", (16, 16), 77), kind)), (77, 77, 77), 1)


def test_one_bit():
    assert_colour(decode_image(encoded(Image.new("1", (4, 4), 1))), (255, 255, 255), 0)


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(orientation: int):
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :16], stored[16:, 32:] = RED, BLUE
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(stored), "JPEG", quality=100, subsampling=0, exif=exif)
    expected = UPRIGHT[orientation](stored).astype(int)
    found = decode_image(data)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 2


def test_torn_exif_does_not_cost_the_picture():
    torn = b"\xff\xe1\x00\x10Exif\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"
    data = encoded(Image.new("RGB", (16, 16), RED), "JPEG", quality=95)
    assert_colour(decode_image(data[:2] + torn + data[2:]), RED)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animation_gives_its_first_frame(kind: str):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert_colour(decode_image(data), RED, 12)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP", "JPEG2000", "PPM", "AVIF"])
def test_other_formats(kind: str):
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow has no {kind}")
    assert_colour(decode_image(encoded(Image.new("RGB", (32, 32), RED), kind)), RED, 6)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (30000, 2), (2, 30000)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_extreme_shapes(fit: str, size: tuple[int, int], kind: str):
    pixels = decode_image(encoded(Image.new("RGB", size, RED), kind, quality=95), 24, fit)
    assert pixels.shape == (24, 24, 3)
    assert_colour(pixels[11:12, 11:12], RED, 4)


def test_fits_on_a_wide_picture():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 20:40], wide[:, 40:] = RED, (0, 255, 0), BLUE
    data = encoded(Image.fromarray(wide))
    squashed, cropped, padded = (decode_image(data, 30, fit) for fit in ("squash", "crop", "pad"))
    assert_colour(squashed[15:16, 2:8], RED)
    assert_colour(squashed[15:16, 22:28], BLUE)
    assert_colour(cropped[:, 2:-2], (0, 255, 0))
    assert_colour(padded[:9], (255, 255, 255), 0)
    assert_colour(padded[21:], (255, 255, 255), 0)
    assert_colour(padded[15:16, 1:8], RED)


def test_size_is_height_then_width():
    assert decode_image(plain(RED), (10, 20)).shape == (10, 20, 3)


def test_fast_path_agrees_with_pillow():
    grid = np.add.outer(np.arange(600), np.arange(900)) % 256
    smooth = np.stack([grid // 2 + 50, 200 - grid // 2, np.full_like(grid, 90)], -1).astype(np.uint8)
    data = encoded(Image.fromarray(smooth), "JPEG", quality=95, subsampling=0)
    with_pillow = np.asarray(Image.open(io.BytesIO(data)).resize((64, 48), Image.Resampling.BICUBIC))
    assert np.abs(decode_image(data, (48, 64)).astype(int) - with_pillow).mean() < 1.5


def _png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (header, body)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


JPEG = encode_image(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
BAD = {
    "empty": (b"", "empty file"),
    "html": (b"  <!DOCTYPE html><html>404", "text, not a picture"),
    "json": (b'{"error": "not found"}', "text, not a picture"),
    "noise": (bytes(range(200)), "not a picture of a known format"),
    "heic": (b"\0\0\0\x18ftypheic" + b"\0" * 50, "heic pictures cannot be read|damaged"),
    "truncated jpeg": (JPEG[: len(JPEG) // 2], "damaged"),
    "jpeg header only": (JPEG[:100], "damaged"),
    "truncated png": (encoded(Image.fromarray(decode_image(JPEG)))[:3000], "damaged"),
    "bomb": (_png_header(50_000, 50_000), "decompression bomb"),
    "bomb below Pillow's limit": (_png_header(10_000, 10_000), "decompression bomb"),
    "float tiff": (encoded(Image.new("F", (4, 4), 0.5), "TIFF"), "no defined white"),
    "eps, which Pillow hands to Ghostscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_bytes_are_refused_with_the_reason(name: str):
    data, reason = BAD[name]
    with pytest.raises(PictureError, match=reason):
        decode_image(data, 16)


def test_wrong_options_are_not_blamed_on_the_picture():
    for options, message in (({"fit": "stretch"}, "squash, crop, pad"), ({"size": 0}, "at least 1 pixel")):
        with pytest.raises(ValueError, match=message) as caught:
            decode_image(plain(RED), **options)
        assert not isinstance(caught.value, PictureError)


def test_encode_keeps_colour_resolution():
    checks = np.zeros((16, 16, 3), np.uint8)
    checks[:, ::2], checks[:, 1::2] = RED, BLUE
    data = encode_image(checks)
    assert simplejpeg.decode_jpeg_header(data)[3] == "444"
    assert np.abs(decode_image(data).astype(int) - checks).max() < 30


def test_encode_refuses_other_arrays():
    with pytest.raises(ValueError, match=r"float32 of shape \(3, 8, 8\)"):
        encode_image(np.zeros((3, 8, 8), np.float32))
