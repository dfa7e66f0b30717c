"""The daemon itself, and keeping house."""

import threading
import time

from docker import errors

from world import ACCOUNT, CLIENT, FACTS, LOW, equal, has, raises, small, verb


@verb("ping")
def ping():
    equal(CLIENT.ping(), True)


@verb("version")
def version():
    told = CLIENT.version()
    equal((told["ApiVersion"], told["Os"]), ("1.51", "linux"))
    for key in ("Version", "MinAPIVersion", "GitCommit", "GoVersion", "Arch", "KernelVersion"):
        has(told, key)
    equal(LOW.api_version, "1.51")


@verb("info")
def info():
    told = CLIENT.info()
    equal(told["Images"], len({image["Id"] for image in LOW.images(all=True)}))
    equal(told["OSType"], "linux")
    has(told, "Debug")


@verb("log in with a wrong password")
def login_wrong():
    error = raises(
        errors.APIError,
        lambda: CLIENT.login(FACTS["user"], "wrong", registry=FACTS["locked"], reauth=True),
    )
    equal(error.response.status_code, 401)


@verb("log in")
def login():
    told = CLIENT.login(**ACCOUNT, registry=FACTS["locked"], reauth=True)
    equal(told["Status"], "Login Succeeded")


@verb("disk usage")
def disk_usage():
    small("weighed:1")
    told = CLIENT.df()
    equal((told["Containers"], told["Volumes"]), ([], []))
    equal({image["Id"] for image in told["Images"]}, {image.id for image in CLIENT.images.list()})
    assert told["LayersSize"] > 0 and isinstance(told["BuildCache"], list), told


@verb("events")
def events():
    heard = []
    stream = CLIENT.events(decode=True, filters={"type": "image", "label": "for=heard:1"})
    listener = threading.Thread(target=lambda: heard.extend(stream), daemon=True)
    listener.start()
    image = small("heard:1")
    image.tag("heard", tag="2")
    CLIENT.images.remove("heard:2")
    CLIENT.images.remove("heard:1")
    for _ in range(1200):
        if [event for event in heard if event["Action"] == "delete"]:
            break
        time.sleep(0.05)
    stream.close()
    actions = [event["Action"] for event in heard]
    for action in ("tag", "untag", "delete"):
        has(actions, action)
    equal({event["Actor"]["ID"] for event in heard}, {image.id})
    equal({(event["id"], event["status"] == event["Action"]) for event in heard}, {(image.id, True)})
    # the same afterwards
    past = list(CLIENT.events(since=int(time.time()) - 600, until=int(time.time()) + 1, decode=True, filters={"event": "delete"}))
    has([event["id"] for event in past], image.id)
    equal({event["Action"] for event in past}, {"delete"})


@verb("run, which is refused")
def run_refused():
    small("runs:1")
    error = raises(errors.APIError, lambda: CLIENT.containers.run("runs:1"), "does not run containers")
    equal(error.response.status_code, 501)


@verb("list containers, networks and volumes")
def list_others():
    for kind in (CLIENT.containers, CLIENT.networks, CLIENT.volumes, CLIENT.plugins):
        equal(kind.list(), [])
    raises(errors.NotFound, lambda: CLIENT.containers.get("nothing"))
    raises(errors.NotFound, lambda: CLIENT.networks.get("nothing"))
    raises(errors.NotFound, lambda: CLIENT.volumes.get("nothing"))


@verb("prune images")
def prune_images():
    left = small("left:1")
    small("left:2").tag("left", tag="1")
    equal([image.id for image in CLIENT.images.list(filters={"dangling": True, "label": "for=left:1"})], [left.id])
    told = CLIENT.images.prune(filters={"dangling": True, "label": ["for=left:1"]})
    has(told["ImagesDeleted"], {"Deleted": left.id})
    has(told, "SpaceReclaimed")
    told = CLIENT.images.prune(filters={"dangling": False, "label": "for=left:2"})
    has(told["ImagesDeleted"], {"Untagged": "left:1"})


@verb("prune builds")
def prune_builds():
    equal(sorted(LOW.prune_builds(filters={"until": "1h"}, all=True)), ["CachesDeleted", "SpaceReclaimed"])
    told = CLIENT.images.prune_builds()
    assert told["SpaceReclaimed"] >= 0 and isinstance(told["CachesDeleted"], list), told
