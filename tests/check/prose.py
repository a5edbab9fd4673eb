#!/usr/bin/env python3
"""What comments and documents say is checked as far as a machine can.

  words       comments and texts of all sources and tests, README files, guides and man pages keep to
              the terms of the field: no word of WORDS
  sentences   in headers, README files and guides a sentence has at most 30 words
  names       each `name()` in a comment is defined, declared or called somewhere in the sources
  files       each README.md of a folder names every source of that folder

Run from the root of the tree: python3 tests/check/prose.py [--self-test]
Prints a line for each finding; ends with 1 if there is one.
"""
import os
import re
import subprocess
import sys

FOLDERS = ("shim", "pool", "pressure", "mfile", "export")
LIMIT = 30
WORDS = re.compile(
    r"\b(an?|the|each|every|next|last|first|one|two|between|before|after|no) looks?\b(?! at| for| like| up)"
    r"|\b(board|depot|credit|scarce|shelf|shelves|whoever|whom|no one|(some|any|every|no)(body|one(?! of)))\b"
    r"|\bas above\b|\bso many\b|\bso long\b(?! as)|(?-i:(?:^|(?<=[.:;] ))The same\b)|(?<![`.])\bwho\b(?![`(.>])"
    # Where it stands for something else. With a noun behind it, it is plain English.
    r"|\bthe same(?=\s*([.,;:)|*]|$)|\s+(with|for|by|again|in|as|on|under|and|or|but|over)\b)",
    re.IGNORECASE)
NAME = re.compile(r"(?<![\w./:])([a-z_][a-z0-9_]{2,})\(\)")
ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|vs|cf|etc)\.")
COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(//[^\n]*|/\*.*?\*/)', re.S)


def listed(*patterns):
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
                         capture_output=True, text=True, check=True).stdout
    return [path for path in out.split("\n") if path and os.path.exists(path)]


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def comments(text):
    """(line, text) of each paragraph of a comment. A table, an indented line, is one by itself."""
    paragraph, start, last = [], 0, -2
    for match in COMMENT.finditer(text):
        if not match.group(1):
            continue
        line = text.count("\n", 0, match.start()) + 1
        alone = not text[text.rfind("\n", 0, match.start()) + 1:match.start()].strip()
        for offset, raw in enumerate(match.group(1).split("\n")):
            plain = re.sub(r"^\s*(//|/\*+|\*(?!/))|\*/\s*$", "", raw)
            table = re.match(r"\s{2,}\S", plain) or not plain.strip()
            if paragraph and (table or not alone or line + offset != last + 1):
                yield start, " ".join(paragraph)
                paragraph = []
            if table or not alone:
                if plain.strip():
                    yield line + offset, plain.strip()
                last = -2
                continue
            if not paragraph:
                start = line + offset
            paragraph.append(plain.strip())
            last = line + offset
    if paragraph:
        yield start, " ".join(paragraph)


def strings(text):
    """(line, text) of each string literal: messages, help, HELP texts of metrics."""
    for match in COMMENT.finditer(text):
        if not match.group(1) and match.group(0)[0] == '"' and " " in match.group(0):
            yield text.count("\n", 0, match.start()) + 1, match.group(0)[1:-1].replace("\\n", " ")


def markdown(text):
    """(line, text) of each paragraph, list item and cell; code is left out."""
    paragraph, start, code = [], 0, False
    for number, raw in enumerate(text.split("\n") + [""], 1):
        line = raw.strip()
        if line.startswith("```"):
            code = not code
            line = ""
        elif code or re.match(r" {4}\S", raw):
            line = ""
        if not line or line[0] in "|#" or re.match(r"([-*]|\d+\.) ", line):
            if paragraph:
                yield start, " ".join(paragraph)
            paragraph = []
        if line.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", line):
                yield number, cell.strip()
        elif line:
            if not paragraph:
                start = number
            paragraph.append(re.sub(r"^([-*]|\d+\.|#+) ", "", line))


def troff(text):
    for number, line in enumerate(text.split("\n"), 1):
        yield number, re.sub(r"\\f.|^\.\w+ ?", "", line)


def sentences(paragraph):
    """What stands in backquotes counts as one word, and of a link the text."""
    text = re.sub(r"`[^`]*`", "x", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", ABBREVIATIONS.sub("", paragraph)))
    return re.split(r"(?<=[.!?])[)\"*]*\s+", text)


def words_of(sentence):
    return len([w for w in sentence.split() if re.search(r"\w", w)])


def defined():
    """Every name that the sources or tests have outside comments, and those of libc and the kernel."""
    names = set()
    for path in listed(*[f"{f}/*" for f in FOLDERS], "tests/*", "Makefile"):
        if path.endswith((".c", ".h", ".cc", ".map", ".mk", "Makefile")):
            code = COMMENT.sub(lambda m: " " if m.group(1) else m.group(0), read(path))
            names.update(re.findall(r"[A-Za-z_]\w+", code))
    return names


def foreign(names):
    """Those of `names` that the C library has; the manual's names stand for the others."""
    known = subprocess.run(["sh", "-c", "for l in $(ldconfig -p | awk '/x86-64/ && /lib(c|m|unwind|gcc_s|stdc\\+\\+|jemalloc)\\.so/ "
                            "{ print $NF }'); do nm -D --defined-only $l; done 2>/dev/null | awk '{ print $3 }'"],
                           capture_output=True, text=True, check=False).stdout
    return names & {re.sub(r"@.*", "", name) for name in known.split()}


# Of the kernel, of programs and languages: no library of this machine has them.
ELSEWHERE = {"fork", "vfork", "main", "membarrier", "setproctitle", "numa_tonode_memory"}


def check(path, text, known, findings):
    kind = os.path.splitext(path)[1]
    parts = list(markdown(text) if kind == ".md" else comments(text) if kind in (".c", ".h") else troff(text))
    for line, part in parts + (list(strings(text)) if kind in (".c", ".h") else []):
        for match in WORDS.finditer(part):
            findings.append(f"{path}:{line}: word: {match.group(0)}")
        if path.startswith("tests/"):
            continue
        if kind in (".md", ".h"):
            for sentence in sentences(part):
                if words_of(sentence) > LIMIT:
                    findings.append(f"{path}:{line}: {words_of(sentence)} words: {sentence[:90]}...")
        for name in NAME.findall(part) if kind != ".7" and kind != ".1" else ():
            if name not in known:
                findings.append(f"{path}:{line}: no such function: {name}()")


def readmes(findings):
    for folder in FOLDERS + ("tests",):
        path = f"{folder}/README.md"
        if not os.path.exists(path):
            findings.append(f"{path}: missing")
            continue
        text = read(path)
        for source in listed(f"{folder}/*"):
            name = source[len(folder) + 1:]
            if folder == "tests":
                name = name.split("/")[0] + "/" if "/" in name else ""
            elif source.endswith((".h", ".c")):
                name = re.sub(r"\.[ch]$", "", name)
            else:
                continue
            if name and not re.search(rf"(?<![\w/]){re.escape(name)}(?!\w)", text):
                findings.append(f"{path}: does not name {name}")


def run():
    findings = []
    sources = [p for f in FOLDERS + ("tests",) for p in listed(f"{f}/*") if p.endswith((".c", ".h"))]
    documents = ["README.md", *(f"{f}/README.md" for f in FOLDERS), "tests/README.md", "shim/man/*.[17]", "shim/man/guides/*.md"]
    texts = {p: read(p) for p in sources + listed(*documents)}
    own = defined()
    called = {name for text in texts.values() for name in NAME.findall(text)}
    known = own | ELSEWHERE | foreign(called - own)
    for path, text in texts.items():
        check(path, text, known, findings)
    readmes(findings)
    return findings


def self_test():
    """Each kind of finding is found, and what is right is not."""
    bad = {
        "a.h": ["// Whoever holds it waits.\n", "// " + "word " * 31 + "ends.\n", "// See no_such_thing() for it.\n",
                "// The same for b.\n", "// A look is due.\n", "// b does the same.\n",
                'static const char *s = "nobody waits";\n'],
        "a.md": ["Somebody waits.\n", "| cell | " + "word " * 31 + "|\n", "- see no_such_thing().\n"],
    }
    good = {
        "a.h": ["// The holder waits.\n", "// " + "word " * 30 + "\n", "// See known_one() for it; it is looked for.\n",
                'static const char *s = "whoever";\n', "// It is in the same place.\n", "//   a table " + "word " * 20 + "\n//   another " + "word " * 20 + "\n"],
        "a.md": ["```\nwhoever\n```\n", "At the same time.\n"],
    }
    failed = 0
    for want, cases in ((1, bad), (0, good)):
        for path, texts in cases.items():
            for text in texts:
                findings = []
                check(path, text, {"known_one"}, findings)
                if len(findings) != want:
                    failed += 1
                    print(f"self-test: {text!r}: {findings}")
    return failed


if __name__ == "__main__":
    if self_test():
        sys.exit(1)
    if sys.argv[1:] != ["--self-test"]:
        result = run()
        print("".join(f"{line}\n" for line in result), end="")
        sys.exit(1 if result else 0)
