"""brokers - message brokers of bench-apps, asked by MQTT."""

import itertools
import os
import struct

from service import Talk, free_port, program

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


class Rabbitmq(Mqtt):
    """Erlang takes large blocks by mmap and carriers of its own from malloc. A node has a folder, and three
    ports of 127.0.0.1: MQTT's, the node's and epmd's, which stays behind and ends with the cgroup."""

    server = '/usr/lib/rabbitmq/bin/rabbitmq-server'
    needs = (server, 'epmd')

    def clone(self):
        one = super().clone()
        one.node_port, one.epmd_port = free_port(), free_port()
        return one

    def command(self):
        home = f'{self.folder}/{self.port}'
        os.makedirs(home, exist_ok=True)
        with open(f'{home}/plugins', 'w', encoding='ascii') as f:
            f.write('[rabbitmq_mqtt].\n')
        with open(f'{home}/rabbitmq.conf', 'w', encoding='ascii') as f:
            f.write(f'listeners.tcp = none\nmqtt.listeners.tcp.default = 127.0.0.1:{self.port}\nmqtt.allow_anonymous = true\n'
                    'vm_memory_high_watermark.absolute = 64GB\ndisk_free_limit.absolute = 1MB\nlog.console = false\n'
                    'log.file = false\n')
        settings = {'HOME': home, 'ERL_EPMD_ADDRESS': '127.0.0.1', 'ERL_EPMD_PORT': self.epmd_port,
                    'RABBITMQ_NODENAME': 'bench@localhost', 'RABBITMQ_DIST_PORT': self.node_port,
                    'RABBITMQ_MNESIA_BASE': home, 'RABBITMQ_LOG_BASE': home, 'RABBITMQ_CONFIG_FILE': f'{home}/rabbitmq.conf',
                    'RABBITMQ_ENABLED_PLUGINS_FILE': f'{home}/plugins',
                    'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': '-kernel inet_dist_use_interface {127,0,0,1}'}
        return ['env', *(f'{k}={v}' for k, v in settings.items()), self.server]
