# Code that was made at run time is stepped over, and named where the runtime says its names: made
# by hand, by node and by a JVM. The functions of the program's own hold known bytes.
import os
import shutil
import signal
import subprocess
import time

import lib
from lib import B, MIB, TIDEPOOL, check, report_json, skip

work = lib.folder()

NODE = """
const kept = [];
function holds_30() { const b = Buffer.alloc(30000); b[0] = 1; return b; }
function holds_10() { return Buffer.allocUnsafeSlow(10000); }
function fills(n) { for (let i = 0; i < n; i++) { kept.push(holds_30()); kept.push(holds_10()); } }
function again(k) { fills(50); if (k) setTimeout(again, 1, k - 1); else { console.log('ready'); setTimeout(() => {}, 60000); } }
again(40);
"""

# What reads the file is run by the event loop, so no function of the program's own is on the stack.
NODE_ASYNC = """
const kept = [];
async function loads() { for (let i = 0; i < 60; i++) kept.push(await require('fs').promises.readFile('300000')); console.log('ready'); setTimeout(() => {}, 60000); }
loads();
"""

JAVA = """
import java.nio.ByteBuffer;
public class Holds {
    static final java.util.List<ByteBuffer> kept = new java.util.ArrayList<>();
    static ByteBuffer holds_30() { return ByteBuffer.allocateDirect(30000); }
    static ByteBuffer holds_10() { return ByteBuffer.allocateDirect(10000); }
    static void fills(int n) { for (int i = 0; i < n; i++) { kept.add(holds_30()); kept.add(holds_10()); } }
    public static void main(String[] a) throws Exception {
        for (int k = 0; k < 40; k++) fills(50);
        System.out.println("ready");
        System.in.read();
    }
}
"""


def profile_of(args, before_dump=lambda pid: None):
    """A profile of the program once it has said that it is ready."""
    env = dict(os.environ, LD_PRELOAD=os.path.join(B, 'libtidepool.so'), TIDEPOOL_SAMPLE='16K', TIDEPOOL_SAMPLE_DIR=work)
    p = subprocess.Popen(args, env=env, cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    watch = subprocess.Popen(['sh', '-c', f'sleep 60; kill {p.pid}'], start_new_session=True)
    try:
        p.stdout.readline()
        before_dump(p.pid)
        dump = subprocess.run([TIDEPOOL, 'dump', str(p.pid)], stdout=subprocess.PIPE, timeout=20)
        return dump.stdout.decode().strip()
    finally:
        os.killpg(watch.pid, signal.SIGTERM)
        watch.wait()
        p.kill()
        p.wait()
        names = f'/tmp/perf-{p.pid}.map'
        if os.path.exists(names):
            shutil.move(names, work)


def judge_outside(title, profile, low, high):
    """What the runtime holds beside malloc, in MiB."""
    got = report_json(profile)['outside_bytes'] / MIB
    check(f'{title}: mapped outside malloc', low < got < high, f'{got:.0f} MiB, expected {low} to {high}')
    status, out, err = lib.run(profile)
    check(f'{title}: one line says so', out.count('mapped outside malloc: ') == 1, out[:300])


def share(rows, name):
    return sum(r['bytes'] for r in rows if name in r['function']) / sum(r['bytes'] for r in rows)


def judge(title, profile):
    """Of all that the two functions hold 75 % is one's and 25 % the other's, and they hold nearly all."""
    rows = report_json(profile)['rows']
    top = [r['function'] for r in rows[:2]]
    check(f'{title}: its own functions are on top', len(top) == 2 and 'holds_30' in top[0] and 'holds_10' in top[1], top)
    for name, part in (('holds_30', 0.75), ('holds_10', 0.25)):
        got = share(rows, name)
        check(f'{title}: {name} has its share', part - 0.15 < got < part + 0.1, f'{got:.2f} instead of {part}')
    callers = [s for r in rows[:2] for s in r['stack']]
    check(f'{title}: what called them is there', any('fills' in s for s in callers), callers)
    whole = report_json(profile, '--all-frames')['rows']
    check(f'{title}: --all-frames shows the runtime', not any('holds_' in r['function'] for r in whole[:2]), whole[:2])


def node():
    if not shutil.which('node'):
        skip('node', 'it is not installed')
        return
    program = os.path.join(work, 'holds.js')
    with open(program, 'w') as f:
        f.write(NODE)
    # Functions that V8 inlines are their caller's.
    fixed = ['node', '--max-inlined-bytecode-size=0', '--no-turbo-inlining']
    profile = profile_of([*fixed, '--perf-basic-prof', '--interpreted-frames-native-stack', program])
    judge('node', profile)
    judge_outside('node', profile, 2, 60)
    row = report_json(profile)['rows'][0]
    check('node: file and line', (row['function'], row['file'], row['line']) == ('holds_30', program, 3), row)
    asynchronous = os.path.join(work, 'async.js')
    with open(asynchronous, 'w') as f:
        f.write(NODE_ASYNC)
    with open(os.path.join(work, '300000'), 'wb') as f:
        f.truncate(300000)
    rows = report_json(profile_of([*fixed, '--perf-basic-prof', '--interpreted-frames-native-stack', asynchronous]))['rows']
    check("node: where none is the program's own, node's JavaScript is named",
          (rows[0]['file'] or '').startswith('node:') and any('readFileHandle' in s for s in rows[0]['stack']), rows[0])
    profile = profile_of([*fixed, program])
    advice = 'of the bytes come from JavaScript without names: start node with --perf-basic-prof'
    status, out, err = lib.run(profile)
    check('node without names: one line says what to do', status == 0 and err.count(advice) == 1, err)


def jvm():
    if not shutil.which('javac') or not shutil.which('jcmd'):
        skip('JVM', 'there is no JDK')
        return
    with open(os.path.join(work, 'Holds.java'), 'w') as f:
        f.write(JAVA)
    subprocess.run(['javac', 'Holds.java'], cwd=work, check=True, timeout=120)

    def names(pid):
        subprocess.run(['jcmd', str(pid), 'Compiler.perfmap'], check=True, timeout=60, stdout=subprocess.DEVNULL)
    # Methods have names once they are compiled, and not inlined.
    fixed = ['java', '-Xcomp', '-XX:-Inline']
    heap = ['-Xms200m', '-Xmx200m', '-XX:+AlwaysPreTouch']
    profile = profile_of([*fixed, *heap, '-XX:+PreserveFramePointer', 'Holds'], names)
    judge('JVM', profile)
    judge_outside('JVM', profile, 200, 300)
    interpreted = ['-XX:CompileCommand=quiet', *(f'-XX:CompileCommand=exclude,Holds.{m}' for m in ('main', 'fills', 'holds_10'))]
    status, out, err = lib.run(profile_of([*fixed, *interpreted, '-XX:+PreserveFramePointer', 'Holds'], names))
    check('JVM with frame pointers and names: what has none is interpreted',
          status == 0 and err.count('(where that was done, the interpreter runs these methods, and they have none)\n') == 1, err)
    status, out, err = lib.run(profile_of(['java', 'Holds'], names))
    check('JVM without frame pointers: one line says what to do',
          status == 0 and err.count('of the bytes come from Java without names: start java with') == 1, err)


def made_by_hand():
    env = dict(os.environ, LD_PRELOAD=os.path.join(B, 'libtidepool.so'), TIDEPOOL_SAMPLE='4K', TIDEPOOL_SAMPLE_DIR=work,
               TIDEPOOL_SAMPLE_DUMP='exit')
    p = subprocess.Popen([os.path.join(B, 'tests/preload/made_code'), 'keeps'], env=env, stderr=subprocess.DEVNULL)
    p.wait(30)
    status, out, err = lib.run(os.path.join(work, f'tidepool-{p.pid}-1.heap'), '--folded')
    stacks = [line.rsplit(' ', 1)[0].split(';') for line in out.splitlines()]
    check('made by hand: what called it is there', any(s[-3:] == ['below_made_code', '[jit]', 'keeps_blocks'] for s in stacks),
          out + err)


def container():
    """The map lies in the /tmp of the process's own root, under the number that it has there."""
    root = os.path.join(work, 'root')
    os.makedirs(os.path.join(root, 'tmp'))
    profile = lib.made(work, 'of_container.heap', [(['JS:*fills /srv/app.js:5:19'], 1, 1000)], ['JS:*fills /srv/app.js:5:19'],
                       facts='# pid 7\n', pid='7')
    shutil.move(os.path.join(work, 'perf-7.map'), os.path.join(root, 'tmp'))
    rows = report_json(profile, '--root', root)['rows']
    check('container: named by the map in its root', (rows[0]['function'], rows[0]['line']) == ('fills', 5), rows)
    rows = report_json(profile)['rows']
    check('container: and by none elsewhere', rows[0]['function'] == '[jit]', rows)


made_by_hand()
container()
node()
jvm()
lib.end('runtimes')
