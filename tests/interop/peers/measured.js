// SPDX-License-Identifier: MPL-2.0
// Pictures of which is noted when each was drawn and when it arrived, and whether all of it did: those of benches/network/scene.py.
// Streams with `measured` in the plan: {"fps", "width", "height", "frames", "most": bit/s}. Times are of the wall clock, seconds.
'use strict';

const STRIPES = 4;
const NOISE = 288;
const clock = () => (performance.timeOrigin + performance.now()) / 1000;

/** The first rows of the stripes. */
const stripes = (height) => Array.from({ length: STRIPES }, (_, at) => Math.floor(Math.floor(((height - ROWS) * at) / (STRIPES - 1)) / 8) * 8);

/** The number in `stripe`, given the brightness (0 to 255) at a place, or null. */
function numberAt(width, bright) {
  let bits = '';
  for (let cell = 0; cell < CELLS; cell++) bits += bright(Math.floor((width * (cell + 0.5)) / CELLS)) > 125 ? '1' : '0';
  const number = parseInt(bits.slice(0, 20), 2);
  return parseInt(bits.slice(20), 2) === checkOf(number) ? number : null;
}

/** [number or null, whether all stripes have it, now]; `bright(x, y)` reads a picture of this size. */
function look(width, height, bright) {
  // A sender may have made the picture smaller: the places scale with it.
  const rows = stripes(360).map((first) => Math.floor(((first + ROWS / 2) * height) / 360));
  const found = rows.map((y) => numberAt(width, (x) => bright(x, y)));
  const number = found.find((one) => one !== null) ?? null;
  return [number, number !== null && found.every((one) => one === number), clock()];
}

class MeasuredPictures extends Pictures {
  constructor(stream) {
    super(stream);
    this.times = [];
    this.counts = [];
    const source = document.createElement('canvas');
    Object.assign(source, { width: 2 * NOISE, height: 2 * this.height });
    const context = source.getContext('2d');
    const noise = context.createImageData(source.width, source.height);
    for (let at = 0; at < noise.data.length; at += 4) {
      const grey = 104 + Math.floor(Math.random() * 48);
      noise.data.set([grey, grey, grey, 255], at);
    }
    context.putImageData(noise, 0, 0);
    this.noise = source;
  }

  draw() {
    const { context, width, height, drawn } = this;
    context.fillStyle = '#888';
    context.fillRect(NOISE, 0, width - NOISE, height);
    const random = (most) => Math.floor(Math.random() * most);
    context.drawImage(this.noise, random(NOISE), random(height), NOISE, height, 0, 0, NOISE, height);
    for (const first of stripes(height)) {
      context.save();
      context.translate(0, first);
      drawStamp(context, width, drawn);
      context.restore();
    }
    this.times.push([drawn, clock()]);
    this.request();
    this.drawn++;
  }

  /** The sender's limits, and its counters each half second. */
  async settle(sender, { most }) {
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) encoding.maxBitrate = most;
    parameters.degradationPreference = 'maintain-resolution';
    await sender.setParameters(parameters).catch(() => {});
    setInterval(async () => {
      for (const report of (await sender.getStats()).values()) {
        if (report.type === 'outbound-rtp') this.counts.push([clock(), report.framesSent ?? 0, report.targetBitrate ?? 0, report.bytesSent]);
      }
    }, 500);
  }
}

class MeasuredWatcher extends Watcher {
  constructor(track) {
    super(track);
    this.seen = [];
    if (window.MediaStreamTrackProcessor) this.process(track);
  }

  /** Each picture that is decoded (Chromium); several come at once when a lost packet has been repaired. */
  async process(track) {
    const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 60 }).readable.getReader();
    let luma = new Uint8Array(0);
    for (;;) {
      const { done, value: frame } = await reader.read();
      if (done) return;
      if (luma.length < frame.allocationSize()) luma = new Uint8Array(frame.allocationSize());
      const { width, height } = frame.visibleRect;
      const [{ offset, stride }] = await frame.copyTo(luma);
      frame.close();
      this.seen.push(look(width, height, (x, y) => luma[offset + y * stride + x]));
    }
  }

  /** Each picture that is shown: of those that are overtaken before, nothing is known. */
  watch(video) {
    if (window.MediaStreamTrackProcessor) return;
    const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const shown = () => {
      const { videoWidth: width, videoHeight: height } = video;
      if (width) {
        Object.assign(context.canvas, { width, height });
        context.drawImage(video, 0, 0);
        const { data } = context.getImageData(0, 0, width, height);
        this.seen.push(look(width, height, (x, y) => data[4 * (y * width + x) + 1]));
      }
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }
}
