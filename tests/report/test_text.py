# The table, folded stacks and JSON, by profiles made here: names come from a perf map beside them.
import json
import os
import pty
import shutil
import subprocess

import lib
from lib import check, made, report_json, run, skip

work = lib.folder()
NAMES = ['main', 'serve', 'parse', 'cache', 'malloc', 'store::Cache::fill(int)', 'x' * 300]
STACKS = [
    (['main', 'serve', 'cache', 'malloc'], 4, 400 * lib.MIB),
    (['main', 'serve', 'parse'], 1000, 300 * lib.MIB),
    (['main', 'store::Cache::fill(int)'], 30, 200 * lib.MIB),
    (['main', 'serve', 'serve', 'x' * 300], 1, 100 * lib.MIB),
]


def table():
    path = made(work, 'a.101.heap', STACKS, NAMES)
    status, out, err = run(path, env={'COLUMNS': '80'})
    rows = [line for line in out.splitlines() if '%' in line and not line.lstrip().startswith('bytes')]
    check('ends well and says nothing else', status == 0 and err == '', err)
    check('ranks', [r.split()[-1] for r in rows][:3] == ['cache', 'parse', 'store::Cache::fill'], rows)
    check('bytes, share and sum', rows[1].split()[:3] == ['300.0M', '30.0%', '70.0%'], rows[1])
    check('blocks and their mean', rows[1].split()[3:5] == ['1000', '307.2K'], rows[1])
    check('fits 80 columns', max(map(len, out.splitlines())) <= 80, out)
    check('callers', 'from serve, main' in out, out)
    check('no colours in a pipe', '\033' not in out, out)
    check('the allocator itself is left out', 'malloc' not in out, out)
    check('unless asked for', 'malloc' in run(path, '--all-frames')[1])
    check('--top', run(path, '--top', '1')[1].count('from ') == 1 and 'in 3 more' in run(path, '--top=1')[1])
    status, out, _ = run('-', '--top', '2', stdin=open(path, 'rb').read())
    check('reads standard input', status == 0 and out.startswith('standard input: 1000.0M live'), out)
    out = run(path, path)[1]
    check('adds files up', '2.0G live' in out and '800.0M' in out, out)


def terminal():
    path = made(work, 'a.101.heap', STACKS, NAMES)

    def on_tty(env):
        master, slave = pty.openpty()
        p = subprocess.Popen([lib.TIDEPOOL, 'report', path], stdout=slave, env={**os.environ, 'TERM': 'xterm', **env})
        os.close(slave)
        out = b''
        try:
            while chunk := os.read(master, 65536):
                out += chunk
        except OSError:
            pass
        os.close(master)
        p.wait()
        return out.decode()

    check('colours on a terminal', '\033[1m' in on_tty({'NO_COLOR': ''}))
    check('none on a dumb one', '\033' not in on_tty({'TERM': 'dumb'}))
    check('none where nobody wants them', '\033' not in on_tty({'NO_COLOR': '1'}))


def forms():
    path = made(work, 'a.101.heap', STACKS, NAMES)
    _, out, _ = run(path, '--folded')
    want = {'main;serve;cache': 400, 'main;serve;parse': 300, 'main;store::Cache::fill(int)': 200,
            'main;serve;serve;' + 'x' * 300: 100}
    got = {s: int(n) / lib.MIB for s, n in (line.rsplit(' ', 1) for line in out.splitlines())}
    check('folded stacks', got == want, got)
    got = report_json(path)
    check('json', got['bytes'] == 1000 * lib.MIB and got['blocks'] == 1035 and len(got['rows']) == 4, got)
    check('json: stack', got['rows'][0]['stack'] == ['cache', 'serve', 'main'], got['rows'][0])
    got = report_json(path, '--by', 'function', '--top', '2')['rows']
    check('json: function', [r['function'] for r in got] == ['cache', 'parse'], got)
    serve = [r for r in report_json(path, '--by', 'function')['rows'] if r['function'] == 'serve'][0]
    check('recursion counts once', serve['bytes'] == 0 and serve['total_bytes'] == 800 * lib.MIB, serve)
    got = report_json(path, '--by', 'module')['rows']
    check('json: module', len(got) == 1 and got[0]['module'] == '[jit]', got)
    if shutil.which('jq'):
        _, out, _ = run(path, '--json')
        check('jq takes it', subprocess.run(['jq', '-e', '.rows | length'], input=out.encode(),
                                            stdout=subprocess.PIPE).stdout == b'4\n')
    else:
        skip('jq takes it', 'it is not installed')


def comparison():
    old = made(work, 'old.102.heap', [(['main', 'serve', 'parse'], 1000, 500 * lib.MIB), (['main', 'gone'], 1, lib.MIB)],
               NAMES + ['gone'])
    new = made(work, 'a.101.heap', STACKS, NAMES)
    _, out, _ = run(new, '--diff', old)
    rows = [line.split() for line in out.splitlines() if line.startswith(('   ', '  +', '  -')) and 'from' not in line]
    check('largest change first', rows[1][:3] == ['+400.0M', '400.0M', '0B'], rows)
    check('a shrunk one', ['-200.0M', '300.0M', '500.0M', '1000', 'parse'] in rows, rows)
    check('one that is gone', ['-1.0M', '0B', '1.0M', '0', 'gone'] in rows, rows)
    check('altogether', '+499.0M since old.102.heap, which was 501.0M' in out, out)
    _, out, _ = run(new, '--diff', old, '--folded')
    check('folded stacks of both', f'main;serve;parse {500 * lib.MIB} {300 * lib.MIB}' in out.splitlines(), out)
    got = report_json(new, '--diff', old)
    check('json of both', got['before_bytes'] == 501 * lib.MIB and got['rows'][0]['before_bytes'] == 0, got)


def estimates():
    # 1 - exp(-1) of blocks as large as the interval are seen.
    path = made(work, 'e.103.heap', [(['main', 'cache'], 100, 100 * 4096)], NAMES, rate=4096)
    got = report_json(path)
    check('samples are scaled', abs(got['bytes'] - 409600 / 0.6321205588) < 1 and got['blocks'] == 158, got)
    check('and said to be', 'a sample every 4K' in run(path)[1])
    path = made(work, 'by_tidepool.heap', [(['main', 'cache'], 100, 100 * 4096)], NAMES, pid='4711',
                facts='# tidepool 0.1.0, written at exit\n# pid 4711\n# interval_bytes 524288\n# samples 90\n# dropped 10\n')
    got = report_json(path)
    check('estimates are as written', got['bytes'] == 409600 and got['sample_bytes'] == 524288, got)
    out = run(path)[1]
    check('with their interval', 'a sample every 512K' in out and '10 of 100 samples had no room' in out, out)
    check('names by the pid inside', 'cache' in out, out)
    path = made(work, 'e.104.heap', [(['main', 'cache'], 100, 100 * 4096)], NAMES, rate=1)
    check('rate 1 is as written', report_json(path)['bytes'] == 409600)


def perf_maps():
    """Where the names of code that a runtime made are looked for, and whose are taken."""
    pid = f'{os.getpid()}00000'
    path = made(work, 'by_tidepool.heap', [(['main', 'cache'], 1, 4096)], NAMES, pid=pid, facts=f'# pid {pid}\n')
    beside, tmp = os.path.join(work, f'perf-{pid}.map'), f'/tmp/perf-{pid}.map'
    with open(path, 'rb') as f:
        text = f.read()
    try:
        check('not beside standard input', 'cache' not in run('-', stdin=text, cwd=work)[1])
        shutil.move(beside, tmp)
        check('in /tmp', 'cache' in run(path)[1])
        check('in /tmp for standard input', 'cache' in run('-', stdin=text)[1])
        if os.geteuid() == 0:
            os.chown(tmp, 65534, 65534)
            check("not somebody else's", 'cache' not in run(path)[1] and 'cache' not in run('-', stdin=text)[1])
            os.chown(path, 65534, 65534)
            check('but of the owner of the profile', 'cache' in run(path)[1])
        else:
            skip("not somebody else's", 'needs root')
        os.unlink(tmp)
        os.mkfifo(tmp)
        check('a fifo is not waited at', run(path, limit=10)[0] == 0)
    finally:
        os.unlink(tmp)


def hostile():
    names = ['\033]0;owned\a\033[2J', 'a;b', 'new\x0bline', '\udcff\udcfe', '"quoted\\', '\u202egnirts', '</script>']
    path = made(work, 'h.105.heap', [([n], 1, 1000) for n in names], names)
    for args in ([], ['--folded'], ['--by', 'function']):
        _, out, _ = run(path, *args)
        check(f'no control characters {args}', not any(ord(c) < 32 and c != '\n' for c in out) and
              not any(0xdc80 <= ord(c) <= 0xdcff for c in out) and '\u202e' not in out, repr(out))
    _, out, _ = run(path, '--folded')
    check('a semicolon makes no frame', 'a:b 1000' in out.splitlines(), out)
    got = {r['function'] for r in report_json(path)['rows']}
    check('json keeps the names', '"quoted\\' in got and '</script>' in got and 'a;b' in got, got)
    check('json: broken UTF-8', '\ufffd\ufffd' in got, got)


def broken():
    with open(made(work, 'a.101.heap', STACKS, NAMES), 'rb') as f:
        whole = f.read()

    def profile(text):
        path = os.path.join(work, 'broken.heap')
        with open(path, 'wb') as f:
            f.write(text)
        return path

    for cut in range(0, len(whole), 7):
        status, _, err = run(profile(whole[:cut]))
        # Cut within its first line it is no profile yet.
        if not check(f'cut at {cut}', status == (cut < 11), (status, err)):
            break
    check('a cut profile is said to be one', 'cut short' in run(profile(whole[:whole.index(b'MAPPED')]))[2])
    status, _, err = run(profile(os.urandom(100000)))
    check('noise', status == 1 and 'not a heap profile' in err, err)
    status, out, err = run(profile(b'heap_v2/1\n' + os.urandom(100000)))
    check('noise behind a head', status == 0 and 'make no sense' in err, err)
    status, out, _ = run(profile(b'heap_v2/1\n@' + b' 0x12' * 1000000 + b'\n t*: 1: 5 [0: 0]\n'))
    check('a very long line', status == 0 and '5B' in out, out[:200])
    many = b''.join(b'@ 0x%x 0x1\n t*: 1: 10 [0: 0]\n' % i for i in range(200000))
    status, out, _ = run(profile(b'heap_v2/1\n' + many + b'MAPPED_LIBRARIES:\n'))
    check('very many stacks', status == 0 and out.startswith('broken.heap: 1.9M live in 200000 blocks'), out[:200])
    maps = b'MAPPED_LIBRARIES:\n1000-2000 r-xp 0 0:0 0 %s\n'
    for target in (b'/dev/zero', b'/proc/self/mem', work.encode(), b'/etc/passwd', b'/no/such; rm -rf /', b'/-x', b'/' * 9000):
        status, _, err = run(profile(b'heap_v2/1\n@ 0x1234\n t*: 1: 5 [0: 0]\n' + maps % target))
        check(f'mapped: {target[:20]}', status == 0 and 'cannot be read' in err, err)
    _, _, err = run(profile(b'heap_v2/1\n@ 0x1234\n t*: 1: 5 [0: 0]\n' + maps % b'/no/\033[2Jsuch'))
    check('no control characters in messages', '\033' not in err and '/no/?[2Jsuch' in err, err)
    os.mkfifo(os.path.join(work, 'fifo'))
    status, _, _ = run(profile(b'heap_v2/1\n@ 0x1234\n t*: 1: 5 [0: 0]\n' + maps % os.path.join(work, 'fifo').encode()), limit=10)
    check('mapped: a fifo', status == 0)


def options():
    path = made(work, 'a.101.heap', STACKS, NAMES)
    for args, status, words in (
            ([], 125, 'no profile; usage: tidepool report FILE'), ([path, '--tap'], 125, '--tap: no such option'),
            ([path, '--top', 'x'], 125, 'expected a number'), ([path, '--top', '-1'], 125, 'expected a number'),
            ([path, '--top'], 125, '--top: expected a value'), ([path, '--by', 'line'], 125, 'expected site, function or module'),
            (['/no/such'], 1, '/no/such: No such file'), ([work], 1, 'Is a directory'),
            ([path, '--diff', '/no/such'], 1, '/no/such'), ([path, '--html', '/no/such/x'], 1, '/no/such/x'),
            (['--', '--top'], 1, '--top: No such file')):
        got, out, err = run(*args)
        check(f'refuses {args[-2:]}', got == status and words in err and err.count('\n') == 1 and out == '', (got, err))
    check('--help', run('--help')[:2] == run(path, '-h')[:2] and '--all-frames' in run('--help')[1])
    with open('/dev/full', 'w') as full:
        p = subprocess.run([lib.TIDEPOOL, 'report', path], stdout=full, stderr=subprocess.PIPE)
    check('a full disk is no success', p.returncode == 1 and b'No space left' in p.stderr, p)


try:
    for part in (table, terminal, forms, comparison, estimates, perf_maps, hostile, broken, options):
        part()
finally:
    shutil.rmtree(work, ignore_errors=True)
lib.end('text')
