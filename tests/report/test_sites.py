# Programs whose call sites are known: the report ranks them rightly, each within 10 % of what the
# program itself counted. Sampled finely (4 KiB), so that chance (2 % at 10 MiB) is no verdict.
import os
import shutil
import subprocess

import lib
from lib import B, check, report_json, run, skip

ORDER = ['holds_100', 'holds_40', 'holds_30', 'holds_20', 'holds_10']
work = lib.folder()


def truths(printed, column):
    return {words[0]: int(words[column]) for words in map(str.split, printed.splitlines())}


def site_of(function):
    # holds_100 comes first: holds_10 is in it.
    return next((s for s in ORDER if s in function), function)


def judge(title, profile, truth):
    rows = report_json(profile)['rows'][:5]
    found = [site_of(r['function']) for r in rows]
    check(f'{title}: ranked', found == ORDER, found)
    for site, row in zip(found, rows):
        if site in truth:
            off = row['bytes'] / truth[site] - 1
            check(f'{title}: {site} within 10 %', abs(off) < 0.1, f'{off:+.1%}')
    status, out, _ = run(profile, '--folded')
    sums = dict.fromkeys(ORDER, 0)
    for line in out.splitlines():
        stack, size = line.rsplit(' ', 1)
        site = site_of(stack.split(';')[-1])
        if site in sums:
            sums[site] += int(size)
    check(f'{title}: folded stacks end at the sites', all(abs(sums[s] / truth[s] - 1) < 0.1 for s in ORDER), sums)
    return rows


def only(tool):
    """An environment whose PATH has this and nothing else."""
    path = os.path.join(work, 'only-' + tool)
    if not os.path.isdir(path):
        os.mkdir(path)
        os.symlink(shutil.which(tool), os.path.join(path, tool))
    return {'PATH': path}


def rewrite(program, *tool):
    """Changes the program in place; its age stays that of before the profile."""
    st = os.stat(program)
    subprocess.run([*tool, program], check=True)
    os.utime(program, ns=(st.st_atime_ns, st.st_mtime_ns))


def programs():
    for kind in ('sites', 'sites_nopie', 'sites_cxx'):
        program = shutil.copy(os.path.join(B, 'tests/report', kind), work)
        profile, printed = lib.profile_by_jemalloc(work, [program], 12)
        # jemalloc counts the blocks that requests become.
        truth = truths(printed, 2)
        rows = judge(kind, profile, truth)
        source = 'sites_cxx.cc' if 'cxx' in kind else 'sites.c'
        check(f'{kind}: lines', all((r['file'] or '').endswith(source) and r['line'] > 10 for r in rows), rows)
        if 'cxx' in kind:
            names = [r['function'] for r in rows]
            check('sites_cxx: names are demangled', any('store::' in n for n in names) and
                  not any('_Z' in n or n.startswith(('std::', 'operator new')) for n in names), names)
            _, table, _ = run(profile, '--top', '5')
            check('sites_cxx: scopes and no arguments in the table', 'store::Cache::holds_20 (' in table, table)
        by_function = report_json(profile, '--by', 'function')['rows']
        top = next(r for r in by_function if r['function'] == 'main')
        check(f'{kind}: main holds all of it', top['total_bytes'] > 190 * lib.MIB and top['bytes'] < lib.MIB, top)
        elsewhere(kind, program, profile)
        names_without_lines(kind, program, profile, truth)


def by_tidepool():
    for kind in ('sites', 'sites_cxx'):
        program = os.path.join(B, 'tests/report', kind)
        profile, printed = lib.profile_by_tidepool(work, [program], '4K')
        if not check(f'{kind} by tidepool: leaves a profile', profile):
            continue
        judge(f'{kind} by tidepool', profile, truths(printed, 1))
        _, table, said = run(profile)
        check(f'{kind} by tidepool: nothing to complain about', said == '', said)
        check(f'{kind} by tidepool: no frame of the library', 'libtidepool' not in table, table)
        check(f'{kind} by tidepool: says its interval', 'by a sample every 4K' in table, table)


def elsewhere(kind, program, profile):
    root = os.path.join(work, 'root')
    os.makedirs(root + work, exist_ok=True)
    moved = root + program
    os.rename(program, moved)
    _, out, said = run(profile)
    check(f'{kind}: a missing file is said', 'cannot be read here' in said and os.path.basename(program) + '+0x' in out, said)
    _, out, said = run(profile, '--root', root)
    check(f'{kind}: --root', 'holds_100' in out and '+0x' not in out.splitlines()[3], out)
    os.rename(moved, program)


def names_without_lines(kind, program, profile, truth):
    _, _, said = run(profile, env={'PATH': '/nonexistent'})
    check(f'{kind}: says once that there is no tool', said.count('neither addr2line') == 1, said)
    rows = report_json(profile, env={'PATH': '/nonexistent'})['rows'][:5]
    check(f'{kind}: names without any tool', [site_of(r['function']) for r in rows] == ORDER, rows)
    for tool in ('llvm-symbolizer', 'addr2line'):
        if shutil.which(tool):
            rows = report_json(profile, env=only(tool))['rows'][:5]
            check(f'{kind}: lines by {tool}', all(r['line'] > 10 and 'holds_' in r['function'] for r in rows), rows)
        else:
            skip(f'{kind}: lines by {tool}', 'it is not installed')
    debug_file(kind, program, profile, truth)
    rewrite(program, 'strip')
    rows = report_json(profile)['rows'][:5]
    base = os.path.basename(program)
    check(f'{kind}: offsets of a stripped program', all(r['function'].startswith(base + '+0x') for r in rows), rows)
    offsets = sorted(r['bytes'] for r in rows)
    check(f'{kind}: and the same bytes', abs(sum(offsets) / sum(truth.values()) - 1) < 0.1, rows)


def debug_file(kind, program, profile, truth):
    notes = subprocess.run(['readelf', '-n', program], stdout=subprocess.PIPE, check=True).stdout.decode()
    build_id = notes.split('Build ID: ')[1].split()[0]
    where = f'/usr/lib/debug/.build-id/{build_id[:2]}'
    if not os.access('/usr/lib', os.W_OK):
        skip(f'{kind}: lines by a debug file', 'cannot write below /usr/lib/debug')
        return
    there = os.path.isdir(where)
    os.makedirs(where, exist_ok=True)
    debug = f'{where}/{build_id[2:]}.debug'
    saved = shutil.copy2(program, program + '.full')
    try:
        subprocess.run(['objcopy', '--only-keep-debug', program, debug], check=True)
        rewrite(program, 'strip')
        rows = report_json(profile)['rows'][:5]
        check(f'{kind}: lines by a debug file', all(r['line'] > 10 and 'holds_' in r['function'] for r in rows), rows)
        # Another build of it: its names would be of other code.
        with open(profile) as f:
            text = f.read()
        other = profile + '.other'
        with open(other, 'w') as f:
            f.write(text + f'# build-id {program} {build_id[:-1]}{"0" if build_id[-1] != "0" else "1"}\n')
        status, out, said = run(other)
        check(f'{kind}: another build id is said', f'{program}: not the file that ran' in said and status == 0, said)
        check(f'{kind}: and gets no names', 'holds_' not in out and os.path.basename(program) + '+0x' in out, out)
        with open(other, 'w') as f:
            f.write(text + f'# build-id {program} {build_id.upper()}\n')
        _, out, said = run(other)
        check(f'{kind}: the same build id is not', 'holds_100' in out and said == '', said)
    finally:
        os.replace(saved, program)
        os.unlink(debug)
        if not there:
            os.rmdir(where)


def languages():
    for name, argv, wanted in (
            ('python3', ['/usr/bin/python3', '-c', 'import ctypes\na = [bytearray(100000) for i in range(300)]\n'
                         'ctypes.CDLL(None).mallctl(b"prof.dump", 0, 0, 0, 0)'], 'python3'),
            ('node', ['node', '-e', 'global.a = []; for (let i = 0; i < 300; i++) a.push(Buffer.alloc(300000, 1));']
             , 'node')):
        program = shutil.which(argv[0])
        if not program:
            skip(name, 'it is not installed')
            continue
        profile, _ = lib.profile_by_jemalloc(work, [program, *argv[1:]], 14)
        got = report_json(profile)
        check(f'{name}: C frames have names', any(wanted in (r['module'] or '') and '+0x' not in r['function']
                                                  for r in got['rows'][:20]), got['rows'][:5])


try:
    if lib.jemalloc():
        programs()
        languages()
    else:
        skip('sites', 'libjemalloc2 is not installed')
    by_tidepool()
finally:
    shutil.rmtree(work, ignore_errors=True)
lib.end('sites')
