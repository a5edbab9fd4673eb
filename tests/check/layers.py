#!/usr/bin/env python3
"""Which folder may include which: lower ones never include higher ones, and folders form no circle.

Run from the root of the tree: python3 tests/check/layers.py [--self-test]
Prints a line for each finding; ends with 1 if there is one.
"""
import os
import re
import subprocess
import sys

# From the lowest up. A folder includes files of its own and of lower layers; BELOW is lower than all.
LAYERS = (("pool", "pressure", "mfile"), ("export",), ("shim",))
BELOW = {"shim/base.h", "shim/clock.h", "shim/next.h", "shim/next.c", "shim/thread.h"}
# Folders that include each other. Each set counts as one folder, so that no other joins it: the heap calls the
# watchdog's hooks and is called by them; jemalloc's wraps count pages of the region, and the region asks them.
TOGETHER = ({"shim", "shim/lowmem", "shim/profile", "shim/glue", "shim/own_thread"},
            {"pool/region", "pool/jemalloc_private"})
FILES_MAX = 25


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


def folder_of(path, together=TOGETHER):
    folder = os.path.dirname(path)
    return next((" + ".join(sorted(group)) for group in together if folder in group), folder)


def circles(pairs):
    graph = {}
    for path, name in pairs:
        if path in BELOW or name in BELOW:
            continue
        a, b = folder_of(path), folder_of(name)
        if a != b:
            graph.setdefault(a, {}).setdefault(b, f"{path} includes {name}")
    for start in sorted(graph):
        reached, todo = set(), [(start, ())]
        while todo:
            at, way = todo.pop()
            for to, why in graph.get(at, {}).items():
                if to == start and start == min({start, *(folder for folder, _ in way)}):
                    yield "a circle of folders: " + "; ".join([*(said for _, said in way), why])
                if to not in reached and to != start:
                    reached.add(to)
                    todo.append((to, (*way, (to, why))))


def crowded(paths):
    count = {}
    for path in paths:
        count[os.path.dirname(path)] = count.get(os.path.dirname(path), 0) + 1
    return [f"{folder}: {n} files, at most {FILES_MAX}" for folder, n in sorted(count.items()) if n > FILES_MAX]


def self_test():
    wrong = [("pool/a.c", "export/b.h"), ("pool/a.c", "mfile/b.h"), ("shim/base.h", "shim/log.h")]
    right = [("export/a.c", "pool/b.h"), ("pool/a.c", "shim/base.h"), ("shim/a.c", "export/b.h"), ("pool/x/a.c", "pool/y/b.h")]
    ring = [("pool/x/a.c", "pool/y/b.h"), ("pool/y/b.h", "pool/z/c.h"), ("pool/z/c.c", "pool/x/d.h")]
    ok = len(list(upward(wrong))) == 3 and not list(upward(right))
    ok = ok and len(list(circles(ring))) == 1 and not list(circles(ring[:2])) and not list(circles(right))
    return ok and crowded(["a/b"] * 26) and not crowded(["a/b"] * 25)


if __name__ == "__main__":
    if not self_test():
        sys.exit("layers.py: self-test failed")
    if sys.argv[1:] != ["--self-test"]:
        files = sources()
        found = list(includes(files))
        result = [*upward(found), *circles(found), *crowded(files)]
        print("".join(f"{line}\n" for line in result), end="")
        sys.exit(1 if result else 0)
