#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Runs Cargo for Meson: puts what it built where Meson wants it, with a dependency file for Ninja.

    cargo-wrapper.py version --manifest Cargo.toml
    cargo-wrapper.py build   --manifest … --target-dir … --profile release|dev --depfile … --outputs FILE…
    cargo-wrapper.py cbuild  the same by cargo-c, with --prefix and --libdir
    cargo-wrapper.py test    --manifest … --target-dir …

CARGO_TARGET_DIR in the environment goes before --target-dir.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["version", "build", "reader", "cbuild", "test"])
    parser.add_argument("--cargo", default="cargo")
    parser.add_argument("--manifest", type=pathlib.Path, required=True)
    parser.add_argument("--target-dir", type=pathlib.Path)
    parser.add_argument("--profile", choices=["release", "dev"], default="release")
    parser.add_argument("--features", default="")
    parser.add_argument("--prefix")
    parser.add_argument("--libdir")
    parser.add_argument("--depfile", type=pathlib.Path)
    parser.add_argument("--outputs", type=pathlib.Path, nargs="+", default=[])
    return parser.parse_args()


def version(manifest):
    """The version of the package."""
    package = re.search(r"^\[package\]$(.*?)(?=^\[|\Z)", manifest.read_text(encoding="utf-8"), re.M | re.S)
    found = package and re.search(r'^version\s*=\s*"([^"]+)"', package[1], re.M)
    if not found:
        sys.exit(f"cargo-wrapper: no package version in {manifest}")
    return found[1]


def run(asked, *command):
    """Cargo, with what all commands have in common; ends with its status if it fails."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or asked.target_dir or asked.manifest.parent / "target")
    argv = [asked.cargo, *command, "--locked", "--manifest-path", str(asked.manifest), "--target-dir", str(target)]
    if asked.features:
        argv += ["--features", asked.features]
    print("+", " ".join(argv), flush=True)
    env = os.environ.copy()
    # A cargo that was found outside PATH finds rustc next to itself.
    env["PATH"] = os.pathsep.join([env.get("PATH", os.defpath), os.path.dirname(os.path.abspath(shutil.which(asked.cargo) or asked.cargo))])
    status = subprocess.run(argv, env=env).returncode
    if status:
        sys.exit(status)
    return target


def deliver(asked, folder):
    """Copies what was built to the outputs, and writes the dependency file."""
    for output in asked.outputs:
        shutil.copy(folder / output.name, output)
    names = []
    rustc = folder / asked.outputs[0].with_suffix(".d").name
    if rustc.exists():
        # "output: source source …", blanks in names as "\ ".
        text = rustc.read_text(encoding="utf-8").splitlines()[0]
        names = re.split(r"(?<!\\) ", text.partition(": ")[2])
    root = asked.manifest.parent
    # What rustc does not name although the build depends on it.
    names += [str(root / name).replace(" ", "\\ ") for name in ("Cargo.toml", "Cargo.lock", "build.rs")]
    output = str(asked.outputs[0]).replace(" ", "\\ ")
    asked.depfile.write_text(f"{output}: {' '.join(name for name in names if name)}\n", encoding="utf-8")


def main():
    asked = arguments()
    asked.manifest = asked.manifest.resolve()
    profile = ["--release"] if asked.profile == "release" else []
    if asked.action == "version":
        print(version(asked.manifest))
    elif asked.action == "build":
        target = run(asked, "build", "--lib", *profile)
        deliver(asked, target / ("release" if profile else "debug"))
    elif asked.action == "reader":
        target = run(asked, "build", "--bins", *profile)
        deliver(asked, target / ("release" if profile else "debug"))
    elif asked.action == "cbuild":
        places = ["--prefix", asked.prefix, "--libdir", asked.libdir]
        target = run(asked, "cbuild", *profile, *places, "--library-type", "cdylib", "--library-type", "staticlib")
        # cargo-c puts its files under the host's triple.
        found = sorted(target.glob(f"*/{'release' if profile else 'debug'}/gstwebrtcrs.pc"), key=lambda path: path.stat().st_mtime)
        if not found:
            sys.exit("cargo-wrapper: cargo cbuild made no gstwebrtcrs.pc")
        deliver(asked, found[-1].parent)
    else:
        run(asked, "test")


if __name__ == "__main__":
    main()
