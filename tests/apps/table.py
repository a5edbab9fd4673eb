"""table - the rows of bench-apps: kept as TSV, printed, drawn as SVG."""

import os

COLUMNS = ['app', 'allocator', 'rps', 'p99', 'steady', 'peak', 'after', 'limit', 'tight']
HEADS = ['app', 'allocator', 'requests/s', 'p99 ms', 'steady MiB', 'peak MiB', 'after MiB', 'limit MiB', 'speed 1.1x']
WIDTHS = (11, 13, 12, 9, 12, 10, 11, 11, 10)
COLOURS = {'glibc': '#9aa5b1', 'jemalloc': '#e0883e', 'jemalloc-1s': '#efc08f', 'mimalloc': '#8fb8de',
           'tcmalloc': '#b79fd0', 'tidepool': '#1f7a6d'}


def _cells(row):
    return [row.get(column) or '-' for column in COLUMNS]


def _line(cells):
    return ''.join(cell.ljust(width) for cell, width in zip(cells, WIDTHS)).rstrip()


class Table:
    def __init__(self, path):
        self.path, self.rows = path, {}
        if os.path.exists(path):
            with open(path, encoding='ascii') as f:
                for text in f.read().splitlines()[1:]:
                    row = dict(zip(COLUMNS, text.split('\t')))
                    self.rows[row['app'], row['allocator']] = row

    def put(self, row):
        """Written at once: a run that is cut short keeps what it measured."""
        self.rows[row['app'], row['allocator']] = dict(zip(COLUMNS, _cells(row)))
        os.makedirs(os.path.dirname(self.path) or '.', exist_ok=True)
        with open(self.path + '.new', 'w', encoding='ascii') as f:
            f.write('\t'.join(COLUMNS) + '\n')
            f.writelines('\t'.join(_cells(kept)) + '\n' for kept in self.rows.values())
        os.replace(self.path + '.new', self.path)
        with open(os.path.splitext(self.path)[0] + '.svg', 'w', encoding='ascii') as f:
            f.write(draw(list(self.rows.values())))

    def print(self):
        print('\n' + _line(HEADS))
        for row in self.rows.values():
            print(_line(_cells(row)))


def draw(rows):
    """A column of bars for each figure, a group for each service; the longest of a group is full."""
    left, top, width, high, gap = 80, 50, 105, 10, 12
    apps = list(dict.fromkeys(row['app'] for row in rows))
    out = [f'<text x="{left + i * (width + 45)}" y="44">{head}</text>' for i, head in enumerate(HEADS[2:])]
    y = top
    for app in apps:
        group = [row for row in rows if row['app'] == app]
        out.append(f'<text x="8" y="{y + len(group) * high / 2 + 4}">{app}</text>')
        for i, column in enumerate(COLUMNS[2:]):
            longest = max([_number(row[column]) for row in group] + [1e-9])
            for j, row in enumerate(group):
                length = width * _number(row[column]) / longest
                x, at = left + i * (width + 45), y + j * high
                out.append(f'<rect x="{x}" y="{at}" width="{length:.1f}" height="{high - 1}" '
                           f'fill="{COLOURS[row["allocator"]]}"/><text x="{x + length + 3:.1f}" y="{at + 8}" '
                           f'font-size="8">{row[column]}</text>')
        y += len(group) * high + gap
    for i, (name, colour) in enumerate(COLOURS.items()):
        out.append(f'<rect x="{left + 100 * i}" y="12" width="10" height="10" fill="{colour}"/>'
                   f'<text x="{left + 100 * i + 14}" y="21">{name}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + 7 * (width + 45)}" height="{y}" '
            'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
            + ''.join(out) + '</svg>\n')


def _number(text):
    try:
        return float(text)
    except ValueError:
        return 0.0
