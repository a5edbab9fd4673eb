"""The images and manifests of export/fleet/ and README.md, for real: built and started by podman, from a base image
made here, since no registry is asked. Every process has to say that it sees its container's limit, and node_exporter
has to tell its figures.

What differs from the texts as they stand is said in the output: podman takes no DaemonSet, and starts an init
container again and again where pods have the restart policy of a Deployment.

    python3 tests/fleet/containers.py FOLDER     FOLDER/base.tar: a Debian with apt's settings (see base.sh)
"""
import contextlib
import glob
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import yaml

FOLDER = os.path.abspath(sys.argv[1])
FLEET = "export/fleet"
# A process with something to watch, which then sleeps.
# Fuller than the machine, so that it is the container's limit that is told.
COMMAND = ["perl", "-e", "$x = \"x\" x (130 << 20); sleep 600"]
IMAGES = {"BUILD_IMAGE": "localhost/base", "APP_IMAGE": "localhost/base", "TIDEPOOL_IMAGE": "localhost/tidepool-library",
          "NODE_EXPORTER_IMAGE": "localhost/node-exporter", "BUSYBOX_IMAGE": "localhost/base"}
PATIENCE_S = 60
METRICS = "/var/lib/tidepool-metrics"
counts = {"passed": 0, "failed": 0, "skipped": 0}


def check(what, ok, why=""):
    counts["passed" if ok else "failed"] += 1
    print(f"  {'ok     ' if ok else 'FAILED '} {what}" + ("" if ok else f": {why}"), flush=True)
    return ok


def run(*command, **how):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, **how)


def settings():
    """podman's own, and nobody else's: storage below FOLDER, limits that root may set everywhere, no journal."""
    with open(f"{FOLDER}/containers.conf", "w") as f:
        f.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\nlog_driver = "k8s-file"\n'
                '[engine]\ncgroup_manager = "cgroupfs"\nruntime = "runc"\nevents_logger = "none"\n')
    os.environ["CONTAINERS_CONF"] = f"{FOLDER}/containers.conf"
    os.environ["CONTAINERS_STORAGE_CONF"] = f"{FOLDER}/storage.conf"
    for driver in ("overlay", "vfs"):
        with open(f"{FOLDER}/storage.conf", "w") as f:
            f.write(f'[storage]\ndriver = "{driver}"\nrunroot = "{FOLDER}/run"\ngraphroot = "{FOLDER}/{driver}"\n')
        done = run("podman", "run", "--rm", "--network=host", "localhost/base", "true") if base_image() else None
        if done and done.returncode == 0:
            return None
    return done.stderr.strip().splitlines()[-1] if done else "the base image cannot be made"


def base_image():
    return run("podman", "image", "exists", "localhost/base").returncode == 0 or \
        run("podman", "import", "--change", "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"{FOLDER}/base.tar",
            "localhost/base").returncode == 0


def blocks(language):
    with open("README.md") as f:
        return re.findall(rf"^```{language}\n(.*?)^```$", f.read(), re.M | re.S)


def build(what, tag, context, *options):
    # Isolation of chroot: steps of a build need no cgroup of their own.
    done = run("podman", "build", "--isolation=chroot", "-t", tag, *options, context)
    return check(what, done.returncode == 0, (done.stdout + done.stderr)[-1500:])


def build_images():
    context = f"{FOLDER}/context"
    shutil.rmtree(context, ignore_errors=True)
    os.makedirs(f"{context}/tree")
    subprocess.run(f"git archive HEAD | tar -x -C '{context}/tree'", shell=True, check=True)
    dockerfile = ["-f", f"{context}/tree/{FLEET}/docker/Dockerfile", "--build-arg", f"BUILD_IMAGE={IMAGES['BUILD_IMAGE']}",
                  "--build-arg", f"APP_IMAGE={IMAGES['APP_IMAGE']}"]
    good = build("Dockerfile --target library", "tidepool-library", f"{context}/tree", *dockerfile, "--target", "library")
    good &= build("Dockerfile", "my-app-whole", f"{context}/tree", *dockerfile)
    command = f"CMD [{', '.join(yaml.safe_dump(c, default_style=chr(34)).strip() for c in COMMAND)}]\n"
    for name, text in (("app", "FROM localhost/base\n" + blocks("dockerfile")[0] + command),
                       ("exporter", "FROM localhost/base\nCOPY prometheus-node-exporter /bin/node_exporter\n"
                                    'ENTRYPOINT ["/bin/node_exporter"]\n')):
        os.mkdir(f"{context}/{name}")
        with open(f"{context}/{name}/Dockerfile", "w") as f:
            f.write(text)
    shutil.copy(shutil.which("prometheus-node-exporter"), f"{context}/exporter")
    good &= build("README.md: Dockerfile", "my-app-tidepool", f"{context}/app")
    return good & build("an image of node_exporter", "node-exporter", f"{context}/exporter")


def wait_for(value):
    until = time.monotonic() + PATIENCE_S
    while not (got := value()) and time.monotonic() < until:
        time.sleep(0.5)
    return got


def logs(container):
    done = run("podman", "logs", container)
    return done.stdout + done.stderr


def check_one():
    for image in ("my-app-whole", "my-app-tidepool"):
        done = run("podman", "run", "--rm", "--network=host", "--memory=64m", "-e", "TIDEPOOL_VERBOSE=1", image,
                   "perl", "-e", "print 1")
        check(f"docker run {image} sees its limit", done.stdout == "1" and "limit 64 MiB (cgroup)" in done.stderr
              and "up to 8192 KiB" in done.stderr, done.stdout + done.stderr)


def compose(project, file, *command):
    return run("podman-compose", "-p", project, "-f", file, *command, env={**os.environ, **IMAGES,
                                                                           "APP_IMAGE": "localhost/my-app-tidepool"})


def is_scraped():
    """Does node_exporter tell of one process, and of the container's limit?"""
    try:
        with urllib.request.urlopen("http://127.0.0.1:9100/metrics", timeout=5) as r:
            told = re.findall(r'^tidepool_memory_limit_bytes\{.*service="app".*\} (\S+)$', r.read().decode(), re.M)
            return list(map(float, told)) == [512 << 20]
    except OSError:
        return False


def check_compose():
    readme = f"{FOLDER}/compose.yaml"
    with open(readme, "w") as f:
        f.write(blocks("yaml")[0])
    for project, file, result in (("readme", readme, lambda: "limit 512 MiB (cgroup)" in logs("readme_app_1")),
                                  ("fleet", f"{FLEET}/docker/compose.yaml", is_scraped)):
        try:
            done = compose(project, file, "up", "-d")
            check(f"{os.path.relpath(file)}: docker compose up", done.returncode == 0 and wait_for(result),
                  done.stdout[-500:] + done.stderr[-1500:])
        finally:
            compose(project, file, "down", "-v", "-t", "0")


def adapted(file):
    """A manifest as podman takes it."""
    with open(f"{FLEET}/kubernetes/{file}") as f:
        text = re.sub(r"\$\{(\w+)\}", lambda m: IMAGES[m[1]] if m[1] != "APP_IMAGE" else "localhost/my-app-tidepool", f.read())
    document = yaml.safe_load(text)
    document["kind"], document["spec"]["replicas"] = "Deployment", 1
    pod = document["spec"]["template"]["spec"]
    pod["restartPolicy"] = "OnFailure"
    for container in pod["containers"]:
        container.pop("ports", None)
    with open(f"{FOLDER}/{file}", "w") as f:
        yaml.safe_dump(document, f)
    return f"{FOLDER}/{file}"


def check_kubernetes():
    print("  note    kubernetes: as a Deployment, restarted OnFailure, one replica, on the host's network and so without ports")
    files = [adapted(f) for f in ("node-exporter.yaml", "app.yaml")]
    if os.path.exists(METRICS):
        counts["skipped"] += 1
        print(f"  SKIPPED kubernetes: {METRICS} is in use on this machine")
        return
    try:
        for file in files:
            done = run("podman", "kube", "play", "--network=host", file)
            check(f"{os.path.basename(file)}: kubectl apply", done.returncode == 0, done.stderr[-1500:])
        check("app.yaml: node_exporter tells its limit", wait_for(is_scraped))
    finally:
        run("podman", "pod", "rm", "-f", "-t", "0", "-a")
        shutil.rmtree(METRICS, ignore_errors=True)


def remove_cgroups():
    """podman leaves the empty ones that its containers were below."""
    for top in glob.glob("/sys/fs/cgroup/libpod_parent") + glob.glob("/sys/fs/cgroup/*/libpod_parent"):
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # In use: another's.
                os.rmdir(folder)


if __name__ == "__main__":
    refused = settings()
    if refused:
        print(f"SKIPPED containers: podman cannot start one here: {refused}\n0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    if build_images():
        check_one()
        check_compose()
        check_kubernetes()
    run("podman", "rm", "-f", "-t", "0", "-a")
    remove_cgroups()
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    sys.exit(bool(counts["failed"] or not counts["passed"]))
