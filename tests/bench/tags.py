#!/usr/bin/env python3
"""Measures lists, names and disk usage in a store with many of them; README.md says what each figure means.

usage: tests/bench/tags.py [--quick] [--tags N] [--images N] [--rounds N]
Prints JSON: milliseconds (median, fastest, 9 of 10 below), and whether what is aimed at is met. Two stores are filled: one
with N tags on ten images, one with N images of six layers, one tag each. --quick fills them with 200, to see that it works.
The binary is that in the folder MICA_BIN, or a release build made first. Needs Python alone."""
import argparse, hashlib, http.client, io, json, os, shutil, signal, socket, statistics, subprocess, sys, tarfile, tempfile, time

sys.dont_write_bytecode = True
import machine

# images in one archive that is loaded
AT_ONCE = 500
# images share a base with that many others
FAMILY = 100
# what one answer may take, in milliseconds
AIMS = {'list': 150, 'inspect': 5, 'tag': 5, 'untag': 5, 'df': 50}


class Unix(http.client.HTTPConnection):
    """a connection that stays open"""

    def __init__(self, path):
        super().__init__('localhost', timeout=600)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None, wanted=200):
        self.request(method, path, body)
        answer = self.getresponse()
        data = answer.read()
        if answer.status != wanted:
            sys.exit(f'{method} {path}: {answer.status} {data[:300]!r}')
        return data


class Daemon:
    """micad with a store of its own"""

    def __init__(self, binary, work, name):
        self.socket = os.path.join(work, name + '.sock')
        self.command = [binary, '--host', 'unix://' + self.socket, '--data-root', os.path.join(work, name)]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            try:
                self.api = Unix(self.socket)
                self.api.ask('GET', '/_ping')
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    sys.exit('micad does not answer')
                time.sleep(0.01)

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def memory(self):
        """KiB now"""
        with open(f'/proc/{self.process.pid}/status') as status:
            return int(next(line.split()[1] for line in status if line.startswith('VmRSS')))


def add(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def layer(seed):
    """a tar with one small file"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.USTAR_FORMAT) as tar:
        add(tar, 'file', seed.encode())
    return out.getvalue()


def images(numbers, tags):
    """an archive of images: five layers shared within a family, one of its own"""
    out, manifest, there = io.BytesIO(), [], set()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.USTAR_FORMAT) as archive:
        for number in numbers:
            layers = [layer(f'base {number // FAMILY} {at}') for at in range(5)] + [layer(f'own {number}')]
            digests = [hashlib.sha256(data).hexdigest() for data in layers]
            for digest, data in zip(digests, layers):
                if digest not in there:
                    there.add(digest)
                    add(archive, digest + '.tar', data)
            env = [f'VARIABLE_{at}=some value of a usual length {at}' for at in range(20)]
            config = {'created': f'2026-01-01T00:00:{number % 60:02}Z', 'architecture': 'amd64', 'os': 'linux',
                      'config': {'Env': env, 'Cmd': ['/bin/sh'], 'Labels': {'number': str(number), 'org.example.text': 'x' * 80}},
                      'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + digest for digest in digests]},
                      'history': [{'created': '2026-01-01T00:00:00Z', 'created_by': f'RUN step {at} ' + 'y' * 100} for at in range(6)]}
            name = f'config{number}.json'
            add(archive, name, json.dumps(config).encode())
            manifest.append({'Config': name, 'RepoTags': tags(number), 'Layers': [digest + '.tar' for digest in digests]})
        add(archive, 'manifest.json', json.dumps(manifest).encode())
    return out.getvalue()


def fill(daemon, count, tags):
    for first in range(0, count, AT_ONCE):
        told = daemon.api.ask('POST', '/images/load', images(range(first, min(first + AT_ONCE, count)), tags))
        if b'errorDetail' in told:
            sys.exit(told[-300:].decode())


def times(rounds, work):
    samples = []
    for at in range(rounds):
        start = time.perf_counter()
        work(at)
        samples.append(1000 * (time.perf_counter() - start))
    samples.sort()
    return {'median': round(statistics.median(samples), 2), 'fastest': round(samples[0], 2), '9 of 10 below': round(samples[len(samples) * 9 // 10], 2)}


def disk(work, rounds):
    """what any change that is durable waits for here"""
    block = b'x' * 4096
    with open(os.path.join(work, 'probe'), 'wb', buffering=0) as probe:
        def write(_):
            probe.write(block)
            os.fdatasync(probe)
        return times(10 * rounds, write)


def measure(daemon, name, rounds):
    """what one client waits for, turn by turn"""
    ask = daemon.api.ask
    cold = time.perf_counter()
    size = len(ask('GET', '/images/json'))
    cold = 1000 * (time.perf_counter() - cold)
    return {
        'first list after a start': {'median': round(cold, 2)},
        'bytes of a list': size,
        'list': times(rounds, lambda at: ask('GET', '/images/json')),
        'list with what is shared': times(rounds, lambda at: ask('GET', '/images/json?shared-size=1')),
        'list of one repository': times(rounds, lambda at: ask('GET', '/images/json?filters=%7B%22reference%22:%5B%22bench/one%22%5D%7D')),
        'df': times(rounds, lambda at: ask('GET', '/system/df')),
        'inspect': times(10 * rounds, lambda at: ask('GET', f'/images/{name}/json')),
        'tag': times(10 * rounds, lambda at: ask('POST', f'/images/{name}/tag?repo=bench/new&tag={at}', wanted=201)),
        'untag': times(10 * rounds, lambda at: ask('DELETE', f'/images/bench/new:{at}')),
        'remove an image': times(min(rounds, 20), lambda at: ask('DELETE', f'/images/bench/gone:{at}')),
        'KiB of memory': daemon.memory(),
    }


def judged(figures, aims):
    for what, aim in aims.items():
        figures[what]['aim'] = aim
        figures[what]['met'] = figures[what]['median'] <= aim
    return figures


def many_tags(binary, work, count, rounds):
    daemon = Daemon(binary, work, 'tags')
    try:
        # ten images, and some to be removed
        gone = lambda number: [f'bench/gone:{number - 10}'] if number >= 10 else ['bench/one'] if number == 0 else [f'bench/few:{number}']
        fill(daemon, 30, gone)
        start = time.perf_counter()
        for number in range(count):
            daemon.api.ask('POST', f'/images/bench/few:{1 + number % 9}/tag?repo=bench/many{number % 50}&tag=t{number}', wanted=201)
        each = 1000 * (time.perf_counter() - start) / count
        daemon.stop()
        daemon.start()
        figures = measure(daemon, 'bench/few:1', rounds)
        figures['tag, while the store was filled'] = {'mean': round(each, 2)}
        return figures
    finally:
        daemon.stop()


def many_images(binary, work, count, rounds, df_at):
    daemon = Daemon(binary, work, 'images')
    try:
        fill(daemon, 20, lambda number: [f'bench/gone:{number}'])
        name = lambda number: [f'bench/gone:{number}'] if number < 20 else ['bench/one:latest'] if number == 20 else [f'bench/image{number}:1']
        fill(daemon, df_at, name)
        df = times(rounds, lambda at: daemon.api.ask('GET', '/system/df'))
        start = time.perf_counter()
        fill(daemon, count, name)
        took = time.perf_counter() - start
        daemon.stop()
        daemon.start()
        figures = measure(daemon, 'bench/one', rounds)
        figures[f'df of {df_at} images'] = df
        figures['seconds to load them'] = round(took, 1)
        return figures
    finally:
        daemon.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='little of everything, to see that the script works')
    parser.add_argument('--tags', type=int, default=10_000)
    parser.add_argument('--images', type=int, default=10_000)
    parser.add_argument('--rounds', type=int, default=20)
    opt = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if opt.quick:
        opt.tags, opt.images, opt.rounds = 200, 200, 2
    binary = os.path.join(machine.binaries(), 'micad')
    work = tempfile.mkdtemp(prefix='mica-tags-')
    df_at = min(1000, opt.images)
    try:
        tags = judged(many_tags(binary, work, opt.tags, opt.rounds), AIMS)
        aims = {what: aim for what, aim in AIMS.items() if what != 'df'}
        pictures = judged(many_images(binary, work, opt.images, opt.rounds, df_at), {**aims, f'df of {df_at} images': AIMS['df']})
        probe = disk(work, opt.rounds)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    result = {'machine': machine.hardware(tempfile.gettempdir()), 'fdatasync of 4 KiB more': probe, f'{opt.tags} tags on ten images': tags, f'{opt.images} images with one tag each': pictures}
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
