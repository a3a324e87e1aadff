"""The image files that arguments of the command line stand for: files, folders, glob patterns."""

import contextlib
import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from viadet.images.decoding import SUFFIXES
from viadet.project.counting import counted, first_names
from viadet.project.errors import UserError
from viadet.via.data_files import describe_unread, files_below, is_image_file

PICTURES_NAME = "pictures"  # of the folder that `viadet predict` draws into
PREDICTION_FILES = ("coco_images.json", "via_project.json")  # beside it


class ImageFiles(NamedTuple):
    """Image files below one folder."""

    root: Path  # absolute
    names: list[str]  # relative to it, with slashes
    left_out: int  # pictures of earlier predictions
    unread: str  # of `describe_unread`, about the other files

    @property
    def paths(self) -> list[Path]:
        """Where the images are."""
        return [self.root / name for name in self.names]


def find_image_files(arguments: Sequence[str]) -> ImageFiles:
    """Find the images: a file stands for itself, a folder for all images at any depth in it, a pattern for its matches.

    The pictures that `viadet predict` drew are left out, unless they or their folder are arguments themselves. Links
    that lead nowhere, pipes and the like with the name of an image are given, too: who reads them tells what they are.

    Args:
        arguments: paths, or glob patterns with `*`, `?`, `[…]` or `**`.

    Returns:
        The images in the order of the arguments, those of each sorted by name; each once.

    Raises:
        UserError: arguments give no image, names all of them; or the images are on several of Windows' drives.
    """
    paths: dict[Path, None] = {}
    pictures: set[Path] = set()
    others: dict[Path, None] = {}
    tops, problems = [], []
    for argument in arguments:
        # absolute without following links: images keep the names that the user knows
        place = Path(os.path.abspath(os.path.expanduser(argument)))  # noqa: PTH100, PTH111
        try:
            files = _files_of(argument, place)
            images = _images_of(argument, place, files)
        except UserError as error:
            problems.append(str(error))
            continue
        others |= dict.fromkeys(path for path in files if not is_image_file(path))
        drawn = _drawn_pictures(images, place)
        found = [image for image in images if image not in drawn]
        paths |= dict.fromkeys(found)
        pictures |= drawn
        tops += [place] if place.is_dir() else [path.parent for path in found]
    if problems:
        raise UserError("; ".join(problems))
    if not paths:
        drawn = counted(len(pictures), "picture")
        raise UserError(f"there are no images but {drawn} of earlier predictions; name their folder to use them")
    try:
        root = Path(os.path.commonpath(tops))
    except ValueError:
        raise UserError("the images are on several drives; name those of one drive at a time") from None
    names = [path.relative_to(root).as_posix() for path in paths]
    return ImageFiles(root, names, len(pictures - set(paths)), describe_unread(others.keys() - paths.keys()))


def check_movable(paths: Sequence[Path]) -> None:
    """Check that images are files themselves.

    Raises:
        UserError: some are links, which may lead nowhere from another folder; names the first.
    """
    links = [str(path) for path in paths if path.is_symlink()]
    if links:
        are = "is a link" if len(links) == 1 else "are links"
        raise UserError(
            f"{counted(len(links), 'image')} {are}, which --move can't move: {first_names(links)}; put the images "
            "themselves there"
        )


@contextlib.contextmanager
def moved_files(root: Path, names: Sequence[str], folder: Path) -> Iterator[None]:
    """Move files from `root` to the same places below a new `folder`; all go back if the block ends with an error.

    Args:
        root: the folder that the names are relative to.
        names: of the files.
        folder: must not exist.

    Raises:
        OSError: a file can't be moved; none is then.
    """
    try:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(root / name, folder / name)  # also to another disk
        yield
    except BaseException:
        for name in names:
            if not (root / name).exists():
                shutil.move(folder / name, root / name)
        shutil.rmtree(folder, ignore_errors=True)  # empty folders, and the copy of a file that can't be deleted
        raise


def _files_of(argument: str, place: Path) -> list[Path]:
    """Find the files of an argument, which means this absolute path."""
    if os.path.lexists(place) and not place.is_dir():
        return [place]
    matches = [place] if place.is_dir() else map(Path, sorted(glob.glob(str(place), recursive=True)))  # noqa: PTH207
    return [path for match in matches for path in (files_below(match) if match.is_dir() else [match])]


def _images_of(argument: str, place: Path, files: list[Path]) -> list[Path]:
    """Choose the images among the files of an argument; a file that is named itself is one."""
    images = files if files == [place] else [path for path in files if is_image_file(path)]
    if images:
        return images
    unread = describe_unread(files)
    if place.is_dir():
        endings = unread or f"their names end in {', '.join(sorted(SUFFIXES))}"
        raise UserError(f"{argument} has no images; {endings}")
    if unread:
        raise UserError(f"{argument} matches no images; {unread}")
    if glob.has_magic(argument):
        raise UserError(f"{argument} matches no images; check the pattern")
    raise UserError(f"{argument}: no such file or folder; check the name")


def _drawn_pictures(images: list[Path], place: Path) -> set[Path]:
    """Find the images that earlier predictions drew; not those that the argument itself names."""
    folders = {image.parent for image in images if image.parent.name == PICTURES_NAME} - {place, place.parent}
    drawn = {folder for folder in folders if all((folder.parent / name).is_file() for name in PREDICTION_FILES)}
    return {image for image in images if image.parent in drawn}
