# programs: ssh-keygen tar xz zstd gdb systemd-analyze apt-get

prog_ssh_keygen() {
    need ssh-keygen
    for kind in 'ed25519 256' 'rsa 2048' 'ecdsa 521'; do
        set -- $kind
        under ssh-keygen -q -t "$1" -b "$2" -N 'pass phrase' -C c@example.org -f "k.$1"
        under ssh-keygen -l -f "k.$1.pub" | cut -d ' ' -f 1,3,4
        under ssh-keygen -q -p -P 'pass phrase' -N '' -f "k.$1"
        under ssh-keygen -y -f "k.$1" | cmp - "k.$1.pub" && echo "$1: the public key follows from the private"
        head -c 300000 /dev/zero >data
        under ssh-keygen -q -Y sign -n file -f "k.$1" data 2>/dev/null
        echo "c@example.org $(cut -d ' ' -f 1,2 "k.$1.pub")" >signers
        under ssh-keygen -Y verify -f signers -I c@example.org -n file -s data.sig <data | sed 's/SHA256:.*//'
        rm data.sig
    done
    under ssh-keygen -q -s k.ed25519 -I id -n user k.rsa.pub
    under ssh-keygen -L -f k.rsa-cert.pub | grep -E 'Type|Key ID|Principals|user'
}

# Some megabytes that are on every machine with a compiler.
sample() {
    tar -C /usr/include -c --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -h --ignore-failed-read . 2>/dev/null | head -c 16000000
}

prog_tar() {
    need tar
    under tar -C /usr -c --sort=name -h --ignore-failed-read include 2>/dev/null >t.tar || true
    under tar -tvf t.tar | digest
    mkdir x
    under tar -C x -xf t.tar
    under tar -C x -cz --sort=name --mtime=@0 . | under tar -tz | digest
    find x -type f | sort | xargs cat | digest
    under tar -d -f t.tar -C x | head -n 3
}

prog_xz() {
    need xz
    sample >s
    under xz -T2 -3 -k s
    digest <s.xz
    under xz -T2 -dc s.xz | cmp - s && echo same
    under xz -T2 -9 --block-size=6000000 -kc s | under xz -l --robot | cut -f 2-5
}

prog_zstd() {
    need zstd
    sample >s
    for level in 1 9 -5; do
        under zstd -q -T2 --long "-${level#-}" s -o s.zst -f
        digest <s.zst
        under zstd -q -dc s.zst | cmp - s && echo same
    done
    head -c 3000000 s | under zstd -q -T2 --ultra -20 | digest
    under zstd -q --train /usr/include/*.h -o dict --maxdict=20000 && digest <dict
}

prog_gdb() {
    need gdb gcc
    cat >t.c <<'S'
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
struct node { struct node *next; int n; char text[3000]; };
static struct node *push(struct node *l, int n)
{
    struct node *new = malloc(sizeof *new);
    new->next = l;
    new->n = n;
    strcpy(new->text, "in a block");
    return new;
}
static void *work(void *arg) { return push(arg, 7); }
int main(void)
{
    struct node *l = NULL;
    for (int i = 0; i < 5; i++) l = push(l, i);
    pthread_t t;
    pthread_create(&t, NULL, work, l);
    pthread_join(t, (void **)&l);
    return l->n;
}
S
    gcc -g -O0 -pthread t.c -o t
    under gdb -nx -batch -ex 'break push if n == 3' -ex run -ex 'bt' -ex 'print *l' -ex 'finish' -ex 'delete' \
        -ex 'break work' -ex continue -ex 'print ((struct node *)arg)->text' -ex 'call strlen(((struct node *)arg)->text)' \
        -ex 'python print(len(gdb.selected_inferior().threads()) >= 2)' -ex 'info line push' -ex 'ptype struct node' \
        -ex continue ./t 2>gdb.err | sed -E 's/0x[0-9a-f]+/ADDRESS/g; s/LWP [0-9]+/LWP/; s/process [0-9]+/process/'
    under gdb -nx -batch -ex 'info functions ^push$' -ex 'disassemble push' ./t | digest
}

prog_systemd_analyze() {
    need systemd-analyze
    cat >t.service <<'S'
[Unit]
Description=A service to look at
After=basic.target
[Service]
ExecStart=/bin/true
PrivateTmp=yes
ProtectSystem=strict
NoNewPrivileges=yes
MemoryMax=100M
S
    for c in daily 'Mon..Fri *-*-* 09:00/15' '*-02-29'; do
        under systemd-analyze calendar --base-time='2024-01-01 12:00' --iterations=20 "$c" | grep -v 'From now'
    done
    under systemd-analyze timespan '3w 2h 5min'
    under systemd-analyze timestamp '2024-02-29 12:00:00 UTC' | grep -v 'From now'
    under systemd-analyze verify --man=no "$PWD/t.service" 2>&1 | sort
    under systemd-analyze security --offline=yes --no-pager "$PWD/t.service"
    under systemd-analyze syscall-filter
    under systemd-analyze exit-status
    under systemd-analyze unit-paths
    under systemd-analyze condition 'ConditionPathExists=/etc' 2>&1
}

prog_apt_get() {
    need apt-get apt-cache
    # Without its cache file, so that it is built anew in memory each time; without locks, because it only asks.
    set -- -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=1
    under apt-get "$@" check
    under apt-get "$@" -s install hello cowsay 2>&1 || true
    under apt-get "$@" -s -y remove libssl3 2>&1 | digest
    under apt-get "$@" -s dist-upgrade | digest
    under apt-cache "$@" stats | grep -v 'space' | digest
    under apt-cache "$@" dumpavail | digest
    under apt-cache "$@" depends --recurse apt | digest
    under apt-cache "$@" search '^lib.*ssl' | sort | digest
}
