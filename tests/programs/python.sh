# programs: python3

# Debian's own, with its own regression tests: what passes without the library passes with it, test by test.
prog_python3() {
    need /usr/bin/python3
    /usr/bin/python3 -c 'import test.test_threading, test.test_ctypes' 2>/dev/null || { echo libpython3-testsuite >&3; exit 77; }
    # Every object by malloc, not from Python's own arenas.
    PYTHONMALLOC=malloc under /usr/bin/python3 - <<'S'
import json, zlib, hashlib, threading, random, re
r = random.Random(3)
out = {}
def work(k):
    q = random.Random(k); h = hashlib.sha256()
    for i in range(300):
        b = q.randbytes(q.randrange(1 << q.randrange(1, 18)))
        assert zlib.decompress(zlib.compress(b)) == b
        h.update(b)
    out[k] = h.hexdigest()
ts = [threading.Thread(target=work, args=(k,)) for k in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]
tree = {str(i): [r.random() for _ in range(r.randrange(50))] for i in range(5000)}
assert json.loads(json.dumps(tree)) == tree
print(json.dumps(out, sort_keys=True), len(re.findall('1+', json.dumps(tree))))
S
    under /usr/bin/python3 -c "print(open('/proc/self/maps').read().count('$(basename "${PRELOAD:-/python3}")') > 0)"
    # Tests that fail without the library as well are no news; the comparison finds those that change. Some have bars of
    # a tenth of a second: what failed is tried twice more, by itself.
    suites='test_multiprocessing_fork test_subprocess test_threading test_mmap test_ctypes'
    under /usr/bin/python3 -m test -j4 --timeout 250 --junit-xml "$PWD/results.xml" $suites >log 2>&1 || true
    /usr/bin/python3 - $suites <<'S' || tail -n 50 log >&2
import os, subprocess, sys, xml.etree.ElementTree as tree

def outcomes(path):
    found = {}
    for case in tree.parse(path).iter('testcase'):
        bad = [c.tag for c in case if c.tag in ('failure', 'error', 'skipped')]
        found[case.get('name')] = bad[0] if bad else found.get(case.get('name'), 'passed')
    return found

rows = outcomes('results.xml')
for _ in range(2):
    again = [name for name, outcome in rows.items() if outcome in ('failure', 'error')]
    if again:
        with open('log', 'a') as log:
            subprocess.run([sys.executable, '-m', 'test', '--timeout', '250', '--junit-xml', os.path.abspath('again.xml'),
                            *(word for name in again for word in ('-m', name)), *sys.argv[1:]], stdout=log, stderr=log,
                           env=dict(os.environ, LD_PRELOAD=os.environ['PRELOAD']))
        rows.update({name: 'passed' for name, outcome in outcomes('again.xml').items() if outcome == 'passed'})
for row in sorted(rows.items()):
    print(*row)
assert len(rows) > 500, len(rows)
S
}
