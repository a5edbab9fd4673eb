"""brokers - message brokers of bench-apps, asked by MQTT."""

import itertools
import struct

from service import Talk, program

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9


def _text(word):
    return struct.pack('>H', len(word)) + word


def _packet(kind, flags, *parts):
    length = sum(map(len, parts))
    digits = []
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (128 if length else 0))
        if not length:
            return b''.join([bytes([kind << 4 | flags, *digits]), *parts])


def _next_packet(replies):
    """(kind, body); IndexError at the end of the stream."""
    kind, length = replies.read(1)[0] >> 4, 0
    for shift in itertools.count(0, 7):
        digit = replies.read(1)[0]
        length |= (digit & 127) << shift
        if digit < 128:
            return kind, replies.read(length)


def _expect(replies, *kinds):
    """Reads one packet of each kind, in any order, and returns their bodies."""
    got = dict(_next_packet(replies) for _ in kinds)
    if set(got) != set(kinds):
        raise OSError(f'packets {kinds} expected, {list(got)} came')
    return got


class Mqtt(Talk):
    """Four clients send 1 KiB to 1 MiB to topics that they subscribed to. A request is done when it is
    acknowledged and has come back. The broker retains the last message of each of 256 topics."""

    threads, topics = 4, 64

    def talk(self, number, connection, replies):
        connection.sendall(_packet(CONNECT, 0, _text(b'MQTT'), b'\4\2', b'\0\0', _text(b'c%d' % number)))
        _expect(replies, CONNACK)
        connection.sendall(_packet(SUBSCRIBE, 2, b'\0\1', _text(b't/%d/+' % number), b'\0'))
        _expect(replies, SUBACK)
        for n in itertools.count():
            size = 1024 << (n * 7 + n // self.topics * 3) % 11
            topic = _text(b't/%d/%d' % (number, n % self.topics))
            connection.sendall(_packet(PUBLISH, 3, topic, struct.pack('>H', n % 65535 + 1), bytes(size)))
            if len(_expect(replies, PUBACK, PUBLISH)[PUBLISH]) != len(topic) + size:
                raise OSError('a message came back in another size')
            yield


class Mosquitto(Mqtt):
    """One thread."""

    needs = ('mosquitto',)

    def command(self):
        path = f'{self.folder}/{self.port}.conf'
        with open(path, 'w', encoding='ascii') as f:
            f.write(f'listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nlog_type none\nuser root\n')
        return [program('mosquitto'), '-c', path]
