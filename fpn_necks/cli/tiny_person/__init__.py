"""Prepare TinyPerson data, and evaluate on it."""

COMMANDS = {
    "check": "find missing or wrong files of the TinyPerson release",
    "tile": "cut the annotations of a COCO json into tiles",
    "erase": "write images with ignored, uncertain and logo regions erased",
    "evaluate": "evaluate COCO results by TinyPerson's rules",
    "synthesize": "make a synthetic set of tiny people",
    "city-persons": "make Tiny CityPersons out of CityPersons",
}
