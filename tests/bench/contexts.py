"""The folders that are built: bases with a shell, chains of steps, big files, many files."""
import os, shutil, subprocess

BUSYBOX = os.environ.get('BUSYBOX', '/bin/busybox')
PREFIX = 'localhost/mica-bench-'
BASE = PREFIX + 'base'
# roughly what debootstrap's minbase has: files, bytes of each
DEBIAN_FILES, DEBIAN_BYTES = 6000, 8192
CHUNK = 1 << 20


def write(folder, name, content):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def folder(work, name, dockerfile):
    path = os.path.join(work, name)
    os.makedirs(path)
    write(path, 'Dockerfile', dockerfile)
    return path


def base(work, *programs):
    """a shell out of Debian's busybox, and static programs: nothing comes from a registry"""
    names = ' '.join(os.path.basename(program) for program in programs)
    path = folder(work, 'base', f'FROM scratch\nCOPY busybox {names} /bin/\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n')
    for program in (BUSYBOX, *programs):
        shutil.copy(program, path)
    return path


def bench_program(work):
    """files.c, compiled to a program that needs nothing"""
    path = os.path.join(work, 'bench')
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'files.c')
    subprocess.run(['cc', '-O2', '-static', '-o', path, source], check=True)
    return path


def debian_like(work, layers, files=DEBIAN_FILES):
    """a system of some thousand files in one layer, and small layers over it"""
    small = [f'COPY more/{i} /more/{i}\n' for i in range(1, layers)]
    path = folder(work, f'debian{layers}', 'FROM scratch\nCOPY root /\n' + ''.join(small))
    binaries = os.path.join(path, 'root', 'bin')
    os.makedirs(binaries)
    shutil.copy(BUSYBOX, os.path.join(binaries, 'busybox'))
    for applet in subprocess.check_output([BUSYBOX, '--list'], text=True).split():
        if applet != 'busybox':
            os.symlink('busybox', os.path.join(binaries, applet))
    for i in range(files):
        write(path, f'root/usr/share/{i % 97}/{i % 7}/file{i}', i.to_bytes(4, 'big') * (DEBIAN_BYTES // 4))
    for i in range(1, layers):
        write(path, f'more/{i}', f'layer {i}\n')
    return path


def runs(work, name, base, steps, command):
    """steps of next to nothing, each with a text of its own"""
    return folder(work, name, f'FROM {base}\n' + ''.join(f'RUN {command.format(i)}\n' for i in range(steps)))


def thirty_steps(work, times=10):
    """ten times what most Dockerfiles are made of"""
    text = f'FROM {BASE}\n'
    for i in range(times):
        text += f'ENV STEP=s{i}\nCOPY file{i} /srv/file{i}\nRUN echo $STEP > /srv/out{i}\n'
    path = folder(work, 'thirty', text)
    for i in range(times):
        write(path, f'file{i}', f'file {i}\n' * 100)
    return path


def random_file(path, size):
    with open(path, 'wb') as file:
        left = size
        while left:
            left -= file.write(os.urandom(min(CHUNK, left)))


def one_file(work, name, size, dockerfile):
    path = folder(work, name, dockerfile)
    random_file(os.path.join(path, 'big'), size)
    return path


def read_whole(path):
    """leaves a file or the files of a folder in the memory of the kernel"""
    files = [path] if os.path.isfile(path) else (os.path.join(top, name) for top, _, names in os.walk(path) for name in names)
    for name in files:
        with open(name, 'rb', buffering=0) as file:
            while file.read(CHUNK):
                pass


def touch_first_bytes(path):
    """makes a big file one that was never seen, at little cost"""
    with open(path, 'r+b') as file:
        file.write(os.urandom(64))


def sleepers(work, stages, seconds):
    """stages that need nothing of each other, and one that needs all"""
    text = ''.join(f'FROM {BASE} AS s{i}\nRUN sleep {seconds} && echo {i} > /out{i}\n' for i in range(stages))
    text += 'FROM scratch\n' + ''.join(f'COPY --from=s{i} /out{i} /\n' for i in range(stages))
    return folder(work, 'sleepers', text)


def many_files(work, files):
    path = folder(work, 'many', f'FROM {BASE}\nCOPY . /src\nRUN true\n')
    for i in range(files):
        write(path, f'src/{i % 200}/file{i}.txt', f'{i}\n' * 64)
    return path
