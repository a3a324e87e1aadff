"""The confusion matrix: the class of each object against the class that was detected in its place."""

import numpy as np

from viadet.annotations.coco import category_names
from viadet.evaluation.error_kinds import ErrorAnalysis

# In brackets, as they are not classes: the row of detections without an object, the column of undetected objects.
BACKGROUND, MISSED = "(background)", "(missed)"
OBJECTS = "(objects)"  # the column of the rows' names


def confusion_matrix(coco: dict, analysis: ErrorAnalysis) -> np.ndarray:
    """Count objects and detections by their classes, each once.

    On the diagonal are the matches that all other figures count. Of the other detections, the best-scored first, each
    takes the object of another class that it covers best, by IoU 0.5 or more, if that is still free.

    Args:
        coco: ground truth.
        analysis: the detections' matches and errors at a score threshold.

    Returns:
        int [K + 1, K + 1]: rows are classes of objects, in the order of `coco["categories"]`, then the background;
        columns are classes of detections, then the missed objects.
    """
    position = {category_id: index for index, category_id in enumerate(category_names(coco))}
    class_of = {annotation["id"]: position[annotation["category_id"]] for annotation in coco["annotations"]}
    matches = analysis.matches
    detected = [position[label] for label in matches.labels.tolist()]
    last = len(position)
    matrix = np.zeros((last + 1, last + 1), dtype=int)
    taken = set(matches.hits_50[matches.hits_50 > 0].tolist())
    for annotation_id in taken:
        matrix[class_of[annotation_id], class_of[annotation_id]] += 1
    wrong = [error for error in analysis.errors if error.row is not None]
    for error in sorted(wrong, key=lambda error: -matches.rows["score"][error.row]):
        is_free = error.confused_id is not None and error.confused_id not in taken
        row = class_of[error.confused_id] if is_free else last
        matrix[row, detected[error.row]] += 1
        if is_free:
            taken.add(error.confused_id)
    for annotation_id in class_of.keys() - taken:
        matrix[class_of[annotation_id], last] += 1
    return matrix


def confusion_rows(coco: dict, matrix: np.ndarray) -> list[dict[str, float | str]]:
    """List the matrix: a row a class of objects, named in the column OBJECTS, a column a class of detections."""
    names = list(category_names(coco).values())
    return [
        {OBJECTS: row_name} | {name: int(count) for name, count in zip([*names, MISSED], counts, strict=True)}
        for row_name, counts in zip([*names, BACKGROUND], matrix, strict=True)
    ]
