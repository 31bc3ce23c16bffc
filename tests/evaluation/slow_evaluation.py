"""The rules of the golden README, section 5, in plain loops; slow, for small cases."""

import math

EPSILON = 1e-10


def iou_and_iod(a, b):
    """Return IoU of two boxes and the share of the first one that the other covers."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0, 0.0
    shared = width * height
    area_a, area_b = a[2] * a[3], b[2] * b[3]
    return shared / (area_a + area_b - shared), shared / area_a


def twice_derived_iod(overlap, truth, detection):
    area = detection["bbox"][2] * detection["bbox"][3]
    if area == 0:
        return 0.0
    return overlap / (1 + overlap) * (1 + truth["area"] / area)


def by_score(detections):
    return sorted(detections, key=lambda d: -d["score"])


def outcomes_for_precision(truths, detections, threshold, low, high, options):
    """Match one image; return (score, 'true' | 'false' | 'ignored') per detection."""

    def is_ignored(truth):
        return bool(
            truth.get("iscrowd")
            or (options["use_ignore_attr"] and truth.get("ignore"))
            or (options["ignore_uncertain"] and truth.get("uncertain"))
            or truth["area"] < low**2
            or truth["area"] > high**2
        )

    threshold = min(threshold, 1 - EPSILON)
    ordered = [t for t in truths if not is_ignored(t)]
    num_counting = len(ordered)
    ordered += [t for t in truths if is_ignored(t)]
    taken = set()
    result = []
    for detection in by_score(detections)[: options["max_detections"]]:
        overlaps, iods = [], []
        for truth in ordered:
            iou, iod = iou_and_iod(detection["bbox"], truth["bbox"])
            overlap = iod if truth.get("iscrowd") else iou
            overlaps.append(overlap)
            if options["released"]:
                iod = twice_derived_iod(overlap, truth, detection)
            iods.append(iod)
        chosen = None
        for part in (range(num_counting), range(num_counting, len(ordered))):
            best = threshold
            for i in part:
                free = i not in taken or ordered[i].get("iscrowd")
                if free and overlaps[i] >= best:
                    best, chosen = overlaps[i], i
            if chosen is not None:
                break
        if chosen is None and options["use_iod_for_ignore"]:
            inside = [
                i for i in range(num_counting, len(ordered)) if iods[i] >= threshold
            ]
            if inside:
                chosen = max(inside, key=lambda i: (iods[i], -i))
        if chosen is not None:
            taken.add(chosen)
        matched = chosen is not None
        in_ignored = matched and chosen >= num_counting
        if matched and options["released"] and ordered[chosen]["id"] == 0:
            matched = False
        area = detection["bbox"][2] * detection["bbox"][3]
        outside = area < low**2 or area > high**2
        if in_ignored or (not matched and outside):
            result.append((detection["score"], "ignored"))
        else:
            result.append((detection["score"], "true" if matched else "false"))
    return result, num_counting


def outcomes_for_miss_rate(truths, detections, threshold, low, high, options):
    def is_ignored(truth):
        size = truth["size"] if "size" in truth else math.sqrt(truth["area"])
        ignore = truth.get("ignore")
        if not options["released"]:
            ignore = truth.get("iscrowd") or (options["use_ignore_attr"] and ignore)
        return bool(
            ignore
            or (options["ignore_uncertain"] and truth.get("uncertain"))
            or size < low
            or size > high
        )

    threshold = min(threshold, 1 - EPSILON)
    counting = [t for t in truths if not is_ignored(t)]
    ignored = [t for t in truths if is_ignored(t)]
    taken = set()
    result = []
    for detection in by_score(detections)[: options["max_detections"]]:
        box = detection["bbox"]
        size = math.sqrt(box[2] * box[3])
        if not low / 1.25 <= size < high * 1.25:
            continue
        best, chosen = threshold, None
        for truth in counting:
            iou, _ = iou_and_iod(box, truth["bbox"])
            if id(truth) not in taken and iou >= best:
                best, chosen = iou, truth
        if chosen is not None:
            taken.add(id(chosen))
            has_id = chosen["id"] != 0 or not options["released"]
            result.append((detection["score"], "true" if has_id else "false"))
            continue
        inside = False
        for truth in ignored:
            _, iod = iou_and_iod(box, truth["bbox"])
            inside |= iod >= threshold
            if options["use_iod_for_ignore"] and options["released"]:
                inside |= twice_derived_iod(iod, truth, detection) > 0.5
        result.append((detection["score"], "ignored" if inside else "false"))
    return result, len(counting)


def all_outcomes(one_image, truth, detections, category, *arguments):
    ranked, positives = [], 0
    for image in sorted(image["id"] for image in truth["images"]):
        found, count = one_image(
            *(
                [
                    entry
                    for entry in entries
                    if (entry["image_id"], entry["category_id"]) == (image, category)
                ]
                for entries in (truth["annotations"], detections)
            ),
            *arguments,
        )
        ranked += found
        positives += count
    return sorted(ranked, key=lambda entry: -entry[0]), positives


def running_counts(ranked):
    num_true = num_false = 0
    for _, outcome in ranked:
        num_true += outcome == "true"
        num_false += outcome == "false"
        yield num_true, num_false


def slow_average_precision(ranked, positives, truth, options):
    points = []
    for num_true, num_false in running_counts(ranked):
        precision = num_true / (num_true + num_false) if num_true else 0.0
        points.append((num_true / positives, precision))
    reached = [[p for recall, p in points if recall >= i * 0.01] for i in range(101)]
    return sum(max(found, default=0.0) for found in reached) / 101


def slow_miss_rate(ranked, positives, truth, options):
    curve = []
    for num_true, num_false in running_counts(ranked):
        curve.append((num_false / len(truth["images"]), num_true / positives))
    logs = []
    for i in range(9):
        point = 10 ** (-2 + i / 4) * (1 + 1e-12)
        within = [recall for rate, recall in curve if rate <= point]
        recall = within[-1] if within else 0.0
        if not within and curve and options["released"]:
            recall = curve[-1][1]
        logs.append(math.log(1 - recall) if recall < 1 else -math.inf)
    return math.exp(sum(logs) / len(logs))


METRICS = dict(
    AP=(outcomes_for_precision, slow_average_precision),
    MR=(outcomes_for_miss_rate, slow_miss_rate),
)


def slow_results(truth, detections, ap_ranges, mr_ranges, thresholds, **options):
    """Return the same dictionary as evaluate_tiny_person."""
    result = {}
    for metric, ranges in (("AP", ap_ranges), ("MR", mr_ranges)):
        one_image, score = METRICS[metric]
        limit = options[f"{metric.lower()}_max_detections"]
        settings = {**options, "max_detections": limit}
        for threshold in thresholds:
            for name, (low, high) in ranges.items():
                values = []
                for category in truth["categories"]:
                    ranked, positives = all_outcomes(
                        one_image, truth, detections, category["id"], threshold, low,
                        high, settings,
                    )  # fmt: skip
                    if positives:
                        values.append(score(ranked, positives, truth, settings))
                mean = sum(values) / len(values) if values else -1.0
                result[f"{metric}{100 * threshold:g}_{name}"] = mean
    return result
