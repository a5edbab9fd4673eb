# programs: nginx memcached

prog_nginx() {
    need nginx ab curl perl
    p=$(port)
    mkdir www
    for k in 1 4 16 64 256 1024; do
        perl -e 'srand 3; print map { chr 32 + int rand 90 } 1 .. 1024 * $ARGV[0]' $k >www/$k.txt
    done
    cat >nginx.conf <<S
daemon off; user root; worker_processes 2; pid $PWD/pid; error_log $PWD/error.log;
events { worker_connections 512; }
http {
    access_log off; client_body_temp_path $PWD/b; proxy_temp_path $PWD/p; fastcgi_temp_path $PWD/f; uwsgi_temp_path $PWD/u; scgi_temp_path $PWD/s;
    types { text/plain txt; }
    server {
        listen 127.0.0.1:$p;
        location / { root $PWD/www; gzip on; gzip_types text/plain; output_buffers 4 64k; }
        location /via/ { proxy_pass http://127.0.0.1:$p/; proxy_buffers 16 64k; proxy_buffer_size 64k; }
    }
}
S
    [ "$(id -u)" = 0 ] || sed -i 's/user root;//' nginx.conf
    serve nginx -p "$PWD" -c "$PWD/nginx.conf"
    await curl -sf "http://127.0.0.1:$p/1.txt"
    loaded "$server"
    for k in 1 4 16 64 256 1024; do
        curl -sf "http://127.0.0.1:$p/$k.txt" | digest
        under curl -sf --compressed "http://127.0.0.1:$p/via/$k.txt" | digest
        under ab -q -n 600 -c 16 -H 'Accept-Encoding: gzip' "http://127.0.0.1:$p/via/$k.txt" | grep -E 'Complete|Failed|Non-2xx'
    done
    # New workers beside the old ones.
    for _ in 1 2 3; do kill -HUP "$server"; sleep 0.2; curl -sf "http://127.0.0.1:$p/64.txt" | digest; done
    kill -QUIT "$server"
    wait "$server"
    trap - EXIT
    grep -vE 'signal|reconfiguring|using|start|exit|worker|SIGCHLD|gracefully|notice' error.log || true
}

prog_memcached() {
    need memcached perl
    p=$(port)
    as=''
    [ "$(id -u)" = 0 ] && as='-u root'
    serve memcached $as -l 127.0.0.1 -p "$p" -U 0 -t 4 -m 256 -I 2m
    await perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new("127.0.0.1:'"$p"'")'
    loaded "$server"
    cat >t.pl <<'S'
use strict; use IO::Socket::INET; use Digest::SHA 'sha256_hex';
my $seed = shift; my $s = IO::Socket::INET->new("127.0.0.1:" . shift) or die; my %h; my $sum = '';
sub r { $seed = ($seed * 1103515245 + 12345) % 2147483648; return int($seed / 7) % $_[0]; }
my $id = $seed;
for my $i (1 .. 1500) {
    my $k = "k$id." . r(300); my $v = chr(65 + r(26)) x (1 + r(1 << (1 + r(19))));
    print $s "set $k 0 0 ", length $v, "\r\n$v\r\n"; my $l = <$s>; die $l unless $l =~ /STORED/; $h{$k} = $v;
    my @k = keys %h; $k = $k[0]; print $s "get $k\r\n"; $l = <$s>; $l =~ /^VALUE \S+ 0 (\d+)/ or die "$k: $l";
    read($s, my $got, $1 + 2); <$s>; die "value of $k" unless $got eq "$h{$k}\r\n";
}
print sha256_hex(join '|', map { "$_=$h{$_}" } sort keys %h), "\n";
S
    for k in 1 2 3 4; do perl t.pl $k "$p" >c$k & eval "c$k=$!"; done
    wait $c1; wait $c2; wait $c3; wait $c4
    cat c1 c2 c3 c4
    stop
}
