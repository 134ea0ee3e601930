"""What scripts/release.sh makes: the same bytes each time, a package that can be installed, upgraded and purged, a valid SBOM.

Packages the binary that is there, without its symbols, so that it takes seconds. dpkg installs into a folder of its own,
as it would on a machine, maintainer scripts included. The installed program runs with the installed configuration.
"""

import gzip
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import tempfile

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from parts import Process, ROOT, ask, binary, free_port

MACHINE = os.uname().machine
CONFIG = "etc/sidecache/sidecache.toml"


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def release(program, folder, **environment):
    run(
        "bash", ROOT / "scripts/release.sh", "--binary", program, "--out", folder,
        env=dict(os.environ, SOURCE_DATE_EPOCH="1700000000", **environment),
    )
    sums = (folder / "SHA256SUMS").read_text(encoding="utf-8")
    for line in sums.splitlines():
        digest, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    return sums


def check_sbom(folder):
    (path,) = folder.glob("*.cdx.json")
    text = path.read_text(encoding="utf-8")
    fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    assert fault is None, fault
    document = json.loads(text)
    names = {component["name"] for component in document["components"]}
    assert {"hyper", "rustls", "ring", "tokio"} <= names, names
    # What only tests and build scripts need is not in the binary.
    assert not {"proptest", "insta", "assert_cmd", "cc", "serde_derive"} & names, names
    assert all(component["licenses"][0]["expression"] for component in document["components"])
    (licenses,) = folder.glob("*-licenses.txt")
    text = licenses.read_text(encoding="utf-8")
    for component in document["components"]:
        assert f"\n{component['name']} {component['version']}: " in text, component["name"]
    for line in ["Permission is hereby granted, free of charge", "the GNU C library: LGPL-2.1-or-later"]:
        assert line in text, line
    return len(names)


def dpkg(root, *arguments):
    """dpkg on a machine of its own: a folder. What the package needs is not in there."""
    for name in ["updates", "info", "triggers"]:
        (root / "var/lib/dpkg" / name).mkdir(parents=True, exist_ok=True)
    for name in ["status", "available"]:
        (root / "var/lib/dpkg" / name).touch()
    forced = "--force-depends,script-chrootless,not-root,confold"
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    environment = dict(os.environ, PATH=path, DEBIAN_FRONTEND="noninteractive")
    return run("dpkg", "--root", root, f"--log={root}/dpkg.log", forced, *arguments, env=environment)


def check_package(folder, work):
    (package,) = folder.glob("*.deb")
    root = work / "machine"
    root.mkdir()
    dpkg(root, "--install", package)
    assert "install ok installed" in run("dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", "--showformat=${Status}", "sidecache")
    unit = (root / "usr/lib/systemd/system/sidecache.service").read_text(encoding="utf-8")
    assert f"ExecStart=/usr/bin/sidecache --config /{CONFIG}\n" in unit
    check_pages(root)
    check_program(root)

    # An upgrade keeps what an operator has written. (confold: as an operator who says so is asked no more.)
    with open(root / CONFIG, "a", encoding="utf-8") as file:
        file.write("# ours\n")
    dpkg(root, "--install", package)
    assert (root / CONFIG).read_text(encoding="utf-8").endswith("# ours\n")
    # As `systemctl enable` does.
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True)
    (wanted / "sidecache.service").symlink_to("/usr/lib/systemd/system/sidecache.service")
    log = root / "var/log/private/sidecache"
    log.mkdir(parents=True)
    dpkg(root, "--remove", "sidecache")
    assert not (root / "usr/bin/sidecache").exists() and (root / CONFIG).exists()
    dpkg(root, "--purge", "sidecache")
    left = [path for path in root.rglob("*sidecache*")]
    assert not left, left


def check_pages(root):
    """The manual and the completions are there, for each command."""
    manual = root / "usr/share/man/man1"
    pages = {path.name for path in manual.iterdir()}
    assert {"sidecache.1.gz", "sidecache-serve.1.gz", "sidecache-purge.1.gz"} <= pages, pages
    assert b".TH sidecache 1" in gzip.decompress((manual / "sidecache.1.gz").read_bytes())
    for name in [
        "bash-completion/completions/sidecache", "zsh/vendor-completions/_sidecache",
        "fish/vendor_completions.d/sidecache.fish", "doc/sidecache/copyright", "doc/sidecache/changelog.gz",
        "doc/sidecache/linked-licenses.txt.gz", "doc/sidecache/sidecache.cdx.json.gz",
    ]:
        assert (root / "usr/share" / name).stat().st_size > 100, name
    run("bash", "-n", root / "usr/share/bash-completion/completions/sidecache")


def check_program(root):
    """The installed program runs with the installed configuration, on other ports."""
    port, admin = free_port(), free_port()
    command = [root / "usr/bin/sidecache", "--config", root / CONFIG]
    environment = {"PATH": os.environ["PATH"], "LISTEN": f"127.0.0.1:{port}", "ADMIN_LISTEN": f"127.0.0.1:{admin}"}
    with Process(command, env=environment, cwd=root) as sidecache:
        sidecache.logged("ready")
        status, _, body = ask(port, "GET", "/health")
        assert status == 200 and json.loads(body)["cache"]["store"] == "memory", body
        sidecache.signal(signal.SIGTERM)
        assert sidecache.ended() == 0, sidecache.complaints()


def main():
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        program = work / "sidecache"
        run("strip", "-o", program, binary())
        first = release(program, work / "first")
        assert first == release(program, work / "second"), "two packagings of one binary differ"
        print(f"released twice, the same bytes:\n{first}", end="")
        print(f"SBOM: valid CycloneDX 1.5, {check_sbom(work / 'first')} crates; each has its licence")
        (archive,) = (work / "first").glob("*.tar.gz")
        names = tarfile.open(archive).getnames()
        assert any(name.endswith("/usr/bin/sidecache") for name in names), names
        check_package(work / "first", work)
        print("package: installed, answers /health, upgraded, removed, purged")


if __name__ == "__main__":
    sys.exit(main())
