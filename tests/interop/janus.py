# SPDX-License-Identifier: MPL-2.0
"""Janus as a WHIP and WHEP server: peers/janus_server.mjs, which says what is whose."""

import json

import gst
import http_calls


class Janus:
    """One run of it; `port` 0 is any that is free."""

    def __init__(self, test, port=0, token=None, name="janus"):
        argv = ["node", gst.PEERS / "janus_server.mjs", "--folder", test.folder / name, "--port", port] + (["--token", token] if token else [])
        self.process = test.process(argv, name, stdin=gst.subprocess.DEVNULL).go()
        self.ready_at, line = self.process.out.wait_for(r'^\{"ready"', http_calls.START)
        self.url = json.loads(line)["ready"]
        self.whip, self.whep = f"{self.url}/whip", f"{self.url}/whep/endpoint/room"

    def answered(self, method, path, seconds):
        """(time, status) of the first request of this kind, once it is answered; `path` is a regular expression."""
        at, line = self.process.out.wait_for(rf'^\{{"method":"{method}","path":"{path}"', seconds)
        return at, json.loads(line)["status"]
