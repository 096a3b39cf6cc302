# SPDX-License-Identifier: MPL-2.0
"""Calls through a TURN server (coturn), and with STUN servers that do not answer."""

import re
import shutil
import socket
import sys
import time
import unittest

import gst
import media
from test_file_to_file import FilmTest

USER, PASSWORD = "somebody", "a-word-that-nobody-may-read"
SECONDS = 4


def only(kind):
    """For gst.Joint: keeps back all candidates but those of `kind`."""
    def change(message, _):
        if message["type"] == "candidate":
            return message if f"typ {kind}" in message["candidate"] else None
        if "sdp" in message:
            lines = message["sdp"].splitlines(keepends=True)
            message["sdp"] = "".join(line for line in lines if not line.startswith("a=candidate:") or f"typ {kind}" in line)
        return message
    return change


class ServerTest(FilmTest):
    """A film through a server, or past it."""

    limit = 60

    def coturn(self):
        """A TURN server on 127.0.0.1, whose relays reach each other and nothing else; its host and port."""
        program = shutil.which("turnserver")
        self.assertTrue(program, "coturn is missing: scripts/setup.sh --tests")
        port = gst.free_port(socket.SOCK_DGRAM)
        options = [f"--listening-ip=127.0.0.1 --relay-ip=127.0.0.4 --listening-port={port} --min-port=49152 --max-port=65535",
                   f"--lt-cred-mech --user={USER}:{PASSWORD} --realm=tests --allow-loopback-peers --denied-peer-ip=127.0.0.1-127.0.0.3 --no-cli --no-tls --no-dtls",
                   f"--userdb={self.folder}/turndb --pidfile={self.folder}/pid --log-file=stdout --simple-log --verbose -n"]
        self.server = self.process([program, *" ".join(options).split()], "coturn", cwd=self.folder).go()
        self.server.out.wait_for(r"Total General servers", 10)
        return f"127.0.0.1:{port}"

    def call(self, sender_more, receiver_more, kind=None, **kwargs):
        """Sends a film; the offer's message as the receiver saw it."""
        film, recording = media.vp8_webm(SECONDS), self.folder / "out.webm"
        sender, receiver = self.sender(film, sender_more, **kwargs), self.receiver(recording, receiver_more, **kwargs)
        joint = gst.Joint(sender, receiver, change=only(kind) if kind else None)
        self.both_end(sender, receiver)
        self.check_all(film, recording)
        return joint.of_type("offer")[0], sender, receiver

    @staticmethod
    def turn(server, password=PASSWORD):
        return f"""turn-servers='<"turn://{USER}:{password}@{server}">'"""


class Turn(ServerTest):
    """coturn between the two."""

    def test_a_film_passes_a_relay_whole(self):
        server = self.coturn()
        # No two of these addresses are one to the server, so no way is open but from relay to relay.
        ends = [f"{self.turn(server)} ice-addresses=127.0.0.{number}" for number in (2, 3)]
        offer, sender, receiver = self.call(*ends, kind="relay")
        self.assertIn("typ relay", offer.message["sdp"], self.said())
        for process in (sender, receiver):
            self.assertRegex(process.stderr(), r"transport: 127\.0\.0\.4:\d+ relay <-> 127\.0\.0\.4:\d+ relay")
            self.assertNotIn(PASSWORD, process.stderr())
        # What a call had of the server it gave back at its end.
        for _ in range(2):
            _, line = self.server.out.wait_for(r"(?i)refreshed.*lifetime=0", 10)
        self.note(f"offer after {offer.time - sender.started:.2f} s")

    def test_a_wrong_password_is_told_and_the_call_comes_about_without_the_relay(self):
        server = self.coturn()
        wrong = self.turn(server, "another-word-that-nobody-may-read")
        offer, sender, _ = self.call(wrong, "", env={"GST_DEBUG": "rswebrtc-peer:2"})
        self.assertNotIn("typ relay", offer.message["sdp"])
        self.assertRegex(sender.stderr(), rf"turn:{server}.*password.*401")
        self.assertNotIn("nobody-may-read", sender.stderr())


class Silent(ServerTest):
    """Servers that never answer."""

    def test_a_silent_stun_server_delays_a_call_by_two_seconds(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            silent.settimeout(10)
            server = f"127.0.0.1:{silent.getsockname()[1]}"
            begun = time.monotonic()
            offer, sender, _ = self.call(f"stun-server=stun://{server}", "", env={"GST_DEBUG": "rswebrtc-peer:2"})
            asked = silent.recv(2048)
        self.assertEqual(asked[:2], b"\x00\x01", "a binding request")
        self.note(f"offer after {offer.time - begun:.2f} s")
        self.assertLess(offer.time - begun, 2 + 4)
        self.assertRegex(sender.stderr(), rf"stun:{re.escape(server)}.*no answer")


if __name__ == "__main__":
    sys.exit(unittest.main())
