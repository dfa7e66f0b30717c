"""What is measured; every function gives the rows of the table it adds."""
import io, os, shutil, statistics, subprocess, tarfile, time

import contexts
from engines import run

MIB = 1 << 20


class Scale:
    """how much is done: everything, or little to see that the scripts work"""

    def __init__(self, quick):
        self.repeats = 3 if quick else 15
        self.fast_repeats = 5 if quick else 60
        self.slow_repeats = 1 if quick else 5
        self.steps = 5 if quick else 20
        self.base_layers = (1, 10) if quick else (1, 10, 50)
        self.debian_files = 300 if quick else contexts.DEBIAN_FILES
        self.big = (16 if quick else 500) * MIB
        self.upload = (32 if quick else 1024) * MIB
        self.many = 500 if quick else 20_000


def milliseconds(samples):
    """median, fastest and the ninth of ten, in ms"""
    ordered = sorted(samples)
    ninth = ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)]
    return f'{statistics.median(ordered) * 1e3:.2f}', f'fastest {ordered[0] * 1e3:.2f}, 9 of 10 below {ninth * 1e3:.2f}, {len(ordered)} runs'


def seconds(samples, size):
    middle = statistics.median(samples)
    return f'{middle:.2f} s', f'{size / MIB / middle:.0f} MiB/s, {len(samples)} runs'


def sampled(count, work):
    work()
    return [work() for _ in range(count)]


# a step that changes nothing, and one that leaves a layer of its own
NOTHING, A_FILE = 'true {}', 'echo {} > /out'


def step_cost(engine, work, scale, name, base, command):
    """what one RUN of next to nothing costs: the difference of a long and a short build, taken turn by turn"""
    short = contexts.runs(work, f'{engine.name}-{name}-1', base, 1, command)
    long = contexts.runs(work, f'{engine.name}-{name}-n', base, 1 + scale.steps, command)
    differences, shorts = [], []
    for _ in range(scale.repeats + 1):
        one = engine.build(short, contexts.PREFIX + 'short', cached=False)
        many = engine.build(long, contexts.PREFIX + 'long', cached=False)
        shorts.append(one)
        differences.append((many - one) / scale.steps)
    return differences[1:], shorts[1:]


def run_steps(mica, work, scale):
    """(a) RUN"""
    rows = []
    for layers in (0, *scale.base_layers):
        name = f'debian{layers}' if layers else 'busybox'
        base = contexts.PREFIX + name if layers else contexts.BASE
        if layers:
            mica.build(contexts.debian_like(work, layers, scale.debian_files), base)
        cost, short = step_cost(mica, work, scale, name, base, NOTHING)
        text = f'base of {layers} layer{"s" if layers > 1 else ""}, {scale.debian_files} files' if layers else 'busybox base'
        rows.append((f'a: one `RUN true`, {text}, ms', *milliseconds(cost)))
        if not layers:
            files, _ = step_cost(mica, work, scale, 'file', base, A_FILE)
            rows.append(('a: one `RUN echo 1 > /out`, busybox base, ms', *milliseconds(files)))
            rows.append(('a: build of one `RUN true`, uncached, end to end, ms', *milliseconds(short)))
    return rows


def tar_of(folder):
    """a folder as the tar a client sends"""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as tar:
        for name in sorted(os.listdir(folder)):
            tar.add(os.path.join(folder, name), name)
    return buffer.getvalue()


def cached(mica, work, scale):
    """(b) nothing to do"""
    folder = contexts.thirty_steps(work)
    tag = contexts.PREFIX + 'thirty'
    whole = sampled(scale.fast_repeats, lambda: mica.build(folder, tag))
    spawn = sampled(scale.fast_repeats, lambda: run(['/bin/true']))
    start = sampled(scale.fast_repeats, lambda: mica.do('--version'))
    version = sampled(scale.fast_repeats, lambda: mica.do('version'))
    connection = mica.connection()

    def request(method, path, body=None):
        began = time.perf_counter()
        connection.request(method, path, body, {'Content-Type': 'application/x-tar'} if body else {})
        response = connection.getresponse()
        text = response.read()
        took = time.perf_counter() - began
        if response.status != 200 or b'"error"' in text:
            raise SystemExit(f'{method} {path}: {response.status} {text!r}')
        return took

    body = tar_of(folder)
    ping = sampled(scale.fast_repeats, lambda: request('GET', '/_ping'))
    build = sampled(scale.fast_repeats, lambda: request('POST', f'/build?t={tag}&q=1', body))
    connection.close()
    return [
        ('b: cached rebuild of 30 steps, `mica build -q`, ms', *milliseconds(whole)),
        ('b: of it the daemon, over a socket kept open, ms', *milliseconds(build)),
        ('b: of it `mica` starting and asking for the version, ms', *milliseconds(version)),
        ('b: `mica --version`, no daemon, ms', *milliseconds(start)),
        ('b: `/bin/true`: what starting any process costs here, ms', *milliseconds(spawn)),
        ('b: one empty request over a socket kept open, ms', *milliseconds(ping)),
    ]


def upload(mica, work, scale):
    """(d) a big context of which nothing is used"""
    folder = contexts.one_file(work, 'upload', scale.upload, 'FROM scratch\nCOPY Dockerfile /\n')
    tag = contexts.PREFIX + 'upload'
    took = []
    for _ in range(scale.slow_repeats):
        contexts.touch_first_bytes(os.path.join(folder, 'big'))
        os.sync()
        took.append(mica.build(folder, tag))
    mica.remove(tag)
    shutil.rmtree(folder)
    return [
        (f'd: build with a context of {scale.upload // MIB} MiB', *seconds(took, scale.upload)),
        ('d: most memory micad had until here, MiB', str(mica.peak_memory()), 'VmHWM'),
    ]


def archives(mica, work, scale):
    """(e) save and load"""
    folder = contexts.one_file(work, 'archive', scale.big, 'FROM scratch\nCOPY big /big\n')
    tag, archive = contexts.PREFIX + 'archive', os.path.join(work, 'archive.tar')
    saved, loaded = [], []
    for _ in range(scale.slow_repeats):
        contexts.touch_first_bytes(os.path.join(folder, 'big'))
        mica.build(folder, tag)
        os.sync()
        saved.append(mica.do('save', '-o', archive, tag))
        mica.remove(tag)
        mica.do('builder', 'prune', '-f')
        os.sync()
        loaded.append(mica.do('load', '-q', '-i', archive))
        mica.remove(tag)
        os.remove(archive)
    shutil.rmtree(folder)
    size = f'{scale.big // MIB} MB'
    return [(f'e: `mica save` of {size}', *seconds(saved, scale.big)), (f'e: `mica load` of {size}', *seconds(loaded, scale.big))]


def many(mica, work, scale):
    """(f) many small files, nothing changed"""
    folder = contexts.many_files(work, scale.many)
    tag = contexts.PREFIX + 'many'
    began = time.perf_counter()
    mica.build(folder, tag)
    first = time.perf_counter() - began
    again = sampled(scale.repeats, lambda: mica.build(folder, tag))
    shutil.rmtree(folder)
    return [
        (f'f: first build with {scale.many} small files, ms', f'{first * 1e3:.0f}', '1 run'),
        (f'f: cached rebuild with {scale.many} small files, ms', *milliseconds(again)),
    ]


def syscalls(mica, work, scale):
    """(b) counted: what the daemon asks of the kernel during one cached rebuild"""
    if not shutil.which('strace'):
        return [('b: system calls', 'left out', 'no strace')]
    folder, tag, table = os.path.join(work, 'thirty'), contexts.PREFIX + 'thirty', os.path.join(work, 'strace')
    tracer = subprocess.Popen(['strace', '-c', '-f', '-U', 'calls,name', '-o', table, '-p', str(mica.process.pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    # it says so when it has attached
    line = tracer.stderr.readline()
    if 'attached' not in line:
        tracer.kill()
        tracer.wait()
        return [('b: system calls', 'left out', line.strip())]
    try:
        mica.build(folder, tag)
    finally:
        tracer.terminate()
        tracer.communicate()
    counts = {}
    for line in open(table):
        words = line.split()
        if len(words) == 2 and words[0].isdigit():
            counts[words[1]] = int(words[0])
    total = counts.pop('total', sum(counts.values()))
    durable = sum(counts.get(name, 0) for name in ('fsync', 'fdatasync', 'syncfs'))
    most = ', '.join(f'{name} {count}' for name, count in sorted(counts.items(), key=lambda item: -item[1])[:14])
    return [
        ('b: system calls of micad in one cached rebuild', str(total), most),
        ('b: of them fsync, fdatasync and syncfs', str(durable), ', '.join(f'{n} {counts[n]}' for n in ('fsync', 'fdatasync', 'syncfs') if n in counts)),
        ('b: of them openat', str(counts.get('openat', 0) + counts.get('openat2', 0)), ''),
    ]
