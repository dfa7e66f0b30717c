"""The engines that build: mica with a daemon of its own, and the peers that are installed."""
import http.client, os, shutil, socket, subprocess, time

START_SECONDS = 20


def run(command, environment=None, cwd=None):
    """runs a command to its end and gives the seconds it took; a failure ends everything"""
    # close_fds=False lets Python spawn with vfork: what is measured is the command, not Python
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=cwd, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f'{" ".join(command)} failed with {done.returncode}:\n{done.stdout.decode("utf-8", "replace")}')
    return took


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, kept open between requests"""

    def __init__(self, path):
        super().__init__('mica')
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Mica:
    """micad on an empty store and a socket of its own, and mica against it"""
    name = 'mica'

    def __init__(self, binaries, work):
        self.binaries, self.root = binaries, os.path.join(work, 'store')
        self.socket = os.path.join(work, 'mica.sock')
        self.log = os.path.join(work, 'micad.log')
        self.environment = {k: v for k, v in os.environ.items() if k not in ('DOCKER_HOST', 'SOURCE_DATE_EPOCH')}
        self.environment.update(MICA_HOST='unix://' + self.socket, MICA_NO_START='1')
        with open(self.log, 'ab') as log:
            self.daemon = subprocess.Popen(
                [os.path.join(binaries, 'micad'), '--host', 'unix://' + self.socket, '--data-root', self.root],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        limit = time.monotonic() + START_SECONDS
        while True:
            try:
                Connection(self.socket).connect()
                return
            except OSError:
                if time.monotonic() > limit or self.daemon.poll() is not None:
                    self.stop()
                    raise SystemExit('micad does not answer:\n' + open(self.log, errors='replace').read())
                time.sleep(0.002)

    def mica(self, *arguments):
        return run([os.path.join(self.binaries, 'mica'), *arguments], self.environment)

    def build(self, context, tag, cached=True, dockerfile=None):
        options = [] if cached else ['--no-cache']
        if dockerfile:
            options += ['-f', os.path.join(context, dockerfile)]
        return self.mica('build', '-q', *options, '-t', tag, context)

    def remove(self, tag):
        self.mica('rmi', '-f', tag)

    def connection(self):
        return Connection(self.socket)

    def peak_memory(self):
        """the most memory the daemon had so far, in MiB"""
        for line in open(f'/proc/{self.daemon.pid}/status'):
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) // 1024
        raise SystemExit('Linux tells VmHWM')

    def version(self):
        return subprocess.run([os.path.join(self.binaries, 'mica'), '--version'], stdout=subprocess.PIPE, text=True).stdout.strip()

    def stop(self):
        self.daemon.terminate()
        try:
            self.daemon.wait(10)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()


class Buildah:
    """buildah with layers and a storage of its own"""
    name = 'buildah'

    def __init__(self, work):
        self.folder = os.path.join(work, 'buildah')
        self.storage = ['--root', self.folder + '/root', '--runroot', self.folder + '/run', '--storage-driver', 'overlay']
        # chroot isolation needs no container runtime and is buildah's fastest
        self.isolation = 'chroot'

    def build(self, context, tag, cached=True, dockerfile=None):
        options = ['--layers'] + ([] if cached else ['--no-cache'])
        return run(['buildah', *self.storage, 'bud', '-q', '--isolation', self.isolation, *options,
                    '-f', os.path.join(context, dockerfile or 'Dockerfile'), '-t', tag, context])

    def version(self):
        return subprocess.run(['buildah', '--version'], stdout=subprocess.PIPE, text=True).stdout.strip() + f', isolation {self.isolation}'

    def stop(self):
        subprocess.run(['buildah', *self.storage, 'rm', '--all'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(['umount', self.folder + '/root/overlay'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Docker:
    """a running dockerd with its default builder; images named localhost/mica-bench-* are left in it and removed at the end"""
    name = 'docker'

    def __init__(self, work):
        self.tags = set()

    def build(self, context, tag, cached=True, dockerfile=None):
        self.tags.add(tag)
        return run(['docker', 'build', '-q', *([] if cached else ['--no-cache']), '-f', os.path.join(context, dockerfile or 'Dockerfile'), '-t', tag, context])

    def version(self):
        return subprocess.run(['docker', 'version', '--format', 'dockerd {{.Server.Version}}'], stdout=subprocess.PIPE, text=True).stdout.strip()

    def stop(self):
        subprocess.run(['docker', 'rmi', '-f', *self.tags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def peers(work, install):
    """the other engines of this machine; with `install`, buildah is fetched from Debian if it is not there"""
    if install and not shutil.which('buildah') and os.geteuid() == 0 and shutil.which('apt-get'):
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'})
        subprocess.run(['apt-get', 'update', '-q'], **quiet)
        subprocess.run(['apt-get', 'install', '-y', '-q', '--no-install-recommends', 'buildah'], **quiet)
    found = []
    if shutil.which('buildah'):
        found.append(Buildah(work))
    if os.path.exists('/var/run/docker.sock') and shutil.which('docker'):
        found.append(Docker(work))
    return found
