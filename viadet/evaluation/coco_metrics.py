"""COCO metrics of detections, by pycocotools."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from viadet.network.boxes import MAX_DETECTIONS
from viadet.project.metric_names import AP_NAMES

# COCOeval.stats in its order; AR by the detections of an image that count
STATS = (*AP_NAMES, "AR_1", "AR_10", "AR_100", "AR_s", "AR_m", "AR_l")
MEASURED = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")  # keys of an annotation that COCOeval needs


def run_cocoeval(coco: dict, results: Sequence[dict], max_detections: int = MAX_DETECTIONS) -> COCOeval:
    """Evaluate results against ground truth, both in COCO's formats and left unchanged.

    Args:
        coco: ground truth.
        results: detections.
        max_detections: the best of an image and category that count, at least 10.

    Returns:
        COCOeval with its figures; of `evalImgs` only the entries for boxes of all sizes are kept, and no boxes.
    """
    evaluation = SparseCOCOeval(coco, results)
    evaluation.params.maxDets[-1] = max_detections
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    if max_detections != MAX_DETECTIONS and (precision > -1).any():
        evaluation.stats[0] = precision[precision > -1].mean()  # COCOeval finds this one at 100 detections only
    evaluation.forget_boxes()
    return evaluation


def coco_stats(evaluation: COCOeval) -> dict[str, float]:
    """AP and AR with four decimals; -1 where there is no ground truth of that size, as in COCOeval.

    `AR_100` is called by the evaluation's own number where that is another one.
    """
    names = [name.replace("_100", f"_{evaluation.params.maxDets[-1]}") for name in STATS]
    return {name: round(float(value), 4) for name, value in zip(names, evaluation.stats, strict=True)}


class SparseCOCOeval(COCOeval):
    """COCOeval that only compares boxes which overlap enough for a match; it gives the same figures.

    pycocotools compares each detection with each object at ten IoUs and four ranges of size in Python, and keeps the
    IoUs and copies of all detections: minutes, and gigabytes, for thousands of images or hundreds of objects in each.
    """

    def __init__(self, coco: dict, results: Sequence[dict]) -> None:
        """Take ground truth and detections in COCO's formats."""
        objects = [{key: annotation[key] for key in MEASURED} for annotation in coco["annotations"]]  # keys are added
        super().__init__(_index(coco, objects), iouType="bbox")
        self.results = results

    def _prepare(self) -> None:
        """Group objects and detections by image and category; of detections, only their indices."""
        self.cocoDt = _index(self.cocoGt.dataset, [])
        super()._prepare()
        for index, result in enumerate(self.results):
            self._dts[result["image_id"], result["category_id"]].append(index)

    def computeIoU(self, imgId: int, catId: int) -> list[tuple[int, list[tuple[int, float]]]]:
        """Sort and cut the detections of an image and category; for each list the objects that it could match.

        Returns:
            By detection that overlaps an object: its index, and the index and IoU of each such object.
        """
        ranked = sorted(self._dts[imgId, catId], key=lambda index: -self.results[index]["score"])
        boxes = self._dts[imgId, catId] = ranked[: self.params.maxDets[-1]]
        objects = self._gts[imgId, catId]
        if not boxes or not objects:
            return []
        boxes_xywh = np.array([self.results[index]["bbox"] for index in boxes], float)
        objects_xywh = np.array([object_["bbox"] for object_ in objects], float)
        ious = mask.iou(boxes_xywh, objects_xywh, [object_["iscrowd"] for object_ in objects])  # [detections, objects]
        candidates: dict[int, list[tuple[int, float]]] = {}
        for box, object_ in np.argwhere(ious >= self.params.iouThrs[0]).tolist():
            candidates.setdefault(box, []).append((object_, float(ious[box, object_])))
        return list(candidates.items())

    def evaluateImg(self, imgId: int, catId: int, aRng: list[float], maxDet: int) -> dict[str, Any] | None:
        """Match the detections of an image and category; the entry has no `gtMatches`, which nothing reads."""
        boxes, objects = self._dts[imgId, catId], self._gts[imgId, catId]
        if not boxes and not objects:
            return None
        ignored = [bool(object_["ignore"]) or is_outside(object_["area"], aRng) for object_ in objects]
        ranked = sorted(range(len(objects)), key=ignored.__getitem__)
        shape = len(self.params.iouThrs), len(boxes)
        ids, is_ignored = np.zeros(shape, np.int32), np.zeros(shape, bool)
        for row, iou in enumerate(self.params.iouThrs):
            for box, object_ in self.matches(imgId, catId, iou, ignored):
                ids[row, box], is_ignored[row, box] = objects[object_]["id"], ignored[object_]
        results = [self.results[index] for index in boxes]
        outside = np.array([is_outside(result["bbox"][2] * result["bbox"][3], aRng) for result in results], bool)
        return {
            "image_id": imgId,
            "category_id": catId,
            "aRng": aRng,
            "maxDet": maxDet,
            "dtIds": boxes,
            "gtIds": [objects[index]["id"] for index in ranked],
            "dtMatches": ids,
            "dtScores": np.array([result["score"] for result in results]),
            "gtIgnore": np.array([ignored[index] for index in ranked], int),
            "dtIgnore": is_ignored | ((ids == 0) & outside),
        }

    def matches(self, image_id: int, category_id: int, iou: float, ignored: list[bool]) -> Iterator[tuple[int, int]]:
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
        """Find precision, recall and scores as COCOeval does, but one IoU at a time: a tenth of the memory."""
        params = self.params
        shape = len(params.iouThrs), len(params.catIds), len(params.areaRng), len(params.maxDets)
        recall, (precision, scores) = -np.ones(shape), -np.ones((2, len(params.recThrs), *shape))
        for category, sizes, most in np.ndindex(*shape[1:]):
            first = (category * len(params.areaRng) + sizes) * len(params.imgIds)
            entries = [entry for entry in self.evalImgs[first : first + len(params.imgIds)] if entry is not None]
            objects = sum(int(np.count_nonzero(entry["gtIgnore"] == 0)) for entry in entries)
            if objects == 0:
                continue
            limit = params.maxDets[most]
            all_scores = np.concatenate([entry["dtScores"][:limit] for entry in entries])
            order = np.argsort(-all_scores, kind="stable")
            for iou in range(shape[0]):
                matched, ignored = (
                    np.concatenate([entry[key][iou, :limit] for entry in entries])[order].astype(bool)
                    for key in ("dtMatches", "dtIgnore")
                )
                right, wrong = np.cumsum(matched & ~ignored), np.cumsum(~matched & ~ignored)
                recalls, place = right / objects, (iou, category, sizes, most)
                recall[place] = recalls[-1] if recalls.size else 0
                # made monotonic; 0 at recalls that are not reached
                precisions = np.maximum.accumulate((right / (wrong + right + np.spacing(1)))[::-1])[::-1]
                reached = np.searchsorted(recalls, params.recThrs, side="left")
                precision[:, *place] = np.append(precisions, 0)[reached]
                scores[:, *place] = np.append(all_scores[order], 0)[reached]
        by_iou = {"precision": precision.swapaxes(0, 1), "recall": recall, "scores": scores.swapaxes(0, 1)}
        self.eval = {"params": params, **by_iou}

    def forget_boxes(self) -> None:
        """Keep the matches of boxes of all sizes only: the rest has been summed up, and is most of the memory."""
        all_sizes = self.params.areaRng[0]
        self.evalImgs = [entry for entry in self.evalImgs if entry is not None and entry["aRng"] == all_sizes]
        self.cocoGt = self.cocoDt = None
        self._gts, self._dts, self.ious, self.results = {}, {}, {}, []


def is_outside(area: float, area_range: list[float]) -> bool:
    """Tell whether an object or detection is of another size, px²."""
    return not area_range[0] <= area <= area_range[1]


def _index(coco: dict, annotations: list[dict]) -> COCO:
    index = COCO()
    index.dataset = {"images": coco["images"], "categories": coco["categories"], "annotations": annotations}
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index
