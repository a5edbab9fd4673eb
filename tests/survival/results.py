"""results - the table of the survival benchmark: kept as TSV, printed, drawn as SVG."""

import os

COLUMNS = ['pattern', 'allocator', 'ratio', 'net', 'bar', 'seconds', 'unlimited_s', 'speed',
           'below', 'live_mib', 'base_mib']
HEADS = ['pattern', 'allocator', 'limit/live', 'net', 'bar', 's at limit', 's unlimited',
         'speed 1.25x', 'just below', 'live MiB', 'base MiB']
COLOURS = {'glibc': '#9aa5b1', 'jemalloc': '#e0883e', 'jemalloc-decay0': '#efc08f',
           'mimalloc': '#8fb8de', 'tcmalloc': '#b79fd0', 'tidepool': '#1f7a6d'}


def _cells(row):
    return [row.get(c) or '-' for c in COLUMNS]


def line(row):
    widths = (11, 16, 11, 7, 6, 11, 12, 12, 12, 9, 8)
    return ''.join(text.ljust(width) for text, width in zip(_cells(row), widths)).rstrip()


class Table:
    def __init__(self, path):
        self.path = path
        self.rows = {}
        if os.path.exists(path):
            with open(path) as f:
                for text in f.read().splitlines()[1:]:
                    row = dict(zip(COLUMNS, text.split('\t')))
                    self.rows[row['pattern'], row['allocator']] = row

    def put(self, row):
        """Written at once: a run that is cut short keeps what it measured."""
        self.rows[row['pattern'], row['allocator']] = dict(zip(COLUMNS, _cells(row)))
        os.makedirs(os.path.dirname(self.path) or '.', exist_ok=True)
        with open(self.path + '.new', 'w') as f:
            f.write('\t'.join(COLUMNS) + '\n')
            for kept in self.rows.values():
                f.write('\t'.join(_cells(kept)) + '\n')
        os.replace(self.path + '.new', self.path)
        with open(os.path.splitext(self.path)[0] + '.svg', 'w') as f:
            f.write(draw(list(self.rows.values())))

    def print(self):
        print(line(dict(zip(COLUMNS, HEADS))))
        for row in sorted(self.rows.values(), key=lambda r: _order(self.rows, r)):
            print(line(row))


def _rank(row):
    return [*COLOURS, row['allocator']].index(row['allocator'])


def _order(rows, row):
    """Patterns as they were first measured, allocators in the order of the legend."""
    patterns = list(dict.fromkeys(p for p, _ in rows))
    return patterns.index(row['pattern']), _rank(row)


def _ratio(row):
    """Real programs are drawn by their net ratio: their base is no allocator's business."""
    text = row['ratio'] if row['bar'] != '-' else row['net']
    return float(text) if text != '-' else None


def draw(rows, full_scale=4.0):
    """Bars from 1.0 up, one group a pattern; a tick where the bar of the pattern is."""
    left, top, width, high, gap = 96, 44, 560, 9, 12
    rows = [r for r in rows if r['allocator'] in COLOURS]
    patterns = list(dict.fromkeys(r['pattern'] for r in rows))
    scale = width / (full_scale - 1)
    out, y = [], top
    for pattern in patterns:
        first = y
        group = [r for r in rows if r['pattern'] == pattern]
        for row in sorted(group, key=_rank):
            ratio = _ratio(row)
            length = scale * (min(ratio or full_scale, full_scale) - 1)
            out.append(f'<rect x="{left}" y="{y}" width="{max(length, 1):.1f}" height="{high - 1}" '
                       f'fill="{COLOURS[row["allocator"]]}"/>'
                       f'<text x="{left + max(length, 1) + 4:.1f}" y="{y + 8}" class="n">'
                       f'{f"{ratio:.2f}" if ratio else "never"}</text>')
            y += high
        out.append(f'<text x="{left - 8}" y="{(first + y) / 2 + 4}" class="p">{pattern}</text>')
        if group[0]['bar'] != '-':
            x = left + scale * (float(group[0]['bar']) - 1)
            out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{first - 3}" y2="{y + 2}" class="b"/>')
        y += gap
    legend, x = [], left
    for name, colour in COLOURS.items():
        legend.append(f'<rect x="{x}" y="24" width="9" height="9" fill="{colour}"/>'
                      f'<text x="{x + 13}" y="32" class="n">{name}</text>')
        x += 34 + 6 * len(name)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 50}" height="{y + 4}" '
            'font-family="sans-serif"><style>.n{font-size:9px;fill:#333}.p{font-size:11px;'
            'text-anchor:end;fill:#111}.b{stroke:#c0392b;stroke-dasharray:3 2}</style>'
            '<rect width="100%" height="100%" fill="#fff"/><text x="8" y="14" font-size="12">'
            'smallest cgroup limit survived / live peak (dashed: the bar)</text>'
            + ''.join(legend + out) + '</svg>\n')
