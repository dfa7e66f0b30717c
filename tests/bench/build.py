#!/usr/bin/env python3
"""Measures builds: mica, docker's classic builder, BuildKit and buildah, turn by turn in one run; README.md says what each figure means.

usage: tests/bench/build.py [--quick] [--rounds N] [--scale F] [--only NAME]... [--json FILE]
Needs root, a C compiler and Debian's busybox-static; docker.io and buildah are fetched from Debian if they are not there
(not with --quick), and what is missing is left out and said. The binaries are those in the folder MICA_BIN, or a release build made first."""
import argparse, json, os, shutil, signal, statistics, sys, tempfile, time

sys.dont_write_bytecode = True
import contexts, engines, machine, races

MIB = 1 << 20
# the most memory micad may have had over all measures, in MiB
MEMORY_AIM = 150
# how much a daemon may have grown over many builds, in KiB: less than one build's buffers
GROWN_AIM = 4096


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='little of everything in less than a minute, to see that the script works')
    parser.add_argument('--rounds', type=int, metavar='N', help='turns of each engine, 5 if not told')
    parser.add_argument('--scale', type=float, default=1.0, metavar='F', help='sizes and numbers of files are multiplied by it')
    parser.add_argument('--only', action='append', choices=[race.name for race in races.RACES] + ['memory'], metavar='NAME',
                        help='only this measure (may be said again): ' + ', '.join(race.name for race in races.RACES) + ', memory')
    parser.add_argument('--json', metavar='FILE', help='all samples, for chart.py')
    opt = parser.parse_args()
    opt.rounds = opt.rounds or (1 if opt.quick else 5)
    return opt


def counters(process):
    """what a daemon and the children it waited for read and wrote, from /proc"""
    return {key: int(value) for key, value in (line.split(': ') for line in open(f'/proc/{process.pid}/io'))}


def usable(peers, base, left_out):
    """the peers that can build the base; why others cannot is noted"""
    for peer in peers:
        try:
            peer.build(base, contexts.BASE)
            yield peer
        except engines.Failed as failure:
            left_out[peer.name] = str(failure).strip().splitlines()[-1][:160]


class Result:
    """the samples of one race: seconds of each engine in each figure, of each limit, and what micad asked of the kernel"""

    def __init__(self, race):
        self.race = race
        self.seconds = {figure.name: {} for figure in race.figures}
        self.limits, self.counters, self.failures = {}, [], {}

    def take_turn(self, engine):
        self.race.ready()
        self.race.settle()
        before = counters(engine.process) if engine.name == 'mica' else None
        for figure, seconds in self.race.turn(engine).items():
            self.seconds[figure].setdefault(engine.name, []).append(seconds)
        if before:
            self.counters.append({key: value - before[key] for key, value in counters(engine.process).items()})
        self.race.clear(engine)

    def measure_limits(self):
        for name, (work, _) in self.race.limits().items():
            self.race.settle()
            self.limits.setdefault(name, []).append(work())


def hold(race, running, rounds):
    """all engines, turn by turn; who goes first changes with the round"""
    result, inside = Result(race), list(running)

    def attempt(engine, work):
        try:
            work(engine)
        except engines.Failed as failure:
            if engine.name == 'mica':
                raise
            inside.remove(engine)
            result.failures[engine.name] = str(failure).strip().splitlines()[-1][:160]

    for engine in list(inside):
        attempt(engine, race.prepare)
    for turn in range(rounds * race.turns):
        race.change()
        first = turn % len(inside)
        for engine in inside[first:] + inside[:first]:
            attempt(engine, result.take_turn)
        if turn % race.turns == 0:
            result.measure_limits()
    for engine in list(inside):
        attempt(engine, race.end)
    race.remove()
    return result


def verdict(value, aim, more):
    met = value >= aim if more else value <= aim
    return f'{"at least" if more else "at most"} {aim:g}: {"met" if met else "NOT MET"}'


def short(seconds):
    return f'{seconds * 1e3:.1f} ms' if seconds < 1 else f'{seconds:.2f} s'


def judged(result, figure):
    """medians, the ratio and what is aimed at, as the JSON file has them"""
    seconds = result.seconds[figure.name]
    medians = {name: statistics.median(samples) for name, samples in seconds.items()}
    mine = medians['mica']
    # a difference of two builds can be nothing
    ratios = {name: median / mine for name, median in medians.items() if name != 'mica' and mine > 0}
    row = {'name': figure.name, 'title': figure.title, 'seconds': seconds, 'medians': medians, 'ratios': ratios,
           'fastest_peer': min(ratios, key=ratios.get, default=None), 'aim_ratio': figure.ratio, 'aim_seconds': figure.seconds}
    if figure.ratio and ratios:
        row['verdict'] = verdict(ratios[row['fastest_peer']], figure.ratio, more=True)
    elif figure.seconds:
        row['verdict'] = verdict(mine, figure.seconds, more=False).replace(':', ' s:')
    else:
        row['verdict'] = 'no peer' if figure.ratio else 'none'
    return row


def cells(row, names, failures):
    times = [short(row['medians'][name]) if name in row['medians'] else ('failed' if name in failures else '') for name in names]
    peer = row['fastest_peer']
    return [row['title'], *times, f'{row["ratios"][peer]:.2f} ({peer})' if peer else '', row['verdict']]


def limit_rows(result):
    """what the machine itself takes, and mica's share above it"""
    first = result.race.figures[0]
    mine = statistics.median(result.seconds[first.name]['mica'])
    for name, samples in result.limits.items():
        aim, middle = result.race.limits()[name][1], statistics.median(samples)
        yield {'race': result.race.name, 'title': f'{name}, beside: {first.title}', 'seconds': samples, 'median': middle, 'ratio': mine / middle, 'aim': aim,
               'verdict': verdict(mine / middle, aim, more=False) if aim else 'none'}


def asked_rows(result):
    """bytes micad and its children read and wrote by system calls, for each byte that arrived in the image"""
    if not result.race.content:
        return
    middle = {key: statistics.median(turn[key] for turn in result.counters) for key in result.counters[0]}
    for key, title in (('rchar', 'read'), ('wchar', 'written'), ('write_bytes', 'sent to the disk')):
        yield f'{result.race.name}: bytes {title} by micad for a byte of content', f'{middle[key] / result.race.content:.2f}', ''
    yield f'{result.race.name}: calls that read, that write', f'{middle["syscr"]:.0f}, {middle["syscw"]:.0f}', ''


def memory_rows(mica, work, builds):
    """many small builds, each with a file of its own: does the daemon grow?"""
    context = contexts.folder(work, 'small', f'FROM {contexts.BASE}\nCOPY file /srv/\nRUN true\n')
    tag = contexts.PREFIX + 'small'

    def loop(name, count):
        for i in range(count):
            contexts.write(context, 'file', f'{name} {i}\n')
            mica.build(context, tag)
        return engines.memory(mica.process, 'VmRSS')

    # the first ones fill what is filled once
    before = loop('first', max(5, builds // 10))
    after = loop('then', builds)
    mica.forget(tag)
    yield f'micad before and after {builds} small builds, KiB', f'{before}, {after}', verdict(after - before, GROWN_AIM, more=False).replace(':', ' KiB more:')


def keep(report, path):
    """what is known so far, so that a long run that is broken off was not for nothing"""
    if path:
        with open(path, 'w') as file:
            json.dump(report, file, indent=1)
            file.write('\n')


def measure(opt, work, running, report):
    size = races.Size(opt.scale, opt.quick)
    mica, left_out = running[0], report['left_out']
    bench = contexts.bench_program(work)
    base = contexts.base(work, bench)
    mica.build(base, contexts.BASE)
    peers, missing = engines.peers(work, running)
    left_out.update(missing)
    peers = list(usable(peers, base, left_out))
    names = ['mica'] + [peer.name for peer in peers]
    report['engines'] = {engine.name: engine.version() for engine in (mica, *peers)}
    for name, version in report['engines'].items():
        print(f'- {name}: {version}')
    for name, why in left_out.items():
        print(f'- {name} is left out: {why}')
    print('\n| what | ' + ' | '.join(names) + ' | fastest peer : mica | aim |\n|---|' + '---:|' * (len(names) + 1) + '---|', flush=True)
    results = []
    for race in races.RACES:
        if opt.only and race.name not in opt.only:
            continue
        results.append(hold(race(work, bench, size), [mica, *peers], opt.rounds))
        rows = [judged(results[-1], figure) for figure in results[-1].race.figures]
        report['measures'] += rows
        machine.show(cells(row, names, results[-1].failures) for row in rows)
        keep(report, opt.json)
    for result in results:
        for name, why in result.failures.items():
            left_out[f'{name}, {result.race.name}'] = why
            print(f'\n{name} failed at {result.race.name}: {why}')
    report['limits'] = [row for result in results for row in limit_rows(result)]
    if report['limits']:
        print('\n| what the machine needs | median | mica : this | aim |\n|---|---:|---:|---|')
        machine.show([row['title'], short(row['median']), f'{row["ratio"]:.2f}', row['verdict']] for row in report['limits'])
    facts = [row for result in results for row in asked_rows(result)]
    if not opt.only or 'memory' in opt.only:
        facts += memory_rows(mica, work, size.builds)
    facts.append(('micad: the most memory over all measures, MiB', str(mica.peak_memory()), verdict(mica.peak_memory(), MEMORY_AIM, more=False)))
    facts += [(f'{peer.name}: the same', str(peer.peak_memory()), '') for peer in peers]
    report['facts'] = facts
    keep(report, opt.json)
    print('\n| what mica needs | | aim |\n|---|---:|---|')
    machine.show(facts)


def main():
    opt = arguments()
    if os.geteuid():
        sys.exit('RUN and the peers need root')
    if not os.access(contexts.BUSYBOX, os.X_OK) or not shutil.which('cc'):
        sys.exit('needs busybox-static and a C compiler')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = machine.binaries()
    if not opt.quick:
        machine.install(engines.PACKAGES)
    work = tempfile.mkdtemp(prefix='mica-build-')
    running = []
    try:
        running.append(engines.Mica(folder, work))
        report = {'date': time.strftime('%Y-%m-%d'), 'hardware': machine.hardware(work), 'rounds': opt.rounds, 'scale': 0.01 if opt.quick else opt.scale,
                  'engines': {}, 'left_out': {}, 'measures': [], 'limits': [], 'facts': []}
        print(f'{report["hardware"]}; {opt.rounds} rounds, scale {report["scale"]:g}' + ('; the figures of --quick mean nothing' if opt.quick else '') + '\n')
        measure(opt, work, running, report)
    finally:
        for engine in reversed(running):
            engine.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    main()
