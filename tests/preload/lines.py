"""Every line that the library can print stands in troubleshooting.md, and no other does. Sentences of README.md and
the guides have 25 words at most, and their links lead to files and headings.

    python3 tests/preload/lines.py [FOLDER]      FOLDER: the tree, for trying what it finds

A line of the sources is a format: of log_line(), of the hooks that end there, and of what load.c hands to
its sink. In the guide it is code in the first column of a table, and what varies stands <so>.
"""
import glob
import os
import re
import sys

TREE = sys.argv[1] if len(sys.argv) > 1 else '.'
GUIDE = f'{TREE}/shim/man/guides/troubleshooting.md'
LITERALS = r'((?:"(?:[^"\\]|\\.)*"\s*(?:PRI\w+\s*|TIDEPOOL_VERSION\s*)?)+)'
FORMATS = [
    r'\blog_line\(\s*(?:LOG_\w+|kind[^,;]*?),\s*' + LITERALS,
    r'->log\(\s*PRESSURE_LOG_\w+,\s*' + LITERALS,
    r'\boptions\.log\(\s*' + LITERALS,
    r'\blog_format\(line, sizeof line,\s*' + LITERALS,
]


def text(literals):
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|TIDEPOOL_VERSION', literals)
    return ''.join('<>' if t == 'TIDEPOOL_VERSION' else t[1:-1].replace('\\"', '"') for t in tokens)


def general(line):
    """What varies is <> in both."""
    return re.sub(r'(<>)+', '<>', re.sub(r'<[^<>]*>', '<>', re.sub(r'%[lz]*[a-z]', '<>', line)))


def sources():
    for folder in ('shim', 'pool', 'pressure', 'mfile', 'export'):
        for path in glob.glob(f'{TREE}/{folder}/**/*.[ch]', recursive=True):
            if '/cli/' not in path:
                with open(path) as f:
                    yield path, f.read()


def printed():
    """line -> where it is. A format that only hands a text on is found where that text is made."""
    found = {}
    for path, source in sources():
        for form in FORMATS:
            for literals in re.findall(form, source):
                found[general(text(literals))] = path
        # Called with what is only a part of a line.
        for literals in re.findall(r'\breport_stack\(' + LITERALS, source):
            found[general(text(literals) + ': %s')] = path
        for twice, otherwise in re.findall(r'MISUSE_DOUBLE_FREE \? "([^"]*)" : "([^"]*)"', source):
            found[general(twice + ' of %p%s')] = found[general(otherwise + ' of %p%s')] = path
        if path.endswith('/textfile.c'):
            pieces = re.findall(r'out_text\(&o, (.*?)\);', source, re.S)
            found[general(''.join(text(p) if re.fullmatch(LITERALS, p) else '<>' for p in pieces))] = path
        if path.endswith('/log.c'):
            found['more lines of this kind are not shown'] = path
        if path.endswith('/base.h'):
            found['broken invariant: <> at <>:<>'] = path
    for handed_on in '<>', '<>: <>', '<> of <>':
        found.pop(handed_on, None)
    return found


def told():
    with open(GUIDE) as f:
        guide = f.read()
    # The first section is for trouble without a line.
    guide = guide[guide.index('\n## Settings\n'):]
    return {general(line) for line in re.findall(r'^\| `([^`]*)` \|', guide, re.M)}


def prose(markdown):
    """Its sentences, code as one word each."""
    markdown = re.sub(r'```.*?```', '\n\n', markdown, flags=re.S)
    markdown = re.sub(r'^#.*$', '', markdown, flags=re.M)
    for part in re.split(r'\n\s*\n|\n(?=[-*] |\d+\. |\|)', markdown):
        for cell in part.split('|') if part.lstrip().startswith('|') else [part]:
            words = re.sub(r'\]\([^)]*\)', ']', re.sub(r'`[^`]*`', 'X', cell.replace('\n', ' ')))
            yield from re.split(r'(?<=[.!?])\s+', words)


def headings(path):
    with open(path) as f:
        for heading in re.findall(r'^#+ (.*)$', f.read(), re.M):
            yield re.sub(r'[^a-z0-9 _-]', '', heading.lower()).replace(' ', '-')


def complaints(path):
    with open(path) as f:
        markdown = f.read()
    for sentence in prose(markdown):
        count = len([word for word in sentence.split() if re.search(r'\w', word)])
        if count > 25:
            yield f'{count} words: {sentence.strip()[:80]}'
    for link, heading in re.findall(r'\]\(([^)#]*)#?([^)]*)\)', markdown):
        file = os.path.normpath(os.path.join(os.path.dirname(path), link)) if link else path
        if not os.path.exists(file) or (heading and heading not in headings(file)):
            yield f'no such place: {link}#{heading}'


code, document = printed(), told()
if len(code) < 30:
    sys.exit(f'lines: only {len(code)} found in the sources')
found = [f'not in {GUIDE}: {line} ({code[line]})' for line in sorted(code.keys() - document)]
found += [f'in no source: {line}' for line in sorted(document - code.keys())]
for name in [f'{TREE}/README.md', *sorted(glob.glob(f'{TREE}/shim/man/guides/*.md'))]:
    found += [f'{name}: {what}' for what in complaints(name)]
for what in found:
    print(f'  FAILED  {what}')
print(f'lines: {len(code.keys() & document)} passed, {len(found)} failed')
sys.exit(len(found) > 0)
