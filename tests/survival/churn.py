"""churn.py LIVE_MIB - python threads that hold queues of bytearrays whose sizes change.

bytearrays come from malloc and are freed when the last name goes; eight threads take turns by the
interpreter's lock, as in a threaded server. The objects around the bytes are python's own (64 bytes
each, from its own arenas) and reported so.
"""

import sys
import threading
import time
from collections import deque

MIB, KIB = 1 << 20, 1 << 10
THREADS = 8
SIZES = (64 * KIB, 6 * KIB, 700 * KIB, 24 * KIB, 300 * KIB)
OBJECT_BYTES = 64

peak = int(sys.argv[1]) * MIB // THREADS
counts = [0] * THREADS
most = [0] * THREADS
together = threading.Barrier(THREADS)


def take(size):
    block = bytearray(size)
    block[0] = block[-1] = size & 255
    return block


def give(block):
    if block[0] != len(block) & 255 or block[-1] != block[0]:
        sys.exit('a bytearray came back changed')
    return len(block)


def work(self):
    old, live = deque(), 0
    for size in SIZES if peak else ():
        together.wait()
        fresh = deque()
        for _ in range(peak // size):
            while live + size > peak and old:
                live -= give(old.popleft())
            fresh.append(take(size))
            live += size
            counts[self] += 1
            most[self] = max(most[self], len(fresh) + len(old))
        while old:
            live -= give(old.popleft())
        old = fresh


started = time.monotonic()
threads = [threading.Thread(target=work, args=(i,)) for i in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(f'load peak_bytes={peak * THREADS} own_bytes={sum(most) * OBJECT_BYTES} '
      f'operations={sum(counts)} seconds={time.monotonic() - started:.4f}')
