"""A few people on two images, to be changed by tests."""

from typing import Any


def annotation(number: int, image: int, box: list[float], **fields: Any) -> dict:
    return dict(
        id=number, image_id=image, category_id=1, bbox=box, area=box[2] * box[3],
        **fields,
    )  # fmt: skip


def detection(image: int, box: list[float], score: float) -> dict:
    return dict(image_id=image, category_id=1, bbox=box, score=score)


def small_case() -> tuple[dict, list[dict]]:
    """Return ground truth and detections: one right, one wrong, one in an ignored box.

    Of two people one is found, with the highest score.
    """
    truth = dict(
        images=[
            dict(id=5, file_name="a.jpg", width=100, height=80),
            dict(id=9, file_name="b.jpg", width=100, height=80),
        ],
        annotations=[
            annotation(1, 5, [10, 10, 6, 10]),
            annotation(2, 5, [50, 50, 30, 20], ignore=True),
            annotation(3, 9, [20, 20, 8, 9], ignore=False, uncertain=False),
        ],
        categories=[dict(id=1, name="person")],
    )
    detections = [
        detection(5, [10, 10, 6, 10], 0.9),
        detection(5, [55, 55, 5, 6], 0.8),
        detection(9, [60, 60, 8, 9], 0.7),
    ]
    return truth, detections
