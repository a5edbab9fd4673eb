# programs: sqlite3 postgres

prog_sqlite3() {
    need sqlite3
    under sqlite3 t.db <<'S'
pragma threads = 2; pragma cache_size = 200; pragma page_size = 16384;
create table t(id integer primary key, name text, blob blob, n int);
with recursive c(i) as (select 1 union all select i + 1 from c where i < 60000)
insert into t select i, printf('name-%06d', i * 7919 % 60000), zeroblob(i * 13 % 3000), i * 31 % 1000 from c;
create index by_name on t(name); create index by_n on t(n, name);
select n, count(*), sum(length(blob)), max(name) from t group by n order by 2 desc, 1 limit 20;
select count(*) from t a join t b on a.n = b.n where a.id < 2000;
update t set name = name || hex(n) where n % 7 = 0; delete from t where n % 11 = 0;
select group_concat(name) from (select name from t order by name desc limit 50);
create virtual table words using fts5(body);
insert into words select 'some ' || name || ' words ' || n from t limit 20000;
select count(*) from words where words match 'words NOT 31';
select length(json_group_array(json_object('n', n, 'name', name))) from t;
vacuum; pragma integrity_check; select count(*), sum(length(blob)) from t;
S
    under sqlite3 t.db .dump | digest
    under sqlite3 t.db '.backup copy.db'
    under sqlite3 copy.db 'pragma integrity_check'
}

# The server refuses to be root.
drop() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}

prog_postgres() {
    for bin in /usr/lib/postgresql/*/bin; do :; done
    need "$bin/postgres" "$bin/initdb" "$bin/pgbench" setpriv
    PATH=$bin:$PATH
    mkdir data run
    [ "$(id -u)" != 0 ] || chown postgres data run
    export PGHOST=$PWD/run PGUSER=postgres PGDATABASE=postgres
    drop env LD_PRELOAD="$PRELOAD" initdb -D data -U postgres -A trust --no-sync --locale=C -E UTF8 | grep -v seconds
    # The socket's folder is named by its full path, and the port only names the socket.
    if [ "$(id -u)" = 0 ]; then
        serve setpriv --reuid=postgres --regid=postgres --clear-groups "$bin/postgres" -D "$PWD/data" -k "$PWD/run" \
            -c listen_addresses= -c fsync=off -c shared_buffers=32MB -c max_parallel_workers_per_gather=2
    else
        serve "$bin/postgres" -D "$PWD/data" -k "$PWD/run" -c listen_addresses= -c fsync=off -c shared_buffers=32MB
    fi
    await psql -c 'select 1'
    loaded "$server"
    under pgbench -q -i -s 3 2>/dev/null
    under pgbench -n -c 8 -j 2 -t 150 | grep -E 'actually processed|failed'
    under psql -At <<'S'
select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history),
       (select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers),
       (select count(*) from pgbench_history);
set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set work_mem = '1MB'; set max_parallel_maintenance_workers = 2;
create table t as select i, md5(i::text) h, repeat(md5(i::text), i % 40) long, i % 97 n from generate_series(1, 60000) i;
create index on t(h); create index on t using gin (string_to_array(long, 'a')); analyze t;
select n, count(*), sum(length(long)), min(h) from t group by n order by n limit 10;
select count(*) from t a join t b on a.h > b.h and a.n = b.n where a.i < 500;
select md5(string_agg(h, ',' order by long, h)) from t;
select length(json_agg(t)::text) from t;
select count(*) from t where long ~ '(ab|cd)+e[0-9]{2}';
do $$ begin for k in 1..300 loop begin perform 1 / (k % 3); exception when division_by_zero then null; end; end loop; end $$;
S
    under pg_dump -t t | grep -vE '^.(un)?restrict ' | digest
    stop
    [ -z "$(grep -l 'terminated by signal' "$PWD"/data/log/* 2>/dev/null)" ]
}
