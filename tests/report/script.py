# A program whose Python functions hold known amounts: test_python.py. What each holds goes to standard output, then
# one line for each line of standard input that asks for a profile; it ends with its input.
import asyncio
import os
import subprocess
import sys
import tempfile
import threading

MIB = 1 << 20
sys.dont_write_bytecode = True
held = []


def plain():
    held.append(bytearray(9 * MIB))


class Cache:
    def fill(self):
        for _ in range(800):
            held.append(bytes(bytearray(10000)))


def generated():
    for _ in range(7):
        yield bytearray(MIB)


def by_callback():
    held.extend(map(lambda n: bytearray(n), [MIB] * 6))


async def awaited():
    await asyncio.sleep(0)
    held.append(bytearray(5 * MIB))


def in_thread():
    held.append(bytearray(4 * MIB))


def grüße():
    held.append(bytearray(3 * MIB))


def imported():
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + '/module.py', 'w') as f:
            f.write(f'text = b"{"x" * 3 * MIB}"')
        sys.path.insert(0, folder)
        import module
    held.append(module.text)


def deep(n):
    if n:
        return max([n], key=lambda _: deep(n - 1))
    held.append(bytearray(2 * MIB))
    return 0


def main():
    plain()
    Cache().fill()
    held.extend(generated())
    by_callback()
    asyncio.run(awaited())
    t = threading.Thread(target=in_thread)
    t.start()
    t.join()
    grüße()
    imported()
    deep(60)
    subprocess.run([os.environ['TIDEPOOL'], 'dump', str(os.getpid())], check=True, stdout=subprocess.DEVNULL)


if __name__ == '__main__':
    main()
    print(sys.version_info[1])
