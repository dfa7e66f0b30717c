#!/usr/bin/env python3
"""Measures rebuilds of a folder that nobody changed, by docker's plugin buildx over a session: mica, and the BuildKit within a dockerd, turn by turn; README.md says what each figure means.

usage: tests/bench/session.py [--quick] [--rounds N] [--files N]
Needs root, Go, Debian's docker.io and busybox-static; without dockerd mica is measured alone.
The binaries are those in the folder MICA_BIN, or a release build made first; buildx is the one that tests/buildx pins."""
import argparse, os, shutil, signal, statistics, subprocess, sys, tempfile

sys.dont_write_bytecode = True
import contexts, engines, machine
from engines import run

# how much longer than BuildKit's a rebuild may take, and what it ought to take
LIMIT, AIM = 1.5, 0.5
# how big the files are, in bytes: the smallest, and what each of the next seven has more
SMALLEST = 1024
IN_A_FOLDER = 100


def client():
    """buildx, built by the tests' own script unless it is there"""
    script = os.path.join(machine.ROOT, 'tests', 'buildx', 'install')
    made = subprocess.run([script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if made.returncode:
        print(f'skipped: BuildKit\'s clients cannot be built: {made.stderr.strip()}')
        sys.exit(0)
    return os.path.join(made.stdout.strip(), 'docker-buildx')


def many_files(work, files):
    """a folder like a repository with what was installed into it"""
    path = contexts.folder(work, 'many', 'FROM scratch\nCOPY . /src\n')
    for i in range(files):
        contexts.write(path, f'src/{i // IN_A_FOLDER}/file{i}.txt', i.to_bytes(4, 'big') * (SMALLEST // 4 * (1 + i % 8)))
    return path


class Built:
    """an engine, by its socket, with buildx"""

    def __init__(self, name, engine, program, work):
        self.name, self.engine, self.program = name, engine, program
        # without a home of its own it would remember this machine's builders
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(('BUILDX_', 'BUILDKIT_', 'DOCKER_'))}
        self.environment.update(DOCKER_HOST='unix://' + engine.socket, DOCKER_CONFIG=os.path.join(work, f'config-{name}'))

    def build(self, context, *options):
        return run([self.program, 'build', '-q', '-t', 'localhost/mica-bench-session', *options, context], self.environment)

    def asked(self):
        """what it takes to find the daemon and ask who it is"""
        return run([self.program, 'inspect'], self.environment)


def measured(built, context, rounds):
    """{what: {engine: [seconds]}}; a round is one turn of each, and each begins with another one"""
    times = {}

    def turn(what, do, first=0):
        for one in built[first:] + built[:first]:
            os.sync()
            times.setdefault(what, {}).setdefault(one.name, []).append(do(one))

    turn('first build', lambda one: one.build(context))
    contexts.write(context, 'src/0/file0.txt', 'changed\n' * 100)
    turn('one file changed', lambda one: one.build(context))
    for number in range(rounds):
        first = number % len(built)
        turn('unchanged', lambda one: one.build(context), first)
        turn('buildx inspect', Built.asked, first)
    return times


def rows(times):
    for what, by_engine in times.items():
        base = statistics.median(by_engine['mica'])
        for name, samples in by_engine.items():
            took = statistics.median(samples)
            note = '' if name == 'mica' else f'; mica takes {base / took:.2f} of it'
            yield f'{what}, {name}', f'{took * 1e3:.0f} ms', f'fastest {min(samples) * 1e3:.0f}, {len(samples)} runs{note}'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='few files, to see that the script works; no dockerd')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--files', type=int, default=50_000)
    opt = parser.parse_args()
    if os.geteuid():
        sys.exit('dockerd needs root')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    program, folder = client(), machine.binaries()
    files, rounds = (500, 1) if opt.quick else (opt.files, opt.rounds)
    work = tempfile.mkdtemp(prefix='mica-session-')
    running = []
    try:
        mica = engines.Mica(folder, work)
        running.append(mica)
        built = [Built('mica', mica, program, work)]
        if not opt.quick:
            try:
                dockerd = engines.Dockerd(work)
                running.append(dockerd)
                built.append(Built('buildkit', dockerd, program, work))
            except (engines.Failed, OSError) as why:
                print(f'buildkit is left out: {str(why).strip().splitlines()[-1]}')
        print(f'{mica.version()}, {machine.hardware(work)}\n')
        print(f'| what, a folder of {files} files | median | |\n|---|---:|---|')
        times = measured(built, many_files(work, files), rounds)
        machine.show(rows(times))
        machine.show((f'most memory, {one.name}', f'{one.engine.peak_memory()} MiB', '') for one in built)
        if len(built) > 1:
            unchanged = [statistics.median(times['unchanged'][one.name]) for one in built]
            ratio = unchanged[0] / unchanged[1]
            said = 'met' if ratio <= AIM else 'within the limit, not met' if ratio <= LIMIT else 'missed'
            print(f'\na rebuild of what nobody changed takes mica {ratio:.2f} times what BuildKit takes; limit {LIMIT}, aim {AIM}: {said}')
    finally:
        for engine in reversed(running):
            engine.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    main()
