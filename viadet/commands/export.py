"""`viadet export`: a trained detector as one file for other programs."""

import importlib.util
from functools import partial
from pathlib import Path

import click

from viadet.commands.options import model_option
from viadet.project.counting import counted
from viadet.project.errors import UserError
from viadet.project.files import replaced_file

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # the extra `export`


@click.command()
@click.option("--format", "kind", type=click.Choice(["onnx"]), default="onnx", show_default=True)
@model_option("Model folder.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file.  [default: detector.FORMAT]")
@click.option("--size", type=int, help="Longer side of the network's input, px.  [default: as evaluated, or trained]")
@click.option("--threshold", type=click.FloatRange(0.001, 1), help="Least score.  [default: as evaluated, or 0.4]")
@click.option(
    "--images", multiple=True, metavar="IMAGE|FOLDER|GLOB", help="For the check.  [default: of data/coco/val.json]"
)
def export(
    kind: str,
    models: tuple[Path, ...],
    out: Path | None,
    size: int | None,
    threshold: float | None,
    images: tuple[str, ...],
) -> None:
    """Write a detector as one ONNX file, with letterboxing, normalising, decoding and NMS inside.

    It takes images of any size, uint8 [batch, height, width, 3] in RGB, and gives boxes_xyxy in px of the images,
    scores and labels. Its detections are compared with PyTorch's, in some images and from the lowest score on; if they
    differ, nothing is written.

    \b
    Reads   the model folder (model.safetensors, model.json, detect.json if evaluated),
            images for the check
    Writes  detector.onnx

    \b
    Examples
      viadet export --format onnx
      viadet export --model data/model --out balloons.onnx --images photographs
    """
    if len(models) > 1:
        raise UserError(f"--model is given {len(models)} times, but a file holds one model; name one")
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--format onnx needs {', '.join(missing)}; run `pip install {' '.join(missing)}`")

    from viadet.detection.decoding import MIN_SCORE
    from viadet.detection.loading import load_detector
    from viadet.inference.export_check import check_file, find_checked_images
    from viadet.inference.onnx_export import open_onnx, write_onnx

    detector = load_detector(models[0], "cpu", size)
    threshold = max(MIN_SCORE, detector.settings.score_threshold) if threshold is None else threshold
    checked = find_checked_images(images)
    path = out or Path(f"detector.{kind}")
    with replaced_file(path) as temporary:
        temporary.touch()  # before the work: where nothing can be written, it ends here
        spec = detector.plain_network.spec
        width, height = spec.input_wh
        print(f"exporting {spec.name} at {width} x {height} px, scores from {threshold:g}: takes a minute")
        write_onnx(detector, threshold, temporary)
        agreement = check_file(partial(open_onnx, temporary), detector, threshold, checked)
    where = counted(len(checked), "image") if checked else "a rendered picture"
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; {counted(agreement.detections, 'detection')} in "
        f"{where}, scores from {MIN_SCORE:g}, differ from PyTorch's by at most "
        f"{agreement.box_px:.3f} px and {agreement.score:.6f} in score"
    )
