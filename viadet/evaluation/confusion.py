"""Confusions: the class of each object against the class that was detected in its place."""

from collections import Counter

from viadet.annotations.coco import category_names
from viadet.evaluation.error_kinds import ErrorAnalysis

# In brackets, as they are not classes: instead of an object's class, and instead of a detection's.
BACKGROUND, MISSED = "(background)", "(missed)"
CONFUSION_COLUMNS = ["object", "detection", "count"]
Confusions = Counter[tuple[str, str]]  # by the classes of object and detection; pairs that do not occur have no entry


def count_confusions(coco: dict, analysis: ErrorAnalysis) -> Confusions:
    """Count objects and detections by their classes, each once.

    Equal classes are the matches that all other figures count. Of the other detections, the best-scored first, each
    takes the object of another class that it covers best, by IoU 0.5 or more, if that is still free.

    Args:
        coco: ground truth.
        analysis: the detections' matches and errors at a score threshold.
    """
    names = category_names(coco)
    class_of = {annotation["id"]: names[annotation["category_id"]] for annotation in coco["annotations"]}
    matches = analysis.matches
    detected = [names[label] for label in matches.labels.tolist()]
    taken = set(matches.hits_50[matches.hits_50 > 0].tolist())
    confusions = Counter((class_of[annotation_id], class_of[annotation_id]) for annotation_id in taken)
    wrong = [error for error in analysis.errors if error.row is not None]
    for error in sorted(wrong, key=lambda error: -matches.rows["score"][error.row]):
        is_free = error.confused_id is not None and error.confused_id not in taken
        confusions[class_of[error.confused_id] if is_free else BACKGROUND, detected[error.row]] += 1
        if is_free:
            taken.add(error.confused_id)
    confusions.update((class_of[annotation_id], MISSED) for annotation_id in class_of.keys() - taken)
    return confusions


def confusion_rows(coco: dict, confusions: Confusions) -> list[dict[str, int | str]]:
    """List each pair that occurs, in the order of the classes, in rows of CONFUSION_COLUMNS."""
    order = {name: index for index, name in enumerate([*category_names(coco).values(), BACKGROUND, MISSED])}
    pairs = sorted(confusions, key=lambda pair: [order[name] for name in pair])
    return [dict(zip(CONFUSION_COLUMNS, (*pair, confusions[pair]), strict=True)) for pair in pairs]
