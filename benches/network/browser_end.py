# SPDX-License-Identifier: MPL-2.0
"""A page of Chromium or Firefox as an end of a measured call."""

import json
import pathlib

import foreign
import scene


class Separate(foreign.Browser):
    """Senders and receivers are different browsers, as they are elsewhere."""

    running = {}

    @classmethod
    def of(cls, name, what):
        found = cls.running.get((name, what))
        if found is None or found.process.child.poll() is not None:
            found = cls.running[name, what] = cls(name)
        return found


class InBrowser:
    """The same as over_link.InPython, in a browser."""

    def __init__(self, plan):
        sends = plan["do"] == "send"
        stream = {"kind": "video", "direction": "sendonly" if sends else "recvonly", "codecs": [plan["codec"]], "measured": True,
                  "width": scene.WIDTH, "height": scene.HEIGHT, "fps": scene.FPS, "frames": int((plan["seconds"] + 0.5) * scene.FPS), "most": plan["most"] * 1000}
        if not sends:
            del stream["codecs"]
        page = {"role": plan["role"], "dir": plan["dir"], "timeout": plan["limit"] + 20, "streams": [stream], "start": plan["kbit"]}
        self.out = plan["out"]
        self.name, self.limit = plan["peer"], plan["limit"] + 25
        self.browser = Separate.of(plan["peer"], plan["do"])
        self.number = self.browser.command(do="call", plan=page)
        self.over = False

    def result(self):
        answer = self.browser.wait(self.number, self.limit)
        self.over = True
        (line,) = foreign.unwrap(self.name, answer, self.browser.process)["streams"]
        sent, received = line.get("sent") or {}, line.get("received") or {}
        result = {"sent": sent.get("times", []), "counts": sent.get("counts", []), "seen": received.get("seen", []), "shown": True, "cpu": [],
                  "stats": {name: value for name, value in {**sent, **received}.items() if not isinstance(value, list)}}
        pathlib.Path(self.out).write_text(json.dumps(result))
        return result

    def close(self):
        if not self.over:
            self.browser.command(do="cancel", call=self.number)
