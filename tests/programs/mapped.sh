# programs: sqlite3-mmap lmdb git-packs python3-mmap rg-mmap ld-large
# Programs that live on mapped files. `make test-mfile` runs them twice, with a policy for every file, too.

prog_sqlite3_mmap() {
    need sqlite3
    under sqlite3 t.db <<'S'
pragma mmap_size = 1073741824; pragma page_size = 4096; pragma journal_mode = wal;
create table t(id integer primary key, name text, blob blob);
with recursive c(i) as (select 1 union all select i + 1 from c where i < 80000)
insert into t select i, printf('name-%06d', i * 7919 % 80000), zeroblob(i * 13 % 700) from c;
create index by_name on t(name);
pragma wal_checkpoint(truncate);
select count(*), sum(length(blob)), max(name) from t;
select sum(id) from t where name between 'name-010000' and 'name-020000';
update t set name = name || 'x' where id % 5 = 0; delete from t where id % 7 = 0;
pragma wal_checkpoint(truncate); vacuum; pragma integrity_check;
select count(*), sum(length(blob)), max(name) from t;
S
    # A reader that maps the file while another one writes it.
    (for i in 1 2 3 4 5 6; do under sqlite3 t.db "pragma busy_timeout = 20000; insert into t(name) values('late-$i');"; done) >/dev/null &
    for i in 1 2 3 4 5 6; do under sqlite3 t.db 'pragma mmap_size = 1073741824; pragma busy_timeout = 20000; select count(*) > 0 from t where name not like "late%";'; done
    wait
    under sqlite3 t.db 'pragma mmap_size = 1073741824; pragma integrity_check; select name from t where name like "late%" order by 1;'
}

prog_lmdb() {
    need mdb_load mdb_dump mdb_copy mdb_stat
    mkdir db copy
    awk 'BEGIN { print "VERSION=3\nformat=print\ntype=btree\nmapsize=268435456\nHEADER=END"
        for (i = 0; i < 60000; i++) printf " key-%06d\n value-%d-%0" (i * 31 % 900) "d\n", i, i, i
        print "DATA=END" }' >in
    under mdb_load -f in db
    under mdb_stat -ea db | grep -v 'Page size\|PID\|readers used'
    under mdb_dump -p db | digest
    under mdb_copy -c db copy && under mdb_dump -p copy | digest
    awk "NR > 6 && NR % 4 < 2" in | sed '1i VERSION=3\nformat=print\ntype=btree\nmapsize=268435456\nHEADER=END' >in2 # no DATA=END: refused, and nothing is lost
    under mdb_load -f in2 db 2>/dev/null || true
    under mdb_dump -p db | wc -l
}

prog_git_packs() {
    need git
    export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_AUTHOR_NAME=a \
        GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    git init -q r && cd r
    # Small windows: packs are mapped and unmapped all the time.
    git config core.packedGitWindowSize 64k && git config core.packedGitLimit 1m && git config gc.auto 0
    for i in 1 2 3 4 5 6 7 8; do
        awk -v n="$i" 'BEGIN { srand(n); for (i = 0; i < 9000; i++) print i, int(rand() * 1e9), n }' >"f$i"
        cp "f$i" common && under git add -A && under git commit -qm "$i"
        [ $((i % 3)) != 0 ] || under git repack -q -d
    done
    under git fsck --full --strict 2>&1
    under git log --stat --format=%H | digest
    under git repack -q -a -d --window=20 --depth=20 --threads=2
    under git rev-list --objects --all | sort | digest
    for i in 1 3 5 8; do under git show "HEAD:f$i" | digest; done
    under git clone -q --no-local . ../c && cd ../c && under git fsck 2>&1 && under git grep -c 777 | digest
}

prog_python3_mmap() {
    need python3
    under python3 - <<'S'
import hashlib, mmap, os, random, threading
random.seed(3)
size = 24 << 20
with open('f', 'wb') as f: f.write(random.randbytes(size))
with open('f', 'r+b') as f:
    m = mmap.mmap(f.fileno(), 0)
    print(hashlib.sha256(m).hexdigest(), m.find(b'\x00\x01\x02'), m.rfind(b'abc'))
    m[1000:1004] = b'1234'
    for advice in (mmap.MADV_SEQUENTIAL, mmap.MADV_RANDOM, mmap.MADV_WILLNEED, mmap.MADV_NORMAL): m.madvise(advice)
    m.resize(size + 300000)
    m[size:] = b'y' * 300000
    m.move(10, size, 500)
    m.flush()
    print(hashlib.sha256(m).hexdigest(), os.fstat(f.fileno()).st_size)
    m.resize(5 << 20)
    print(hashlib.sha256(m).hexdigest())
    p = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
    p[0:8] = b'private!'
    print(m[0:8] != b'private!', p[0:8])
    def windows(seed):
        r = random.Random(seed)
        kept = []
        for i in range(2500):
            at = r.randrange(0, 1000) * 4096
            w = mmap.mmap(f.fileno(), 8192, access=mmap.ACCESS_READ, offset=at)
            assert w[:8192] == m[at:at + 8192]
            kept.append(w)
            if len(kept) > 50: kept.pop(r.randrange(50)).close()
    threads = [threading.Thread(target=windows, args=(s,)) for s in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    a = mmap.mmap(-1, 4 << 20); a[5] = 7
    if os.fork() == 0: os._exit(0 if a[5] == 7 and m[1000:1004] == b'1234' else 1)
    print(os.wait()[1], hashlib.sha256(m).hexdigest())
S
    digest <f
}

prog_rg_mmap() {
    need rg grep
    for i in 1 2 3 4 5 6; do awk -v n="$i" 'BEGIN { for (i = 0; i < 120000; i++) print n, i, i * 7919 % 120000, "some text to look through" }' >"t$i"; done
    under rg --mmap -c '7{3}' t1 t2 t3 t4 t5 t6 | sort
    under rg --mmap -j2 -n ' 11999 .*text' . | sort
    under rg --mmap -o --no-filename '[0-9]{4}9999' t3 | digest
    under rg --no-mmap -c nothing . || true
    under grep -c '777' t1 t2 t3
}

prog_ld_large() {
    need ld gcc ar
    libc=$(gcc -print-file-name=libc.a)
    under ld -r --whole-archive "$libc" -o all.o && digest <all.o
    i=0
    while [ $i -lt 60 ]; do
        echo "int f$i(int x) { static char big[4096 + $i]; big[x & 7] = x; return x * $i + big[1]; }"
        i=$((i + 1))
    done >many.c
    echo 'int f1(int); int main(void) { return f1(2) != 2; }' >main.c
    gcc -g -ffunction-sections -c many.c main.c
    under gcc -static -no-pie -Wl,--build-id=none many.o main.o -o static && digest <static && ./static
    under gcc -Wl,--gc-sections,--build-id=none many.o main.o -o dynamic && digest <dynamic && ./dynamic
    ! command -v ld.gold >/dev/null || { under ld.gold -r many.o main.o -o gold.o && digest <gold.o; }
    under ar rcsD many.a many.o main.o && under ar t many.a && digest <many.a
    under objcopy --strip-debug static stripped && digest <stripped
}
