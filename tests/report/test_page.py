# The flame graph in headless Chromium, by real clicks and keys: frames as wide as what they hold, zoom,
# search, keyboard, both colour schemes, hostile names, and nothing loaded or complained about.
import os
import re
import shutil

import lib
from chromium import Browser
from lib import check, made, run, skip

HOSTILE = ['</script><script>window.owned = 1</script>', '<img src=x onerror="window.owned=2">',
           '\'"><svg onload=window.owned=3>', '\u2028window.owned=4', '</script ', '@DATA@', '${window.owned=5}', '<!--<script>']
NAMES = ['main', 'serve', 'parse', 'cache', 'index', 'tiny', 'store::Cache::fill(std::vector<int>&)', *HOSTILE]
STACKS = [
    (['main', 'serve', 'cache'], 4, 400 * lib.MIB),
    (['main', 'serve', 'parse', 'index'], 50, 150 * lib.MIB),
    (['main', 'serve', 'parse'], 100, 50 * lib.MIB),
    (['main', 'store::Cache::fill(std::vector<int>&)'], 30, 200 * lib.MIB),
    (['main', 'index'], 1, 70 * lib.MIB - lib.MIB // 64),
    (['main', 'tiny'], 1, lib.MIB // 64),
    *[(['main', n], 1, (60 if n == HOSTILE[0] else 10) * lib.MIB) for n in HOSTILE],
]
work = lib.folder()

# What the page draws, as the person sees it: name, x, width and share of each frame.
FRAMES = '''[...document.querySelectorAll('#chart g')].map(g => {
  const r = g.querySelector('rect').getBoundingClientRect();
  return {label: g.getAttribute('aria-label'), text: g.textContent, x: r.x, y: r.y, w: r.width, h: r.height,
          hit: g.classList.contains('hit'), fill: getComputedStyle(g.querySelector('rect')).fill};
})'''


def frames(b):
    return {f['label'].rsplit(', ', 2)[0]: f for f in b.js(FRAMES)}


def click(b, frame):
    b.click(frame['x'] + frame['w'] / 2, frame['y'] + frame['h'] / 2)


def about(b):
    return b.js("document.getElementById('about').innerText")


def drawing(b):
    all_of = frames(b)
    total = sum(s[2] for s in STACKS) / lib.MIB
    whole = all_of['all']['w']
    for name, mib in {'main': total, 'serve': 600, 'cache': 400, 'parse': 200, 'store::Cache::fill': 200}.items():
        share = all_of[name]['w'] / whole
        check(f'{name} is as wide as what it holds', abs(share - mib / total) < 0.002, f'{share} of {mib / total}')
    check('the chart fills the page', whole > 1100, whole)
    check('callers stand above', all_of['main']['y'] < all_of['serve']['y'] < all_of['cache']['y'])
    serve, parse = all_of['serve'], all_of['parse']
    check('within their callers', serve['x'] - 0.5 <= parse['x'] and
          parse['x'] + parse['w'] <= serve['x'] + serve['w'] + 0.5, (serve, parse))
    check('too thin is not drawn', 'tiny' not in all_of, list(all_of))
    check('names are short', all_of['store::Cache::fill']['text'] == 'store::Cache::fill', all_of['store::Cache::fill'])
    check('and cut where they do not fit', any(f['text'].endswith('\u2026') for f in all_of.values()))
    check('the title', b.js('document.title') == 'Live memory: page.201.heap')
    check('the total', '1000.0 MiB in' in b.js("document.getElementById('total').textContent"))
    outside = b.js("document.getElementById('outside').innerText")
    check('what is mapped outside malloc', outside == "mapped outside malloc: 60.0 MiB, not shown below (a runtime's own heap, mmap, stacks)", outside)
    top = b.js("[...document.querySelectorAll('#top tr')].slice(1, 4).map(r => r.innerText.replace(/\\s+/g, ' '))")
    check('the table', top[0].startswith('400.0 MiB 40.0 % cache'), top)
    b.call('Input.dispatchMouseEvent', type='mouseMoved', x=parse['x'] + 5, y=parse['y'] + 5)
    check('hovering tells', 'parse' in about(b) and '200.0 MiB' in about(b) and '50.0 MiB by itself' in about(b), about(b))


def zooming(b):
    before = frames(b)
    click(b, before['parse'])
    after = frames(b)
    check('a click zooms', abs(after['parse']['w'] - before['all']['w']) < 1, after['parse'])
    check('what it called grows with it', abs(after['index']['w'] / after['parse']['w'] - 0.75) < 0.002, after['index'])
    check('its callers stay', abs(after['main']['w'] - before['all']['w']) < 1 and 'serve' in after, list(after))
    check('others leave', 'cache' not in after, list(after))
    b.js("document.getElementById('reset').click()")
    check('the button shows all', frames(b).keys() == before.keys())
    click(b, before['serve'])
    b.key('Escape')
    check('Escape shows all', frames(b).keys() == before.keys())


def keyboard(b):
    b.js('document.activeElement.blur()')
    b.js("document.querySelector('#chart g[tabindex=\"0\"]').focus()")
    check('one frame takes the focus', b.js("document.querySelectorAll('#chart g[tabindex=\"0\"]').length") == 1)
    for key, name in (('ArrowDown', 'main'), ('ArrowDown', 'serve'), ('ArrowRight', 'store::Cache::fill'),
                      ('ArrowLeft', 'serve'), ('ArrowDown', 'cache'), ('ArrowUp', 'serve')):
        b.key(key)
        label = b.js("document.activeElement.getAttribute('aria-label')")
        check(f'{key} walks to {name}', (label or '').startswith(name + ', '), label)
    check('the focus tells, too', about(b).startswith('serve'), about(b))
    b.key('Enter', '\r')
    got = frames(b)
    check('Enter zooms', abs(got['serve']['w'] - got['all']['w']) < 1, got['serve'])
    check('and keeps the focus', (b.js("document.activeElement.getAttribute('aria-label')") or '').startswith('serve'))
    b.key('Escape')


def searching(b):
    b.key('/')
    check('/ searches', b.js('document.activeElement.id') == 'search')
    b.call('Input.insertText', text='INDEX')
    got = frames(b)
    check('matches are marked', [n for n, f in got.items() if f['hit']] == ['index'], list(got))
    found = b.js("document.getElementById('found').textContent")
    check('and added up', found.startswith('220.0 MiB, 22.0 %'), found)
    b.js("document.getElementById('search').value = ''")
    b.call('Input.insertText', text='e')
    found = b.js("document.getElementById('found').textContent")
    check('what is below a match counts once', found.startswith('970.0 MiB, 97.0 %'), found)
    b.key('Escape')
    check('Escape ends it', b.js("document.getElementById('found').textContent") == '')


def colours(b, name):
    seen = {}
    for scheme in ('light', 'dark'):
        b.colours(scheme)
        seen[scheme] = b.js("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('#chart text')).fill]")
        b.screenshot(os.path.join(lib.OUT, f'{name}-{scheme}.png'))
    check('light and dark', seen['light'][0] == 'rgb(251, 251, 249)' and seen['dark'][0] == 'rgb(21, 24, 29)', seen)
    check('with text to match', seen['light'][1] != seen['dark'][1], seen)


def small(b):
    b.call('Emulation.setDeviceMetricsOverride', width=420, height=800, deviceScaleFactor=1, mobile=False)
    b.js('new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))')
    width = frames(b)['all']['w']
    check('follows the width of the window', 300 < width < 420 and
          b.js('document.documentElement.scrollWidth') <= 420, width)
    b.call('Emulation.clearDeviceMetricsOverride')


def page():
    os.makedirs(lib.OUT, exist_ok=True)
    profile = made(work, 'page.201.heap', STACKS, NAMES, facts=f'# outside_bytes {60 * lib.MIB}\n')
    old = made(work, 'old.202.heap', [(['main', 'serve', 'parse'], 1, 500 * lib.MIB)], NAMES)
    html, diff = os.path.join(work, 'page.html'), os.path.join(work, 'diff.html')
    status, out, err = run(profile, '--html', html)
    check('is written beside the table', status == 0 and 'cache' in out and err == '', err)
    check('or to standard output alone', run(profile, '--html', '-')[1] == open(html).read())
    run(profile, '--diff', old, '--html', diff)
    with Browser(50) as b:
        b.open(html)
        for part in (drawing, zooming, keyboard, searching, small):
            part(b)
        colours(b, 'page')
        check('hostile names are text', b.js('window.owned') is None and b.js('document.images.length') == 0 and
              b.js('document.scripts.length') == 2, b.js('window.owned'))
        check('all of them', set(HOSTILE) <= set(b.js('data.names.map(n => n[1])')), b.js('data.names'))
        b.open(diff)
        got = frames(b)
        grown, shrunk = ([int(c) for c in re.findall(r'\d+', got[n]['fill'])[:3]] for n in ('cache', 'parse'))
        check('red has grown, blue has shrunk', grown[0] > grown[2] and shrunk[2] > shrunk[0], (grown, shrunk))
        click(b, got['parse'])
        check('by how much is told', '-300.0 MiB since before' in about(b), about(b))
        b.key('Escape')
        colours(b, 'diff')
        check('nothing is complained about', b.errors == [], b.errors)
        check('nothing is loaded', b.requests == ['file://' + html, 'file://' + diff], b.requests)
        # Very many: what is too small to be seen is not in the page.
        many = [([f'f{i}', f'g{i}'], 1, lib.MIB if i < 10 else 10) for i in range(600)]
        run(made(work, 'many.204.heap', many, [n for s in many for n in s[0]]), '--html', html)
        b.open(html)
        check('names of what is left out are left out', b.js('data.names.length') == 21 and
              b.js('data.pruned') == 1180 and b.errors == [], b.js('[data.names.length, data.pruned]'))
        # The same without a single frame.
        empty = os.path.join(work, 'empty.html')
        run(made(work, 'none.203.heap', [], NAMES), '--html', empty)
        b.open(empty)
        check('with nothing outside malloc there is no line', b.js("document.getElementById('outside').innerText") == '')
        check('an empty profile opens', list(frames(b)) == ['all'] and b.errors == [], b.errors)


try:
    page()
except FileNotFoundError as e:
    if e.args != ('chromium',):
        raise
    skip('page', 'chromium is not installed')
    # Not one check of the page itself was made.
    lib.failed += 1
finally:
    shutil.rmtree(work, ignore_errors=True)
lib.end('page')
