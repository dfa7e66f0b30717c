"""To registries and from them, and searching."""

import docker
from docker import errors

from world import ACCOUNT, BASE, CLIENT, FACTS, LOCKED, LOW, equal, has, own, raises, small, verb


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


@verb("pull for another platform")
def pull_platform():
    many = f"{FACTS['plain']}/seed/many"
    for architecture in ("arm64", "amd64"):
        image = CLIENT.images.pull(many, tag="1", platform=f"linux/{architecture}")
        equal(image.attrs["Architecture"], architecture)
    # the layer above does not look at what the stream says
    lines = list(LOW.pull(many, tag="1", platform="linux/s390x", stream=True, decode=True))
    has(lines[-1]["error"], "no matching manifest")
    raises(errors.APIError, lambda: CLIENT.images.pull(many, tag="1", platform="nonsense"), "nonsense")


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
    has(data.pull().tags, f"{BASE}:1")
    many = CLIENT.images.get_registry_data(f"{FACTS['plain']}/seed/many:1")
    assert many.has_platform("linux/amd64") and many.has_platform("linux/arm64"), many.attrs
    assert not many.has_platform("linux/s390x"), many.attrs
    error = raises(errors.NotFound, lambda: CLIENT.images.get_registry_data(f"{BASE}:none"))
    equal(error.response.status_code, 404)


@verb("search")
def search():
    found = CLIENT.images.search(f"{FACTS['web']}/busybox", limit=5)
    equal([(one["name"], one["star_count"], one["is_official"]) for one in found][0], ("busybox", 3000, True))
    equal(len(found), 2)
