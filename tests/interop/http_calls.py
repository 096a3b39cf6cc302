# SPDX-License-Identifier: MPL-2.0
"""Calls over HTTP: our elements as servers and clients in gst-launch-1.0, people with browsers, certificates."""

import datetime
import http.client
import ipaddress
import json
import re
import ssl
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import foreign
import gst

FPS = 30
LISTENING = re.compile(r"listening on (\S+), and (\S+) is a page")
# A server says so once its pipeline plays; debug builds and busy machines take their time.
START = 20

_ENCODERS = {
    "VP8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=300",
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=300 ! video/x-h264,profile=constrained-baseline",
}


def picture(codec, more="pattern=ball", pad="s.video_0"):
    """A live camera of 640x360 at 30 pictures a second, encoded; few key frames come without being asked for."""
    return f"videotestsrc is-live=true {more} ! video/x-raw,width=640,height=360,framerate={FPS}/1 ! {_ENCODERS[codec]} ! queue ! {pad}"


def sound(more="", pad="s.audio_0"):
    """A live microphone that hears a tone."""
    return f"audiotestsrc is-live=true {more} ! audio/x-raw,rate=48000,channels=2 ! opusenc ! queue ! {pad}"


def certificate(folder):
    """(certificate, key): PEM files of a certificate for this machine that nobody but the test trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rswebrtc test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(names, critical=False).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256()))
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return files


class Server:
    """A program that listens: its process, its endpoint's URL and that of its page."""

    def __init__(self, process):
        self.process = process
        _, line = process.out.wait_for(LISTENING, START) if LISTENING.search(process.out.text()) else process.err.wait_for(LISTENING, START)
        self.url, self.page = LISTENING.search(line).groups()

    @property
    def address(self):
        """(host, port)."""
        host, port = self.url.split("/")[2].rsplit(":", 1)
        return host, int(port)


class Person:
    """Somebody before one of our pages, in a browser: pages.mjs."""

    def __init__(self, process):
        self.process = process
        self.looked_at = 0.0

    def sees(self, state, seconds=30):
        """The page's words once it shows this state, after the last one that was waited for."""
        self.looked_at, line = self.process.out.wait_for(rf'^\{{"at".*"state":"{state}"', seconds, after=self.looked_at)
        return json.loads(line)["status"]

    def leave(self):
        """As if the time were up."""
        self.process.signal(gst.signal.SIGTERM)

    def result(self, seconds=60):
        """The account of the visit; AssertionError if the person was disappointed."""
        self.process.wait(seconds)
        lines = [line for line in self.process.out.text().splitlines() if line.startswith('{"result"')]
        if not lines:
            raise AssertionError(f"no result\n{self.process.report()}")
        return json.loads(lines[-1])["result"]


class HttpTest(gst.ProcessTest):
    """A test with an HTTP server; what it says on standard error is watched for secrets of `self.secrets`."""

    limit = 60

    def setUp(self):
        super().setUp()
        self.secrets = []
        self.addCleanup(self._keeps_secrets)

    def _keeps_secrets(self):
        for process in self.processes:
            for secret in self.secrets:
                # What a person types is on the command line of the person only.
                if process.name != "person" and secret in process.stderr() + process.out.text():
                    raise AssertionError(f"{process.name} shows a token\n{process.report()}")

    def whep_server(self, *branches, more="", location="http://127.0.0.1:0/whep", name="server", flags="-e", **kwargs):
        """rswebrtcsink that serves these branches (each ends in a pad of `s`)."""
        pipeline = f"rswebrtcsink name=s signaller=whep-server location={location} {more}  {'  '.join(branches)}"
        return Server(self.gst(pipeline, name, flags, stdin=gst.subprocess.DEVNULL, **kwargs).go())

    def whip_server(self, rest, more="", location="http://127.0.0.1:0/whip", name="server", flags="-e", **kwargs):
        """rswebrtcsrc that takes what is published; `rest` begins at a pad of `r`."""
        pipeline = f"rswebrtcsrc name=r signaller=whip-server location={location} {more}  {rest}"
        return Server(self.gst(pipeline, name, flags, stdin=gst.subprocess.DEVNULL, **kwargs).go())

    def viewer(self, url, rest, more="", name="viewer", flags="-e", **kwargs):
        """rswebrtcsrc that views; `rest` begins at a pad of `r`."""
        pipeline = f"rswebrtcsrc name=r signaller=whep-client location={url} {gst.LOCAL} {more}  {rest}"
        return self.gst(pipeline, name, flags, stdin=gst.subprocess.DEVNULL, **kwargs).go()

    def publisher(self, url, *branches, more="", name="publisher", flags="-e", **kwargs):
        """rswebrtcsink that publishes these branches (each ends in a pad of `s`)."""
        pipeline = f"rswebrtcsink name=s signaller=whip-client location={url} {gst.LOCAL} {more}  {'  '.join(branches)}"
        return self.gst(pipeline, name, flags, stdin=gst.subprocess.DEVNULL, **kwargs).go()

    def person(self, browser, url, page="player", **options):
        """Somebody opens `url`; options are those of pages.mjs, with `_` for `-`."""
        if foreign.left_out(browser):
            self.skipTest("RSWEBRTC_WITHOUT names it")
        argv = ["node", gst.PEERS / "pages.mjs", "--browser", browser, "--url", url, "--page", page]
        for option, value in options.items():
            argv += [f"--{option.replace('_', '-')}"] + ([] if value is True else [str(value)])
        return Person(self.process(argv, "person", stdin=gst.subprocess.DEVNULL).go())

    def check_visit(self, result, errors=()):
        """All went well for the person, and the page spoke with nobody else."""
        self.assertTrue(result["ok"], f"{result}\n{self.said()}")
        self.assertEqual(result["foreign"], [], result)
        strange = [error for error in result["errors"] if not any(re.search(known, error) for known in errors)]
        self.assertEqual(strange, [], result)


def arrivals(process, sink="seen"):
    """Times at which `fakesink name=seen silent=false` of `gst-launch-1.0 -v` took its buffers."""
    with process.out.changed:
        return [at for at, line in process.out.lines if f":{sink}: last-message = chain" in line]


def longest_gap(times):
    """The longest time between two that follow each other."""
    return max((later - earlier for earlier, later in zip(times, times[1:])), default=float("inf"))


def wait_for_arrivals(process, count, seconds, sink="seen"):
    """Until so many more buffers have come."""
    wanted = len(arrivals(process, sink)) + count
    gst.wait_until(lambda: len(arrivals(process, sink)) >= wanted, seconds, f"{count} more buffers\n{process.report()}")


def connection(address, tls=None, timeout=10):
    """An HTTP connection of the test's own; `tls`: the certificate to trust."""
    if tls is None:
        return http.client.HTTPConnection(*address, timeout=timeout)
    return http.client.HTTPSConnection(*address, timeout=timeout, context=ssl.create_default_context(cafile=str(tls)))


def request(address, method, path, body=None, headers=None, tls=None):
    """(status, headers, text) of one request."""
    link = connection(address, tls)
    try:
        link.request(method, path, body, headers or {})
        response = link.getresponse()
        return response.status, response.headers, response.read().decode(errors="replace")
    finally:
        link.close()


def wait_for_listener(address, seconds):
    """The moment at which somebody takes connections at `address`."""
    def open_():
        try:
            socket.create_connection(address, 1).close()
            return time.monotonic()
        except OSError:
            return None
    return gst.wait_until(open_, seconds, f"a listener at {address}")
