"""The recipes of params.yaml, checked before any work is done."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML, YAMLError

from viadet.project.errors import UserError

PARAMS_PATH = Path("params.yaml")
SIDE_PX = (128, 2048)  # least and greatest side of the network's input
NO_RECIPES = ("recipe", "launch")  # keys beside the recipes: which one runs, what starts its training
P3_STRIDE_PX = 8  # of the level with the smallest anchors
MAX_TILES = 8  # of each side of a photograph

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Scale = Annotated[float, Field(gt=0, le=8)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Side = Annotated[int, Field(ge=SIDE_PX[0], le=SIDE_PX[1], multiple_of=32)]
# one side of a square, or [width, height]
Size = Annotated[
    tuple[Side, Side],
    BeforeValidator(lambda size: tuple(size) if isinstance(size, list | tuple) else (size, size)),
]
CamMethod = Literal[
    "GradCAM",
    "GradCAM++",
    "HiResCAM",
    "XGradCAM",
    "LayerCAM",
    "EigenCAM",
    "EigenGradCAM",
    "AblationCAM",
    "ScoreCAM",
    "RandomCAM",
]


class Section(BaseModel):
    """A section of a recipe: unknown keys and silent type changes ("yes" for true, "3" for 3) are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RenderedParams(Section):
    """Size of the rendered sample."""

    train_images: Positive
    val_images: Positive
    image_size: Annotated[int, Field(ge=64, le=4096)]  # px, the longer side
    seed: Seed


class FetchParams(Section):
    """Where the photographs come from."""

    source: str  # URL or path of a zip, path of a folder, or "rendered"
    manifest: str | None  # sha256 of every file that belongs to the data set; None: not checked
    rendered: RenderedParams | None  # of the sample; None: not rendered

    @model_validator(mode="after")
    def _rendered_needs_sizes(self) -> "FetchParams":
        if (self.source == "rendered") != (self.rendered is not None):
            raise ValueError("a block `rendered` is needed with `source: rendered`, and only there")
        return self

    @property
    def origin(self) -> str:
        """The data set's place as the user knows it, for messages; rendered images are only in data/raw."""
        is_url = self.source.startswith(("http://", "https://"))
        source = self.source.partition("?")[0].rpartition("/")[2] if is_url else self.source.rstrip("/")
        return "data/raw" if self.rendered is not None else source


class SplitParams(Section):
    """Shares of a data set that is not in folders; the rest is for training."""

    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed

    @model_validator(mode="after")
    def _something_is_left_for_training(self) -> "SplitParams":
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val} and test {self.test} leave nothing for training")
        return self


class ConvertParams(Section):
    """How VIA regions become COCO annotations."""

    # ids count from 1 in this order; auto: the values of the attribute, sorted
    categories: Literal["auto"] | Annotated[list[str], Field(min_length=1)]
    # region attribute that names the category; None: all are the first one; auto: the only attribute that fits
    attribute: str | None
    bad_regions: Literal["error", "skip"]  # that give no box
    other_categories: Literal["error", "skip"]  # regions with none of the categories
    points: Literal["error", "skip"]
    polyline: Literal["nearly_closed", "always", "never"]  # as an outline
    bad_images: Literal["error", "skip"]  # missing or unreadable
    emptied_images: Literal["drop", "keep"]  # whose regions were all skipped
    split: SplitParams | None  # None: the images must be in folders train and val
    folds: Annotated[int, Field(ge=2)] | None  # None: the splits as they come
    folds_of: Literal["all", "train"]  # images that the folds split
    fold: Annotated[int, Field(ge=0)]  # which one validates

    @model_validator(mode="after")
    def _fold_is_one_of_the_folds(self) -> "ConvertParams":
        if self.fold >= (self.folds or 1):
            raise ValueError(f"fold is {self.fold}, but folds is {self.folds}: folds count from 0")
        return self

    @model_validator(mode="after")
    def _categories_can_be_told_apart(self) -> "ConvertParams":
        names = self.categories if isinstance(self.categories, list) else []
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"categories has {name!r} {names.count(name)} times; delete one")
            if name != name.strip() or not name:
                raise ValueError(f"categories has {name!r}; write it without blanks around it")
        if len(names) > 1 and self.attribute is None:
            raise ValueError(
                f"categories are {', '.join(names)}, but attribute is null, which makes all regions the first; "
                "set attribute to the region attribute that names the category, or to auto"
            )
        return self


class ModelParams(Section):
    """The network and where its weights start."""

    name: str  # an EfficientDet of effdet
    init: str  # random, coco, imagenet or the path of a checkpoint
    image_size: Size
    test_size: Size | None  # None: as in training
    anchor_scale: Annotated[float, Field(ge=0.5, le=16)]  # smallest anchor's side, in strides of its level

    @property
    def input_wh(self) -> tuple[int, int]:
        """Width and height of the input in training, px."""
        return self.image_size

    @property
    def test_wh(self) -> tuple[int, int]:
        """Width and height of the input when detecting, px."""
        return self.test_size or self.image_size


class AugmentParams(Section):
    """What a training image goes through."""

    scale: Annotated[list[Scale | Literal["auto"]], Field(min_length=2, max_length=2)]
    flip: Fraction
    colour: Fraction
    channels: Fraction
    copy_paste: Annotated[int, Field(ge=0, le=100)]
    cluster: Fraction
    mosaic: Fraction
    plain_epochs: Annotated[int, Field(ge=0)]  # the last ones: neither pasted objects nor mosaics

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> "AugmentParams":
        low, high = self.scale
        if low == "auto":
            raise ValueError("scale: only the second number may be auto")
        if high != "auto" and low > high:
            raise ValueError("scale: the first number must not be above the second")
        return self


class TrainParams(Section):
    """The schedule."""

    epochs: Positive
    small_share: Fraction  # of the epochs, the first ones: small inputs
    batch_size: Positive
    accumulate: Positive  # batches that make one step
    repeat_threshold: Annotated[float, Field(gt=0, le=1)] | None  # share of the images, see repeat_factors; None: off
    optimizer: Literal["adamw", "sgd"]
    lr: Annotated[float, Field(gt=0)]
    backbone_lr: Annotated[float, Field(gt=0, le=1)]  # share of lr
    frozen_stages: Annotated[int, Field(ge=0)]  # of the backbone, from its stem on
    freeze_batch_norm: bool  # of the backbone
    box_loss: Literal["ciou", "huber"]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    validate_every: Positive  # epochs
    seed: Seed
    device: Literal["auto", "cuda", "cpu", "mps"]
    deterministic: bool
    precision: Literal["auto", "bf16", "fp16", "fp32"]  # of autocast
    tf32: bool  # on CUDA
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)]  # of the network on a CPU
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=64)]  # processes that prepare images
    compile: bool  # by torch.compile
    augment: AugmentParams


class ViewsParams(Section):
    """Views whose detections are put together (test-time augmentation)."""

    scales: Annotated[list[Annotated[float, Field(ge=0.25, le=4)]], Field(min_length=1)]  # of the input's size
    flip: bool  # each scale mirrored as well
    tiles: Literal["auto"] | Annotated[int, Field(ge=0, le=MAX_TILES)]  # of each side of the photograph; 0: none
    merge: Literal["wbf", "nms"]


class EvaluateParams(Section):
    """How detections are measured."""

    score_threshold: Fraction  # what counts as a detection in precision, recall, F1 and the pictures
    max_detections: Annotated[int, Field(ge=10, le=10_000)]  # of an image, best first; AP and AR are at this number
    max_images: Positive  # drawn; all are measured
    bootstrap: Annotated[int, Field(ge=0)]  # samples of images for AP's confidence interval; 0: none
    test_time: ViewsParams | None  # measured beside the plain detections
    test_set: bool  # measure the images of the split test as well


class FeatureMapsParams(Section):
    """Which layers are shown, and how their channels become pictures."""

    layers: Annotated[list[str], Field(min_length=1)]  # backbone, neck, a level (C3.., P3..) or a module's path
    reduction: Literal["mean", "max", "topk"]
    topk: Annotated[list[Positive], Field(min_length=2, max_length=2)]  # rows and columns of channels
    overlay: Fraction  # 0: photograph only, 1: map only
    colour_bar: bool
    score_threshold: Fraction  # of the detections drawn over the maps
    max_images: Positive


class GradCamParams(Section):
    """What is explained, how, and how much of it is drawn and checked."""

    methods: Annotated[list[CamMethod], Field(min_length=1)]  # all are measured, the first is drawn
    target: Literal["score", "box", "both"]
    normalise: Literal["image", "box"]
    score_threshold: Fraction
    max_boxes: Positive  # drawn, the best of an image
    max_mistakes: Annotated[int, Field(ge=0)]  # drawn, false positives and missed objects of an image, each
    max_images: Positive  # drawn
    measured_images: Positive | None  # evenly spread over all; None: all
    checked_images: Positive  # of those measured, whose detections go through the slow checks


class Recipe(Section):
    """One complete recipe: a section a stage, plus the network that several stages share."""

    fetch: FetchParams
    convert: ConvertParams
    model: ModelParams
    train: TrainParams
    evaluate: EvaluateParams
    feature_maps: FeatureMapsParams
    grad_cam: GradCamParams


def read_recipe(path: Path = PARAMS_PATH) -> Recipe:
    """Read the recipe that `path` names as the current one and check all of it.

    Raises:
        UserError: no such file or recipe, or a value that is not allowed; names `recipe.section.key`.
    """
    params = _read_params(path)
    name = params["recipe"]
    try:
        return Recipe.model_validate(params[name])
    except ValidationError as error:
        faults = "; ".join(_explain(name, line) for line in error.errors())
        advice = f"fix it; `git diff {path}` shows what -S or you changed"  # -S leaves a bad value in the file
        raise UserError(f"{path}: {faults}; {advice}") from None


def read_recipe_name(path: Path = PARAMS_PATH) -> str:
    """Read which recipe is the current one.

    Raises:
        UserError: no such file or recipe.
    """
    return _read_params(path)["recipe"]


def load_yaml(text: str) -> Any:
    """Read one document of YAML 1.2 as DVC does; repeated keys and tags that would construct objects are refused.

    PyYAML keeps to YAML 1.1, in which `1e-4` is a word, `no` is false and `1:30` is 90.

    Raises:
        ruamel.yaml.YAMLError: the text is not valid.
    """
    return YAML(typ="safe").load(text)


def _read_params(path: Path) -> dict[str, Any]:
    try:
        params = load_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no {path} in {Path.cwd()}; run the stages from the project's root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    recipes = [key for key in params if key not in NO_RECIPES] if isinstance(params, dict) else []
    name = params.get("recipe") if isinstance(params, dict) else None
    if name not in recipes:
        raise UserError(f"{path}: recipe is {name!r}, allowed is one of {', '.join(map(str, recipes)) or 'nothing'}")
    return params


def _explain(recipe: str, error: Any) -> str:
    """Turn one pydantic error into `recipe.section.key is VALUE: what is allowed`."""
    key = ".".join(map(str, (recipe, *error["loc"])))
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        return f"{key} is not a known key"
    message = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], dict | BaseModel):
        return f"{key}: {message}"
    return f"{key} is {error['input']!r}: {message[:1].lower()}{message[1:]}"
