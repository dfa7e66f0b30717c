"""Builds by both layers."""

import io
import json
import tarfile

import docker
from docker import errors

from world import ACCOUNT, BASE, CLIENT, FACTS, LOW, await_sleep, equal, has, path, raises, small, text_of, verb


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


@verb("build with hosts and limits")
def build_limited():
    _, lines = CLIENT.images.build(
        path=path("limited"),
        extra_hosts={"somewhere": "10.1.2.3"},
        shmsize=8 << 20,
        network_mode="none",
        container_limits={"memory": 1 << 26, "cpushares": 2},
        platform="linux",
        rm=True,
        forcerm=True,
    )
    words = [line.split() for line in text_of(lines).splitlines()]
    assert ["10.1.2.3", "somewhere"] in words and ["lo"] in words, words
    assert [line for line in words if line[1:2] == ["8192"] and line[-1] == "/dev/shm"], words


@verb("build that is given up")
def build_given_up():
    client = docker.APIClient(base_url="unix://" + FACTS["socket"])
    lines = client.build(path=path("endless"), buildargs={"SECONDS": FACTS["seconds"]}, decode=True)
    while "Running in" not in next(lines).get("stream", ""):
        pass
    await_sleep(True)
    lines.close()
    await_sleep(False)


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
