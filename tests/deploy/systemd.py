#!/usr/bin/python3
"""The units in config/systemd: without complaint, well hardened, and sidecache does its work under their filter.

Needs the packages systemd and python3-seccomp, but no running systemd. sidecache runs under the unit's filter of system
calls for a whole life: start, a miss, a hit, a page of metrics, a reload, a drain.
"""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile

from parts import PATIENCE, ROOT, Process, Answers, ask, binary, eventually, free_port, service
from under_filter import settings

UNITS = ROOT / "config/systemd"
HERE = pathlib.Path(__file__).resolve().parent
MOST = 2.0


def analyze(*arguments):
    command = ["systemd-analyze", "--no-pager", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def without_complaint(folder):
    """The units as they would be installed, but with the program where it is."""
    files = []
    for unit in sorted(UNITS.iterdir()):
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/sidecache", str(binary()))
        files.append(folder / unit.name)
        files[-1].write_text(text, encoding="utf-8")
    done = analyze("verify", "--man=no", *files)
    complaints = done.stdout + done.stderr
    assert done.returncode == 0 and not complaints, complaints
    # It complains where there is a reason.
    bad = folder / "bad.service"
    bad.write_text("[Service]\nExecStart=/no/such/program\nProtectSytem=strict\n", encoding="utf-8")
    assert analyze("verify", "--man=no", bad).stderr, "verify finds nothing"
    return files


def is_hardened(service_file):
    shown = analyze("security", "--offline=true", service_file).stdout
    score = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown).group(1))
    assert score < MOST, shown
    return score


class Notices:
    """The socket on which a service tells its state (sd_notify(3))."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)
        self.received = []

    def look(self, state):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.received += self.socket.recv(4096).decode().splitlines()
        return state in self.received


def works_under_the_filter(unit, folder, upstream):
    """A whole life under the filter; a program that tells its state does so. Returns whether it does."""
    port, admin = free_port(), free_port()
    config = folder / "sidecache.toml"
    lines = f"""
        listen = "127.0.0.1:{port}"
        drain_timeout = "5s"
        upstream.url = "http://127.0.0.1:{upstream}"
        admin.listen = "127.0.0.1:{admin}"
        log.file = "{folder}/logs/sidecache.log"
    """
    config.write_text(lines, encoding="utf-8")
    notices = Notices(folder)
    command = [sys.executable, HERE / "under_filter.py", unit, binary(), "--config", config]
    environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(notices.path)}
    with Process(command, env=environment, cwd=folder) as sidecache:
        sidecache.logged("ready")
        question = {"query": "What happens when Redis is down?"}
        for expected in ["MISS", "HIT"]:
            status, headers, body = ask(port, "POST", "/api/v1/query", question)
            assert (status, headers["x-cache"], body) == (200, expected, Answers.body), (status, headers)
        assert ask(port, "GET", "/health/ready")[0] == 200
        metrics = ask(admin, "GET", "/metrics")[2].decode()
        for name in ["process_open_fds", "process_start_time_seconds"]:
            assert re.search(rf"^{name} [0-9]", metrics, re.M), f"no {name}"
        is_notify = b"NOTIFY_SOCKET" in binary().read_bytes()
        if is_notify:
            eventually("READY=1", lambda: notices.look("READY=1"))
        config.write_text(lines + 'log.level = "DEBUG"\n', encoding="utf-8")
        sidecache.signal(signal.SIGHUP)
        sidecache.logged("reloaded")
        if is_notify:
            eventually("RELOADING=1", lambda: notices.look("RELOADING=1"))
        sidecache.signal(signal.SIGTERM)
        assert sidecache.ended() == 0, sidecache.complaints()
        if is_notify:
            assert notices.look("STOPPING=1"), notices.received
    assert "stopped" in (folder / "logs/sidecache.log").read_text(encoding="utf-8")
    return is_notify


def filter_refuses(unit):
    """The same filter refuses what it must: else the check above shows nothing."""
    attempts = {
        "chroot": "os.chroot('/')",
        "setpriority": "os.setpriority(os.PRIO_PROCESS, 0, 1)",
        "a packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "a namespace": "ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0 or no()",
        "memory to write and run": "mmap.mmap(-1, 4096, prot=7)",
    }
    for what, code in attempts.items():
        program = f"import ctypes, mmap, os, socket\ndef no(): raise PermissionError()\n{code}"
        command = [sys.executable, HERE / "under_filter.py", unit, sys.executable, "-c", program]
        done = subprocess.run(list(map(str, command)), capture_output=True, check=False)
        assert b"PermissionError" in done.stderr, f"{what} is not refused: {done.stderr.decode()}"


def takes_a_socket(folder, upstream):
    """systemd's own tool hands a listening socket over, as sidecache.socket does."""
    port = free_port()
    config = folder / "socket.toml"
    config.write_text(f'upstream.url = "http://127.0.0.1:{upstream}"\nadmin.listen = "off"\n', encoding="utf-8")
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", binary(), "--config", config]
    with Process(command, cwd=folder) as sidecache:
        # The tool starts the program at the first connection.
        eventually("an answer through the socket", lambda: ask(port, "GET", "/health/live", timeout=PATIENCE))
        sidecache.signal(signal.SIGTERM)
        assert sidecache.ended() == 0, sidecache.complaints()


def main():
    with tempfile.TemporaryDirectory() as name, service() as upstream:
        folder = pathlib.Path(name)
        units = without_complaint(folder)
        unit = next(file for file in units if file.name == "sidecache.service")
        print(f"systemd-analyze verify: {', '.join(file.name for file in units)}: no complaint")
        print(f"systemd-analyze security: {is_hardened(unit)}, must be below {MOST}")
        is_notify = works_under_the_filter(unit, folder, upstream)
        filter_refuses(unit)
        print("under the unit's filter of system calls: a miss, a hit, metrics, a reload, a drain")
        kind = settings(unit)["Type"][-1]
        assert is_notify or not kind.startswith("notify"), f"Type={kind}, but the program tells no state"
        told = "tells its state, so Type=notify is possible" if is_notify else "does not tell its state"
        print(f"Type={kind}: the program {told}")
        if b"LISTEN_FDS" in binary().read_bytes():
            takes_a_socket(folder, upstream)
            print("sidecache.socket: the program takes a socket that is handed over")
        else:
            print("sidecache.socket: this program cannot take a socket yet; looked at by verify alone")


if __name__ == "__main__":
    main()
