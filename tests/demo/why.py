"""why - what the kernel and a service wrote about a kill, for a demo that did not end as it should."""

import subprocess

LOG_LINES = 40


def kernel_says(group):
    """The kernel's last report of a kill in the cgroup of this name: its figures, and its table of processes."""
    # Only root may read it on most machines; then there is no report.
    log = subprocess.run(['dmesg'], capture_output=True, text=True, errors='replace', check=False).stdout.splitlines()
    last = max((i for i, line in enumerate(log) if 'oom-kill:' in line and group in line), default=None)
    if last is None:
        return ['(no report: dmesg shows none)']
    first = max((i for i, line in enumerate(log[:last]) if 'invoked oom-killer' in line), default=last)
    return log[first:last + 2]


def service_said(path, size):
    """The last lines of the log at `path` before it had `size` bytes, which is where it was at the kill."""
    with open(path, 'rb') as f:
        return f.read(size).decode(errors='replace').splitlines()[-LOG_LINES:]
