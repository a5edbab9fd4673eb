# programs: redis-server

start_redis() {
    serve redis-server --port "$p" --bind 127.0.0.1 --save '' --dir "$PWD" --dbfilename t.rdb --daemonize no \
        --enable-debug-command yes --io-threads 2 --logfile "$PWD/log"
    await redis-cli -p "$p" ping
    loaded "$server"
}

cli() { redis-cli -p "$p" "$@"; }
saved() { cli info persistence | grep -q rdb_bgsave_in_progress:0; }
ok() { cli info persistence | grep -q rdb_last_bgsave_status:ok; }

# Strings of 1 KiB to 256 KiB beside every other type; the same each time, because Lua's random is seeded.
fill='math.randomseed(5)
for i = 1, 1500 do
  redis.call("set", "s" .. i, string.rep(string.char(65 + i % 26), math.random(1024, 262144)))
  redis.call("hset", "h" .. i % 50, "f" .. i, string.rep("v", math.random(1, 3000)))
  redis.call("rpush", "l" .. i % 20, i, string.rep("e", math.random(1, 200)))
  redis.call("zadd", "z" .. i % 10, i, "m" .. i)
  redis.call("sadd", "set" .. i % 5, i)
  redis.call("append", "a" .. i % 9, string.rep("y", math.random(1, 9000)))
  if i % 3 == 0 then redis.call("del", "s" .. i - 2) end
end
return redis.call("dbsize")'

prog_redis_server() {
    need redis-server redis-cli redis-benchmark perl
    p=$(port)
    start_redis
    cli eval "$fill" 0
    before=$(cli debug digest)
    echo "$before"
    # Saving while others write: the child reads what the parent keeps changing.
    redis-benchmark -p "$p" --dbnum 1 -q -n 20000 -c 32 -P 4 -d 65536 -r 300 -t set,get >bench.out 2>&1 &
    bench=$!
    cli bgsave
    await saved
    wait $bench
    under redis-benchmark -p "$p" --dbnum 1 -q -n 20000 -c 16 --threads 2 -d 4096 -r 1000 -t set,get,lpush,lpop,hset,mset >>bench.out 2>&1
    cli -n 1 flushdb
    cli bgrewriteaof >/dev/null
    await sh -c "redis-cli -p $p info persistence | grep -q aof_rewrite_in_progress:0"
    cli bgsave >/dev/null
    await saved
    ok
    stop
    start_redis
    [ "$(cli debug digest)" = "$before" ] && echo "the same after a restart"
    cli memory purge
    cli memory doctor >/dev/null
    cli info memory | grep mem_allocator
    stop
    under redis-check-rdb t.rdb | grep -c 'RDB looks OK'
}
