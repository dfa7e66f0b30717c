"""What the scripts ask of the machine: the binaries, what it is, what Debian can add to it."""
import os, platform, shutil, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def binaries():
    """the folder of mica and micad"""
    if os.environ.get('MICA_BIN'):
        return os.path.abspath(os.environ['MICA_BIN'])
    if subprocess.run(['cargo', 'build', '--release', '--quiet'], cwd=ROOT).returncode:
        sys.exit('the build failed')
    return os.path.join(ROOT, os.environ.get('CARGO_TARGET_DIR', 'target'), 'release')


def hardware(work):
    model = next((line.split(':', 1)[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')), platform.machine())
    memory = int(open('/proc/meminfo').readline().split()[1]) >> 20
    system = subprocess.run(['stat', '-f', '-c', '%T', work], stdout=subprocess.PIPE, text=True).stdout.strip()
    return f'{os.cpu_count()} x {model}, {memory + 1} GiB, {system}, Linux {platform.release()}, load {os.getloadavg()[0]:.1f} at the start'


def install(programs):
    """fetches from Debian the packages of the programs that are not there, where that is possible; {program: package}"""
    missing = [package for program, package in programs.items() if not shutil.which(program)]
    if missing and os.geteuid() == 0 and shutil.which('apt-get'):
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'})
        subprocess.run(['apt-get', 'update', '-q'], **quiet)
        subprocess.run(['apt-get', 'install', '-y', '-q', '--no-install-recommends', *missing], **quiet)


def show(rows):
    """rows of a Markdown table, as they come"""
    for row in rows:
        print('| ' + ' | '.join(row) + ' |', flush=True)
