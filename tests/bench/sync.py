#!/usr/bin/env python3
"""Measures pushes and pulls: mica, dockerd, buildah and skopeo against one local registry, turn by turn; README.md says what each figure means.

usage: tests/bench/sync.py [--quick] [--rounds N] [--size MIB]
Needs root, Debian's docker-registry, skopeo, buildah, docker.io and busybox-static; what is missing is left out and said.
The binaries are those in the folder MICA_BIN, or a release build made first."""
import argparse, json, os, shutil, signal, socket, statistics, subprocess, sys, tempfile

sys.dont_write_bytecode = True
import engines, machine
from engines import run, wait_for

MIB = 1 << 20
# files that a system image holds too: programs, libraries, texts
REAL_FILES = ('/usr/bin', '/usr/lib', '/usr/share')


def real_file(path, size):
    """a file of what lies on this machine, repeated only if that is too little"""
    left = size
    with open(path, 'wb') as out:
        while left > 0:
            before = left
            for top in REAL_FILES:
                for folder, folders, names in os.walk(top):
                    folders.sort()
                    for name in sorted(names):
                        whole = os.path.join(folder, name)
                        if left <= 0 or os.path.islink(whole) or not os.path.isfile(whole):
                            continue
                        with open(whole, 'rb') as one:
                            while left > 0 and (piece := one.read(min(MIB, left))):
                                out.write(piece)
                                left -= len(piece)
            if left == before:
                sys.exit('nothing to copy from')


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


class Registry:
    """Debian's docker-registry on a folder of its own"""

    def __init__(self, work):
        self.root, self.port = os.path.join(work, 'registry'), free_port()
        config = os.path.join(work, 'registry.yml')
        with open(config, 'w') as file:
            json.dump({'version': '0.1', 'log': {'level': 'error', 'accesslog': {'disabled': True}}, 'storage': {'filesystem': {'rootdirectory': self.root}},
                       'http': {'addr': f'127.0.0.1:{self.port}'}}, file)
        self.process = subprocess.Popen(['docker-registry', 'serve', config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for('docker-registry', lambda: answers(self.port), self.process)

    def name(self, rest):
        return f'localhost:{self.port}/{rest}'

    def clear(self):
        """forgets everything; blobs are looked up on disk each time"""
        shutil.rmtree(os.path.join(self.root, 'docker'), ignore_errors=True)

    def blob_bytes(self):
        """all that was sent, in bytes"""
        total = 0
        for folder, _, names in os.walk(os.path.join(self.root, 'docker', 'registry', 'v2', 'blobs')):
            total += sum(os.path.getsize(os.path.join(folder, name)) for name in names)
        return total

    def stop(self):
        self.process.terminate()
        self.process.wait()


def median(samples):
    return statistics.median(samples)


def compared(what, times, reference='mica'):
    """a row for each engine, with its ratio to mica"""
    base = median(times[reference])
    for name, samples in times.items():
        note = '' if name == reference else f'{median(samples) / base:.2f} times mica'
        yield f'{what}, {name}', f'{median(samples):.2f} s', f'fastest {min(samples):.2f}, {len(samples)} runs{"; " + note if note else ""}'


def copy_and_push(mica, peers, registry, work, size, rounds):
    """(g) COPY of one big file and the first push of it; (i) the second push"""
    context = os.path.join(work, 'big')
    os.makedirs(context)
    real_file(os.path.join(context, 'big'), size)
    with open(os.path.join(context, 'Dockerfile'), 'w') as file:
        file.write('FROM scratch\nCOPY big /big\n')
    all_of, push_of, again, sizes = {}, {}, {}, {}
    for _ in range(rounds):
        for engine in [mica, *peers]:
            registry.clear()
            tag = registry.name(f'bench/{engine.name}:1')
            built = engine.build(context, tag, cached=False)
            pushed = engine.push(tag)
            all_of.setdefault(engine.name, []).append(built + pushed)
            push_of.setdefault(engine.name, []).append(pushed)
            sizes[engine.name] = registry.blob_bytes()
            again.setdefault(engine.name, []).append(engine.push(tag))
            engine.forget(tag)
    yield from compared(f'g: COPY of {size // MIB} MiB and first push', all_of)
    yield from compared('g: of it the push', push_of)
    for name, count in sizes.items():
        yield f'g: compressed size, {name}', f'{count / MIB:.1f} MiB', f'{count / sizes["mica"]:.3f} times mica'
    yield from compared('i: second push', again)


def push_alone(mica, registry, work, rounds):
    """(h) the push of layers that lie uncompressed, by mica and by skopeo"""
    context, tag = os.path.join(work, 'big'), registry.name('bench/alone:1')
    layout = os.path.join(work, 'layout')
    times = {}
    for _ in range(rounds):
        registry.clear()
        mica.build(context, tag, cached=False)
        if not os.path.exists(layout):
            archive = os.path.join(work, 'alone.tar')
            mica.do('save', '-o', archive, tag)
            os.makedirs(layout)
            run(['tar', '-xf', archive, '-C', layout])
            os.remove(archive)
        times.setdefault('mica', []).append(mica.push(tag))
        mica.forget(tag)
        if shutil.which('skopeo'):
            registry.clear()
            source = f'oci:{layout}'
            times.setdefault('skopeo', []).append(run(['skopeo', 'copy', '-q', '--dest-compress', '--dest-tls-verify=false', source, 'docker://' + registry.name('bench/skopeo:1')]))
    yield from compared('h: push alone of uncompressed layers', times)


def pull(mica, peers, registry, work, rounds):
    """(j) the pull into an empty store"""
    registry.clear()
    context, tag = os.path.join(work, 'big'), registry.name('bench/pull:1')
    mica.build(context, tag, cached=False)
    mica.push(tag)
    mica.forget(tag)
    times = {}
    for _ in range(rounds):
        for engine in [mica, *peers]:
            times.setdefault(engine.name, []).append(engine.pull(tag))
            engine.forget(tag)
        if shutil.which('skopeo'):
            target = os.path.join(work, 'skopeo-dir')
            shutil.rmtree(target, ignore_errors=True)
            times.setdefault('skopeo copy to a folder', []).append(run(['skopeo', 'copy', '-q', '--src-tls-verify=false', 'docker://' + tag, 'dir:' + target]))
            shutil.rmtree(target, ignore_errors=True)
    yield from compared('j: pull into an empty store', times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='little of everything, to see that the script works; no dockerd')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--size', type=int, default=1024, metavar='MIB')
    opt = parser.parse_args()
    if os.geteuid():
        sys.exit('the peers need root')
    if not shutil.which('docker-registry'):
        sys.exit('needs docker-registry')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = machine.binaries()
    size, rounds = (16 * MIB, 1) if opt.quick else (opt.size * MIB, opt.rounds)
    work = tempfile.mkdtemp(prefix='mica-sync-')
    running = []
    try:
        registry = Registry(work)
        running.append(registry)
        mica = engines.Mica(folder, work)
        running.append(mica)
        peers, left_out = ([], {}) if opt.quick else engines.peers(work, running, buildkit=False)
        for name, why in left_out.items():
            print(f'{name} is left out: {why}')
        print(f'{mica.version()}, {machine.hardware(work)}\n')
        print('| what | median | |\n|---|---:|---|')
        machine.show(copy_and_push(mica, peers, registry, work, size, rounds))
        machine.show(push_alone(mica, registry, work, rounds))
        machine.show(pull(mica, peers, registry, work, rounds))
        machine.show((f'most memory, {engine.name}', f'{engine.peak_memory()} MiB', '') for engine in [mica, *peers])
    finally:
        for engine in reversed(running):
            engine.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    main()
