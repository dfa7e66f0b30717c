"""The engines that build: mica with a daemon of its own, and the peers, each with a store of its own."""
import http.client, os, shutil, signal, socket, subprocess, time

START_SECONDS = 30
# how long an engine may take to end before it is killed
END_SECONDS = 20


class Failed(SystemExit):
    """a command failed; says which and what it printed"""


def timed(command, environment=None, cwd=None):
    """runs a command to its end and gives the seconds it took and the most memory it had, in MiB"""
    # close_fds=False lets Python spawn with vfork: what is measured is the command, not Python
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=cwd, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with process.stdout:
        output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f'{" ".join(command)} failed with {process.returncode}:\n{output.decode("utf-8", "replace")}')
    return took, usage.ru_maxrss // 1024


def run(command, environment=None, cwd=None):
    """runs a command to its end and gives the seconds it took; a failure ends everything"""
    return timed(command, environment, cwd)[0]


def wait_for(what, ready, process):
    limit = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > limit or process.poll() is not None:
            raise Failed(f'{what} does not answer')
        time.sleep(0.002)


def memory(process, field='VmHWM'):
    """what a daemon has of memory, in KiB: VmHWM is the most so far, VmRSS is now"""
    for line in open(f'/proc/{process.pid}/status'):
        if line.startswith(field + ':'):
            return int(line.split()[1])
    raise SystemExit(f'Linux tells {field}')


def unmount(folder):
    """takes away what was mounted below a folder of ours, the innermost first"""
    below = [line.split()[1] for line in open('/proc/self/mounts') if line.split()[1].startswith(folder + '/')]
    for path in sorted(below, key=len, reverse=True):
        subprocess.run(['umount', path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, kept open between requests"""

    def __init__(self, path):
        super().__init__('localhost')
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Daemon:
    """a daemon with the Docker Engine API on a socket in a folder of its own"""

    def start(self, work, command):
        self.socket, self.log = os.path.join(work, f'{self.name}.sock'), os.path.join(work, f'{self.name}.log')
        with open(self.log, 'ab') as log:
            # a session of its own: what it starts can be ended with it
            self.process = subprocess.Popen([*command, '--host', 'unix://' + self.socket], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(self.name, self.answers, self.process)
        except Failed as failure:
            self.stop()
            raise Failed(f'{failure}:\n' + open(self.log, errors='replace').read()) from None

    def answers(self):
        try:
            connection = self.connection()
            connection.request('GET', '/_ping')
            return connection.getresponse().status == 200
        except OSError:
            return False

    def connection(self):
        return Connection(self.socket)

    def peak_memory(self):
        """the most memory the daemon had so far, in MiB"""
        return memory(self.process) // 1024

    def listed(self, tag):
        """a question whether a name is there, to be asked again and again"""
        connection = self.connection()

        def question():
            connection.request('GET', f'/images/{tag}/json')
            response = connection.getresponse()
            response.read()
            return response.status == 200
        return question

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Engine:
    """what all engines do with an image, from `command`, which is the engine's own program, and `environment`"""
    environment = None
    # whether asking for an image starts a process
    slow_to_ask = False

    def do(self, *arguments):
        return run([*self.command, *arguments], self.environment)

    def build_command(self, context, tag, cached=True, dockerfile=None, quiet=True):
        options = (['-q'] if quiet else self.loud) + ([] if cached else ['--no-cache'])
        return [*self.command, *self.verb, *options, '-f', os.path.join(context, dockerfile or 'Dockerfile'), '-t', tag, context]

    def build(self, context, tag, cached=True, dockerfile=None):
        return run(self.build_command(context, tag, cached, dockerfile), self.environment)

    def push(self, tag):
        return self.do('push', '-q', tag)

    def pull(self, tag):
        return self.do('pull', '-q', tag)


class Mica(Daemon, Engine):
    """micad on an empty store and a socket of its own, and mica against it"""
    name = 'mica'
    verb, loud = ['build'], []

    def __init__(self, binaries, work):
        self.command = [os.path.join(binaries, 'mica')]
        self.start(work, [os.path.join(binaries, 'micad'), '--data-root', os.path.join(work, 'store')])
        self.environment = {k: v for k, v in os.environ.items() if k not in ('DOCKER_HOST', 'SOURCE_DATE_EPOCH')}
        self.environment.update(MICA_HOST='unix://' + self.socket, MICA_NO_START='1')

    def remove(self, tag):
        self.do('rmi', '-f', tag)

    def forget(self, tag):
        """leaves nothing of an image and of what was built for it"""
        self.remove(tag)
        self.do('image', 'prune', '-f')
        self.do('builder', 'prune', '-af')

    def version(self):
        return subprocess.run([*self.command, '--version'], stdout=subprocess.PIPE, text=True).stdout.strip()


class Dockerd(Daemon):
    """Debian's dockerd on folders of its own; Docker and BuildKit build with it"""
    name = 'dockerd'

    def __init__(self, work):
        self.start(work, ['dockerd', '--data-root', os.path.join(work, 'dockerd'), '--exec-root', os.path.join(work, 'dockerd-run'),
                          '--pidfile', os.path.join(work, 'dockerd.pid'), '--bridge=none', '--iptables=false'])
        self.environment = {**os.environ, 'DOCKER_HOST': 'unix://' + self.socket, 'DOCKER_CONFIG': os.path.join(work, 'docker-config')}
        # Debian's: newer ones know BuildKit only with a plugin
        self.client = '/usr/bin/docker' if os.access('/usr/bin/docker', os.X_OK) else 'docker'

    def stop(self):
        super().stop()
        # it leaves a network namespace, and itself mounted on itself
        unmount(os.path.dirname(self.socket))


class Docker(Engine):
    """the classic builder of a dockerd"""
    name = 'docker'
    # without a bridge a step has the host's network or none
    verb, loud = ['build', '--network=host'], []
    buildkit = '0'

    def __init__(self, dockerd):
        self.dockerd, self.command = dockerd, [dockerd.client]
        self.environment = {**dockerd.environment, 'DOCKER_BUILDKIT': self.buildkit}

    def forget(self, tag):
        self.do('rmi', '-f', tag)
        self.do('image', 'prune', '-f')
        self.do('builder', 'prune', '-af')

    def listed(self, tag):
        return self.dockerd.listed(tag)

    def peak_memory(self):
        return self.dockerd.peak_memory()

    def version(self):
        told = subprocess.run([*self.command, 'version', '--format', 'dockerd {{.Server.Version}}'], env=self.environment, stdout=subprocess.PIPE, text=True)
        return told.stdout.strip() + ', classic builder'

    def stop(self):
        """the daemon is ended by whoever started it"""


class BuildKit(Docker):
    """the BuildKit within a dockerd"""
    name = 'buildkit'
    loud = ['--progress=plain']
    buildkit = '1'

    def version(self):
        return super().version().replace('classic builder', 'BuildKit')


class Buildah(Engine):
    """buildah with layers and a storage of its own"""
    name = 'buildah'
    slow_to_ask = True
    # chroot isolation needs no container runtime and is buildah's fastest; stages run side by side only when told
    verb, loud = ['bud', '--layers', '--isolation', 'chroot', '--jobs', '4'], []

    def __init__(self, work):
        self.folder, self.most = os.path.join(work, 'buildah'), 0
        self.command = ['buildah', '--root', self.folder + '/root', '--runroot', self.folder + '/run', '--storage-driver', 'overlay']

    def build(self, context, tag, cached=True, dockerfile=None):
        return self.counted(self.build_command(context, tag, cached, dockerfile))

    def counted(self, command):
        took, most = timed(command)
        self.most = max(self.most, most)
        return took

    def push(self, tag):
        return self.counted([*self.command, 'push', '-q', '--tls-verify=false', tag, 'docker://' + tag])

    def pull(self, tag):
        return self.counted([*self.command, 'pull', '-q', '--tls-verify=false', 'docker://' + tag])

    def forget(self, tag):
        self.do('rmi', '-f', tag)
        self.do('rmi', '--prune', '-f')

    def listed(self, tag):
        command = [*self.command, 'images', '-q', tag]
        return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def peak_memory(self):
        return self.most

    def version(self):
        return subprocess.run(['buildah', '--version'], stdout=subprocess.PIPE, text=True).stdout.strip() + ', isolation chroot'

    def stop(self):
        subprocess.run([*self.command, 'rm', '--all'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        unmount(self.folder)


# program, Debian's package
PACKAGES = {'dockerd': 'docker.io', 'buildah': 'buildah'}


def peers(work, running, buildkit=True):
    """the peers that are there, and why others are not; what has to be stopped is added to `running`"""
    found, left_out = [], {}
    builders = [Docker, BuildKit] if buildkit else [Docker]
    try:
        if not shutil.which('dockerd'):
            raise Failed('dockerd is not installed')
        dockerd = Dockerd(work)
        running.append(dockerd)
        found += [builder(dockerd) for builder in builders]
    except Failed as failure:
        left_out.update({builder.name: str(failure).strip().splitlines()[-1] for builder in builders})
    if shutil.which('buildah'):
        found.append(Buildah(work))
        running.append(found[-1])
    else:
        left_out['buildah'] = 'buildah is not installed'
    return found, left_out
