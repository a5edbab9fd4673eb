"""webs - HTTP servers of bench-apps."""

import glob
import os
import pwd
import subprocess

from service import HERE, Wrk, free_port, output, program


class Nginx(Wrk):
    """A proxy of bodies of 256 KiB; what stands behind it is outside."""

    needs = ('nginx', 'wrk')
    connections, script = 64, 'plain.lua'

    def prepare(self):
        super().prepare()
        os.chmod(self.folder, 0o755)
        with open(f'{self.folder}/body', 'wb') as f:
            f.write(os.urandom(256 << 10))
        self.behind = free_port()
        where = self._configure('behind', self.behind, f'root {self.folder}; try_files /body =404;')
        with open(f'{self.folder}/log', 'ab') as log:
            self.other = subprocess.Popen([program('nginx'), '-p', self.folder, '-c', where], stderr=log)

    def clean_up(self):
        self.stop(self.other)
        super().clean_up()

    def _configure(self, name, port, location):
        path = f'{self.folder}/{name}.{port}.conf'
        with open(path, 'w', encoding='ascii') as f:
            f.write(f'''daemon off; worker_processes 2; pid {path}.pid; error_log stderr crit;
                user {pwd.getpwuid(os.getuid()).pw_name};
                events {{ worker_connections 512; }}
                http {{ access_log off; client_body_temp_path {self.folder}/t1; proxy_temp_path {self.folder}/t2;
                    fastcgi_temp_path {self.folder}/t3; uwsgi_temp_path {self.folder}/t4; scgi_temp_path {self.folder}/t5;
                    server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }} }}''')
        return path

    def command(self):
        where = self._configure('proxy', self.port, f'''proxy_pass http://127.0.0.1:{self.behind};
            proxy_http_version 1.1; proxy_buffer_size 16k; proxy_buffers 16 32k; proxy_max_temp_file_size 0;''')
        return [program('nginx'), '-p', self.folder, '-c', where]


class Node(Wrk):
    """http: JSON comes in, is parsed and kept for a while; Buffers go out."""

    needs = ('node', 'wrk')

    def command(self):
        return [program('node'), f'{HERE}/server.js', str(self.port)]


class Gunicorn(Wrk):
    """Four forked processes, JSON."""

    needs = ('gunicorn', 'wrk')
    connections = 4

    def command(self):
        return ['env', f'PYTHONPATH={HERE}', 'PYTHONDONTWRITEBYTECODE=1', program('gunicorn'), '--workers', '4', '--bind',
                f'127.0.0.1:{self.port}', '--log-level', 'critical', 'server:application']


class Fastapi(Wrk):
    """FastAPI on uvicorn: one process, its loop and its thread pool."""

    needs = ('uvicorn', 'wrk')
    connections = 8

    def missing(self):
        return super().missing() or (None if glob.glob('/usr/lib/python3/dist-packages/fastapi') else 'fastapi')

    def command(self):
        return ['env', f'PYTHONPATH={HERE}', 'PYTHONDONTWRITEBYTECODE=1', program('uvicorn'), '--host', '127.0.0.1', '--port',
                str(self.port), '--log-level', 'critical', 'server_async:application']


class Puma(Wrk):
    """Eight threads of one process, JSON."""

    needs = ('puma', 'wrk')
    connections, application = 8, 'server.ru'

    def command(self):
        return [program('puma'), '--bind', f'tcp://127.0.0.1:{self.port}', '--threads', '8:8', '--workers', '0', '--environment',
                'production', '--quiet', f'{HERE}/{self.application}']


class Rails(Puma):
    """The same answers by a Rails application."""

    application = 'server_rails.ru'

    def missing(self):
        return super().missing() or (None if glob.glob('/usr/share/rubygems-integration/*/*/railties-*') else 'railties')


class Java(Wrk):
    """A JVM with a heap of 48 MiB, whose bodies lie in direct buffers outside it."""

    needs = ('java', 'javac', 'wrk')

    def prepare(self):
        super().prepare()
        output(program('javac'), '-nowarn', '-d', self.folder, f'{HERE}/Server.java')

    def command(self):
        return [program('java'), '-Xmx48m', '-XX:+UseSerialGC', '-Dsun.net.httpserver.nodelay=true', '-cp', self.folder, 'Server',
                str(self.port)]
