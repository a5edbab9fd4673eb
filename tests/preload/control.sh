# The control channel of real processes, asked by right and wrong users; see control.py.
set -u
command -v python3 >/dev/null || { echo 'SKIPPED control: no python3'; exit 0; }
B=${B:-$PWD/build/release} exec python3 -B tests/preload/control.py "$@"
