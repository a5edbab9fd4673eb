# chromium - a headless Chromium driven through a pair of pipes (--remote-debugging-pipe): real clicks
# and keys, and every error that the page or the console reports. Nothing listens on a port.
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

FLAGS = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-extensions',
         '--remote-debugging-pipe', '--window-size=1280,900', '--hide-scrollbars', 'about:blank']


class Browser:
    """A page in a browser. Ends with it, whatever happened, as a context manager."""

    def __init__(self, limit_s=60):
        self.end = time.monotonic() + limit_s
        self.errors, self.requests = [], []
        self.next_id, self.buffer, self.session = 0, b'', None
        self.home = tempfile.mkdtemp(prefix='tidepool-chromium-')

    def __enter__(self):
        program = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
        if not program:
            raise FileNotFoundError('chromium')
        child_in, self.to = os.pipe()
        self.come, child_out = os.pipe()

        def descriptors():
            # 3 and 4 are where Chromium looks; both may be in use for the pipes themselves.
            a, b = os.dup(child_in), os.dup(child_out)
            spare = [os.dup(a), os.dup(b), os.dup(a), os.dup(b)]
            os.dup2(spare[2], 3)
            os.dup2(spare[3], 4)
            os.set_inheritable(3, True)
            os.set_inheritable(4, True)

        self.child = subprocess.Popen(
            [program, '--user-data-dir=' + self.home, *FLAGS], preexec_fn=descriptors, close_fds=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, 'HOME': self.home})
        os.close(child_in)
        os.close(child_out)
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(domain + '.enable')
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.call('Browser.close')
            self.child.wait(10)
        except Exception:
            self.child.kill()
            self.child.wait()
        os.close(self.to)
        os.close(self.come)
        shutil.rmtree(self.home, ignore_errors=True)

    def message(self):
        while b'\0' not in self.buffer:
            left = self.end - time.monotonic()
            if left <= 0 or not select.select([self.come], [], [], left)[0]:
                raise TimeoutError('chromium does not answer')
            got = os.read(self.come, 1 << 16)
            if not got:
                raise EOFError('chromium is gone')
            self.buffer += got
        one, self.buffer = self.buffer.split(b'\0', 1)
        return json.loads(one)

    def call(self, method, **params):
        self.next_id += 1
        request = {'id': self.next_id, 'method': method, 'params': params}
        if self.session:
            request['sessionId'] = self.session
        os.write(self.to, json.dumps(request).encode() + b'\0')
        while True:
            m = self.message()
            if m.get('id') == self.next_id:
                if 'error' in m:
                    raise RuntimeError(f'{method}: {m["error"]}')
                return m['result']
            self.note(m)

    def note(self, m):
        kind, p = m.get('method'), m.get('params', {})
        if kind == 'Runtime.exceptionThrown':
            d = p['exceptionDetails']
            self.errors.append(d.get('exception', {}).get('description') or d['text'])
        elif kind == 'Log.entryAdded' and p['entry']['level'] in ('error', 'warning'):
            self.errors.append(p['entry']['text'])
        elif kind == 'Runtime.consoleAPICalled':
            self.errors.append('console: ' + json.dumps(p['args']))
        elif kind == 'Network.requestWillBeSent' and not p['request']['url'].startswith('data:'):
            self.requests.append(p['request']['url'])

    def open(self, path):
        self.call('Page.navigate', url='file://' + os.path.abspath(path))
        while self.js('document.readyState') != 'complete':
            time.sleep(0.02)
        # One frame drawn, so that the observers of its size have run.
        self.js('new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))')

    def js(self, expression):
        r = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in r:
            raise RuntimeError(f'{expression}: {r["exceptionDetails"]}')
        return r['result'].get('value')

    def click(self, x, y):
        for kind in ('mouseMoved', 'mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def key(self, key, text=''):
        for kind in ('keyDown', 'keyUp'):
            self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key,
                      **({'text': text} if text and kind == 'keyDown' else {}))

    def colours(self, scheme):
        self.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])

    def screenshot(self, path):
        import base64
        with open(path, 'wb') as f:
            f.write(base64.b64decode(self.call('Page.captureScreenshot', format='png')['data']))
