#!/usr/bin/env node
// SPDX-License-Identifier: MPL-2.0
// Chromium or Firefox with data channels: `browser_data.mjs chromium|firefox PLAN`, PLAN as JSON:
// {"role": "offer"|"answer", "dir": FOLDER, "send": COUNT, "size": BYTES, "kind": "text"|"binary"|"both", "echo": BOOL,
//  "pattern": BOOL (bytes that tell their place), "numbers": BOOL (messages that are their number), "options": RTCDataChannelInit}. The result is one JSON object in the last line: what came, by label.
import { createServer } from 'node:http';
import { launch } from './browser_launch.mjs';
import { Meeting } from './file_signalling.mjs';

const [, , name, text] = process.argv;
const plan = JSON.parse(text);

function onlyLocal(sdp) {
  const lines = sdp.split('\r\n');
  const udp = (line) => line.startsWith('a=candidate:') && / udp /i.test(line);
  const address = (line) => line.split(' ')[4];
  const loopback = lines.some((line) => udp(line) && address(line) === '127.0.0.1');
  const wanted = (line) => udp(line) && (loopback ? address(line) === '127.0.0.1' : /^[\d.]+$/.test(address(line)));
  return lines.filter((line) => !line.startsWith('a=candidate:') || wanted(line)).join('\r\n');
}

const server = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>'));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${server.address().port}/`;
// What is measured may take its time: the test has a limit of its own.
const { browser, close } = await launch(name, { options: { protocolTimeout: 0 } });
if (name === 'chromium') await browser.defaultBrowserContext().overridePermissions(url, ['camera', 'microphone']);
const page = await browser.newPage();
await page.goto(url);

// Runs in the page. Message n has its number in its first bytes, and n % 256 in all others.
await page.evaluate((given) => {
  const pc = new RTCPeerConnection();
  const came = {};
  const decoder = new TextDecoder();
  let ended;
  const over = new Promise((resolve) => { ended = resolve; });
  const watch = (channel) => {
    const about = came[channel.label] = { protocol: channel.protocol, ordered: channel.ordered, id: channel.id, maxRetransmits: channel.maxRetransmits,
      maxPacketLifeTime: channel.maxPacketLifeTime, messages: 0, bytes: 0, text: 0, empty: 0, wrong: 0, closed: false, first: [] };
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({ data }) => {
      const isText = typeof data === 'string';
      const size = isText ? new TextEncoder().encode(data).length : data.byteLength;
      about.begin ??= performance.now();
      about.end = performance.now();
      if (about.first.length < 8) about.first.push(isText ? ['text', data.slice(0, 40)] : ['binary', size]);
      if (given.pattern && !isText) {
        const bytes = new Uint8Array(data);
        // The position in the file, modulo 251, in each byte.
        for (let at = 0; at < bytes.length; at += 1) if (bytes[at] !== (about.bytes + at) % 251) { about.wrong += 1; break; }
      }
      if (given.numbers && Number(isText ? data : decoder.decode(data)) !== about.messages) about.wrong += 1;
      about.messages += 1;
      about.bytes += size;
      about.text += isText;
      about.empty += size === 0;
      if (given.echo) channel.send(data);
    };
    channel.onclose = () => { about.closed = true; ended(); };
  };
  pc.ondatachannel = ({ channel }) => watch(channel);
  pc.onconnectionstatechange = () => { if (['closed', 'failed', 'disconnected'].includes(pc.connectionState)) ended(); };
  const gathered = async () => {
    if (pc.iceGatheringState !== 'complete') {
      await new Promise((resolve) => { pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve(); });
    }
    return pc.localDescription.sdp;
  };
  let own;
  if (given.send || given.role === 'offer') own = pc.createDataChannel('of the browser', { protocol: 'test', ...given.options });
  const send = async () => {
    if (own.readyState !== 'open') await new Promise((resolve) => { own.onopen = resolve; });
    own.bufferedAmountLowThreshold = 1 << 18;
    const begin = performance.now();
    for (let number = 0; number < given.send; number += 1) {
      if (own.bufferedAmount > 1 << 20) await new Promise((resolve) => { own.onbufferedamountlow = resolve; });
      const isText = given.kind === 'text' || (given.kind === 'both' && number % 2 === 1);
      if (isText) own.send(`${number}\n`);
      else if (given.kind === 'both') own.send(new TextEncoder().encode(`${number}\n`));
      else own.send(new Uint8Array(given.size).map((_, at) => (number * given.size + at) % 251));
    }
    own.close();
    await new Promise((resolve) => { own.onclose = resolve; });
    return (performance.now() - begin) / 1000;
  };
  window.peer = {
    offer: async () => { await pc.setLocalDescription(await pc.createOffer()); return gathered(); },
    finish: (sdp) => pc.setRemoteDescription({ type: 'answer', sdp }),
    answer: async (sdp) => { await pc.setRemoteDescription({ type: 'offer', sdp }); await pc.setLocalDescription(await pc.createAnswer()); return gathered(); },
    result: async () => {
      let seconds;
      if (given.send) seconds = await send(); else await over;
      return { came, seconds, state: pc.connectionState };
    },
  };
}, plan);

const ask = (method, ...words) => page.evaluate((what, given) => window.peer[what](...given), method, words);
const meeting = new Meeting(plan.dir);
try {
  if (plan.role === 'offer') {
    await meeting.write('offer', onlyLocal(await ask('offer')));
    await ask('finish', await meeting.read('answer'));
  } else {
    await meeting.write('answer', onlyLocal(await ask('answer', await meeting.read('offer'))));
  }
  const result = await ask('result');
  await meeting.bye();
  console.log(JSON.stringify(result));
} finally {
  await close();
  server.close();
}
