"""catalog - which allocators and which programs the survival benchmark knows."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
B = os.path.abspath(os.environ.get('B', 'build/release'))
LIVE_MIB = int(os.environ.get('LIVE_MIB', '200'))

DECAY0 = 'background_thread:true,dirty_decay_ms:0'


def _library(*names):
    """The first of these that the loader's cache knows, or None."""
    text = subprocess.run(['/sbin/ldconfig', '-p'], capture_output=True, text=True).stdout
    known = {}
    for line in text.splitlines():
        if '=>' in line:
            known.setdefault(line.split()[0], line.split('=>')[1].strip())
    return next((known[n] for n in names if n in known), None)


def _tidepool():
    path = f'{B}/libtidepool.so'
    return path if os.path.exists(path) else None


# name -> (library, further environment). glibc is preloaded too: redis is linked with jemalloc, and
# without it that row would show jemalloc under glibc's name.
ALLOCATORS = {
    'glibc': (_library('libc.so.6'), {}),
    'jemalloc': (_library('libjemalloc.so.2'), {}),
    'jemalloc-decay0': (_library('libjemalloc.so.2'), {'MALLOC_CONF': DECAY0}),
    'mimalloc': (_library('libmimalloc.so.2', 'libmimalloc.so.2.0'), {}),
    'tcmalloc': (_library('libtcmalloc_minimal.so.4'), {}),
    'tidepool': (_tidepool(), {}),
}
# Measured where ALLOCS names them, and in no chart.
ALLOCATORS_BY_NAME = {'tidepool-public': (_tidepool(), {'TIDEPOOL_PRIVATE': 'off'})}


def environment(allocator):
    """None when the library is not here."""
    library, more = (ALLOCATORS | ALLOCATORS_BY_NAME)[allocator]
    return None if library is None else {'LD_PRELOAD': library, **more}


class Pattern:
    """`bar` is the largest ratio of limit to live peak that tidepool is asked to need."""

    def __init__(self, argv, bar=None, client=False, real=False):
        self.argv, self.bar, self.client, self.real = argv, bar, client, real

    def command(self, live_mib):
        return [str(live_mib) if word == 'LIVE' else word for word in self.argv]

    def missing(self):
        program = self.argv[0]
        if self.client:
            program = '/usr/bin/redis-server'
        found = os.path.exists(program) if '/' in program else _which(program)
        return None if found else program


def _which(name):
    return any(os.access(f'{d}/{name}', os.X_OK) for d in os.environ['PATH'].split(':'))


def _own(name, *argv, **kwargs):
    return Pattern([f'{B}/tests/survival/{name}', 'LIVE', *argv], **kwargs)


PATTERNS = {
    'shift': _own('shift', 'narrow', bar=1.05),
    'shiftwide': _own('shift', 'wide', bar=1.05),
    'idle': _own('idle', '64', bar=1.05),
    'handover': _own('handover', bar=1.05),
    'family': _own('family', '4', bar=1.05),
    'random': _own('random', 'pooled', '20', bar=1.25),
    'threads': _own('random', 'pooled', '10', '32', bar=1.25),
    'drift': _own('drift', '20', bar=1.20),
    'workers': _own('workers', 'churn', '4', bar=1.05),
    'workers8': _own('workers', 'churn', '8', bar=1.05),
    'holes': _own('workers', 'holes', '4', bar=1.05),
    'droppers': _own('workers', 'drop', '4', bar=1.05),
    'saver': _own('workers', 'save', bar=1.05),
    'mixed': _own('random', 'mixed', '8', bar=1.25),
    'node': Pattern(['node', '--expose-gc', f'{HERE}/churn.js', 'LIVE'], real=True),
    'python': Pattern([sys.executable, f'{HERE}/churn.py', 'LIVE'], real=True),
    'redis': Pattern([sys.executable, f'{HERE}/redis_values.py', 'LIVE'], client=True, real=True),
}


def chosen(variable, table, by_name=()):
    """The names in $variable, or all of the table; an unknown one ends the run."""
    names = os.environ.get(variable, '').split() or list(table)
    for name in names:
        if name not in table and name not in by_name:
            sys.exit(f'{variable}: no such name: {name} (there are: {" ".join([*table, *by_name])})')
    return names
