"""Runs a command under what a unit says of system calls: python3 under_filter.py UNIT COMMAND...

Does with libseccomp what systemd does with SystemCallFilter=, SystemCallErrorNumber=, RestrictAddressFamilies=,
MemoryDenyWriteExecute= and RestrictNamespaces=, so that these can be tried without systemd as process 1. The groups of
system calls are those of the systemd that is installed.
"""

import errno
import os
import socket
import subprocess
import sys

import seccomp

CLONE_NEW = 0x7E020000 | 0x80  # CLONE_NEWNS to CLONE_NEWNET, and CLONE_NEWTIME


def settings(unit):
    """The lines of a unit: a list of values for each name."""
    found = {}
    for line in open(unit, encoding="utf-8"):
        name, found_sign, value = line.strip().partition("=")
        if found_sign and not name.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def group(name):
    """The system calls of a group, those of the groups in it included."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", name], check=True, capture_output=True, text=True
    )
    members = [line.strip() for line in listed.stdout.splitlines()[1:]]
    return set().union(*(group(member) for member in members if member and not member.startswith("#")))


def allowed(lists):
    """What several SystemCallFilter= lines allow together: the first one must be a list of what is allowed."""
    calls = set(group("@default"))
    for line in lists:
        names = set().union(*(group(name) for name in line.lstrip("~").split()))
        calls = calls - names if line.startswith("~") else calls | names
    return calls


def load(unit):
    found = settings(unit)
    calls = allowed(found["SystemCallFilter"])
    refused = seccomp.ERRNO(getattr(errno, found["SystemCallErrorNumber"][-1]))
    rules = seccomp.SyscallFilter(defaction=refused)
    special = {"socket", "mmap", "mprotect", "clone", "clone3", "unshare", "setns"}
    for call in sorted(calls - special):
        try:
            rules.add_rule(seccomp.ALLOW, call)
        except (RuntimeError, ValueError):
            pass  # Not of this machine's kind.
    for family in found["RestrictAddressFamilies"][-1].split():
        rules.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, getattr(socket, family)))
    assert found["MemoryDenyWriteExecute"] == ["yes"] and found["RestrictNamespaces"] == ["yes"]
    rules.add_rule(seccomp.ALLOW, "mprotect", seccomp.Arg(2, seccomp.MASKED_EQ, 4, 0))
    rules.add_rule(seccomp.ALLOW, "mmap", seccomp.Arg(2, seccomp.MASKED_EQ, 4, 0))
    rules.add_rule(seccomp.ALLOW, "mmap", seccomp.Arg(2, seccomp.MASKED_EQ, 6, 4))
    for call in ["clone", "unshare"]:
        rules.add_rule(seccomp.ALLOW, call, seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_NEW, 0))
    # Its flags are in memory, where no filter can look: systemd says that there is no such call, and clone is used.
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    rules.load()


if __name__ == "__main__":
    load(sys.argv[1])
    os.execv(sys.argv[2], sys.argv[2:])
