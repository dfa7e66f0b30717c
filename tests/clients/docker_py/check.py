"""docker-py, both of its layers: does every verb and prints a line of JSON for each.

usage: check.py FACTS, where FACTS is the JSON that the test hands over; modules are found by PYTHONPATH.
"""

import json
import os
import traceback

# each registers its verbs; they are done in this order
import system
import builds
import registries
import images
from world import CLIENT, VERBS


def outcome(work):
    """What came of a verb, as the test takes it."""
    try:
        work()
    except Exception as error:  # whatever it is, the other verbs come after it
        frame = traceback.extract_tb(error.__traceback__)
        own = [one for one in frame if os.path.dirname(one.filename) == os.path.dirname(__file__)]
        places = "".join(f"{os.path.basename(one.filename)}:{one.lineno} {one.line}\n" for one in own[1:])
        return {"failed": f"{places}{type(error).__name__}: {error}"}
    return {"passed": True}


def main():
    for name, work in VERBS:
        print(json.dumps({"verb": name, **outcome(work)}), flush=True)
    for name, why in (
        ("save several", "it asks for one image at a time"),
        ("prune everything", "it prunes one kind at a time"),
        ("build over a session", "it knows the classic builder only"),
        ("build with a secret and an agent", "it knows the classic builder only"),
        ("build to a folder and to a tar", "it knows the classic builder only"),
    ):
        print(json.dumps({"verb": name, "cannot": why}))
    CLIENT.close()


main()
