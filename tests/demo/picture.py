"""picture - memory over time as SVG: a panel for each allocator, the limit, a mark for each OOM kill."""

COLOURS = {'glibc': '#6b7785', 'jemalloc': '#e0883e', 'jemalloc, 1 s': '#c9a06a', 'tidepool': '#1f7a6d'}
LEFT, WIDTH, HEIGHT, GAP = 60, 700, 90, 34


def draw(title, services, limit_bytes):
    top = 1.15 * max([limit_bytes] + [usage for s in services for _, usage, _ in s.history])
    seconds = max(s.history[-1][0] - s.history[0][0] for s in services) or 1
    out, y = [], 40
    for service in services:
        out += _panel(service, y, seconds, top, limit_bytes)
        y += HEIGHT + GAP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{y}" '
            'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
            f'<text x="{LEFT}" y="18" font-size="14">{title}</text>' + ''.join(out) + '</svg>\n')


def _panel(service, y, seconds, top, limit_bytes):
    begin = service.history[0][0]

    def across(when):
        return LEFT + WIDTH * (when - begin) / seconds

    def up(size):
        return y + HEIGHT * (1 - size / top)

    points = ' '.join(f'{across(t):.1f},{up(u):.1f}' for t, u, _ in service.history)
    end = across(service.history[-1][0])
    out = [f'<polygon points="{LEFT},{y + HEIGHT} {points} {end:.1f},{y + HEIGHT}" '
           f'fill="{COLOURS[service.name]}" opacity=".8"/>',
           f'<text x="{LEFT}" y="{y - 4}">{service.name}: {service.served} requests served, '
           f'{service.lost} lost, {service.kills} OOM kills</text>']
    if limit_bytes:
        out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{up(limit_bytes):.1f}" y2="{up(limit_bytes):.1f}" '
                   'stroke="#c0392b" stroke-dasharray="4 3"/>'
                   f'<text x="{LEFT - 6}" y="{up(limit_bytes) + 4:.1f}" text-anchor="end">'
                   f'{limit_bytes >> 20} MiB</text>')
    kills = 0
    for when, _, now in service.history:
        if now > kills:
            out.append(f'<path d="M{across(when) - 4:.1f} {y + 2}l8 8m0 -8l-8 8" stroke="#c0392b" stroke-width="2"/>')
            kills = now
    return out
