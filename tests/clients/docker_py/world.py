"""What every verb finds, and what it says it with."""

import json
import os
import sys
import time

import docker
from docker import errors

FACTS = json.loads(sys.argv[1])
CLIENT = docker.DockerClient(base_url="unix://" + FACTS["socket"], timeout=60)
LOW = CLIENT.api
BASE = f"{FACTS['plain']}/seed/base"
LOCKED = f"{FACTS['locked']}/{FACTS['space']}"
ACCOUNT = {"username": FACTS["user"], "password": FACTS["password"]}
VERBS = []


def verb(name):
    """Makes a function the doing of a verb."""

    def register(work):
        VERBS.append((name, work))
        return work

    return register


def path(name):
    """A file or folder to work with."""
    return os.path.join(FACTS["files"], name)


def own(rest):
    """A name of ours in the registry for everybody."""
    return f"{FACTS['plain']}/{FACTS['space']}/{rest}"


def equal(found, wanted):
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def has(whole, part):
    assert part in whole, f"{part!r} is not in {whole!r}"


def raises(kind, work, *words):
    """What a call raises, which must be of this very class and say these words."""
    try:
        work()
    except errors.DockerException as error:
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
        for word in words:
            has(str(error), word)
        return error
    raise AssertionError(f"no {kind.__name__}")


def small(name):
    """A small image, its label telling of its name."""
    return CLIENT.images.build(path=path("small"), tag=name, labels={"for": name})[0]


def imported(name):
    """An image that no other is like."""
    with open(path("root.tar"), "rb") as tar:
        data = tar.read()
    told = LOW.import_image_from_data(data, repository=name, changes=[f"LABEL for={name}"])
    return json.loads(told.splitlines()[-1])["status"]


def await_sleep(runs):
    """Waits until the build that would take so long runs, or until it does not."""
    wanted = f"sleep\0{FACTS['seconds']}\0".encode()
    for _ in range(3000):
        found = False
        for process in os.listdir("/proc"):
            try:
                with open(f"/proc/{process}/cmdline", "rb") as file:
                    found = found or file.read() == wanted
            except OSError:
                pass
        if found == runs:
            return
        time.sleep(0.02)
    raise AssertionError(f"it sleeps: {not runs}")


def text_of(lines):
    """All that a build told."""
    return "".join(line.get("stream", "") for line in lines)


