"""Decoding image files with Pillow: upright 8-bit RGB as VIA shows them, or refused with the reason."""

import stat
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from viadet.project.errors import FileError

# What annotators' browsers show, and TIFF. No others: EPS, for example, would start another program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
SUFFIXES = {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}  # of their names
MULTI_PICTURE = "MPO"  # what Pillow calls a phone's JPEG with a second picture after the first
WHITE = (255, 255, 255, 255)


def decode_image(path: Path, max_side: int | None = None) -> Image.Image:
    """Decode a photograph completely and turn it upright (EXIF orientation).

    Transparent images are composited onto white; of 16-bit grey the upper 8 bits are kept.

    Args:
        path: of a BMP, GIF, JPEG, PNG, TIFF or WebP file, whatever its name ends in.
        max_side: a larger photograph is reduced, in proportion, until its longer side is this many px.

    Raises:
        FileError: the file is missing, damaged, huge (Pillow's limit of 179 million px), has several frames, or is a
            folder, pipe or device.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a program that writes into it
            raise ValueError("it is a folder, pipe or device")
        with Image.open(path, formats=FORMATS) as file:
            if file.format != MULTI_PICTURE and (frames := getattr(file, "n_frames", 1)) > 1:
                raise ValueError(f"it has {frames} frames; save the one that you mean as an image of its own")
            if max_side is not None:
                file.draft("RGB", (max_side, max_side))  # lets the JPEG decoder itself reduce, never below max_side
            file.load()
            ImageOps.exif_transpose(file, in_place=True)  # copies of a large photograph take much memory
            image = _to_rgb(file)
    except FileNotFoundError:
        raise FileError(path, "is missing; check its name and place") from None
    except MemoryError:
        raise FileError(path, "does not fit into memory; scale it down") from None
    except UnidentifiedImageError:
        raise FileError(path, "can't be read as an image (cannot identify its format); replace it") from None
    except Exception as error:  # damaged files make Pillow's decoders fail in many ways
        problem = " ".join(str(getattr(error, "strerror", None) or error).split())  # strerror: without the path
        raise FileError(path, f"can't be read as an image ({problem}); replace it") from None
    if max_side is not None and max(image.size) > max_side:
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return image


def upright_rgb(image: Image.Image) -> Image.Image:
    """Turn an image upright (EXIF orientation) and convert it to 8-bit RGB, as `decode_image` does.

    Raises:
        ValueError: its pixels have 32 bits.
    """
    return _to_rgb(ImageOps.exif_transpose(image))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 bits a channel")
    if image.has_transparency_data:
        return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
