"""COCO metrics of detections, by pycocotools."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from viadet.detection.decoding import MAX_DETECTIONS
from viadet.detection.detections import Detections
from viadet.evaluation.average_precision import precision_at_recalls
from viadet.evaluation.matches import ROW, Matches
from viadet.project.metric_names import AP_NAMES

# COCOeval.stats in its order; AR by the detections of an image that count
STATS = (*AP_NAMES, "AR_1", "AR_10", "AR_100", "AR_s", "AR_m", "AR_l")
MEASURED = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")  # keys of an annotation that COCOeval needs


class CocoMetrics(NamedTuple):
    """What COCOeval says of detections, and the matches that it found."""

    stats: dict[str, float]  # AP and AR, four decimals; -1 where there is no ground truth of that size
    precision: NDArray[np.float64]  # [10 IoUs, 101 recalls, categories]; -1 for a category without ground truth
    recall: NDArray[np.float64]  # [10 IoUs, categories], with all detections; likewise
    matches: Matches


def evaluate_coco(
    coco: dict, detections: Mapping[int, Detections], max_detections: int = MAX_DETECTIONS
) -> CocoMetrics:
    """Evaluate detections against ground truth in COCO's format; both are left unchanged.

    The detections are measured as they are written, rounded, so that anyone finds the same figures from the file.

    Args:
        coco: ground truth.
        detections: by image id.
        max_detections: the best of an image and category that count, at least 10; `AR_100` is called by this number.
    """
    evaluation = SparseCOCOeval(coco, detections)
    evaluation.params.maxDets[-1] = max_detections
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision, recall = evaluation.eval["precision"][:, :, :, 0, -1], evaluation.eval["recall"][:, :, 0, -1]
    if max_detections != MAX_DETECTIONS and (precision > -1).any():
        evaluation.stats[0] = precision[precision > -1].mean()  # COCOeval finds this one at 100 detections only
    names = [name.replace("_100", f"_{max_detections}") for name in STATS]
    stats = {name: round(float(value), 4) for name, value in zip(names, evaluation.stats, strict=True)}
    return CocoMetrics(stats, precision, recall, evaluation.matches())


class SparseCOCOeval(COCOeval):
    """COCOeval that only compares boxes which overlap enough for a match; it gives the same figures.

    pycocotools compares each detection with each object at ten IoUs and four ranges of size in Python, and keeps the
    IoUs and copies of all detections: minutes, and gigabytes, for thousands of images or hundreds of objects in each.
    """

    def __init__(self, coco: dict, detections: Mapping[int, Detections]) -> None:
        """Take ground truth in COCO's format, and detections by image id."""
        objects = [{key: annotation[key] for key in MEASURED} for annotation in coco["annotations"]]  # keys are added
        super().__init__(_index(coco, objects), iouType="bbox")
        self.labels = {image_id: found.labels for image_id, found in detections.items()}
        self.rounded = {image_id: found.rounded() for image_id, found in detections.items()}

    def _prepare(self) -> None:
        """Group objects and detections by image and category; of detections, only their places in their image."""
        self.cocoDt = _index(self.cocoGt.dataset, [])
        super()._prepare()
        for image_id, labels in self.labels.items():
            for category_id in np.unique(labels).tolist():
                self._dts[image_id, category_id] = np.flatnonzero(labels == category_id)

    def computeIoU(self, imgId: int, catId: int) -> list[tuple[int, list[tuple[int, float]]]]:
        """Cut the detections of an image and category; for each list the objects that it could match.

        Returns:
            By detection that overlaps an object: its index, and the index and IoU of each such object.
        """
        places = self._dts[imgId, catId] = self._dts[imgId, catId][: self.params.maxDets[-1]]
        objects = self._gts[imgId, catId]
        if not len(places) or not objects:
            return []
        boxes_xywh = self.rounded[imgId][0][places]
        objects_xywh = np.array([object_["bbox"] for object_ in objects], float)
        ious = mask.iou(boxes_xywh, objects_xywh, [object_["iscrowd"] for object_ in objects])  # [detections, objects]
        candidates: dict[int, list[tuple[int, float]]] = {}
        for box, object_ in np.argwhere(ious >= self.params.iouThrs[0]).tolist():
            candidates.setdefault(box, []).append((object_, float(ious[box, object_])))
        return list(candidates.items())

    def evaluateImg(self, imgId: int, catId: int, aRng: list[float], maxDet: int) -> dict[str, Any] | None:
        """Match the detections of an image and category; the entry has no `gtMatches`, which nothing reads."""
        places, objects = self._dts[imgId, catId], self._gts[imgId, catId]
        if not len(places) and not objects:
            return None
        ignored = [bool(object_["ignore"]) or is_outside(object_["area"], aRng) for object_ in objects]
        shape = len(self.params.iouThrs), len(places)
        ids, is_ignored = np.zeros(shape, np.int32), np.zeros(shape, bool)
        for row, iou in enumerate(self.params.iouThrs):
            for box, object_ in self.candidates_taken(imgId, catId, iou, ignored):
                ids[row, box], is_ignored[row, box] = objects[object_]["id"], ignored[object_]
        boxes_xywh, scores = (values[places] for values in self.rounded.get(imgId, (np.zeros((0, 4)), np.zeros(0))))
        outside = np.array([is_outside(area, aRng) for area in boxes_xywh[:, 2:].prod(axis=1)], bool)
        return {
            "image_id": imgId,
            "category_id": catId,
            "aRng": aRng,
            "maxDet": maxDet,
            "dtIds": places,
            "dtMatches": ids,
            "dtScores": scores,
            "gtIgnore": np.sort(ignored).astype(int),
            "dtIgnore": is_ignored | ((ids == 0) & outside),
        }

    def candidates_taken(
        self, image_id: int, category_id: int, iou: float, ignored: list[bool]
    ) -> Iterator[tuple[int, int]]:
        """Match as COCOeval does: the best-scored box first, with the free object of the highest IoU.

        An object that counts is preferred to ignored ones, the later one among equal IoUs; yields indices of both.
        """
        objects, taken = self._gts[image_id, category_id], set()
        for box, candidates in self.ious[image_id, category_id]:
            free = [(not ignored[index], value, index) for index, value in candidates if index not in taken]
            free = [candidate for candidate in free if candidate[1] >= min(iou, 1 - 1e-10)]
            if free:
                index = max(free)[2]
                if not objects[index]["iscrowd"]:  # a crowd may be matched again
                    taken.add(index)
                yield box, index

    def accumulate(self) -> None:
        """Find precision and recall as COCOeval does, but one IoU at a time: a tenth of the memory."""
        params = self.params
        shape = len(params.iouThrs), len(params.catIds), len(params.areaRng), len(params.maxDets)
        recall, precision = -np.ones(shape), -np.ones((shape[0], len(params.recThrs), *shape[1:]))
        for category, sizes, most in np.ndindex(*shape[1:]):
            first = (category * len(params.areaRng) + sizes) * len(params.imgIds)
            entries = [entry for entry in self.evalImgs[first : first + len(params.imgIds)] if entry is not None]
            objects = sum(int(np.count_nonzero(entry["gtIgnore"] == 0)) for entry in entries)
            if objects == 0:
                continue
            limit = params.maxDets[most]
            scores = np.concatenate([entry["dtScores"][:limit] for entry in entries])
            order = np.argsort(-scores, kind="stable")
            for iou in range(shape[0]):
                matched, ignored = (
                    np.concatenate([entry[key][iou, :limit] for entry in entries])[order].astype(bool)
                    for key in ("dtMatches", "dtIgnore")
                )
                ranks = np.flatnonzero(matched[~ignored]) + 1
                recall[iou, category, sizes, most] = len(ranks) / objects
                true_positives = np.arange(1, len(ranks) + 1)
                precision[iou, :, category, sizes, most] = precision_at_recalls(true_positives, ranks, objects)
        self.eval = {"params": params, "precision": precision, "recall": recall}

    def matches(self) -> Matches:
        """Put the matches of boxes of all sizes into one table."""
        image_ids, category_ids = (list(map(int, ids)) for ids in (self.params.imgIds, self.params.catIds))
        image_of = {image_id: index for index, image_id in enumerate(image_ids)}
        category_of = {category_id: index for index, category_id in enumerate(category_ids)}
        object_counts = np.zeros((len(image_ids), len(category_ids)), int)
        all_sizes, self.ious = self.params.areaRng[0], {}  # what has been summed up is most of the memory
        self.evalImgs = [entry for entry in self.evalImgs if entry is not None and entry["aRng"] == all_sizes]
        parts = [np.zeros(0, ROW)]
        for entry in self.evalImgs:
            image, category = image_of[entry["image_id"]], category_of[entry["category_id"]]
            object_counts[image, category] = len(entry["gtIgnore"])
            places = entry["dtIds"]
            if not len(places):
                continue
            rows = np.zeros(len(places), ROW)
            rows["image"], rows["category"], rows["rank"] = image, category, places
            rows["score"], rows["hits"] = entry["dtScores"], entry["dtMatches"].T
            rows["box_xywh"] = self.rounded[entry["image_id"]][0][places]
            parts.append(rows)
        rows = np.concatenate(parts)
        return Matches(image_ids, category_ids, rows[np.lexsort([rows["rank"], rows["image"]])], object_counts)


def is_outside(area: float, area_range: list[float]) -> bool:
    """Tell whether an object or detection is of another size, px²."""
    return not area_range[0] <= area <= area_range[1]


def _index(coco: dict, annotations: list[dict]) -> COCO:
    index = COCO()
    index.dataset = {"images": coco["images"], "categories": coco["categories"], "annotations": annotations}
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index
