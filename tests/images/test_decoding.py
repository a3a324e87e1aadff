"""Image files of all formats and damaged ones: decoded correctly, or refused by name."""

import os
import pickle
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from viadet.images.decoding import decode_image
from viadet.project.errors import UserError

RED, BLUE = (200, 30, 40), (20, 60, 220)


def two_halves(width=48, height=32) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def assert_two_halves(image: Image.Image, tolerance: int = 8) -> None:
    assert (image.mode, image.size) == ("RGB", (48, 32))
    for x, colour in ((8, RED), (40, BLUE)):
        assert np.abs(np.subtract(image.getpixel((x, 16)), colour)).max() <= tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF"])
@pytest.mark.parametrize("suffix", [".jpg", ""])
def test_the_format_is_read_from_the_content_not_from_the_name(kind, suffix, tmp_path):
    path = tmp_path / f"image{suffix}"
    two_halves().save(path, kind)
    assert_two_halves(decode_image(path), tolerance=40 if kind in ("WEBP", "JPEG") else 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright_by_its_exif_orientation(orientation, tmp_path):
    upright = two_halves()
    # what a camera stores for this orientation
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation in back else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert_two_halves(decode_image(tmp_path / "a.png"))


def test_cmyk_and_palette_images_are_converted_to_rgb(tmp_path):
    two_halves().convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert_two_halves(decode_image(tmp_path / "cmyk.jpg"), tolerance=40)
    two_halves().quantize(4).save(tmp_path / "palette.png")
    assert_two_halves(decode_image(tmp_path / "palette.png"))


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_images_have_three_equal_channels(mode, tmp_path):
    ImageOps.grayscale(two_halves()).convert(mode).save(tmp_path / "a.png")
    pixels = np.asarray(decode_image(tmp_path / "a.png"))
    assert pixels.shape == (32, 48, 3)
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_reduced_to_its_upper_8_bits(suffix, tmp_path):
    values = np.array([[0, 255, 256, 32767, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert np.asarray(decode_image(tmp_path / f"a.{suffix}"))[0, :, 0].tolist() == [0, 0, 1, 127, 128, 255]


@pytest.mark.parametrize("values", [np.zeros((4, 4), np.int32), np.zeros((4, 4), np.float32)])
def test_32_bit_pixels_are_refused(values, tmp_path):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif can't be read as an image \(its pixels have 32 bits"):
        decode_image(tmp_path / "a.tif")


def test_transparent_pixels_are_white_whatever_their_colour(tmp_path):
    clear = two_halves().convert("RGBA")
    clear.putalpha(0)
    clear.save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png").getcolors() == [(48 * 32, (255, 255, 255))]
    palette = two_halves().quantize(2)
    palette.save(tmp_path / "b.png", transparency=palette.getpixel((0, 0)))
    assert decode_image(tmp_path / "b.png").getpixel((8, 16)) == (255, 255, 255)
    assert decode_image(tmp_path / "b.png").getpixel((40, 16)) == BLUE
    clear.convert("LA").save(tmp_path / "c.png")
    assert decode_image(tmp_path / "c.png").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_an_image_with_several_frames_is_refused(suffix, tmp_path):
    others = [ImageOps.mirror(two_halves()), ImageOps.invert(two_halves())]
    two_halves().save(tmp_path / f"a.{suffix}", save_all=True, append_images=others)
    with pytest.raises(UserError, match=rf"a\.{suffix} can't be read as an image \(it has 3 frames; save the one"):
        decode_image(tmp_path / f"a.{suffix}")


def test_the_first_picture_of_a_phones_two_is_decoded(tmp_path):
    two_halves().save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[ImageOps.mirror(two_halves())])
    assert Image.open(tmp_path / "a.jpg").n_frames == 2
    assert_two_halves(decode_image(tmp_path / "a.jpg"), tolerance=40)


@pytest.mark.needs("posix")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file_is_refused_without_waiting(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket may have about 100 bytes
    path = Path("a.jpg")
    if kind == "pipe":
        os.mkfifo(path)  # to open it would wait for a program that writes
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(UserError, match="is a folder, pipe or device"):
        decode_image(path)


def png_bomb(width: int, height: int) -> bytes:
    """A PNG whose header states a huge size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def jpeg(tmp_path: Path) -> bytes:
    two_halves().save(tmp_path / "whole.jpg")
    return (tmp_path / "whole.jpg").read_bytes()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: png_bomb(30_000, 30_000), "decompression bomb"),
        (lambda _: png_bomb(2**31 - 1, 2**31 - 1), "can't be read"),
        (lambda _: b"", "cannot identify"),
        (lambda _: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot identify"),
        (lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot identify"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data[:20], "can't be read"),
    ],
)
def test_a_damaged_or_malicious_file_is_refused_by_name(damage, reason, tmp_path, recwarn):
    path = tmp_path / "a.jpg"
    path.write_bytes(damage(jpeg(tmp_path)))
    with pytest.raises(UserError) as error:
        decode_image(path)
    assert str(error.value).startswith(f"{path} can't be read as an image (")
    assert reason in str(error.value).lower()
    assert str(path) not in error.value.reason
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)  # worker processes send it
    assert "\n" not in str(error.value)
    assert not recwarn.list


@pytest.mark.filterwarnings("ignore::UserWarning")  # pytest's filters come before the module's own
def test_a_file_with_changed_bytes_is_decoded_or_refused(tmp_path):
    generator = np.random.default_rng(0)
    outcomes = set()
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
        two_halves().save(tmp_path / "whole", kind)
        whole = (tmp_path / "whole").read_bytes()
        for _ in range(150):
            data = bytearray(whole)
            for position in generator.integers(len(data), size=3):
                data[position] = generator.integers(256)
            (tmp_path / "a").write_bytes(data)
            try:
                outcomes.add(decode_image(tmp_path / "a").mode)
            except UserError as error:
                outcomes.add("refused")
                assert "\n" not in str(error)
    assert outcomes == {"RGB", "refused"}


def test_a_reduced_photograph_keeps_its_aspect_ratio(tmp_path):
    two_halves(480, 320).save(tmp_path / "a.jpg", quality=95)
    assert_two_halves(decode_image(tmp_path / "a.jpg", max_side=48), tolerance=40)
