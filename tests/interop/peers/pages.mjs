#!/usr/bin/env node
// SPDX-License-Identifier: MPL-2.0
// A person with a browser before the page of our WHEP server (the player) or of our WHIP server (the publisher):
//
//   pages.mjs --browser chromium|firefox --url http://127.0.0.1:8080/ --page player|publisher [options]
//
// --expect STATE,…   waits for these states, one after the other; default: live. States: see the page's `window.rswebrtc`
// --seconds N        stays as long after the last of them; default 3
// --timeout N        for all of --expect together; default 30
// --token T          typed into the page's form when it asks
// --click ID,…       presses these buttons in turn once all is as expected: mute, details, screen, stop…
// --camera N, --microphone N   the publisher's choice by its place in the list (0: none); default: as the page has it.
//                    Chromium has three cameras, of which 2 gives a format that it cannot encode
// --steer X,Y        of the page: moves the mouse there, presses left and right, turns the wheel, types Enter and Shift+A, and holds x down
// --intrude          opens a data channel 'input' of its own and sends a movement, whatever the page does
// --screenshot FILE  of the page at the end, as PNG
// --size 390x844     of the window; default 1280x720
// --ignore-certificate-errors  a self-signed certificate will do
//
// Any host name means this machine: http://camera.example:8080/ is a page that comes neither by https nor from localhost.
//
// Prints a line {"at": SECONDS, "state": …, "status": TEXT} for each change that the person sees, and at the end one line
//   {"result": {"ok": BOOL, "error"?, "states": [those lines], "seen": {"status": TEXT}, "stats": the page's own numbers,
//    "video": {"framesDecoded", "framesSent", "width", "height"}, "audio": {"bytes", "energy", "level"}, "bandwidth": what Chromium
//    thinks that it may send, in bit/s, "avOffset": MS or null
//    (the sound is ahead of the picture by so much; the median of the stay), "pace": {"frames", "seconds", "gap"} (what was
//    decoded in the stay, and the longest time in s without a new picture), "requests": [{"method", "url", "status"}],
//    "foreign": [URLs of other origins], "errors": [uncaught errors and messages of the console]}}
// Of the last DELETE, which outlives the page, Chromium tells nothing: the server knows.
// Exit status 0 if all was as expected. SIGTERM ends it early, with the result so far. The person always leaves the page, so
// that it hangs up, before the browser is closed.
import { parseArgs } from 'node:util';
import { launch } from './browser_launch.mjs';

const { values: options } = parseArgs({
  options: {
    browser: { type: 'string', default: 'chromium' },
    url: { type: 'string' },
    page: { type: 'string', default: 'player' },
    expect: { type: 'string', default: 'live' },
    seconds: { type: 'string', default: '3' },
    timeout: { type: 'string', default: '30' },
    token: { type: 'string' },
    click: { type: 'string', default: '' },
    camera: { type: 'string' },
    microphone: { type: 'string' },
    steer: { type: 'string' },
    intrude: { type: 'boolean', default: false },
    screenshot: { type: 'string' },
    size: { type: 'string', default: '1280x720' },
    'ignore-certificate-errors': { type: 'boolean', default: false },
  },
});
if (!options.url || !['chromium', 'firefox'].includes(options.browser) || !['player', 'publisher'].includes(options.page)) {
  console.error('usage: pages.mjs --browser chromium|firefox --url URL --page player|publisher [options: see the file]');
  process.exit(2);
}
const publisher = options.page === 'publisher';
const ORIGIN = new URL(options.url).origin;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// As a person has it: no sound before a click; a camera and a microphone, allowed.
const SETTINGS = {
  flags: [
    '--host-resolver-rules=MAP * 127.0.0.1',
    '--autoplay-policy=document-user-activation-required',
    '--use-fake-device-for-media-stream=device-count=3', '--use-fake-ui-for-media-stream', '--auto-select-desktop-capture-source=Entire screen',
  ],
  prefs: { 'media.autoplay.default': 1, 'network.dns.forceResolve': '127.0.0.1' },
  options: { acceptInsecureCerts: options['ignore-certificate-errors'] },
};

const result = { ok: false, states: [], requests: [], foreign: [], errors: [] };
const began = Date.now();
let stopped = false;
process.on('SIGTERM', () => { stopped = true; });
process.on('SIGINT', () => { stopped = true; });

/** Notes what the person sees, in the page, from its first moment. */
function notice() {
  window.noticed = [];
  let last = '';
  const look = () => {
    const [state, status] = [document.body?.dataset.state, document.getElementById('status')?.textContent];
    if (!status || `${state} ${status}` === last) return;
    last = `${state} ${status}`;
    window.noticed.push({ at: Date.now(), state, status });
  };
  document.addEventListener('DOMContentLoaded', () => {
    const all = { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ['data-state'] };
    new MutationObserver(look).observe(document.body, all);
    look();
  });
}

function listen(page) {
  page.on('pageerror', (error) => result.errors.push(error.message));
  page.on('console', (message) => {
    // What a refused request says is in `requests`.
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) result.errors.push(message.text());
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (/^https?:|^wss?:/.test(url.protocol) && url.origin !== ORIGIN) result.foreign.push(request.url());
  });
  page.on('response', (response) => {
    const request = response.request();
    if (/^http/.test(request.url())) result.requests.push({ method: request.method(), url: request.url(), status: response.status() });
  });
}

/** Takes what was noticed since the last time; types the token where one is asked for. */
let typed = false;
async function news(page) {
  const lines = await page.evaluate(() => window.noticed.splice(0));
  for (const line of lines) {
    line.at = (line.at - began) / 1000;
    result.states.push(line);
    say(line);
  }
  if (options.token !== undefined && !typed && lines.some((line) => line.state === 'token')) {
    typed = true;
    await page.type('#token', options.token);
    await page.keyboard.press('Enter');
  }
}

async function expectStates(page) {
  const end = Date.now() + Number(options.timeout) * 1000;
  let from = 0;
  for (const wanted of options.expect.split(',')) {
    for (;;) {
      await news(page);
      const found = result.states.findIndex((line, place) => place >= from && line.state === wanted);
      if (found >= 0) {
        from = found + 1;
        break;
      }
      if (stopped) throw new Error(`ended before '${wanted}'`);
      if (Date.now() > end) throw new Error(`'${wanted}' did not come within ${options.timeout} s`);
      await pause(50);
    }
  }
}

async function stay(page, seconds) {
  const end = Date.now() + seconds * 1000;
  const looks = [];
  while (Date.now() < end && !stopped) {
    await news(page);
    looks.push(await page.evaluate(playing));
    await pause(50);
  }
  const known = looks.map(({ offset }) => offset).filter((one) => one !== null).sort((one, other) => one - other);
  result.avOffset = known[Math.floor(known.length / 2)] ?? null;
  result.pace = pace(looks);
}

/** How evenly pictures came. */
function pace(looks) {
  const [first, last] = [looks[0], looks.at(-1)];
  let [gap, grew] = [0, first];
  for (const look of looks) {
    gap = Math.max(gap, look.at - grew.at);
    if (look.frames !== grew.frames) grew = look;
  }
  return first && { frames: last.frames - first.frames, seconds: (last.at - first.at) / 1000, gap: gap / 1000 };
}

/**
 * Pictures decoded by now, and by how much the sound that is heard was captured after the picture that is seen, in ms; sender
 * reports make them comparable.
 */
async function playing() {
  const reports = window.rswebrtc.pc ? [...(await window.rswebrtc.pc.getStats()).values()] : [];
  const [picture, sound] = ['video', 'audio'].map((kind) => reports.find((one) => one.type === 'inbound-rtp' && one.kind === kind));
  const [shown, heard] = [picture?.estimatedPlayoutTimestamp, sound?.estimatedPlayoutTimestamp];
  return { at: performance.now(), frames: picture?.framesDecoded ?? 0, offset: shown && heard ? heard - shown : null };
}

/** The publisher's buttons: which devices, and start; unless the page says that it cannot. */
async function publish(page) {
  await page.waitForSelector('#start:not(:disabled), body:not([data-state="idle"])', { timeout: 15000 });
  if (await page.$('#start:disabled')) return;
  for (const list of ['camera', 'microphone']) {
    if (options[list] === undefined) continue;
    const choice = await page.$eval(`#${list}`, (select, place) => select.options[place]?.value, Number(options[list]));
    if (choice === undefined) throw new Error(`the list '${list}' has no entry ${options[list]}`);
    await page.select(`#${list}`, choice);
  }
  await page.click('#start');
}

/** The numbers of the page and of its connection, read in the page. */
async function measure() {
  const { pc, stats, state } = window.rswebrtc;
  const found = { status: document.getElementById('status').textContent, state, stats: { ...stats } };
  const reports = pc ? [...(await pc.getStats()).values()] : [];
  const of = (type, kind) => reports.find((one) => one.type === type && one.kind === kind);
  const [picture, sound, sent] = [of('inbound-rtp', 'video'), of('inbound-rtp', 'audio'), of('outbound-rtp', 'video')];
  const video = document.querySelector('video');
  found.video = {
    framesDecoded: picture?.framesDecoded ?? 0,
    framesShown: video?.getVideoPlaybackQuality?.().totalVideoFrames ?? 0,
    framesSent: sent?.framesSent ?? sent?.framesEncoded ?? 0,
    width: video?.videoWidth ?? 0,
    height: video?.videoHeight ?? 0,
    muted: video?.muted,
  };
  found.bandwidth = Math.max(0, ...reports.filter((one) => one.type === 'candidate-pair').map((one) => one.availableOutgoingBitrate ?? 0));
  const out = of('outbound-rtp', 'audio');
  found.audio = { bytes: (sound ?? out)?.bytesReceived ?? out?.bytesSent ?? 0, energy: sound?.totalAudioEnergy ?? 0, level: sound?.audioLevel ?? 0 };
  return found;
}

/** Mouse and keyboard; whether the page says that they go to the stream. */
async function steer(page, [x, y]) {
  result.steers = await page.waitForSelector('body.steers', { timeout: 5000 }).then(() => true, () => false);
  await page.mouse.move(x - 50, y - 50);
  await page.mouse.move(x, y);
  for (const button of ['left', 'right']) await page.mouse.click(x, y, { button });
  await page.mouse.wheel({ deltaY: 120 });
  await page.keyboard.press('Enter');
  await page.keyboard.down('Shift');
  await page.keyboard.press('A');
  await page.keyboard.up('Shift');
  await page.keyboard.down('x');
}

/** A viewer that does not ask the page. */
function intrude() {
  const add = RTCPeerConnection.prototype.addTransceiver;
  RTCPeerConnection.prototype.addTransceiver = function addWithChannel(...what) {
    if (!this.intruder) {
      this.intruder = this.createDataChannel('input');
      this.intruder.onopen = () => this.intruder.send('{"event": "MouseMove", "x": 1, "y": 2}');
    }
    return add.apply(this, what);
  };
}

async function visit(browser) {
  const page = (await browser.pages())[0] ?? await browser.newPage();
  const [width, height] = options.size.split('x').map(Number);
  await page.setViewport({ width, height });
  listen(page);
  await page.evaluateOnNewDocument(notice);
  if (options.intrude) await page.evaluateOnNewDocument(intrude);
  await page.goto(options.url, { waitUntil: 'domcontentloaded' });
  try {
    if (publisher) await publish(page);
    await expectStates(page);
    for (const id of options.click.split(',').filter(Boolean)) await page.click(`#${id}`);
    if (options.steer) await steer(page, options.steer.split(',').map(Number));
    await stay(page, Number(options.seconds));
    result.ok = true;
  } finally {
    const { state, status, ...numbers } = await page.evaluate(measure);
    Object.assign(result, { seen: { state, status } }, numbers);
    if (options.screenshot) await page.screenshot({ path: options.screenshot });
    const asked = result.requests.length;
    await page.goto('about:blank');
    // The page's last request outlives it; the browser must too.
    for (let waited = 0; waited < 500 && result.requests.length === asked; waited += 50) await pause(50);
  }
}

const { browser, close } = await launch(options.browser, SETTINGS);
try {
  await visit(browser);
} catch (error) {
  result.error = String(error.message ?? error).split('\n')[0];
} finally {
  await close();
}
say({ result });
process.exit(result.ok ? 0 : 1);
