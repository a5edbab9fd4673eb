"""The examples for fleets: well-formed by systemd's own check and by schemas, consistent in themselves
(what is mounted, named and read is one folder), with settings that tidepool takes, and in use as far as
that goes without their managers: a process is started with their environment, but for the paths of this
build, a short interval and a limit that does not depend on the machine.

    B=$PWD/build/release python3 tests/fleet/test_fleet.py
"""
import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import jsonschema
import yaml

from schemas import COMPOSE, KUBERNETES

B = os.environ["B"]
FLEET = "export/fleet"
ASKED = f"{B}/tests/preload/asked"
counts = {"passed": 0, "failed": 0, "skipped": 0}


def check(what, ok, why=""):
    counts["passed" if ok else "failed"] += 1
    if not ok:
        print(f"  FAILED  {what}: {why}", flush=True)


def skip(what, why):
    counts["skipped"] += 1
    print(f"  SKIPPED {what}: {why}", flush=True)


def read(path):
    with open(f"{FLEET}/{path}") as f:
        return f.read()


def refuses(document, schema):
    try:
        jsonschema.validate(document, schema, cls=jsonschema.Draft7Validator)
        return None
    except jsonschema.ValidationError as e:
        return f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}"


def check_settings(what, settings):
    """Each is a setting's name and a value that it takes."""
    ours = {k: v for k, v in settings.items() if k.startswith("TIDEPOOL_")}
    check(f"{what} has settings", ours)
    for name, value in ours.items():
        option = "--" + name.removeprefix("TIDEPOOL_").lower().replace("_", "-")
        done = subprocess.run([f"{B}/tidepool", f"{option}={value}", "--version"], capture_output=True, text=True,
                              check=False)
        check(f"{what}: {name}", done.returncode == 0, done.stderr)


def try_environment(what, settings, service):
    """A process under these settings, made to fit this build and a test: it lives, and says what service it is."""
    folder = tempfile.mkdtemp(prefix="tidepool-fleet-")
    env = {**settings, "LD_PRELOAD": f"{B}/libtidepool.so", "TIDEPOOL_PROM_DIR": folder, "TIDEPOOL_PROM_INTERVAL": "200ms",
           "TIDEPOOL_LIMIT": "256M", "TIDEPOOL_WATCH_MIN": "8M"}
    p = subprocess.Popen([ASKED], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, bufsize=1)
    try:
        p.stdin.write("grow\n")
        until = time.monotonic() + 20
        text = ""
        while f'service="{service}"' not in text and time.monotonic() < until and p.poll() is None:
            time.sleep(0.05)
            text = "".join(open(f"{folder}/{f}").read() for f in os.listdir(folder) if f.endswith(".prom"))
        check(f"{what}: in use", f'service="{service}"' in text, f"{p.poll()} {text[:200]}")
    finally:
        p.kill()
        said = p.communicate()[1]
        check(f"{what}: nothing to complain of", said == "", said)
        shutil.rmtree(folder)


def parse_environment_file(text):
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    check("environment file", all(re.fullmatch(r"[A-Z_]+=[^'\"\s]+", line) for line in lines), lines)
    return dict(line.split("=", 1) for line in lines)


def check_systemd():
    env = parse_environment_file(read("systemd/tidepool.env"))
    drop_in = read("systemd/tidepool.conf")
    folder = env["TIDEPOOL_PROM_DIR"]
    check("the drop-in may write there", f"ReadWritePaths={folder}\n" in drop_in)
    check("the folder is made", f"d {folder} 3775 root tidepool -\n" in read("systemd/tidepool.tmpfiles"))
    check("the group is made", "\ng tidepool -\n" in read("systemd/tidepool.sysusers")
          and "SupplementaryGroups=tidepool\n" in drop_in)
    labels = re.search(r"^Environment=TIDEPOOL_LABELS=(.*)$", drop_in, re.M).group(1).replace("%p", "redis-server")
    env["TIDEPOOL_LABELS"] = labels
    check_settings("systemd", env)
    try_environment("systemd", env, "redis-server")
    check_takes_nothing_away(drop_in)
    verify_unit(drop_in)


def check_takes_nothing_away(drop_in):
    """Settings that are lists of what is allowed add to a unit's own list, but begin one where it has none."""
    allowing = (r"^((?:Restrict|Private|Protect|SystemCall|IPAddress|Device)\w+|CapabilityBoundingSet|"
                r"InaccessiblePaths|ReadOnlyPaths|NoExecPaths)=")
    found = re.findall(allowing, drop_in, re.M)
    check("the drop-in takes nothing away from its service", not found, found)


def systemd_says(drop_in):
    """What systemd-analyze has against a service with this drop-in."""
    folder = tempfile.mkdtemp(prefix="tidepool-unit-")
    os.mkdir(f"{folder}/tidepool-test.service.d")
    with open(f"{folder}/tidepool-test.service", "w") as f:
        f.write("[Unit]\nDescription=test\n[Service]\nExecStart=/bin/true\n")
    with open(f"{folder}/tidepool-test.service.d/tidepool.conf", "w") as f:
        f.write(drop_in)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", f"{folder}/tidepool-test.service"], capture_output=True,
                          text=True, check=False, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"})
    shutil.rmtree(folder)
    return [line for line in (done.stdout + done.stderr).splitlines() if "tidepool" in line]


def verify_unit(drop_in):
    """As systemd reads it, with a service around it; and that it would have complained."""
    if not shutil.which("systemd-analyze"):
        skip("systemd-analyze verify", "systemd is not installed")
        return
    version = int(re.search(r"\d+", subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True,
                                                   check=True).stdout).group())
    for text, good in ((drop_in, True), (drop_in.replace("MemoryMax=2G", "MemoryMax=lots"), False),
                       (drop_in.replace("EnvironmentFile=/", "EnvironmentFile="), False)):
        said = systemd_says(text)
        if version < 254:
            # The one setting that is for later versions; this one says that it ignores it.
            late = [line for line in said if "'MemoryPressureWatch'" in line]
            check("MemoryPressureWatch is told and ignored", len(late) == 1, said)
            said = [line for line in said if line not in late]
        check(f"systemd-analyze verify {'accepts' if good else 'refuses'}", (not said) == good, said)


def check_readme():
    """Its blocks that no shell runs; `make test-containers` starts the first three of them."""
    with open("README.md") as f:
        readme = f.read()
    blocks = {language: re.findall(rf"^```{language}\n(.*?)^```$", readme, re.M | re.S) for language in ("dockerfile", "yaml", "ini")}
    check("README.md: blocks", {k: len(v) for k, v in blocks.items()} == {"dockerfile": 1, "yaml": 2, "ini": 1}, blocks)
    instructions = re.findall(r"^(?:COPY --from=tidepool-library|ENV) .+$", blocks["dockerfile"][0], re.M)
    check("README.md: Dockerfile", len(instructions) == 2 == blocks["dockerfile"][0].count("\n"), instructions)
    compose = yaml.safe_load(blocks["yaml"][0])
    image = compose["services"]["app"].pop("image")
    refused = refuses({"services": {"app": {**compose["services"]["app"], "image": "${APP_IMAGE}"}}}, COMPOSE)
    check("README.md: compose", image and not refused, refused)
    lines = yaml.safe_load(blocks["yaml"][1])
    app = containers(yaml.safe_load(read("kubernetes/app.yaml")))[1]
    check("README.md: Kubernetes' lines are app.yaml's", set(lines) == {"env", "resources"} and all(e in app["env"] for e in lines["env"])
          and lines["resources"]["limits"] == app["resources"]["limits"], lines)
    library = re.search(r"^Environment=LD_PRELOAD=(\S+)$", blocks["ini"][0], re.M).group(1)
    with open("export/debian/rules") as f:
        check("README.md: systemd's library is found by its name", "libtidepool.so" == library
              and "/usr/lib/$(DEB_HOST_MULTIARCH)" in f.read(), library)
    if shutil.which("systemd-analyze"):
        said = systemd_says(blocks["ini"][0])
        check("README.md: systemd-analyze verify", not said, said)


def containers(document):
    pod = document["spec"]["template"]["spec"]
    return pod.get("initContainers", []) + pod["containers"]


def check_pod(what, document):
    pod = document["spec"]["template"]["spec"]
    check(f"{what}: the selector finds its pods",
          document["spec"]["selector"]["matchLabels"].items() <= document["spec"]["template"]["metadata"]["labels"].items())
    volumes = [v["name"] for v in pod["volumes"]]
    mounted = {m["name"] for c in containers(document) for m in c["volumeMounts"]}
    check(f"{what}: volumes", sorted(volumes) == sorted(mounted), (volumes, mounted))
    names = [c["name"] for c in containers(document)]
    check(f"{what}: container names", len(names) == len(set(names)), names)
    for c in containers(document):
        requests, limits = (c["resources"].get(k, {}).get("memory") for k in ("requests", "limits"))
        check(f"{what}: {c['name']} has a memory limit", limits and (not requests or size(requests) <= size(limits)), c["resources"])


def size(quantity):
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi)?", quantity).groups()
    return int(number) << {"Ki": 10, "Mi": 20, "Gi": 30, None: 0}[unit]


def mount(container, volume):
    return next(m for m in container["volumeMounts"] if m["name"] == volume)


def check_kubernetes():
    app, exporter = (yaml.safe_load(read(f"kubernetes/{f}.yaml")) for f in ("app", "node-exporter"))
    for what, document in ("app.yaml", app), ("node-exporter.yaml", exporter):
        check(f"{what}: schema", not refuses(document, KUBERNETES), refuses(document, KUBERNETES))
        check_pod(what, document)
        check_schema_bites(what, document, KUBERNETES)
    init, main = containers(app)
    env = {e["name"]: e["value"] for e in main["env"]}
    library = env["LD_PRELOAD"].rsplit("/", 1)
    check("the library is where LD_PRELOAD looks", library[0] == mount(main, "tidepool")["mountPath"]
          and init["command"][-1].rstrip("/") == mount(init, "tidepool")["mountPath"]
          and any(c.endswith("/" + library[1]) for c in init["command"]), (env, init["command"]))
    check("numbers are written into the shared folder", env["TIDEPOOL_PROM_DIR"] == mount(main, "metrics")["mountPath"]
          and not mount(main, "metrics").get("readOnly"))
    folders = [v["hostPath"]["path"] for d in (app, exporter) for v in d["spec"]["template"]["spec"]["volumes"]
               if v["name"] == "metrics"]
    check("it is the same on both sides", len(set(folders)) == 1, folders)
    check_exporter("node-exporter.yaml", containers(exporter)[1]["args"],
                   mount(containers(exporter)[1], "metrics")["mountPath"])
    check_settings("kubernetes", env)
    try_environment("kubernetes", env, "app")


def check_exporter(what, arguments, folder):
    check(f"{what}: node_exporter reads the folder", f"--collector.textfile.directory={folder}" in arguments, arguments)
    tool = shutil.which("prometheus-node-exporter")
    if not tool:
        skip(f"{what}: node_exporter's options", "it is not installed")
        return
    done = subprocess.run([tool, *arguments, "--version"], capture_output=True, text=True, check=False)
    check(f"{what}: node_exporter's options", done.returncode == 0, done.stderr)


def check_schema_bites(what, document, schema):
    """A misspelt field anywhere has to be found, and a number that is a text."""
    def places(node, path=()):
        if isinstance(node, dict):
            yield path
        for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            yield from places(child, path + (key,))
    free = {"labels", "matchLabels", "annotations", "environment", "services", "volumes", "depends_on"}
    missed = []
    for path in places(document):
        if path and path[-1] in free:
            continue
        broken = copy.deepcopy(document)
        node = broken
        for key in path:
            node = node[key]
        node["imagePulPolicy"] = "x"
        if not refuses(broken, schema):
            missed.append(path)
    check(f"{what}: the schema finds misspelt fields", not missed, missed)


def check_docker():
    compose = yaml.safe_load(read("docker/compose.yaml"))
    check("compose.yaml: schema", not refuses(compose, COMPOSE), refuses(compose, COMPOSE))
    check_schema_bites("compose.yaml", compose, COMPOSE)
    services = compose["services"]
    used = {v.split(":")[0] for s in services.values() for v in s["volumes"]}
    check("compose.yaml: volumes", used == set(compose["volumes"]), used)
    for name, s in services.items():
        check(f"compose.yaml: {name} depends on what is there", set(s.get("depends_on", {})) <= set(services))
    env = services["app"]["environment"]
    folder = services["app"]["volumes"][0].split(":")[1]
    check("compose.yaml: numbers are written into the volume", env["TIDEPOOL_PROM_DIR"] == folder)
    check_exporter("compose.yaml", services["node-exporter"]["command"], services["node-exporter"]["volumes"][0].split(":")[1])
    check_settings("compose.yaml", env)
    try_environment("compose.yaml", env, "app")
    check_dockerfile(env["LD_PRELOAD"])


def check_dockerfile(preload):
    text = re.sub(r"\\\n", " ", read("docker/Dockerfile"))
    lines = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    known = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "CMD", "ENV"}
    check("Dockerfile: instructions", {i for i, _ in lines} <= known, {i for i, _ in lines} - known)
    arguments = {rest.split("=")[0] for i, rest in lines if i == "ARG"}
    stages = [rest.split() for i, rest in lines if i == "FROM"]
    check("Dockerfile: images are arguments", all(re.fullmatch(r"\$\{(\w+)\}", s[0]) and s[0][2:-1] in arguments for s in stages), stages)
    named = {s[2] for s in stages if len(s) == 3}
    made = {f"/out/usr/{d}/{f}" for d, f in (("lib", "libtidepool.so"), ("bin", "tidepool"))}
    for i, rest in lines:
        m = re.match(r"--from=(\w+) (.*)", rest)
        if i == "COPY" and m:
            check(f"Dockerfile: COPY {rest}", m.group(1) in named and set(m.group(2).split()[:-1]) <= made, rest)
    check("Dockerfile: the library is where LD_PRELOAD looks", ["ENV", f"LD_PRELOAD={preload}"] in lines
          and any(i == "COPY" and rest.endswith(f" {preload}") for i, rest in lines))
    # What it builds with, here.
    root = tempfile.mkdtemp(prefix="tidepool-root-")
    done = subprocess.run(["make", "install", f"DESTDIR={root}/out", "PREFIX=/usr"], capture_output=True, text=True, check=False)
    check("Dockerfile: make install", done.returncode == 0, done.stderr[-500:])
    check("Dockerfile: what is copied is installed", all(os.path.exists(root + f) for f in made), made)
    shutil.rmtree(root)


def check_hosts():
    """Images have names, not places."""
    for folder, _, files in os.walk(FLEET):
        for f in files:
            with open(f"{folder}/{f}") as text:
                found = re.findall(r"\b[a-z0-9-]+\.(?:io|com|org|dev|net)/\S+", text.read())
            found = [x for x in found if not x.startswith("prometheus.io/")]
            check(f"{f} names no host", not found, found)


if __name__ == "__main__":
    check_systemd()
    check_kubernetes()
    check_docker()
    check_hosts()
    check_readme()
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    sys.exit(bool(counts["failed"] or not counts["passed"]))
