"""Runs sidecache with a folder as its root: python3 image.py ROOT WRITABLE. tests/image.sh says what for."""

import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import threading

from parts import Answers, Process, ask, free_port, service

USER = 10001


def answer_names(listener):
    """A name server that says 127.0.0.1 to each question for an IPv4 address, and has no others."""
    while True:
        question, client = listener.recvfrom(512)
        end = question.index(b"\0", 12) + 5
        is_ipv4 = question[end - 4 : end - 2] == b"\0\1"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if is_ipv4 else b""
        counts = struct.pack(">HHHH", 1, int(is_ipv4), 0, 0)
        listener.sendto(question[:2] + b"\x81\x80" + counts + question[12:end] + record, client)


def run(root, *arguments, **environment):
    """The command of the image, with its user and its environment."""
    command = ["/usr/sbin/chroot", f"--userspec={USER}:{USER}", root, "/usr/local/bin/sidecache", *arguments]
    return command, dict(environment, PATH="/usr/local/bin")


def main():
    root, writable = map(pathlib.Path, sys.argv[1:3])
    dockerfile = (pathlib.Path(__file__).resolve().parent.parent.parent / "Dockerfile").read_text(encoding="utf-8")
    last = dockerfile[dockerfile.rindex("\nFROM ") :]
    assert last.startswith("\nFROM scratch\n") and re.search(r"^USER 10001:10001$", last, re.M)
    health = re.search(r'^HEALTHCHECK .* CMD \["/usr/local/bin/sidecache", (.*)\]$', last, re.M).group(1)
    health = [word.strip(' "') for word in health.split(",")]
    # The engine writes these two into a container.
    (writable / "etc/hosts").write_text("127.0.0.1 localhost rag\n", encoding="utf-8")
    (writable / "etc/resolv.conf").write_text("nameserver 127.0.0.53\n", encoding="utf-8")
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.53", 53))
    threading.Thread(target=answer_names, args=[names], daemon=True).start()
    question = {"query": "What happens when Redis is down?"}
    with service() as upstream:
        for name in ["rag", "rag.example"]:
            port, admin = free_port(), free_port()
            listeners = {"LISTEN": f"0.0.0.0:{port}", "ADMIN_LISTEN": f"127.0.0.1:{admin}"}
            command, environment = run(root, UPSTREAM_URL=f"http://{name}:{upstream}", **listeners)
            with Process(command, env=environment) as sidecache:
                sidecache.logged("ready")
                status = pathlib.Path(f"/proc/{sidecache.child.pid}/status").read_text(encoding="utf-8")
                assert re.search(rf"^Uid:\s+{USER}\s+{USER}", status, re.M), status
                assert re.search(r"^CapEff:\s+0+$", status, re.M), status
                status, headers, body = ask(port, "POST", "/api/v1/query", question)
                assert (status, headers["x-cache"], body) == (200, "MISS", Answers.body), (name, status, body)
                command, environment = run(root, *health, **listeners)
                assert subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL).returncode == 0, "the health check fails"
                sidecache.signal(signal.SIGTERM)
                assert sidecache.ended() == 0
                assert subprocess.run(command, env=environment, check=False, capture_output=True).returncode == 1
            print(f"http://{name}: an answer; {' '.join(['sidecache', *health])}: well, and not so after its end")
        # Without the bundle of certificates it does not start.
        for bundle, is_missing in [({}, False), ({"SSL_CERT_FILE": "/no/such/file"}, True)]:
            address = {"LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "off"}
            command, environment = run(root, UPSTREAM_URL=f"https://rag:{upstream}", **address, **bundle)
            with Process(command, env=environment) as sidecache:
                if is_missing:
                    assert sidecache.ended() == 1 and "no root certificates" in sidecache.complaints()
                else:
                    sidecache.logged("ready")
        print("https: the bundle of certificates is read")
    try:
        (root / "x").write_text("", encoding="utf-8")
    except OSError as error:
        print(f"the root cannot be written to, not even by root: {error.strerror}")
    else:
        sys.exit("the root can be written to")


if __name__ == "__main__":
    main()
