# SPDX-License-Identifier: MPL-2.0
"""One-time costs: the load of the plugin into a registry that has all the others, and its size on disk."""

import os
import pathlib
import resource
import shutil
import subprocess
import tempfile
import time

ELEMENTS = {"ours": ("rswebrtcsink", "libgstwebrtcrs.so"), "webrtcbin": ("webrtcbin", "libgstwebrtc.so")}


def filename_of(element):
    """The library that an element comes from."""
    text = subprocess.run(["gst-inspect-1.0", element], capture_output=True, text=True, check=True).stdout
    return pathlib.Path(next(line.split()[-1] for line in text.splitlines() if line.strip().startswith("Filename")))


class Registry:
    """A warm registry of all installed plugins but the ones that are compared."""

    def __init__(self, bench):
        self.bench = bench
        self.folder = tempfile.TemporaryDirectory(prefix="rswebrtc-load-")
        root = pathlib.Path(self.folder.name)
        rival = filename_of("webrtcbin")
        self.only = {}
        for kind, library in (("ours", bench.plugin / "libgstwebrtcrs.so"), ("webrtcbin", rival)):
            self.only[kind] = root / kind
            self.only[kind].mkdir()
            # Stripped, as distributions install it.
            subprocess.run(["strip", "--strip-unneeded", "-o", str(self.only[kind] / ELEMENTS[kind][1]), str(library)], check=True)
        others = root / "others"
        others.mkdir()
        for path in rival.parent.glob("*.so"):
            if path.name not in {name for _, name in ELEMENTS.values()}:
                (others / path.name).symlink_to(path)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("GST_PLUGIN", "GST_REGISTRY"))}
        self.environment.update(GST_PLUGIN_SYSTEM_PATH_1_0=str(others), GST_REGISTRY=str(root / "warm.bin"))
        self.run({})

    def run(self, more, *words):
        subprocess.run(["gst-inspect-1.0", *words], env={**self.environment, **more}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    def inspect(self, kind):
        """Wall and CPU time, helpers included, of the first gst-inspect-1.0 and of one that finds the plugin in the registry."""
        fresh = pathlib.Path(self.folder.name) / "fresh.bin"
        shutil.copyfile(self.environment["GST_REGISTRY"], fresh)
        more = {"GST_REGISTRY": str(fresh), "GST_PLUGIN_PATH": str(self.only[kind])}
        figures = {}
        for name in ("first", "again"):
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            self.run(more, ELEMENTS[kind][0])
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            figures[f"{name}_ms"] = 1000 * (time.monotonic() - began)
            figures[f"{name}_cpu_ms"] = 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        figures["mb"] = (self.only[kind] / ELEMENTS[kind][1]).stat().st_size / 1e6
        return figures

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()
