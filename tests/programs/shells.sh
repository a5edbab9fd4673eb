# programs: bash perl

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
