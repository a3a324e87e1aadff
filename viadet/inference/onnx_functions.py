"""What an exported ONNX file does before and after the network, written in onnxscript: letterboxing, and NMS.

onnxscript turns these functions into ONNX graphs; they are not run as Python. Only operators of ONNX's standard set.
"""

from onnxscript import DOUBLE, FLOAT, INT64, UINT8, script
from onnxscript import opset20 as op

FLOAT_TYPE, UINT8_TYPE, INT64_TYPE, DOUBLE_TYPE = 1, 2, 7, 11  # ONNX's numbers


@script(default_opset=op)
def resample(rows, size, powers_of_two):  # noqa: ANN001, ANN201
    """Resample along the first axis, uint8 [length, rest] to [size, rest], to the very bytes that torch gives.

    torch's antialiased bilinear kernel for uint8 rounds the weights to 16-bit integers, by a power of two that depends
    on the greatest one, and rounds the result of each axis (aten/src/ATen/native/cpu/UpSampleKernel.cpp). ONNX's own
    Resize rounds otherwise: 1 % of the bytes would differ by 1, and scores of a trained network by up to 0.02. The
    weights are a band of a matrix, so 16 bands of the output are multiplied by their part of the input each. `size` is
    int64 [1], `powers_of_two` are doubles from 1.
    """
    length = op.Cast(op.Shape(rows, start=0, end=1), to=DOUBLE_TYPE)
    scale = length / op.Cast(size, to=DOUBLE_TYPE)
    reach = op.Max(scale, 1.0)
    band_size = (size + 15) / 16
    targets = op.Reshape(op.Range(0, op.Squeeze(band_size * 16), 1), [16, -1])  # the last ones may lie beyond the end
    centres = (op.Cast(op.Min(targets, size - 1), to=DOUBLE_TYPE) + 0.5) * scale
    first = op.Max(op.Floor(op.Slice(centres, [0], [1], [1]) - reach - 0.5), 0.0)
    taps = op.Ceil(op.Cast(band_size, to=DOUBLE_TYPE) * scale + 2.0 * reach) + 2.0
    sources = first + op.Range(0.0, op.Squeeze(taps), 1.0)  # [16, taps]
    distances = op.Unsqueeze(sources, [1]) + 0.5 - op.Unsqueeze(centres, [2])
    triangle = op.Max(1.0 - op.Abs(distances / reach), 0.0)
    weights = op.Where(op.Unsqueeze(sources, [1]) < length, triangle, 0.0)
    weights = weights / op.ReduceSum(weights, [2])  # [16, band_size, taps]
    fits = op.ReduceMax(weights, keepdims=0) * powers_of_two + 0.5 < 32768.0
    factor = op.ReduceMax(op.Where(fits, powers_of_two, 1.0), keepdims=0)
    integers = op.Cast(op.Floor(weights * factor + 0.5), to=FLOAT_TYPE)
    pixels = op.Gather(rows, op.Cast(op.Min(sources, length - 1.0), to=INT64_TYPE), axis=0)
    sums = op.MatMul(integers, op.Cast(pixels, to=FLOAT_TYPE))
    values = op.Min(op.Floor(sums / op.Cast(factor, to=FLOAT_TYPE) + 0.5), 255.0)
    resampled = op.Reshape(op.Cast(values, to=UINT8_TYPE), op.Concat([-1], op.Shape(rows, start=1, end=2), axis=0))
    return op.Slice(resampled, [0], size, [0])


@script(default_opset=op)
def letterbox(
    images: UINT8["batch", "height", "width", 3],  # noqa: F821
    input_hw: INT64[2],
    fill: UINT8[1, 3, 1, 1],
    powers_of_two: DOUBLE[23],
) -> tuple[UINT8["batch", 3, "input_height", "input_width"], INT64[2], INT64[2]]:  # noqa: F821
    """Do what `viadet.images.letterbox.letterbox_image` does, for a batch of RGB images of one size.

    `input_hw` is the size of the network's input, px; `fill` is the colour of the padding.

    Returns:
        The canvas, the size that the images have in it, and their own size.
    """
    image_hw = op.Shape(images, start=1, end=3)
    image_px = op.Cast(image_hw, to=DOUBLE_TYPE)
    scale = op.ReduceMin(op.Cast(input_hw, to=DOUBLE_TYPE) / image_px, keepdims=0)
    fitted_hw = op.Max(op.Min(op.Cast(op.Round(image_px * scale), to=INT64_TYPE), input_hw), 1)
    fitted_h, fitted_w = op.Split(fitted_hw, num_outputs=2)
    batch = op.Shape(images, start=0, end=1)
    height = op.Shape(images, start=1, end=2)
    flat_columns = op.Reshape(op.Transpose(images, perm=[2, 0, 1, 3]), [0, -1])
    columns = op.Reshape(
        resample(flat_columns, fitted_w, powers_of_two), op.Concat(fitted_w, batch, height, [3], axis=0)
    )
    flat_rows = op.Reshape(op.Transpose(columns, perm=[2, 1, 0, 3]), [0, -1])
    rows = op.Reshape(resample(flat_rows, fitted_h, powers_of_two), op.Concat(fitted_h, batch, fitted_w, [3], axis=0))
    free_h, free_w = op.Split(input_hw - fitted_hw, num_outputs=2)
    input_w = op.Slice(input_hw, [1], [2])
    right = op.Expand(fill, op.Concat(batch, [3], fitted_h, free_w, axis=0))
    bottom = op.Expand(fill, op.Concat(batch, [3], free_h, input_w, axis=0))
    canvas = op.Concat(op.Concat(op.Transpose(rows, perm=[1, 3, 0, 2]), right, axis=3), bottom, axis=2)
    return canvas, fitted_hw, image_hw


@script(default_opset=op)
def vote(boxes_xyxy, scores, labels, kept_xyxy, kept_labels, vote_iou):  # noqa: ANN001, ANN201
    """Average each kept box, [B, D, 4], with the candidates, [B, N, 4], as `viadet.detection.decoding.vote`.

    `scores` and `labels` are [B, N], `kept_labels` [B, D]. Candidates of score 0 do not count; `vote_iou` is the least
    IoU of nearly equal boxes.
    """
    low, high = op.Split(op.Unsqueeze(boxes_xyxy, [1]), num_outputs=2, axis=3)
    kept_low, kept_high = op.Split(op.Unsqueeze(kept_xyxy, [2]), num_outputs=2, axis=3)
    overlap = op.ReduceProd(op.Max(op.Min(high, kept_high) - op.Max(low, kept_low), 0.0), [3], keepdims=0)
    areas = op.ReduceProd(high - low, [3], keepdims=0) + op.ReduceProd(kept_high - kept_low, [3], keepdims=0)
    same_class = op.Equal(op.Unsqueeze(labels, [1]), op.Unsqueeze(kept_labels, [2]))
    is_voter = op.And(overlap / (areas - overlap) >= vote_iou, same_class)
    weights = op.Where(is_voter, op.Unsqueeze(scores, [1]), 0.0)  # [B, D, N]
    return op.MatMul(weights, boxes_xyxy) / op.ReduceSum(weights, [2])


@script(default_opset=op)
def select_detections(
    candidates_xyxy: FLOAT["batch", "candidates", 4],  # noqa: F821
    candidate_scores: FLOAT["batch", "candidates"],  # noqa: F821
    candidate_labels: INT64["batch", "candidates"],  # noqa: F821
    fitted_hw: INT64[2],
    image_hw: INT64[2],
    classes: INT64[1, "classes", 1],  # noqa: F821
    limits: FLOAT[4],
    max_detections: INT64[1],
) -> tuple[FLOAT["batch", "detections", 4], FLOAT["batch", "detections"], INT64["batch", "detections"]]:  # noqa: F821
    """Clip boxes to the image, then NMS and box voting for each class: the end of `viadet.detection.decoding.decode`.

    `limits` are the least score of a candidate, that of a detection, and the IoUs of NMS and of voting. The boxes are
    in px of the image. D is the greatest number of detections of an image; other images' rows end in zeros.
    """
    fitted_wh = op.Cast(op.Gather(fitted_hw, [1, 0]), to=FLOAT_TYPE)
    image_wh = op.Cast(op.Gather(image_hw, [1, 0]), to=FLOAT_TYPE)
    clipped_xyxy = op.Min(op.Max(candidates_xyxy, 0.0), op.Concat(fitted_wh, fitted_wh, axis=0))
    low, high = op.Split(clipped_xyxy, num_outputs=2, axis=2)
    has_area = op.ReduceMin(high - low, [2], keepdims=0) > 0.0
    min_score, score_threshold, nms_iou, vote_iou = op.Split(limits, num_outputs=4)
    voters = op.Where(op.And(has_area, candidate_scores >= min_score), candidate_scores, 0.0)
    scores_in = op.Where(candidate_scores >= score_threshold, voters, 0.0)
    of_class = op.Equal(op.Unsqueeze(candidate_labels, [1]), classes)
    scores_by_class = op.Where(of_class, op.Unsqueeze(scores_in, [1]), 0.0)
    selected = op.NonMaxSuppression(clipped_xyxy, scores_by_class, max_detections, nms_iou, 0.0)
    places = op.Gather(selected, [0, 2], axis=1)  # image and candidate
    kept = op.ScatterND(scores_in * 0.0, places, op.GatherND(scores_in, places))
    counts = op.ReduceSum(op.Cast(kept > 0.0, to=INT64_TYPE), [1], keepdims=0)
    scores, order = op.TopK(kept, op.Min(op.ReduceMax(counts), max_detections))
    is_detection = scores > 0.0
    best_labels = op.GatherElements(candidate_labels, order, axis=1)
    labels = op.Where(is_detection, best_labels, 0)
    best_xyxy = op.GatherND(clipped_xyxy, op.Unsqueeze(order, [2]), batch_dims=1)
    voted_xyxy = vote(clipped_xyxy, voters, candidate_labels, best_xyxy, best_labels, vote_iou)
    scale_xy = fitted_wh / image_wh
    image_xyxy = voted_xyxy / op.Concat(scale_xy, scale_xy, axis=0)
    boxes_xyxy = op.Where(op.Unsqueeze(is_detection, [2]), image_xyxy, 0.0)
    return boxes_xyxy, scores, labels
