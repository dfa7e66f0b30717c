"""Images that are here: shown, named, moved in archives, removed."""

import io
import json
import tarfile

from docker import errors

from world import CLIENT, FACTS, LOW, equal, has, imported, path, raises, small, verb


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
