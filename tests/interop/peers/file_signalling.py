# SPDX-License-Identifier: MPL-2.0
"""Descriptions by files in a directory, as `signaller=file` of the elements does it."""

import json
import os
import pathlib
import time


class Meeting:
    """A directory where both ends of one call meet. It is new for each call, so nothing is removed here."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _put(self, kind, message):
        part = self.folder / f".{kind}-{os.getpid()}.tmp"
        part.write_text(json.dumps(message))
        part.rename(self.folder / f"{kind}.json")

    def write(self, kind, sdp):
        self._put(kind, {"sdp": sdp, "type": kind})

    def bye(self):
        self._put("bye", {"type": "bye"})

    def there(self, kind):
        """Whether `offer`, `answer` or `bye` has come."""
        return (self.folder / f"{kind}.json").exists()

    def read(self, kind):
        """The SDP of an `offer` or `answer` that is there."""
        return json.loads((self.folder / f"{kind}.json").read_text())["sdp"]

    def wait(self, kind, seconds, pause=0.02):
        """Block until that file is there, looking each `pause` seconds; its SDP, or None of a bye."""
        end = time.monotonic() + seconds
        while not self.there(kind):
            if time.monotonic() > end:
                raise TimeoutError(f"no {kind}.json within {seconds} s")
            time.sleep(pause)
        return None if kind == "bye" else self.read(kind)


def only_local(sdp, address="127.0.0.1"):
    """The description with the UDP candidates of one address only."""
    def wanted(line):
        words = line.split(" ")
        return not line.startswith("a=candidate:") or (words[2].lower() == "udp" and words[4] == address)
    return "".join(f"{line}\r\n" for line in sdp.splitlines() if line and wanted(line))
