"""What the fuzzer gives a daemon that is good, so that wrong parameters meet right bodies: an image, a context, a file system."""
import hashlib, io, json, tarfile

# The image that the fuzzer's daemon always has.
NAME = 'fuzz:1'


def tar(files):
    """A tar of these files, name to bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def image():
    """An archive as `docker save` makes them, of an image with one layer."""
    layer = tar({'file': b'content\n'})
    config = json.dumps({
        'architecture': 'amd64', 'os': 'linux', 'created': '2024-01-01T00:00:00Z', 'config': {'Labels': {'a': 'b'}, 'Cmd': ['/file']},
        'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(layer).hexdigest()]},
        'history': [{'created_by': 'by hand', 'created': '2024-01-01T00:00:00Z'}],
    }).encode()
    manifest = json.dumps([{'Config': 'config.json', 'RepoTags': [NAME], 'Layers': ['layer.tar']}]).encode()
    return tar({'layer.tar': layer, 'config.json': config, 'manifest.json': manifest})


IMAGE = image()
CONTEXT = tar({'Dockerfile': b'FROM scratch\nARG A\nCOPY Dockerfile /\nLABEL x=$A\n'})
FILES = tar({'file': b'content\n'})

# The body that a route takes, by path.
BODIES = {'/build': CONTEXT, '/mica/build': CONTEXT, '/images/load': IMAGE, '/images/create': FILES}
