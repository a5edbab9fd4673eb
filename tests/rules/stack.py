"""A real node_exporter over a folder, and a real Prometheus that scrapes it, on free ports of this host."""
import json
import os
import socket
import subprocess
import time
import urllib.parse
import urllib.request


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Stack:
    def __init__(self, folder, text_folder, rules):
        self.log = open(f"{folder}/servers.log", "w+")
        exporter, port = free_port(), free_port()
        config = f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]
"""
        with open(f"{folder}/prometheus.yml", "w") as f:
            f.write(config)
        self.base = f"http://127.0.0.1:{port}/api/v1/"
        self.exporter = f"http://127.0.0.1:{exporter}/metrics"
        self.servers = [
            self.start("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{exporter}",
                       "--collector.disable-defaults", "--collector.textfile",
                       f"--collector.textfile.directory={text_folder}"),
            self.start("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                       f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn")]

    def start(self, *command):
        return subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def get(self, path, **parameters):
        try:
            with urllib.request.urlopen(self.base + path + "?" + urllib.parse.urlencode(parameters), timeout=10) as r:
                return json.load(r)["data"]
        except urllib.error.HTTPError as e:
            if e.code == 503:  # It is not up yet.
                raise
            raise AssertionError(f"{path} {parameters}: {e.read().decode()}") from None

    def query(self, expression):
        """[(labels, value)]"""
        result = self.get("query", query=expression)["result"]
        return [(r["metric"], float(r["value"][1])) for r in result]

    def wait(self, seconds=30):
        until = time.monotonic() + seconds
        while True:
            try:
                if self.query("up == 1"):
                    return
            except OSError:
                pass
            assert time.monotonic() < until, "Prometheus has scraped nothing"
            for s in self.servers:
                assert s.poll() is None, f"a server ended: {self.said()}"
            time.sleep(0.2)

    def said(self):
        self.log.flush()
        with open(self.log.name) as f:
            return f.read()[-3000:]

    def stop(self):
        for s in self.servers:
            s.terminate()
        for s in self.servers:
            try:
                s.wait(10)
            except subprocess.TimeoutExpired:
                s.kill()
                s.wait()
        self.log.close()
