"""What is linked into the binary: python3 scripts/linked.py --target TARGET --sbom FILE --licenses FILE.

Follows the normal dependencies of the package in what `cargo metadata` says for the target: what only builds or tests need
(build scripts, procedural macros, development) is left out. Writes a CycloneDX 1.5 document, and the licences with their
texts, as the sources of the crates have them. SOURCE_DATE_EPOCH is the time in the document.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = re.compile(r"^(licen[cs]e|copying|notice|copyright|unlicense)", re.I)

# The standard library is in each binary, and so is the C library in a static one. Where their texts are on Debian.
RUST = ("the standard library of Rust", "MIT OR Apache-2.0", "https://github.com/rust-lang/rust", None)
C_LIBRARIES = {
    "gnu": (
        "the GNU C library",
        "LGPL-2.1-or-later",
        "It is linked statically. The source of sidecache and scripts/static.sh make the binary anew with another version of it.",
        "/usr/share/common-licenses/LGPL-2.1",
    ),
    "musl": ("musl", "MIT", "It is linked statically.", "/usr/share/doc/musl/copyright"),
}


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def linked(found):
    """The packages in the binary by their id, and for each what it links itself."""
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    is_macro = lambda id: any("proc-macro" in target["kind"] for target in packages[id]["targets"])
    (root,) = [id for id, package in packages.items() if package["name"] == "sidecache"]
    links, todo = {}, [root]
    while todo:
        id = todo.pop()
        if id in links:
            continue
        normal = [
            dependency["pkg"]
            for dependency in nodes[id]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]) and not is_macro(dependency["pkg"])
        ]
        links[id] = sorted(normal)
        todo.extend(normal)
    order = sorted(links, key=lambda id: (packages[id]["name"], packages[id]["version"]))
    return root, {id: packages[id] for id in order}, links


def checksums():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))
    return {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def expression(package):
    return package["license"].replace("/", " OR ")


def component(package, checksum):
    found = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "licenses": [{"expression": expression(package)}],
        "purl": purl(package),
    }
    if package.get("description"):
        found["description"] = " ".join(package["description"].split())
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def sbom(root, packages, links, target):
    sums = checksums()
    one = lambda package: component(package, sums.get((package["name"], package["version"])))
    moment = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {**one(packages[root]), "type": "application"},
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": [one(package) for id, package in packages.items() if id != root],
        "dependencies": [
            {"ref": purl(package), "dependsOn": [purl(packages[other]) for other in links[id]]}
            for id, package in packages.items()
        ],
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}"
    return document


def texts(package):
    """The licence texts in a package's source."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if path.is_file() and NAMES.match(path.name))
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]


def licenses(packages, target):
    """Each package with its licence, then each text once, with the packages that have it."""
    lines = ["What is linked into sidecache, and under which licences.", ""]
    by_text = {}
    without = []
    for package in packages.values():
        name = f"{package['name']} {package['version']}"
        lines.append(f"{name}: {expression(package)}")
        found = texts(package)
        if not found:
            without.append(f"{name}: {expression(package)}; {package.get('repository') or 'no repository is named'}")
        for text in found:
            by_text.setdefault("\n".join(line.rstrip() for line in text.splitlines()), []).append(name)
    for name, licence, note, file in [RUST, C_LIBRARIES["musl" if "musl" in target else "gnu"]]:
        lines.append(f"{name}: {licence}. {note}")
        if file and pathlib.Path(file).exists():
            by_text.setdefault(pathlib.Path(file).read_text(encoding="utf-8").strip(), []).append(name)
    if without:
        lines += ["", "These name a licence, and have no text of it in their source:", "", *without]
    for text, names in sorted(by_text.items(), key=lambda item: item[1]):
        lines += ["", "-" * 80, ", ".join(names), "-" * 80, "", text]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    for name in ["target", "sbom", "licenses"]:
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    root, packages, links = linked(metadata(arguments.target))
    document = sbom(root, packages, links, arguments.target)
    pathlib.Path(arguments.sbom).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    pathlib.Path(arguments.licenses).write_text(licenses(packages, arguments.target), encoding="utf-8")
    print(f"{len(packages) - 1} crates are linked into sidecache", file=sys.stderr)


if __name__ == "__main__":
    main()
