#!/usr/bin/env python3
"""Measures pushes and pulls: mica, dockerd, buildah and skopeo against one local registry, turn by turn; README.md says what each figure means.

usage: tests/bench/sync.py [--quick] [--rounds N] [--size MIB]
Needs root, Debian's docker-registry, skopeo, buildah, docker.io and busybox-static; what is missing is left out and said.
The binaries are those in the folder MICA_BIN, or a release build made first."""
import argparse, importlib.machinery, importlib.util, json, os, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

sys.dont_write_bytecode = True
import engines
from engines import run

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20
START_SECONDS = 30
# files that a system image holds too: programs, libraries, texts
REAL_FILES = ('/usr/bin', '/usr/lib', '/usr/share')


def bench():
    """the script beside this one, for what it knows of binaries and machines"""
    loader = importlib.machinery.SourceFileLoader('bench_run', os.path.join(HERE, 'run'))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('bench_run', loader))
    loader.exec_module(module)
    return module


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


def wait_for(what, ready, process):
    limit = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > limit or process.poll() is not None:
            sys.exit(f'{what} does not answer')
        time.sleep(0.02)


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


def timed(command, environment=None):
    """seconds and the most memory, in MiB, of a command and its children"""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f'{" ".join(command)} failed with {process.returncode}:\n{output.decode("utf-8", "replace")}')
    return took, usage.ru_maxrss // 1024


class Mica(engines.Mica):
    name = 'mica'

    def command(self, *arguments):
        return timed([os.path.join(self.binaries, 'mica'), *arguments], self.environment)

    def build_image(self, context, tag):
        return self.command('build', '-q', '--no-cache', '-t', tag, context)[0]

    def push(self, tag):
        return self.command('push', '-q', tag)[0]

    def pull(self, tag):
        return self.command('pull', '-q', tag)[0]

    def forget(self, tag):
        self.command('rmi', '-f', tag)
        self.command('builder', 'prune', '-af')

    def peak(self):
        return self.peak_memory()


class Dockerd:
    """Debian's dockerd with its classic builder, on folders of its own"""
    name = 'dockerd'

    def __init__(self, work):
        self.socket = os.path.join(work, 'docker.sock')
        self.environment = {**os.environ, 'DOCKER_HOST': 'unix://' + self.socket, 'DOCKER_BUILDKIT': '0', 'DOCKER_CONFIG': os.path.join(work, 'docker-config')}
        with open(os.path.join(work, 'dockerd.log'), 'ab') as log:
            self.process = subprocess.Popen(
                ['dockerd', '--data-root', os.path.join(work, 'dockerd'), '--exec-root', os.path.join(work, 'dockerd-run'), '-H', 'unix://' + self.socket,
                 '--bridge=none', '--iptables=false', '--pidfile', os.path.join(work, 'dockerd.pid')], stdout=log, stderr=log, start_new_session=True)
        wait_for('dockerd', lambda: os.path.exists(self.socket) and not subprocess.run(['docker', 'version'], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode, self.process)

    def command(self, *arguments):
        return timed(['docker', *arguments], self.environment)[0]

    def build_image(self, context, tag):
        return self.command('build', '-q', '--no-cache', '-t', tag, context)

    def push(self, tag):
        return self.command('push', '-q', tag)

    def pull(self, tag):
        return self.command('pull', '-q', tag)

    def forget(self, tag):
        self.command('rmi', '-f', tag)
        self.command('system', 'prune', '-af')

    def peak(self):
        return next(int(line.split()[1]) // 1024 for line in open(f'/proc/{self.process.pid}/status') if line.startswith('VmHWM:'))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Buildah:
    name = 'buildah'

    def __init__(self, work):
        folder = os.path.join(work, 'buildah')
        self.folder, self.most = folder, 0
        self.storage = ['--root', folder + '/root', '--runroot', folder + '/run', '--storage-driver', 'overlay']

    def command(self, *arguments):
        took, memory = timed(['buildah', *self.storage, *arguments])
        self.most = max(self.most, memory)
        return took

    def build_image(self, context, tag):
        return self.command('bud', '-q', '--layers', '--no-cache', '--isolation', 'chroot', '-t', tag, context)

    def push(self, tag):
        return self.command('push', '-q', '--tls-verify=false', tag, 'docker://' + tag)

    def pull(self, tag):
        return self.command('pull', '-q', '--tls-verify=false', 'docker://' + tag)

    def forget(self, tag):
        self.command('rmi', '-af')

    def peak(self):
        return self.most

    def stop(self):
        subprocess.run(['buildah', *self.storage, 'rm', '--all'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(['umount', self.folder + '/root/overlay'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


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
            built = engine.build_image(context, tag)
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
        mica.build_image(context, tag)
        if not os.path.exists(layout):
            archive = os.path.join(work, 'alone.tar')
            mica.command('save', '-o', archive, tag)
            os.makedirs(layout)
            run(['tar', '-xf', archive, '-C', layout])
            os.remove(archive)
        times.setdefault('mica', []).append(mica.push(tag))
        mica.forget(tag)
        if shutil.which('skopeo'):
            registry.clear()
            source = f'oci:{layout}'
            times.setdefault('skopeo', []).append(timed(['skopeo', 'copy', '-q', '--dest-compress', '--dest-tls-verify=false', source, 'docker://' + registry.name('bench/skopeo:1')])[0])
    yield from compared('h: push alone of uncompressed layers', times)


def pull(mica, peers, registry, work, rounds):
    """(j) the pull into an empty store"""
    registry.clear()
    context, tag = os.path.join(work, 'big'), registry.name('bench/pull:1')
    mica.build_image(context, tag)
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
            times.setdefault('skopeo copy to a folder', []).append(timed(['skopeo', 'copy', '-q', '--src-tls-verify=false', 'docker://' + tag, 'dir:' + target])[0])
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
    script = bench()
    folder = script.binaries()
    size, rounds = (16 * MIB, 1) if opt.quick else (opt.size * MIB, opt.rounds)
    work = tempfile.mkdtemp(prefix='mica-sync-')
    running = []
    try:
        registry = Registry(work)
        running.append(registry)
        mica = Mica(folder, work)
        running.append(mica)
        peers = []
        for program, peer in (('dockerd', Dockerd), ('buildah', Buildah)):
            if opt.quick:
                continue
            if shutil.which(program):
                peers.append(peer(work))
                running.append(peers[-1])
            else:
                print(f'{program} is not installed and is left out')
        print(f'{mica.version()}, {script.hardware(work)}\n')
        print('| what | median | |\n|---|---:|---|')
        script.show(copy_and_push(mica, peers, registry, work, size, rounds))
        script.show(push_alone(mica, registry, work, rounds))
        script.show(pull(mica, peers, registry, work, rounds))
        script.show((f'most memory, {engine.name}', f'{engine.peak()} MiB', '') for engine in [mica, *peers])
    finally:
        for engine in reversed(running):
            engine.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    main()
