# A profile of a Ruby program names its methods and blocks, with file and line: what a callback from C runs, a fiber, a
# thread, a deep recursion. With Ruby 3.1.
import glob
import os
import subprocess

import lib
from lib import TIDEPOOL, check, report_json, run, skip

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'script.rb')
MIB = 1 << 20
HELD = {'plain': 9, 'block in fill': 800 * 10000 / MIB, 'block in by_callback': 6, 'block in fibered': 5,
        'block in in_thread': 4, 'grüße': 3, 'deep': 2}
work = lib.folder()


def line_of(method):
    found, at = 0, False
    for number, text in enumerate(open(SCRIPT, encoding='utf-8'), 1):
        at = (at or text.strip().split('(')[0] == 'def ' + method.split(' ')[-1]) and text.strip() != ''
        if at and '" * ' in text:
            found = number
    return found


version = subprocess.run(['ruby', '-e', 'print RUBY_VERSION'], check=False, stdout=subprocess.PIPE).stdout.decode()
if not version.startswith('3.1.'):
    skip('ruby 3.1', 'not here')
    lib.end('ruby')
p = subprocess.run([TIDEPOOL, '--sample=8K', f'--sample-dir={work}', 'ruby', SCRIPT], check=False, timeout=60,
                   env={**os.environ, 'TIDEPOOL': TIDEPOOL}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
files = glob.glob(work + '/*.heap')
if check('it runs and is dumped', p.returncode == 0 and files, p.stderr.decode()):
    rows = {(r['function'], r['line']): r for r in report_json(files[0], '--top=0')['rows']}
    for method, mib in HELD.items():
        row = rows.get((method, line_of(method)))
        if check(f'{method} at line {line_of(method)}', row, list(rows)[:8]):
            check(f'{method} holds {mib:.0f} MiB', abs(row['bytes'] / MIB / mib - 1) < 0.15, row)
            check(f'{method} is in the script', row['file'] == SCRIPT, row)
    _, out, _ = run(files[0], '--folded')
    for stack in ('main;plain', 'main;fill;block in fill', 'main;by_callback;block in by_callback'):
        check(stack, any(line.rsplit(' ', 1)[0].endswith(stack) for line in out.splitlines()), out[:300])
    _, out, _ = run(files[0], '--by=module')
    check('by module it is ruby', '  ruby\n' in out, out)
lib.end('ruby')
