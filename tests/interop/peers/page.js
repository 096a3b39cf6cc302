// SPDX-License-Identifier: MPL-2.0
// One end of a call inside a browser. browser.mjs calls the methods of `Peer`; what a plan holds stands there.
'use strict';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves to the first true value of `probe`, asked each `ms`. */
async function until(probe, ms = 20) {
  for (;;) {
    const value = await probe();
    if (value) return value;
    await pause(ms);
  }
}

/** Numbered pictures on a canvas; each is captured when it has been drawn. */
class Pictures {
  constructor(wanted) {
    const { width = 320, height = 180, fps = 20, frames = 50, hue = 120 } = wanted;
    Object.assign(this, { wanted, width, height, fps, frames, hue, drawn: 0 });
    this.canvas = document.createElement('canvas');
    Object.assign(this.canvas, { width, height });
    document.body.append(this.canvas);
    this.context = this.canvas.getContext('2d');
    const stream = this.canvas.captureStream(0);
    this.track = stream.getVideoTracks()[0];
    this.request = () => (this.track.requestFrame ? this.track.requestFrame() : stream.requestFrame());
  }

  draw() {
    const { context, width, height, drawn } = this;
    context.fillStyle = `hsl(${this.hue} 50% 50%)`;
    context.fillRect(0, 0, width, height);
    context.fillStyle = '#fff';
    context.fillRect((drawn * 6) % width, height / 2, width / 8, height / 8);
    drawStamp(context, width, drawn);
    this.request();
    this.drawn++;
  }

  /** Takes the sender that `turns` are about. */
  settle(sender) {
    this.sender = sender;
  }

  /** What the plan wants changed of the sender's encodings before this picture. */
  async turn() {
    const turn = this.wanted.turns?.find((one) => one.at === this.drawn);
    if (!turn) return;
    const parameters = this.sender.getParameters();
    for (const encoding of parameters.encodings) Object.assign(encoding, turn.encodings[encoding.rid]);
    await this.sender.setParameters(parameters);
  }

  async run() {
    const begin = performance.now();
    while (this.drawn < this.frames) {
      await this.turn();
      this.draw();
      await pause(Math.max(0, begin + (this.drawn * 1000) / this.fps - performance.now()));
    }
  }
}

/** A tone, silent until `run`. */
class Tone {
  constructor({ seconds = 2.5 }, track) {
    this.seconds = seconds;
    this.track = track;
    track.enabled = false;
  }

  /** Chromium plays an oscillator; Firefox without a sound card has no clock for one, but its fake microphone hums. */
  static async make(stream) {
    if (navigator.userAgent.includes('Firefox')) {
      const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
      return new Tone(stream, microphone.getAudioTracks()[0]);
    }
    const sound = new AudioContext();
    const out = new MediaStreamAudioDestinationNode(sound);
    const oscillator = new OscillatorNode(sound, { frequency: 440 });
    oscillator.connect(new GainNode(sound, { gain: 0.5 })).connect(out);
    oscillator.start();
    await sound.resume();
    return new Tone(stream, out.stream.getAudioTracks()[0]);
  }

  async run() {
    this.track.enabled = true;
    await pause(this.seconds * 1000);
    this.track.enabled = false;
  }
}

/** Reads the number of every picture that the browser shows. */
class Watcher {
  constructor(track) {
    this.numbers = [];
    const element = document.createElement(track.kind);
    Object.assign(element, { autoplay: true, playsInline: true, muted: track.kind === 'video', srcObject: new MediaStream([track]) });
    document.body.append(element);
    element.play().catch(() => {});
    if (track.kind === 'video') this.watch(element);
  }

  watch(video) {
    const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const look = () => {
      const width = video.videoWidth;
      if (width) {
        Object.assign(context.canvas, { width, height: ROWS });
        context.drawImage(video, 0, 0, width, ROWS, 0, 0, width, ROWS);
        this.numbers.push(readStamp(context, width));
      }
      video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  }
}

class Peer {
  constructor(plan) {
    this.plan = plan;
    this.connection = new RTCPeerConnection();
    this.states = [];
    this.sources = new Map();
    this.watchers = new Map();
    this.preferred = new Map();
    this.connection.onconnectionstatechange = () => this.states.push(this.connection.connectionState);
    const Eye = plan.streams.some((stream) => stream.measured) ? MeasuredWatcher : Watcher;
    this.connection.ontrack = ({ transceiver, track }) => this.watchers.set(transceiver, new Eye(track));
  }

  static async source(stream) {
    if (!/send/.test(stream.direction)) return null;
    if (stream.kind === 'audio') return Tone.make(stream);
    return stream.measured ? new MeasuredPictures(stream) : new Pictures(stream);
  }

  prefer(transceiver, { kind, codecs, direction }) {
    if (!codecs) return;
    const side = /send/.test(direction) ? RTCRtpSender : RTCRtpReceiver;
    const known = side.getCapabilities(kind).codecs;
    const name = (codec) => codec.mimeType.split('/')[1].toLowerCase();
    const wanted = codecs.flatMap((codec) => known.filter((one) => name(one) === codec.toLowerCase())
      // Whole access units first: RFC 6184's packetization-mode 1.
      .sort((a, b) => /packetization-mode=1/.test(b.sdpFmtpLine) - /packetization-mode=1/.test(a.sdpFmtpLine)));
    if (!wanted.length) throw new Error(`no ${codecs} in this browser`);
    this.preferred.set(transceiver, wanted);
    // With what repairs them, as a page has it that prefers nothing.
    transceiver.setCodecPreferences([...wanted, ...known.filter((one) => ['rtx', 'red', 'ulpfec'].includes(name(one)))]);
    // A preference is what to receive; what an answerer sends follows the offer, unless it is named here.
    const sending = transceiver.sender.getParameters();
    if (/send/.test(direction) && sending.encodings?.length) {
      sending.encodings[0].codec = wanted[0];
      transceiver.sender.setParameters(sending).catch(() => {});
    }
  }

  async gathered() {
    await until(() => this.connection.iceGatheringState === 'complete');
    return this.connection.localDescription.sdp;
  }

  async offer() {
    for (const stream of this.plan.streams) {
      const source = await Peer.source(stream);
      const options = { direction: stream.direction };
      if (source) options.streams = [new MediaStream([source.track])];
      if (stream.encodings) options.sendEncodings = stream.encodings;
      const transceiver = this.connection.addTransceiver(source ? source.track : stream.kind, options);
      if (source) this.sources.set(transceiver, source);
      this.prefer(transceiver, stream);
    }
    if (this.plan.data) this.connection.createDataChannel('data');
    await this.connection.setLocalDescription();
    return this.gathered();
  }

  async answer(sdp) {
    await this.connection.setRemoteDescription({ type: 'offer', sdp });
    const left = [...this.connection.getTransceivers()];
    for (const stream of this.plan.streams) {
      const at = left.findIndex((one) => one.receiver.track.kind === stream.kind);
      if (at < 0) throw new Error(`the offer has no m-line for ${stream.kind}`);
      const [transceiver] = left.splice(at, 1);
      if (stream.direction === 'stopped') {
        transceiver.stop();
        continue;
      }
      const source = await Peer.source(stream);
      if (source) {
        this.sources.set(transceiver, source);
        await transceiver.sender.replaceTrack(source.track);
        transceiver.sender.setStreams?.(new MediaStream([source.track]));
      }
      transceiver.direction = stream.direction;
      this.prefer(transceiver, stream);
    }
    await this.connection.setLocalDescription();
    return this.gathered();
  }

  async finish(sdp) {
    // How a receiver tells Chromium the rate to start with.
    const begun = this.plan.start ? sdp.replace(/^a=fmtp:.*packetization-mode.*$/gm, `$&;x-google-start-bitrate=${this.plan.start}`) : sdp;
    await this.connection.setRemoteDescription({ type: 'answer', sdp: begun });
  }

  /** Until the connection is up; false when it has failed instead. */
  async connected() {
    return until(() => (this.states.includes('connected') ? 'yes' : this.states.includes('failed') && 'no')).then((word) => word === 'yes');
  }

  /** Chromium as answerer sends the first codec that it shares with the offer, whatever it prefers; this decides. */
  async insist() {
    if (this.plan.role !== 'answer' || navigator.userAgent.includes('Firefox')) return;
    for (const [transceiver, wanted] of this.preferred) {
      if (!this.sources.has(transceiver) || transceiver.receiver.track.kind !== 'video') continue;
      const agreed = transceiver.sender.getParameters().codecs.filter((one) => one.mimeType === wanted[0].mimeType);
      for (const codec of [...agreed, ...wanted]) if (await Peer.choose(transceiver.sender, codec)) break;
    }
  }

  /** Whether Chromium takes the codec for all encodings; of H264 it takes only profiles and levels that it lists itself. */
  static async choose(sender, codec) {
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) encoding.codec = codec;
    return sender.setParameters(parameters).then(() => true, () => false);
  }

  /** Sends all that the plan says; resolves when the last of it is out. */
  async send() {
    await this.insist();
    for (const [transceiver, source] of this.sources) await source.settle?.(transceiver.sender, source.wanted);
    await Promise.all([...this.sources.values()].map((source) => source.run()));
    // Firefox goes on with padding where it sends layers.
    const layered = this.plan.streams.some((stream) => stream.encodings);
    await this.steady('outbound-rtp', layered ? 'framesEncoded' : 'packetsSent', 'video', 300);
  }

  /** Until no more pictures come. */
  async drain() {
    await this.steady('inbound-rtp', 'framesDecoded', 'video', 400);
  }

  async steady(type, member, kind, ms) {
    const total = async () => {
      let sum = 0;
      for (const report of (await this.connection.getStats()).values()) if (report.type === type && report.kind === kind) sum += report[member] ?? 0;
      return sum;
    };
    let before = -1;
    await until(async () => {
      const now = await total();
      const same = now === before;
      before = now;
      return same;
    }, ms);
  }

  /** What each m-line sent and received, in their order. */
  async result() {
    const streams = [];
    for (const transceiver of this.connection.getTransceivers()) {
      const line = { mid: transceiver.mid, kind: transceiver.receiver.track.kind, direction: transceiver.currentDirection };
      const source = this.sources.get(transceiver);
      if (source) line.sent = { drawn: source.drawn, times: source.times, counts: source.counts, ...await Peer.figures(transceiver.sender, 'outbound-rtp') };
      const watcher = this.watchers.get(transceiver);
      if (watcher) line.received = { ...await Peer.figures(transceiver.receiver, 'inbound-rtp'), numbers: watcher.numbers, seen: watcher.seen };
      streams.push(line);
    }
    const pair = await this.pair();
    return { states: this.states, streams, pair };
  }

  static async figures(end, type) {
    const reports = [...(await end.getStats()).values()];
    const rtp = reports.filter((one) => one.type === type);
    const sum = (member) => rtp.reduce((total, one) => total + (one[member] ?? 0), 0);
    const codec = reports.find((one) => rtp.length && one.id === rtp[0].codecId);
    const figures = { codec: codec?.mimeType ?? null, fmtp: codec?.sdpFmtpLine ?? null };
    const members = type === 'outbound-rtp'
      ? ['packetsSent', 'framesEncoded', 'framesSent', 'retransmittedPacketsSent']
      : ['packetsReceived', 'packetsLost', 'fecPacketsReceived', 'fecPacketsDiscarded', 'framesReceived', 'framesDecoded', 'framesDropped', 'freezeCount', 'nackCount', 'pliCount', 'retransmittedPacketsReceived', 'totalAudioEnergy', 'totalSamplesReceived'];
    for (const member of members) figures[member] = sum(member);
    figures.width = Math.max(0, ...rtp.map((one) => one.frameWidth ?? 0));
    figures.ssrcs = rtp.length;
    figures.scalability = rtp[0]?.scalabilityMode ?? null;
    return figures;
  }

  async pair() {
    const reports = await this.connection.getStats();
    const chosen = [...reports.values()].find((one) => one.type === 'candidate-pair' && one.nominated && one.state === 'succeeded');
    const address = (id) => reports.get(id)?.address ?? null;
    return chosen ? [address(chosen.localCandidateId), address(chosen.remoteCandidateId)] : null;
  }

  close() {
    this.connection.close();
  }
}

window.peers = {};
