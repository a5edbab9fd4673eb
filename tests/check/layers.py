#!/usr/bin/env python3
"""Which folder may include which: lower ones never include higher ones, and neither folders nor files form circles.

Run from the root of the tree: python3 tests/check/layers.py [--self-test]
Prints a line for each finding; ends with 1 if there is one.
"""
import os
import re
import subprocess
import sys

# From the lowest up. A folder includes files of its own and of lower layers; BELOW is lower than all.
LAYERS = (("pool", "pressure", "mfile"), ("export",), ("shim",))
BELOW = {"shim/base.h", "shim/clock.h", "shim/kernel.h", "shim/number.h", "shim/next.h", "shim/next.c", "shim/thread.h"}
FILES_MAX = 25
CIRCLE_MAX = 2


def sources():
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *[t for l in LAYERS for t in l]],
                         capture_output=True, text=True, check=True).stdout
    return [path for path in out.split("\n") if path and os.path.exists(path)]


def includes(paths):
    for path in paths:
        if path.endswith((".c", ".h")):
            with open(path, encoding="utf-8") as file:
                for name in re.findall(r'^#include "([^"]+)"', file.read(), re.M):
                    yield path, name


def layer_of(path):
    top = path.split("/")[0]
    return next((i for i, tops in enumerate(LAYERS) if top in tops), -1)


def upward(pairs):
    for path, name in pairs:
        if name in BELOW:
            continue
        if path in BELOW:
            yield f"{path} includes {name}: it lies below all folders"
        elif layer_of(name) > layer_of(path) or (layer_of(name) == layer_of(path) and name.split("/")[0] != path.split("/")[0]):
            yield f"{path} includes {name}: not a lower layer"


def room_of(path):
    return os.path.splitext(path)[0]


# Sets of nodes that reach each other. Few nodes, so each one's reach is simply followed.
def circles(edges):
    graph = {}
    for a, b in edges:
        if a != b:
            graph.setdefault(a, set()).add(b)

    def reach(start):
        seen, todo = set(), [start]
        while todo:
            for to in graph.get(todo.pop(), ()):
                if to not in seen:
                    seen.add(to)
                    todo.append(to)
        return seen

    reached = {node: reach(node) for node in graph}
    return {frozenset(other for other in reached[node] if node in reached.get(other, ())) for node in graph} - {frozenset()}


# A header and its source are one here. Two such in a folder may include each other.
def tangled(pairs):
    edges = [(a, b) for a, b in pairs if a not in BELOW and b not in BELOW]
    for circle in circles((os.path.dirname(a), os.path.dirname(b)) for a, b in edges):
        yield "a circle of folders: " + ", ".join(sorted(circle))
    for circle in circles((room_of(a), room_of(b)) for a, b in edges):
        if len(circle) > CIRCLE_MAX or len({os.path.dirname(room) for room in circle}) > 1:
            yield f"a circle of {len(circle)} files: " + ", ".join(sorted(circle))


def crowded(paths):
    count = {}
    for path in paths:
        count[os.path.dirname(path)] = count.get(os.path.dirname(path), 0) + 1
    return [f"{folder}: {n} files, at most {FILES_MAX}" for folder, n in sorted(count.items()) if n > FILES_MAX]


def self_test():
    wrong = [("pool/a.c", "export/b.h"), ("pool/a.c", "mfile/b.h"), ("shim/base.h", "shim/log.h")]
    right = [("export/a.c", "pool/b.h"), ("pool/a.c", "shim/base.h"), ("shim/a.c", "export/b.h"), ("pool/x/a.c", "pool/y/b.h")]
    ring = [("pool/x/a.c", "pool/y/b.h"), ("pool/y/b.h", "pool/z/c.h"), ("pool/z/c.c", "pool/x/d.h")]
    files = [("pool/a.c", "pool/b.h"), ("pool/b.c", "pool/c.h"), ("pool/c.c", "pool/a.h")]
    pair = [("pool/a.c", "pool/b.h"), ("pool/b.c", "pool/a.h")]
    ok = len(list(upward(wrong))) == 3 and not list(upward(right))
    ok = ok and len(list(tangled(ring))) == 1 and not list(tangled(ring[:2])) and not list(tangled(right))
    ok = ok and len(list(tangled(files))) == 1 and not list(tangled(pair))
    return ok and crowded(["a/b"] * 26) and not crowded(["a/b"] * 25)


if __name__ == "__main__":
    if not self_test():
        sys.exit("layers.py: self-test failed")
    if sys.argv[1:] != ["--self-test"]:
        files = sources()
        found = list(includes(files))
        result = [*upward(found), *tangled(found), *crowded(files)]
        print("".join(f"{line}\n" for line in result), end="")
        sys.exit(1 if result else 0)
