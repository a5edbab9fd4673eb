"""pool.py WORKERS TASK_MIB - a multiprocessing.Pool whose workers peak in turn.

The parent holds bytes that all inherit. Each worker fills TASK_MIB in blocks of 100 KiB, checks and
drops them, but for the last one. Then it lets the next worker begin. Says what it came to.
"""

import multiprocessing
import sys

BLOCK = 100 << 10
INHERITED = [bytes([n]) * BLOCK for n in range(200)]
kept = []


def begin(lock, barrier):
    global turn, rendezvous
    turn, rendezvous = lock, barrier


def is_intact(blocks):
    return all(b[0] == b[-1] == n % 256 for n, b in enumerate(blocks))


def task(mib):
    with turn:
        blocks = [bytes([n % 256]) * BLOCK for n in range((mib << 20) // BLOCK)]
        right = is_intact(blocks) and is_intact(INHERITED)
        kept.append(blocks[-1])
        del blocks
    # Holds this worker until each of the rest has a task.
    rendezvous.wait(50)
    return right


if __name__ == '__main__':
    workers, mib = int(sys.argv[1]), int(sys.argv[2])
    context = multiprocessing.get_context('fork')
    shared = [context.Lock(), context.Barrier(workers)]
    with context.Pool(workers, begin, shared) as pool:
        pids = {worker.pid for worker in multiprocessing.active_children()}
        answers = pool.map_async(task, [mib] * workers, chunksize=1)
        while not answers.ready():
            answers.wait(0.2)
            # One that is killed never answers: the pool starts another.
            if {worker.pid for worker in multiprocessing.active_children()} != pids:
                sys.exit('a worker was killed')
        done = answers.get()
    print('pool', done)
    sys.exit(not all(done))
