"""app - a JSON service as many are: records come in, are looked at, and a few are kept.

gunicorn serves it with several processes. A request's records are free again when it is answered; what
stays is the start of every 50th text, 400 of them in each process.
"""

import collections
import json

recent = collections.deque(maxlen=400)


def application(environ, start_response):
    records = json.loads(environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0)))
    records.sort(key=lambda record: len(record['text']))
    recent.extend(record['text'][:1500] for record in records[::50])
    answer = json.dumps([record['id'] for record in records]).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(answer)))])
    return [answer]
