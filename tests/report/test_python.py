# A profile of a Python program names its functions, with file and line, whatever runs them: a generator, a callback
# from C, a coroutine, a thread, a deep recursion. With each Python that is here and has frames we know.
import glob
import os
import re
import subprocess

import lib
from lib import B, TIDEPOOL, check, report_json, run, skip

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'script.py')
MIB = 1 << 20
HELD = {'plain': 9, 'Cache.fill': 800 * 10000 / MIB, 'generated': 7, 'by_callback.<locals>.<lambda>': 6, 'awaited': 5,
        'in_thread': 4, 'grüße': 3, 'imported': 3, 'deep': 2}
work = lib.folder()


def line_of(function):
    """Where the script allocates in it: its last line that does."""
    found, at = 0, False
    for number, text in enumerate(open(SCRIPT, encoding='utf-8'), 1):
        if re.match(rf' *(async )?def {function.split(".")[-1]}\(', text):
            at = True
        elif at and re.match('( *def|[^ \n])', text):
            break
        if at and ('bytearray' in text or 'import module' in text):
            found = number
    return found


def profile(python, where, **env):
    os.mkdir(where)
    p = subprocess.run([TIDEPOOL, '--sample=8K', f'--sample-dir={where}', python, SCRIPT], check=False, timeout=60,
                       env={**os.environ, 'TIDEPOOL': TIDEPOOL, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    files = glob.glob(where + '/*.heap')
    return (files[0] if files else None), p.returncode, p.stdout.decode(), p.stderr.decode()


def named(title, python, where):
    path, status, out, err = profile(python, where)
    if not check(f'{title}: runs and is dumped', status == 0 and path, err):
        return
    check(f'{title}: nothing is said of its functions', 'functions' not in err, err)
    rows = {(r['function'], r['line']): r for r in report_json(path, '--top=0')['rows']}
    for function, mib in HELD.items():
        line = line_of('by_callback' if 'by_callback' in function else function)
        row = rows.get((function, line))
        if check(f'{title}: {function} at line {line}', row, [k for k in rows if k[0] == function] or list(rows)[:8]):
            off = row['bytes'] / MIB / mib - 1
            check(f'{title}: {function} holds {mib:.0f} MiB', abs(off) < 0.15, f'{off:+.1%}')
            check(f'{title}: {function} is in the script', row['file'] == SCRIPT, row)
    _, out, _ = run(path, '--folded')
    for inner, *outer in (['Cache.fill', 'main', '<module>'], ['generated', 'main', '<module>'],
                          ['by_callback.<locals>.<lambda>', 'by_callback', 'main', '<module>']):
        stack = ';'.join([*reversed(outer), inner])
        check(f'{title}: {stack}', any(line.rsplit(' ', 1)[0].endswith(stack) for line in out.splitlines()),
              [line for line in out.splitlines() if inner in line][:2])
    _, out, _ = run(path, '--all-frames')
    check(f'{title}: --all-frames shows the C functions above', 'PyByteArray_Resize' in out, out)
    folded = open(path.replace('.heap', '.folded'), encoding='utf-8').read()
    check(f'{title}: the folded file names them', f'python:plain:{SCRIPT}:{line_of("plain")}' in folded)


def pythons():
    """One of each version: Debian's, then what pyenv has."""
    found = {}
    for path in [*glob.glob('/usr/bin/python3.[0-9]*'), *glob.glob('/root/.pyenv/versions/3.*/bin/python3.[0-9]*')]:
        version = re.search(r'/python3\.(\d+)$', path)
        if version:
            found.setdefault((int(version[1]), '.pyenv' in path), path)
    return found


if not os.path.exists(os.path.join(B, 'libtidepool.so')):
    raise SystemExit('build first')
here = pythons()
for minor in (11, 12, 13):
    if not any(m == minor for m, _ in here):
        skip(f'python 3.{minor}', 'not here')
for (minor, pyenv), python in sorted(here.items()):
    title = f'python 3.{minor}' + (' of pyenv' if pyenv else '')
    where = os.path.join(work, f'{minor}{pyenv:d}')
    if 11 <= minor <= 13:
        named(title, python, where)
    else:
        _, _, _, err = profile(python, where)
        check(f'{title}: says that it names nothing', 'do not name the functions' in err, err)
lib.end('python')
