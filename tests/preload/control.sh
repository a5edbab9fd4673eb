# The control channel of real processes, asked by right and wrong users; see control.py.
set -u
B=${B:-$PWD/build/release} exec python3 -B tests/preload/control.py "$@"
