"""What build.py lets all engines do turn by turn: one class for each measure."""
import os, re, shutil, subprocess, threading, time

import contexts
from contexts import BASE, PREFIX
from engines import Failed, run

KIB, MIB = 1 << 10, 1 << 20
# how much more than the slowest stage a build of stages side by side may take and still be "about" as long
ABOUT = 1.25
ENDED = re.compile(rb'ended=(\d+)')
# between two questions whether an image is there
ASK_SECONDS = 0.002


class Size:
    """how much is done: everything, a part of it, or little to see that the scripts work"""

    def __init__(self, factor=1.0, quick=False):
        self.quick = quick
        factor = 0.01 if quick else factor
        self.cached_turns = 1 if quick else 5
        self.tens = 1 if quick else 10
        self.steps = 3 if quick else max(3, round(50 * min(1, factor * 2)))
        self.big = max(1, round(1024 * factor)) * MIB
        self.files = max(100, round(50_000 * factor))
        self.written = max(100, round(20_000 * factor))
        self.sleep = 0.3 if quick else 2
        self.builds = 20 if quick else 200
        # a file of `written`: all of them are 500 MB
        self.each = 25_000


class Figure:
    """one line of the result: what it is, and the ratio (fastest peer : mica) or the seconds that are aimed at"""

    def __init__(self, name, title, ratio=None, seconds=None):
        self.name, self.title, self.ratio, self.seconds = name, title, ratio, seconds


class Race:
    """a folder that is built by all; the subclasses say what changes before.

    What a turn left stays until the end where it is many files: ext4 is slow to give out inodes while many were just
    freed, so one engine would pay for the cleaning after another."""
    turns = 1
    # of what arrives in the image, to compare what micad reads and writes with; 0 if that says nothing
    content = 0
    cached = True

    def __init__(self, work, bench, size):
        self.work, self.bench, self.size, self.seed = work, bench, size, 0
        self.tag = PREFIX + self.name
        self.context = self.make()
        self.figures = self.results()

    def prepare(self, engine):
        """once for each engine, not measured"""

    def change(self):
        """before all engines have their turn, not measured"""

    def ready(self):
        """before each turn, not measured"""

    def settle(self):
        """waits for the disk, so that nobody pays for what the one before left to be written"""
        if not self.size.quick:
            os.sync()

    def turn(self, engine):
        """the figures of one turn, in seconds, by their names"""
        return {self.name: engine.build(self.context, self.tag, self.cached)}

    def clear(self, engine):
        """after each turn, not measured"""

    def limits(self):
        """what this machine needs for the same without a builder: name to work; 'aim' is what mica may take of it"""
        return {}

    def end(self, engine):
        engine.forget(self.tag)

    def remove(self):
        """once, after all"""
        shutil.rmtree(self.context)

    def next_seed(self):
        self.seed += 1
        return str(self.seed)


class Cached(Race):
    name = 'cached'

    def make(self):
        self.turns = self.size.cached_turns
        return contexts.thirty_steps(self.work, self.size.tens)

    def results(self):
        return [Figure('cached', f'{3 * self.size.tens} steps, all cached', ratio=4)]

    def prepare(self, engine):
        engine.build(self.context, self.tag)


class Runs(Race):
    name = 'run'

    def make(self):
        self.one = contexts.runs(self.work, 'one', BASE, 1, 'true {}')
        return contexts.runs(self.work, 'runs', BASE, self.size.steps, 'true {}')

    def results(self):
        return [Figure('run', f'{self.size.steps} x `RUN true`, uncached', ratio=6), Figure('run-one', 'of it one `RUN true`', ratio=6)]

    def turn(self, engine):
        one = engine.build(self.one, self.tag + '1', cached=False)
        all_of = engine.build(self.context, self.tag, cached=False)
        return {'run': all_of, 'run-one': (all_of - one) / (self.size.steps - 1)}

    def end(self, engine):
        engine.forget(self.tag + '1')
        engine.forget(self.tag)


class BigFile(Race):
    """bytes that were never seen, in the memory of the kernel"""
    name = 'copy'
    dockerfile = 'FROM scratch\nCOPY big /big\n'

    def make(self):
        self.content = self.size.big
        context = contexts.one_file(self.work, self.name, self.size.big, self.dockerfile)
        self.big, self.target = os.path.join(context, 'big'), os.path.join(self.work, 'copied')
        return context

    def results(self):
        return [Figure('copy', f'COPY of one file, {self.size.big // MIB} MiB', ratio=5)]

    def ready(self):
        contexts.touch_first_bytes(self.big)
        contexts.read_whole(self.big)

    def clear(self, engine):
        engine.forget(self.tag)

    def copied(self, then=None):
        """cp to where nothing is, and another command"""
        took = run(['cp', self.big, self.target]) + (run(then) if then else 0)
        os.remove(self.target)
        return took

    def limits(self):
        return {
            'sha256sum': (lambda: run(['sha256sum', self.big]), None),
            'cp': (self.copied, None),
            'cp and sync': (lambda: self.copied(['sync', self.target]), None),
            'cp and sha256sum': (lambda: self.copied(['sha256sum', self.big]), 1.3),
        }

    def end(self, engine):
        """every turn was cleared"""


class Files(Race):
    """all of them with bytes that were never seen"""
    name = 'files'

    def make(self):
        context = contexts.folder(self.work, 'many', f'FROM {BASE}\nCOPY src /src\n')
        self.folder = os.path.join(context, 'src')
        self.fill()
        self.content = sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(self.folder) for name in names)
        return context

    def fill(self):
        run([self.bench, 'write', self.folder, str(self.size.files), '100', str(KIB), str(8 * KIB), self.next_seed()])

    def results(self):
        return [Figure('files', f'COPY of {self.size.files:,} files, {self.content // MIB} MiB, first time', ratio=5)]

    def ready(self):
        self.fill()
        contexts.read_whole(self.folder)

    def limits(self):
        return {'tar to sha256sum': (lambda: run(['sh', '-c', f'tar cf - -C {self.context} src | sha256sum']), 1.3)}


class OneChanged(Files):
    name = 'one-changed'

    def results(self):
        return [Figure('one-changed', f'the same {self.size.files:,} files, one changed', ratio=5)]

    def prepare(self, engine):
        engine.build(self.context, self.tag)

    def change(self):
        contexts.write(self.folder, '0/file0', os.urandom(4 * KIB))

    def ready(self):
        contexts.read_whole(self.folder)

    def limits(self):
        return {}


class Written(Race):
    name = 'written'

    def make(self):
        self.content = self.size.written * self.size.each
        self.hands = os.path.join(self.work, 'by-hand')
        os.mkdir(self.hands)
        return contexts.folder(self.work, 'written', '')

    def results(self):
        return [Figure('written', f'RUN that writes {self.size.written:,} files, {self.content // 1_000_000} MB', ratio=3)]

    def program(self, program, folder):
        return [program, 'write', folder, str(self.size.written), '100', str(self.size.each), str(self.size.each), self.next_seed()]

    def ready(self):
        words = ', '.join(f'"{word}"' for word in self.program('/bin/bench', '/out'))
        contexts.write(self.context, 'Dockerfile', f'FROM {BASE}\nRUN [{words}]\n')

    def by_hand(self):
        return run(self.program(self.bench, os.path.join(self.hands, str(self.seed))))

    def limits(self):
        return {'the program by hand': (self.by_hand, None)}

    def remove(self):
        super().remove()
        shutil.rmtree(self.hands)


class Stages(Race):
    name = 'stages'
    cached = False

    def make(self):
        return contexts.sleepers(self.work, 4, self.size.sleep)

    def results(self):
        return [Figure('stages', f'four stages of {self.size.sleep} s each, joined', seconds=self.size.sleep * ABOUT)]


class Visible(BigFile):
    """from the end of the last command to the image having its name"""
    name = 'visible'
    dockerfile = f'FROM {BASE}\nCOPY big /big\nRUN ["/bin/bench", "now"]\n'

    def results(self):
        return [Figure('visible', f'last step to tag visible, {self.size.big // MIB} MiB')]

    def turn(self, engine):
        listed, seen, output = engine.listed(self.tag), threading.Event(), []
        process = subprocess.Popen(engine.build_command(self.context, self.tag, quiet=False), env=engine.environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        def read():
            for line in process.stdout:
                output.append(line)
                if ENDED.search(line):
                    seen.set()

        reader = threading.Thread(target=read)
        reader.start()
        # BuildKit's client tells its lines late: a daemon, which answers fast, is asked from the start
        while engine.slow_to_ask and not seen.wait(ASK_SECONDS) and process.poll() is None:
            pass
        there = None
        while there is None and process.poll() is None:
            there = time.time_ns() if listed() else None
            time.sleep(ASK_SECONDS)
        process.wait()
        reader.join()
        process.stdout.close()
        text = b''.join(output)
        ended = ENDED.search(text)
        if process.returncode or not ended or not listed():
            raise Failed(f'{engine.name} did not build:\n{text.decode("utf-8", "replace")}')
        return {'visible': ((there or time.time_ns()) - int(ended[1])) / 1e9}

    def limits(self):
        return {}


RACES = [Cached, Runs, BigFile, Files, OneChanged, Written, Stages, Visible]
