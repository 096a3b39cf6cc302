# SPDX-License-Identifier: MPL-2.0
"""What goes wrong is told on the bus, with the cause and the cure; nothing panics, hangs or gives a secret away."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import sys
import termios
import threading
import unittest

import gst
import media

# Words without which a sentence hardly says what to do.
CURE = r"\b(use|set|try|check|paste|start|restart|add|give|pass|install|make|choose|name|send|write|run|copy|need|needs|must|expected|should|instead|encode|allow)\b"


def offer_lines(*media_lines):
    """An offer with sound transport lines and these lines of media."""
    fingerprint = ":".join(["AB"] * 32)
    return "\r\n".join(["v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", *media_lines,
                        "c=IN IP4 0.0.0.0", "a=rtcp-mux", "a=mid:0", "a=sendonly", "a=setup:actpass", "a=ice-ufrag:EsAw",
                        "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", f"a=fingerprint:sha-256 {fingerprint}",
                        "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host", "a=end-of-candidates", ""])


def as_line(sdp, kind="offer"):
    return json.dumps({"sdp": sdp, "type": kind}).encode() + b"\n"


class ErrorTest(gst.ProcessTest):
    """One end alone, fed by the test."""

    def sender(self, more="", film=None, flags="", **kwargs):
        film = film or media.h264_mp4(4)
        return self.gst(f"filesrc location={film} ! {gst.demux(film)} ! s.video_0  rswebrtcsink name=s {gst.LOCAL} {more}", "sender", flags, **kwargs)

    def receiver(self, more="", flags="", **kwargs):
        self.recording = self.folder / "out.mp4"
        return self.gst(f"rswebrtcsrc {gst.LOCAL} {more} ! mp4mux ! filesink location={self.recording}", "receiver", flags, **kwargs)

    def real_offer(self, film=None):
        """The first message of a sender that goes on waiting for its answer."""
        sender = self.sender(film=film).go()
        _, line = sender.out.wait_for(r'"offer"', 15)
        return sender, json.loads(line[line.index("{"):])


class Input(ErrorTest):
    """What stands on standard input."""

    def test_not_json(self):
        """A notice on standard error, and the call goes on."""
        film = media.h264_mp4(4)
        sender, receiver = self.sender(film=film), self.receiver()
        noise = [b"this is not JSON\n", b"\n", b"   \n", b"{ \"sdp\": \n", b"[1, 2]\n", b"null\n", b"\xff\xfe\x00\n", b"{\"type\": 7}\n", b"{\"type\": \"dance\"}\n"]

        def with_noise(message, _origin):
            for target in (sender, receiver):
                for line in noise:
                    target.write(line)
            return message
        gst.Joint(sender, receiver, change=with_noise)
        self.expect_exit(sender, 0, 30)
        self.expect_exit(receiver, 0, 10)
        self.assertIsNone(media.difference(media.frame_hashes(film), media.frame_hashes(self.recording)))
        self.assertRegex(receiver.stderr() + receiver.out.text(), r"(?i)json|not a message|ignor|passed over|skipp", "a note on what was passed over")

    def test_only_rubbish_then_end(self):
        receiver = self.receiver().go()
        receiver.write(b"hello\nworld\n")
        receiver.close_stdin()
        self.expect_error(receiver, r"stdin|standard input", "offer", CURE)

    def test_closed_stdin_receiver(self):
        receiver = self.receiver().go()
        receiver.close_stdin()
        self.expect_error(receiver, r"stdin|standard input", "offer", CURE)

    def test_closed_stdin_sender(self):
        sender = self.sender().go()
        sender.out.wait_for(r'"offer"', 15)
        sender.close_stdin()
        self.expect_error(sender, r"stdin|standard input", "answer", CURE)

    def test_no_stdin_at_all(self):
        receiver = self.receiver(stdin=gst.subprocess.DEVNULL).go()
        self.expect_error(receiver, r"stdin|standard input", "offer", CURE)

    def test_answer_where_an_offer_is_due(self):
        _, offer = self.real_offer()
        receiver = self.receiver().go()
        receiver.write(as_line(offer["sdp"], "answer"))
        self.expect_error(receiver, "answer", "offer", CURE)

    def test_offer_where_an_answer_is_due(self):
        _, offer = self.real_offer()
        sender, _ = self.real_offer()
        sender.write(as_line(offer["sdp"], "offer"))
        self.expect_error(sender, "answer", "offer", CURE)

    def test_own_offer_pasted_back(self):
        """The commonest slip: told, and the call can still go on."""
        film = media.h264_mp4(4)
        sender, receiver = self.sender(film=film), self.receiver()

        def echo(message, origin):
            if message["type"] == "offer":
                sender.write(as_line(message["sdp"], "offer"))
            return message
        gst.Joint(sender, receiver, change=echo)
        self.expect_exit(sender, 0, 20)
        self.expect_exit(receiver, 0, 10)
        self.assertRegex(sender.stderr() + sender.out.text(), r"(?i)own offer")

    def test_bye_at_once(self):
        """Hanging up before the call begins is no crash and no hang."""
        receiver = self.receiver().go()
        receiver.write(b'{"type": "bye"}\n')
        self.expect_error(receiver, "bye", CURE, timeout=10)

    def test_bare_sdp_and_base64(self):
        """An offer without JSON around it, and one in base64 (of JSON, in one line), are taken too."""
        import base64
        _, offer = self.real_offer()
        for text in (offer["sdp"].encode() + b"\r\n", base64.b64encode(json.dumps(offer).encode()) + b"\n", base64.b64encode(offer["sdp"].encode()) + b"\n"):
            receiver = self.receiver().go()
            receiver.write(text)
            receiver.out.wait_for(r'"answer"', 10)
            receiver.kill()


class Descriptions(ErrorTest):
    """Offers and answers that cannot be."""

    def test_no_common_codec_av1(self):
        receiver = self.receiver("video-codecs=H264").go()
        receiver.write(as_line(offer_lines("m=video 9 UDP/TLS/RTP/SAVPF 45", "a=rtpmap:45 AV1/90000")))
        self.expect_error(receiver, "codec", "AV1", CURE)

    def test_no_common_codec_between_ours(self):
        _, offer = self.real_offer(media.vp8_webm(4))
        receiver = self.receiver("video-codecs=H264").go()
        receiver.write(as_line(offer["sdp"]))
        self.expect_error(receiver, "codec", "VP8", "H264", CURE)

    def test_answer_refuses_every_stream(self):
        """An answer with port 0 on each m-line."""
        sender, receiver = self.sender(), self.receiver()

        def refuse(message, origin):
            if message["type"] == "answer":
                message["sdp"] = re.sub(r"(?m)^m=video \d+", "m=video 0", message["sdp"])
            return message
        gst.Joint(sender, receiver, change=refuse)
        self.expect_error(sender, r"refus|reject|declin|no (common )?(codec|stream)|inactive|port 0", CURE)

    def test_malformed_sdp(self):
        broken = {
            "rubbish": "v=0\r\nthis is no session description\r\n",
            "cut": offer_lines("m=video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 H264/90000")[:150],
            "no ice": re.sub(r"a=ice-\S+\r\n", "", offer_lines("m=video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 H264/90000")),
            "no fingerprint": re.sub(r"a=fingerprint[^\r]*\r\n", "", offer_lines("m=video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 H264/90000")),
            "numbers": offer_lines("m=video 99999999999 UDP/TLS/RTP/SAVPF 96 -4 x", "a=rtpmap:96 H264/0", "a=rtpmap:999 VP8/90000"),
        }
        receivers = {}
        for what, sdp in broken.items():
            receivers[what] = self.receiver().go()
            receivers[what].write(as_line(sdp))
        for what, receiver in receivers.items():
            with self.subTest(what):
                self.expect_error(receiver, r"sdp|offer|description|codec|fingerprint|ice", CURE, timeout=20)

    def test_no_sdp_in_the_message(self):
        """Told at once: by an error, or by a warning and a further wait for a real one."""
        receivers = [self.receiver().go() for _ in range(2)]
        receivers[0].write(as_line(""))
        receivers[1].write(b'{"type": "offer"}\n')
        for receiver in receivers:
            gst.wait_until(lambda: re.search(r"(ERROR: from element|note:).*(sdp|offer)", receiver.stderr() + receiver.out.text()), 10, "a word about it")

    def wrong_fingerprint(self, in_kind):
        sender, receiver = self.sender(), self.receiver()

        def flip(message, _origin):
            if message["type"] == in_kind:
                message["sdp"] = re.sub(r"(a=fingerprint:\S+ )(\S\S)", lambda at: at[1] + ("00" if at[2] != "00" else "01"), message["sdp"])
            return message
        gst.Joint(sender, receiver, change=flip)
        # The end that checked the certificate knows why; the other one only that the call died.
        checked, other = (sender, receiver) if in_kind == "answer" else (receiver, sender)
        self.expect_error(checked, r"fingerprint|certificate", CURE, timeout=20)
        other.wait(20)

    def test_wrong_fingerprint_in_the_answer(self):
        self.wrong_fingerprint("answer")

    def test_wrong_fingerprint_in_the_offer(self):
        self.wrong_fingerprint("offer")

    def test_nobody_at_the_address(self):
        """ICE fails: the other end's candidates lead nowhere."""
        sender, receiver = self.sender(), self.receiver()

        def elsewhere(message, origin):
            # Each thinks the other is at the discard port.
            if "sdp" in message:
                message["sdp"] = re.sub(r"(a=candidate:\S+ \d+ \S+ \d+ \S+) \d+", r"\1 9", message["sdp"])
            return message
        gst.Joint(sender, receiver, change=elsewhere)
        self.expect_error(sender, r"\bice\b|connect", CURE, timeout=40)
        self.expect_exit(receiver, None, 20)


class Files(ErrorTest):
    """signaller=file where no file can be."""

    def test_a_file_as_parent(self):
        (self.folder / "plain").write_text("")
        place = self.folder / "plain" / "call"
        for end in (self.sender(f"signaller=file location={place}").go(), self.receiver(f"signaller=file location={place}").go()):
            self.expect_error(end, re.escape(str(place)), CURE)

    def test_no_location(self):
        for end in (self.sender("signaller=file").go(), self.receiver("signaller=file").go()):
            self.expect_error(end, "location", CURE)

    def test_rubbish_in_the_file(self):
        place = self.folder / "call"
        place.mkdir()
        receiver = self.receiver(f"signaller=file location={place}", stdin=gst.subprocess.DEVNULL).go()
        part = place / ".offer.part"
        part.write_text("{ this is no JSON")
        part.rename(place / "offer.json")
        # Either it is passed over as not ours (and a real call then works), or it is an error; never a crash.
        film = media.h264_mp4(4)
        sender = self.sender(f"signaller=file location={place}", film=film, stdin=gst.subprocess.DEVNULL).go()
        if receiver.wait(30) == 0:
            self.expect_exit(sender, 0, 10)
            self.assertIsNone(media.difference(media.frame_hashes(film), media.frame_hashes(self.recording)))
        else:
            self.assertRegex(receiver.stderr(), r"(?i)offer\.json|json")


class Secrets(ErrorTest):
    """The ICE password opens the call: it is in the signalling and nowhere else."""

    def call(self, debug):
        sender, receiver = self.sender(env={"GST_DEBUG": debug}), self.receiver(env={"GST_DEBUG": debug})
        joint = gst.Joint(sender, receiver)
        sender.err.wait_for(gst.NEGOTIATED, 40)
        receiver.err.wait_for(gst.NEGOTIATED, 40)
        secrets = {word for entry in joint.passed if "sdp" in entry.message for word in re.findall(r"a=ice-pwd:(\S+)", entry.message["sdp"])}
        self.assertEqual(len(secrets), 2, "one password of each end")
        return sender, receiver, secrets

    def test_not_in_our_log(self):
        sender, receiver, secrets = self.call("rswebrtc*:6")
        self.expect_exit(sender, 0, 30)
        self.expect_exit(receiver, 0, 10)
        self.check(sender, receiver, secrets)
        self.assertRegex(sender.stderr(), r"rswebrtc", "there is a log to look at")

    def test_not_in_any_log(self):
        sender, receiver, secrets = self.call("6")
        for end in (sender, receiver):
            end.signal(signal.SIGINT)
        for end in (sender, receiver):
            end.wait(20)
        self.check(sender, receiver, secrets)

    def check(self, sender, receiver, secrets):
        for end in (sender, receiver):
            for secret in secrets:
                at = end.stderr().find(secret)
                self.assertEqual(at, -1, f"{end.name} shows an ICE password: …{end.stderr()[max(0, at - 300):at]}")


class Terminal:
    """A pseudo-terminal in its usual mode with a program on it, and somebody who types."""

    def __init__(self, test, argv, name, env, cwd):
        self.name = name
        self.master, slave = pty.openpty()
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        test.assertTrue(self.before[3] & termios.ICANON, "the usual mode works by lines")
        self.seen = gst.Lines(f"terminal of {name}")

        def take_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.child = gst.subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd,
                                          start_new_session=True, preexec_fn=take_terminal)
        self.done = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        test.addCleanup(self.close)

    def _read(self):
        rest = b""
        while not self.done.is_set():
            if not select.select([self.master], [], [], 0.1)[0]:
                continue
            try:
                chunk = os.read(self.master, 65536)
            except OSError:
                break
            *whole, rest = re.split(rb"[\r\n]+", rest + chunk)
            for line in whole:
                self.seen.add(line.decode(errors="replace"))
            if rest and b"{" not in rest:
                # A prompt may end without a newline.
                self.seen.add(rest.decode(errors="replace"))
                rest = b""
        self.seen.end()

    def type(self, data):
        """What a paste does: as fast as the terminal takes it."""
        while data:
            data = data[os.write(self.master, data[:1024]):]

    def settings(self):
        return termios.tcgetattr(self.slave)

    def wait(self, timeout):
        try:
            return self.child.wait(timeout)
        except gst.subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout} s; on its terminal:\n{self.seen.text()[-3000:]}") from None

    def close(self):
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        self.done.set()
        self.reader.join(5)
        os.close(self.master)
        os.close(self.slave)
        if "panicked" in self.seen.text():
            raise AssertionError(f"a panic\n{self.seen.text()[-3000:]}")


class Pasting(ErrorTest):
    """People paste into terminals; those cut lines at 4096 bytes in their usual mode, and offers are longer."""

    def terminal(self, pipeline, name, flags="-e"):
        argv = ["gst-launch-1.0", *flags.split(), *gst.shlex.split(pipeline)]
        return Terminal(self, argv, name, gst.environment(), self.folder)

    def long_offer(self, length=20_000):
        """A real offer, made long by attributes that nobody knows."""
        sender, offer = self.real_offer()
        padding = "".join(f"a=x-padding-{number:04}:{'p' * 70}\r\n" for number in range((length - len(json.dumps(offer))) // 90 + 1))
        offer["sdp"] += padding
        line = json.dumps(offer).encode() + b"\n"
        self.assertGreater(len(line), length)
        return sender, line

    def receiving(self):
        self.recording = self.folder / "out.mp4"
        terminal = self.terminal(f"rswebrtcsrc {gst.LOCAL} ! mp4mux ! filesink location={self.recording}", "receiver")
        terminal.seen.wait_for(r"(?i)offer", 10)
        return terminal

    def check_restored(self, terminal, what):
        # Whoever restores it after a SIGKILL is another process: it may take a moment.
        try:
            gst.wait_until(lambda: terminal.settings() == terminal.before, 3, "restored")
        except AssertionError:
            self.fail(f"the terminal's settings after {what}: {terminal.settings()[:4]}, before: {terminal.before[:4]}")

    def test_20_kB(self):
        film = media.h264_mp4(4)
        sender, line = self.long_offer()
        terminal = self.receiving()
        terminal.type(line)
        _, answer = terminal.seen.wait_for(r'^\{.*"answer".*\}', 15)
        sender.write(answer[answer.index("{"):answer.rindex("}") + 1].encode() + b"\n")
        self.expect_exit(sender, 0, 30)
        self.assertEqual(terminal.wait(10), 0, terminal.seen.text()[-3000:])
        self.assertIsNone(media.difference(media.frame_hashes(film), media.frame_hashes(self.recording)))
        self.check_restored(terminal, "a whole call")

    def test_two_terminals(self):
        """Two people at two terminals, both with default settings."""
        film = media.h264_mp4(4)
        receiver = self.receiving()
        sender = self.terminal(f"filesrc location={film} ! qtdemux ! h264parse ! rswebrtcsink {gst.LOCAL}", "sender", "-e")
        _, offer = sender.seen.wait_for(r'^\{.*"offer".*\}', 15)
        receiver.type(offer[offer.index("{"):offer.rindex("}") + 1].encode() + b"\n")
        _, answer = receiver.seen.wait_for(r'^\{.*"answer".*\}', 15)
        sender.type(answer[answer.index("{"):answer.rindex("}") + 1].encode() + b"\n")
        self.assertEqual((sender.wait(20), receiver.wait(10)), (0, 0), sender.seen.text()[-3000:] + receiver.seen.text()[-3000:])
        self.assertIsNone(media.difference(media.frame_hashes(film), media.frame_hashes(self.recording)))
        for terminal in (sender, receiver):
            self.check_restored(terminal, "a whole call")

    def ended_by(self, how, what, during_call=False):
        terminal = self.receiving()
        if during_call:
            sender, line = self.long_offer()
            terminal.type(line)
            terminal.seen.wait_for(r'^\{.*"answer".*\}', 15)
        how(terminal)
        terminal.wait(10)
        self.check_restored(terminal, what)

    def test_settings_after_sigterm(self):
        self.ended_by(lambda terminal: terminal.child.send_signal(signal.SIGTERM), "SIGTERM")

    def test_settings_after_sigkill(self):
        self.ended_by(lambda terminal: terminal.child.send_signal(signal.SIGKILL), "SIGKILL")

    def test_settings_after_sigkill_with_an_answer_out(self):
        self.ended_by(lambda terminal: terminal.child.send_signal(signal.SIGKILL), "SIGKILL", during_call=True)

    def test_settings_after_ctrl_c(self):
        """Ctrl-C typed at the terminal still interrupts."""
        self.ended_by(lambda terminal: terminal.type(b"\x03"), "Ctrl-C")

    def test_settings_after_an_error(self):
        self.ended_by(lambda terminal: terminal.type(b'{"sdp": "v=0", "type": "answer"}\n'), "an error")

    def test_settings_while_stopped(self):
        """Ctrl-Z and back: the shell's terminal is usable in between, and pasting works after."""
        terminal = self.receiving()
        sender, line = self.long_offer()
        terminal.child.send_signal(signal.SIGSTOP)
        os.waitpid(terminal.child.pid, os.WUNTRACED)
        terminal.child.send_signal(signal.SIGCONT)
        terminal.type(line)
        terminal.seen.wait_for(r'^\{.*"answer".*\}', 15)
        terminal.type(b"\x03")
        terminal.wait(10)
        self.check_restored(terminal, "a stop")

    def test_prompt_says_what_to_do(self):
        terminal = self.receiving()
        self.assertRegex(terminal.seen.text(), r"(?i)paste")


if __name__ == "__main__":
    sys.exit(unittest.main())
