"""services - the services of bench-apps by name."""

import brokers
import stores
import webs

APPS = {'redis': stores.Redis(), 'redis-rdb': stores.RedisSaves(), 'nginx': webs.Nginx(), 'node': webs.Node(),
        'gunicorn': webs.Gunicorn(), 'fastapi': webs.Fastapi(), 'puma': webs.Puma(), 'rails': webs.Rails(), 'java': webs.Java(),
        'postgres': stores.Postgres(), 'mariadb': stores.Mariadb(), 'memcached': stores.Memcached(),
        'mosquitto': brokers.Mosquitto(), 'rabbitmq': brokers.Rabbitmq()}
