"""server - JSON of any size in, the last 100 documents kept; bytes of the size asked for out."""

import collections
import json

kept = collections.deque(maxlen=100)


def application(environ, start_response):
    if environ['REQUEST_METHOD'] == 'POST':
        records = json.loads(environ['wsgi.input'].read(int(environ['CONTENT_LENGTH'])))
        kept.append(records)
        answer = json.dumps([record['text'] for record in records]).encode()
    else:
        answer = bytes(int(environ['PATH_INFO'][1:] or 0))
    start_response('200 OK', [('Content-Length', str(len(answer)))])
    return [answer]
