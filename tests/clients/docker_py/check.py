"""docker-py, both of its layers: does every verb and prints a line of JSON for each.

usage: check.py FACTS, where FACTS is the JSON that the test hands over; modules are found by PYTHONPATH.
"""

import io
import json
import os
import sys
import tarfile
import threading
import time
import traceback

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


def text_of(lines):
    """All that a build told."""
    return "".join(line.get("stream", "") for line in lines)


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


@verb("build")
def build():
    image, lines = CLIENT.images.build(path=path("context"), tag="built:1")
    lines = text_of(lines)
    for words in ("Step 1/", "the word is none", "Successfully built ", "Successfully tagged built:1"):
        has(lines, words)
    equal(image.tags, ["built:1"])
    config = image.attrs["Config"]
    equal(config["Env"][-2:], ["BASE=yes", "A=b"])
    equal((config["Entrypoint"], config["Cmd"]), (["sh", "-c"], ["true"]))
    equal(config["ExposedPorts"], {"80/tcp": {}})
    # the layer below, which is what many programs use
    chunks = list(LOW.build(path=path("context"), tag="built:2", decode=True, rm=True, forcerm=True))
    has(chunks[-1]["stream"], "Successfully tagged built:2")
    equal([chunk["aux"]["ID"] for chunk in chunks if "aux" in chunk][-1], image.id)


@verb("build with arguments and labels")
def build_args():
    labels = {"a": "b", "c": ""}
    image, lines = CLIENT.images.build(
        path=path("context"), buildargs={"WORD": "spoken"}, labels=labels, shmsize=1 << 26, network_mode="none"
    )
    has(text_of(lines), "the word is spoken")
    equal(image.labels, {**labels, "made": "here", "number": "1"})


@verb("build up to a stage")
def build_target():
    image, _ = CLIENT.images.build(path=path("context"), target="first")
    equal(image.attrs["Config"]["Cmd"], ["sh"])
    raises(errors.APIError, lambda: CLIENT.images.build(path=path("context"), target="nowhere"), "nowhere")


@verb("build quietly")
def build_quietly():
    lines = list(LOW.build(path=path("context"), quiet=True, decode=True))
    equal([line["stream"].strip() for line in lines], [CLIENT.images.get("built:1").id])
    image, _ = CLIENT.images.build(path=path("context"), quiet=True)
    equal(image.id, CLIENT.images.get("built:1").id)


@verb("build with nothing but a Dockerfile")
def build_lone():
    text = f"FROM {BASE}:1\nLABEL lone=yes\n".encode()
    image, _ = CLIENT.images.build(fileobj=io.BytesIO(text))
    equal(image.labels["lone"], "yes")


@verb("build from a tar")
def build_tar():
    with open(path("small.tar"), "rb") as tar:
        image, _ = CLIENT.images.build(fileobj=tar, custom_context=True, tag="tarred:1")
    has(image.tags, "tarred:1")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(path("small/Dockerfile"), "other.file")
        tar.add(path("small/file"), "file")
    packed.seek(0)
    again, _ = CLIENT.images.build(
        fileobj=packed, custom_context=True, encoding="gzip", dockerfile="other.file"
    )
    equal(len(again.attrs["RootFS"]["Layers"]), 1)
    zipped, _ = CLIENT.images.build(path=path("small"), gzip=True, tag="zipped:1")
    has(zipped.tags, "zipped:1")


@verb("build from an address")
def build_address():
    image, _ = CLIENT.images.build(path=f"http://{FACTS['web']}/small.tar", tag="fetched:1")
    equal(len(image.attrs["RootFS"]["Layers"]), 1)


@verb("build without ignored files")
def build_ignoring():
    CLIENT.images.build(path=path("context"), tag="ignoring:1")
    data = io.BytesIO(b"".join(CLIENT.images.get("ignoring:1").save()))
    names = []
    with tarfile.open(fileobj=data) as outer:
        manifest = json.load(outer.extractfile("manifest.json"))
        for layer in manifest[0]["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
                names += inner.getnames()
    has(names, "src/file")
    assert "src/ignored" not in names, names


@verb("build without the cache")
def build_nocache():
    _, lines = CLIENT.images.build(path=path("context"))
    has(text_of(lines), "Using cache")
    _, lines = CLIENT.images.build(path=path("context"), nocache=True, pull=True)
    lines = text_of(lines)
    assert "Using cache" not in lines, lines
    _, lines = CLIENT.images.build(path=path("context"), cache_from=["built:1"])
    has(text_of(lines), "Using cache")


@verb("build on a private base")
def build_private():
    # credentials are those of the last login
    CLIENT.login(**ACCOUNT, registry=FACTS["locked"], reauth=True)
    image, _ = CLIENT.images.build(path=path("private"))
    equal(image.labels["private"], "yes")
    stranger = docker.DockerClient(base_url="unix://" + FACTS["socket"])
    raises(errors.BuildError, lambda: stranger.images.build(path=path("private"), nocache=True, pull=True))
    stranger.close()


@verb("build that fails")
def build_failing():
    error = raises(
        errors.BuildError,
        lambda: CLIENT.images.build(path=path("failing")),
        "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7",
    )
    has(text_of(error.build_log), "before")
    chunks = list(LOW.build(path=path("failing"), decode=True))
    equal(chunks[-1]["errorDetail"]["code"], 7)
    bad = io.BytesIO(b"FROM scratch\nCOPPY a b\n")
    error = raises(errors.APIError, lambda: CLIENT.images.build(fileobj=bad), "unknown instruction: COPPY")
    equal(error.response.status_code, 400)


@verb("pull")
def pull():
    CLIENT.images.remove(f"{BASE}:1", force=True)
    image = CLIENT.images.pull(BASE, tag="1")
    has(image.tags, f"{BASE}:1")
    lines = list(LOW.pull(BASE, tag="1", stream=True, decode=True))
    equal(lines[0]["status"], f"Pulling from {BASE.split('/', 1)[1]}")
    equal(lines[-1]["status"], f"Status: Image is up to date for {BASE}:1")


@verb("pull by digest")
def pull_digest():
    (digest,) = [name for name in CLIENT.images.get(f"{BASE}:1").attrs["RepoDigests"] if name.startswith(BASE)]
    CLIENT.images.remove(f"{BASE}:1", force=True)
    image = CLIENT.images.pull(digest)
    has(image.attrs["RepoDigests"], digest)
    equal(CLIENT.images.get(digest).id, image.id)


@verb("pull all tags")
def pull_all():
    images = CLIENT.images.pull(BASE, all_tags=True)
    equal(sorted(tag for image in images for tag in image.tags if tag.startswith(BASE)), [f"{BASE}:1", f"{BASE}:2"])


@verb("pull what is not there")
def pull_nothing():
    for name in (f"{BASE}:none", own("nothing")):
        error = raises(errors.NotFound, lambda: CLIENT.images.pull(name), "not found")
        equal(error.response.status_code, 404)


@verb("push")
def push():
    name = own("pushed:1")
    small(name)
    has(CLIENT.images.push(own("pushed"), tag="1"), "digest: sha256:")
    lines = list(CLIENT.images.push(name, stream=True, decode=True))
    has(lines[0]["status"], "The push refers to repository")
    equal([line["aux"]["Tag"] for line in lines if "aux" in line], ["1"])
    assert any(digest.startswith(own("pushed")) for digest in CLIENT.images.get(name).attrs["RepoDigests"])
    lines = list(CLIENT.images.push(own("pushed"), tag="none", stream=True, decode=True))
    has(lines[-1]["error"], "does not exist")


@verb("push all tags")
def push_all():
    for tag in "ab":
        small(own(f"many:{tag}"))
    lines = list(CLIENT.images.push(own("many"), stream=True, decode=True))
    equal(sorted(line["aux"]["Tag"] for line in lines if "aux" in line), ["a", "b"])


@verb("push without the password")
def push_refused():
    small(f"{LOCKED}/own:1")
    stranger = docker.DockerClient(base_url="unix://" + FACTS["socket"])
    lines = list(stranger.images.push(f"{LOCKED}/own:1", stream=True, decode=True))
    stranger.close()
    has(lines[-1], "errorDetail")
    assert "unauthorized" in lines[-1]["error"] or "no basic auth" in lines[-1]["error"], lines[-1]


@verb("push and pull with a password")
def push_password():
    small(f"{LOCKED}/own:1")
    lines = list(CLIENT.images.push(f"{LOCKED}/own:1", auth_config=ACCOUNT, stream=True, decode=True))
    assert "error" not in lines[-1], lines[-1]
    CLIENT.images.remove(f"{LOCKED}/own:1")
    has(CLIENT.images.pull(f"{LOCKED}/own:1", auth_config=ACCOUNT).tags, f"{LOCKED}/own:1")


@verb("ask a registry")
def distribution():
    data = CLIENT.images.get_registry_data(f"{BASE}:1")
    has(data.id, "sha256:")
    has(data.attrs["Descriptor"], "mediaType")
    assert data.has_platform("linux/amd64") or data.has_platform("linux/arm64"), data.attrs
    equal(data.pull().tags[0], f"{BASE}:1")
    error = raises(errors.NotFound, lambda: CLIENT.images.get_registry_data(f"{BASE}:none"))
    equal(error.response.status_code, 404)


@verb("search")
def search():
    found = CLIENT.images.search(f"{FACTS['web']}/busybox", limit=5)
    equal([(one["name"], one["star_count"], one["is_official"]) for one in found][0], ("busybox", 3000, True))
    equal(len(found), 2)


@verb("list")
def listed():
    image = small("listed:1")
    has([one.id for one in CLIENT.images.list()], image.id)
    equal([one.id for one in CLIENT.images.list("listed")], [image.id])
    equal(CLIENT.images.list("nothing"), [])
    (row,) = LOW.images("listed:1")
    equal((row["RepoTags"], row["Labels"], row["Containers"]), (["listed:1"], {"for": "listed:1"}, 0))
    has(LOW.images(quiet=True), image.id)


@verb("list with filters")
def listed_filters():
    older, newer = imported("older"), imported("newer")

    def ids(**filters):
        return [image.id for image in CLIENT.images.list(filters=filters)]

    equal(ids(label="for=older"), [older])
    equal(ids(label=["for=newer", "for"]), [newer])
    equal(ids(reference="old*"), [older])
    equal(ids(dangling=True, label="for=older"), [])
    equal(ids(dangling=False, label="for=older"), [older])
    has(ids(since="older"), newer)
    has(ids(before="newer"), older)
    raises(errors.APIError, lambda: ids(nonsense="x"), "nonsense")


@verb("inspect")
def inspect():
    image = small("seen:1")
    for name in ("seen:1", image.id, image.short_id, image.id[7:], "docker.io/library/seen:1"):
        equal(CLIENT.images.get(name).id, image.id)
    equal((image.attrs["Os"], len(image.attrs["RootFS"]["Layers"]), image.labels), ("linux", 1, {"for": "seen:1"}))
    has(LOW.inspect_image("seen:1"), "Created")


@verb("inspect what is not there")
def inspect_nothing():
    raises(errors.ImageNotFound, lambda: CLIENT.images.get("nothing"), "No such image: nothing:latest")
    raises(errors.APIError, lambda: CLIENT.images.get("some///thing"))


@verb("history")
def history():
    image = small("told:0")
    told = image.history()
    equal(told[0]["Id"], image.id)
    has("".join(step["CreatedBy"] for step in told), "COPY file /file")


@verb("tag")
def tag():
    image = small("tagged:1")
    equal(image.tag("tagged", tag="2"), True)
    equal(LOW.tag(image.id, "localhost:1/some/where", "3", force=True), True)
    image.reload()
    equal(sorted(image.tags), ["localhost:1/some/where:3", "tagged:1", "tagged:2"])
    raises(errors.APIError, lambda: image.tag("Tagged"), "must be lowercase")


@verb("save")
def save():
    image = small("saved:1")
    data = b"".join(image.save(named=True))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        (entry,) = json.load(tar.extractfile("manifest.json"))
    equal(entry["RepoTags"], ["saved:1"])
    with tarfile.open(fileobj=io.BytesIO(b"".join(image.save()))) as tar:
        (entry,) = json.load(tar.extractfile("manifest.json"))
    assert not entry["RepoTags"], entry
    raises(errors.ImageNotFound, lambda: list(LOW.get_image("nothing")))


@verb("load")
def load():
    image = small("loaded:1")
    data = b"".join(image.save(named=True))
    CLIENT.images.remove("loaded:1")
    equal([(one.id, one.tags) for one in CLIENT.images.load(data)], [(image.id, ["loaded:1"])])
    lines = list(LOW.load_image(data, quiet=False))
    has(lines[-1]["stream"], "Loaded image: loaded:1")


@verb("load what is no image")
def load_garbage():
    with open(path("garbage.tar"), "rb") as file:
        raises(errors.ImageLoadError, lambda: CLIENT.images.load(file))


@verb("import")
def import_data():
    identity = imported("imported")
    image = CLIENT.images.get("imported")
    equal((image.id, image.labels), (identity, {"for": "imported"}))
    equal(json.loads(LOW.import_image(path("root.tar"), repository="imported", tag="2").splitlines()[-1])["status"],
          CLIENT.images.get("imported:2").id)
    told = LOW.import_image_from_file(path("root.tar"), repository="imported", tag="3", changes=["ENV A=b"])
    equal(CLIENT.images.get(json.loads(told)["status"]).attrs["Config"]["Env"], ["A=b"])
    with open(path("root.tar"), "rb") as file:
        # a file itself would be sent with a length and called chunked
        pieces = iter(lambda: file.read(1000), b"")
        told = LOW.import_image_from_stream(pieces, repository="imported", tag="4")
    equal(CLIENT.images.get("imported:4").id, json.loads(told)["status"])


@verb("import from an address")
def import_address():
    told = LOW.import_image_from_url(f"http://{FACTS['web']}/root.tar", repository="imported", tag="url")
    equal(json.loads(told.splitlines()[-1])["status"], CLIENT.images.get("imported:url").id)


@verb("remove")
def remove():
    image = small("removed:1")
    image.tag("removed", tag="2")
    equal(LOW.remove_image("removed:2"), [{"Untagged": "removed:2"}])
    equal(LOW.remove_image("removed:1")[:2], [{"Untagged": "removed:1"}, {"Deleted": image.id}])
    raises(errors.ImageNotFound, lambda: CLIENT.images.remove("removed:1"), "No such image: removed:1")


@verb("remove by ID, several and forced")
def remove_id():
    CLIENT.images.remove(small("several:1").short_id)
    image = small("several:2")
    image.tag("several", tag="3")
    image.remove(force=True)
    equal(CLIENT.images.list("several"), [])


@verb("remove what has two names")
def remove_conflict():
    image = small("two:1")
    image.tag("names", tag="1")
    error = raises(errors.APIError, lambda: CLIENT.images.remove(image.id), "must be forced")
    equal(error.response.status_code, 409)


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
    for _ in range(100):
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
    equal(CLIENT.containers.list(all=True), [])


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


def outcome(work):
    """What came of a verb, as the test takes it."""
    try:
        work()
    except Exception as error:  # whatever it is, the other verbs come after it
        frame = traceback.extract_tb(error.__traceback__)
        place = next(one for one in reversed(frame) if one.filename == __file__)
        return {"failed": f"check.py:{place.lineno} {place.line}: {type(error).__name__}: {error}"}
    return {"passed": True}


def main():
    for name, work in VERBS:
        print(json.dumps({"verb": name, **outcome(work)}), flush=True)
    for name, why in (
        ("save several", "it asks for one image at a time"),
        ("prune everything", "it prunes one kind at a time"),
    ):
        print(json.dumps({"verb": name, "cannot": why}))
    CLIENT.close()


main()
