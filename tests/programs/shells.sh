# programs: bash perl php ruby

prog_bash() {
    need bash
    cat >t.sh <<'S'
declare -A words
while read -r a _; do words[$a]=$((${words[$a]:-0} + 1)); done < <(for i in {1..20000}; do echo "w$((i * 7919 % 997)) x"; done)
for w in "${!words[@]}"; do echo "$w ${words[$w]}"; done | sort
long=x; for i in {1..20}; do long+=$long; done; echo ${#long} "${long:77777:3}"
mapfile -t lines < <(seq 30000); echo ${#lines[@]} "${lines[29999]}"
for i in {1..200}; do v=$(echo "$i" | while read -r n; do echo $((n * n)); done); sum=$((sum + v)); done; echo $sum
[[ "${lines[*]}" =~ ([0-9]+)\ 20001 ]] && echo "${BASH_REMATCH[1]}"
printf '%s\n' "${lines[@]//1/one}" | tail -n 3
coproc cat; echo through >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"
(trap 'echo trapped' USR1; kill -USR1 $BASHPID; echo after)
grep -c "${LIBRARY:-/bash}" /proc/$$/maps >/dev/null && echo loaded
S
    LIBRARY=$(basename "$PRELOAD") under bash t.sh
}

prog_perl() {
    need perl
    cat >t.pl <<'S'
use strict; use threads; use Digest::SHA 'sha256_hex'; use Storable 'dclone';
my (%h, @blocks); my $seed = 1;
sub r { $seed = ($seed * 1103515245 + 12345) % 2147483648; return $seed % $_[0]; }
for my $i (1 .. 60000) {
    my $n = 1 << r(20); $blocks[r(64)] = chr(65 + r(26)) x $n if $i % 20 == 0;
    push @{$h{"k" . r(5000)}}, $i; delete $h{"k" . r(5000)};
}
print sha256_hex(join '|', map { "$_=@{$h{$_}}" } sort keys %h), "\n";
print sha256_hex(join '|', map { $_ // '' } @blocks), "\n";
my $copy = dclone(\%h); print scalar(keys %$copy), "\n";
my $text = join ' ', map { "word$_" } 1 .. 50000; my $n = () = $text =~ /(\d)\d*\1\b/g; print "$n\n";
$text =~ s/(\d+)/<$1>/g; print length($text), "\n";
my @t = map { my $k = $_; threads->create(sub { my @x; push @x, 'y' x (1000 * ($_ % 700)) for 1 .. 2000; shift @x while @x > 10; return $k * @x }) } 1 .. 4;
print join(' ', map { $_->join } @t), "\n";
for (1 .. 20) { my $pid = fork // die; if (!$pid) { my @y = map { 'z' x 5000 } 1 .. 200; exit(@y == 200 ? 0 : 1) } waitpid $pid, 0; die if $? }
print "forked\n";
S
    under perl t.pl
}

# Opens its modules with RTLD_DEEPBIND, and dies in the first under allocators that leave it.
prog_php() {
    need php
    cat >t.php <<'S'
<?php
ini_set('memory_limit', '1G');
mt_srand(7);
$kept = []; $words = [];
for ($i = 0; $i < 20000; $i++) {
    $kept[$i % 300] = str_repeat(chr(65 + $i % 26), mt_rand(1, 300000));
    $words['w' . mt_rand(0, 4000)][] = $i;
}
echo hash('sha256', implode('|', $kept)), "\n", hash('sha256', json_encode($words)), "\n";
$text = implode(' ', array_map(fn($n) => "word$n", range(1, 50000)));
echo preg_match_all('/(\d)\d*\1\b/', $text), ' ', strlen(preg_replace('/(\d+)/', '<$1>', $text)), "\n";
echo hash('sha256', unserialize(serialize($words))['w1'][0] . gc_collect_cycles()), "\n";
$out = shell_exec('echo from a child'); echo $out;
echo count(get_loaded_extensions()) > 10 ? "modules\n" : "no modules\n";
S
    under php t.php
}

prog_ruby() {
    need ruby
    cat >t.rb <<'S'
require 'digest'; require 'json'
r = Random.new(11); kept = []; words = Hash.new { |h, k| h[k] = [] }
20000.times { |i| kept[i % 300] = (65 + i % 26).chr * r.rand(1..200000); words["w#{r.rand(4000)}"] << i }
puts Digest::SHA256.hexdigest(kept.join('|')), Digest::SHA256.hexdigest(JSON.dump(words))
text = (1..50000).map { |n| "word#{n}" }.join(' ')
puts text.scan(/(\d)\d*\1\b/).size, text.gsub(/(\d+)/, '<\1>').size
puts (1..8).map { |k| Thread.new { s = 0; 500.times { |i| s += ('y' * (i * 97 % 70000 + k)).size }; s } }.map(&:value).join(' ')
10.times { pid = fork { exit!(Array.new(500) { 'z' * 5000 }.size == 500) }; Process.wait(pid); raise 'child' unless $?.success? }
GC.start; GC.compact if GC.respond_to?(:compact)
puts Marshal.load(Marshal.dump(words.to_a)).size
S
    under ruby t.rb
}
