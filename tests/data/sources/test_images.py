"""Image files become pixels: upright, in 8 bits, and what is converted is counted."""

import contextlib
import errno
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from lepton_jax.config.pipeline import NO_TRANSFORMS
from lepton_jax.data.account import Account
from lepton_jax.data.decoder import Decoder
from lepton_jax.data.sources.folder import ImageFiles
from lepton_jax.data.sources.images import is_image, read_image
from lepton_jax.errors import UserError, exit_code_of_error
from lepton_jax.serving.loader import Bundle, InputError

RGB = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)


PALETTE = Image.fromarray(RGB).convert("P")


def encode(pixels, form, **keys):
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, form, **keys)
    return buffer.getvalue()


def sixteen_bits(colour_type, channels):
    """A PNG of 4 x 4 pixels of 60,000 in each channel, which Pillow does not write."""
    rows = (b"\0" + struct.pack(">H", 60_000) * 4 * channels) * 4

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 4, 4, 16, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_viewers_turn_it(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(RGB, form, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    np.testing.assert_array_equal(read_image(data, "a"), expected)
    assert expected.shape == ((12, 10, 3) if orientation > 4 else (10, 12, 3))


@pytest.mark.parametrize("damage", [b"Exif\0\0XX", b"Exif\0\0MM\0*\xff\xff\xff\xff"])
def test_damaged_exif_says_nothing(damage):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(RGB, "JPEG", exif=exif)
    start = data.index(b"Exif")
    damaged = data[:start] + damage + data[start + len(damage) :]
    np.testing.assert_array_equal(read_image(damaged, "a"), read_image(encode(RGB, "JPEG"), "a"))


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("P", 3), ("RGBA", 3), ("LA", 1)]
)
def test_every_mode_is_grey_or_rgb(mode, channels):
    white = Image.fromarray(np.full((4, 4, 3), 255, np.uint8)).convert(mode)
    image = read_image(encode(white, "PNG"), "a")
    assert image.shape == (4, 4, channels)
    assert (image == 255).all()


def several(form):
    return encode(RGB, form, save_all=True, append_images=[Image.fromarray(255 - RGB)])


@pytest.mark.parametrize(
    ("data", "account"),
    [
        pytest.param(encode(RGB, "PNG"), "", id="RGB"),
        pytest.param(several("MPO"), "", id="a phone's JPEG with a second picture"),
        *[
            pytest.param(
                several(form),
                "converted: 1 image of several frames, of which the first is read (a)",
                id=f"animated {form}",
            )
            for form in ("GIF", "PNG", "TIFF", "WEBP")
        ],
        pytest.param(encode(Image.fromarray(RGB).convert("RGBA"), "PNG"), "", id="opaque RGBA"),
        pytest.param(
            encode(np.full((4, 4, 4), 200, np.uint8), "PNG"),
            "converted: 1 image with transparency, which is dropped (a)",
            id="transparent RGBA",
        ),
        pytest.param(
            encode(PALETTE, "PNG", transparency=PALETTE.getpixel((0, 0))),
            "converted: 1 image with transparency, which is dropped (a)",
            id="transparent palette",
        ),
        pytest.param(
            encode(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
            "converted: 1 image of CMYK colours, made RGB (a)",
            id="CMYK",
        ),
        pytest.param(
            sixteen_bits(2, 3),
            "converted: 1 image of 16 bits a channel, reduced to 8 (a)",
            id="16-bit RGB",
        ),
    ],
)
def test_what_is_converted_is_counted(data, account):
    with Account().opened() as opened:
        read_image(data, "a")
    assert str(opened) == account


def test_the_first_frame_is_read():
    np.testing.assert_array_equal(read_image(several("PNG"), "a"), RGB)


def test_16_bit_grey_is_refused_and_16_bit_rgb_is_not_white():
    with pytest.raises(UserError, match=r"cat/a\.png: 'I;16' pixels; expected 8 bits a channel"):
        read_image(sixteen_bits(0, 1), "cat/a.png")
    assert (read_image(sixteen_bits(2, 3), "a") == 60_000 // 256).all()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        encode(RGB, "PNG")[:100],
        encode(RGB, "JPEG")[:200],
        encode(RGB, "GIF")[:40],
        encode(RGB, "WEBP")[:60],
        encode(RGB, "TIFF")[:30],
        encode(RGB, "BMP")[:80],
        b"GIF89a\0\0\0\0\0\0\0",
        b"\x89HDF\r\n\x1a\n",
        encode(np.zeros((4, 4), np.float32), "TIFF"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_line(data):
    with pytest.raises(UserError, match=r"cat/a\.png: ") as error:
        read_image(data, "cat/a.png")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "why"), [(b"", "it is empty"), (b"%PDF-1.4", "its bytes are of no format that Pillow")]
)
def test_what_is_no_image_is_said_without_the_words_of_a_library(tmp_path, data, why):
    (tmp_path / "a.png").write_bytes(data)
    for image in (data, tmp_path / "a.png"):
        with pytest.raises(UserError, match=f"^cat/a.png: not a readable image: {why}"):
            read_image(image, "cat/a.png")


@pytest.mark.parametrize(("data", "image"), [(encode(RGB, "JPEG"), True), (b"%PDF-1.4", False)])
def test_a_file_is_an_image_by_its_bytes_where_its_suffix_does_not_say(tmp_path, data, image):
    for name in ("a", "a.bin"):
        (tmp_path / name).write_bytes(data)
        assert is_image(tmp_path / name) == image
    assert is_image(tmp_path / "absent.JPE")


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOMEM])
def test_a_disk_that_fails_is_no_mistake_of_the_user(monkeypatch, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Image, "open", fail)
    split = ImageFiles([Path("cat/a.png")], [0], [Path("cat/a.png")])
    with pytest.raises(UserError, match=r"cat/a\.png: not a readable image: ") as error:
        Decoder(split, "train", NO_TRANSFORMS)(0)
    assert exit_code_of_error(error.value) == 1


class _Loader(Bundle):
    """A bundle that decodes images and does nothing else."""

    def __init__(self):
        self.signature = {"decoding": {"steps": []}}


MUTATED = [encode(RGB, form) for form in ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(MUTATED),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
    st.floats(0.1, 1.5),
)
def test_of_mutated_images_training_and_a_bundle_read_the_same_or_both_refuse(data, bytes_, end):
    mutated = bytearray(data)
    for place, byte in bytes_:
        mutated[int(place * (len(mutated) - 1))] = byte
    mutated = bytes(mutated[: int(end * len(mutated))])
    read, served, refusal = None, None, ""
    try:
        read = read_image(mutated, "a.png")
    except UserError as e:
        refusal = str(e)
    with contextlib.suppress(InputError):
        served = _Loader().decode(mutated)
    assert len(refusal) < 400
    assert "\n" not in refusal
    assert (read is None) == (served is None)
    if read is not None:
        np.testing.assert_array_equal(read, served)
