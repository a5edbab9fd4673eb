# lib - checks that count themselves, the report under test, and a profile whose names we choose.
import json
import os
import subprocess
import sys
import tempfile

B = os.environ.get('B', os.path.abspath('build/release'))
TIDEPOOL = os.path.join(B, 'tidepool')
OUT = os.path.join(B, 'report')
MIB = 1 << 20
passed = failed = skipped = 0


def check(name, right, detail=''):
    global passed, failed
    if right:
        passed += 1
        if os.environ.get('V'):
            print(f'  ok      {name}')
    else:
        failed += 1
        print(f'  FAILED  {name}: {detail}')
    return right


def skip(name, why):
    global skipped
    skipped += 1
    print(f'  SKIPPED {name}: {why}')


def end(suite):
    print(f'{suite}: {passed} passed, {failed} failed, {skipped} skipped')
    sys.exit(failed > 0 or passed == 0)


def run(*args, env=None, cwd=None, stdin=None, limit=60):
    """The report's exit status, output and messages."""
    whole = {k: v for k, v in os.environ.items() if k not in ('COLUMNS', 'NO_COLOR', 'LD_PRELOAD')}
    whole.update(env or {})
    p = subprocess.run([TIDEPOOL, 'report', *args], env=whole, cwd=cwd, input=stdin, timeout=limit,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return p.returncode, p.stdout.decode('utf-8', 'surrogateescape'), p.stderr.decode('utf-8', 'replace')


def report_json(*args, env=None):
    status, out, err = run(*args, '--json', env=env)
    if status:
        raise RuntimeError(err)
    return json.loads(out)


def folder():
    return tempfile.mkdtemp(prefix='tidepool-report-')


def made(where, name, stacks, names, rate=1, facts='', pid=''):
    """Writes a profile of code that a runtime made, so that a perf map decides the names: stacks is a
    list of (names from the outermost, blocks, bytes)."""
    pid = pid or ''.join(c for c in name if c.isdigit())
    at = {n: 0x10000 + 0x100 * i for i, n in enumerate(names)}
    text = f'heap_v2/{rate}\n  t*: 0: 0 [0: 0]\n{facts}'
    for frames, blocks, size in stacks:
        text += '@ ' + ' '.join(hex(at[f] + 0x11) for f in reversed(frames)) + f'\n  t*: {blocks}: {size} [0: 0]\n'
    text += '\nMAPPED_LIBRARIES:\n10000-900000 rwxp 00000000 00:00 0 \n'
    path = os.path.join(where, name)
    with open(path, 'w') as f:
        f.write(text)
    with open(os.path.join(where, f'perf-{pid}.map'), 'wb') as f:
        for n in names:
            f.write(b'%x 100 ' % at[n] + n.encode('utf-8', 'surrogateescape') + b'\n')
    return path


def jemalloc():
    """The library whose profiles are input here today; None where it is not installed."""
    libs = subprocess.run(['ldconfig', '-p'], stdout=subprocess.PIPE, check=False).stdout.decode()
    for line in libs.splitlines():
        if 'libjemalloc.so.2' in line:
            return line.split('=> ')[1].strip()
    return None


def profiled(where, command, **env):
    """Runs it; the path of the profile it leaves, or None, and what it printed."""
    before = set(os.listdir(where))
    out = subprocess.run(command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         check=True, timeout=60).stdout.decode()
    new = sorted(f for f in set(os.listdir(where)) - before if f.endswith('.heap'))
    return os.path.join(where, new[-1]) if new else None, out


def profile_by_jemalloc(where, command, lg_sample):
    return profiled(where, command, LD_PRELOAD=jemalloc(),
                    MALLOC_CONF=f'prof:true,prof_final:true,lg_prof_sample:{lg_sample},prof_prefix:{where}/jeprof')


def profile_by_tidepool(where, command, interval):
    return profiled(where, command, LD_PRELOAD=os.path.join(B, 'libtidepool.so'), TIDEPOOL_SAMPLE=interval,
                    TIDEPOOL_SAMPLE_DUMP='exit', TIDEPOOL_SAMPLE_DIR=where)
