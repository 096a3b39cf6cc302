#!/usr/bin/env node
// SPDX-License-Identifier: MPL-2.0
// WHIP and WHEP clients of others, from npm, in Chromium on a page of another origin than the server's:
//
//   npm_clients.mjs --client whip-whep|eyevinn --role publish|view --url URL [--token T] [--frames N]
//
// Goes on until N pictures are sent or decoded (default 60), then ends the call as the client does it. Prints one line
//   {"result": {"error"?, "video": {"frames", "width", "height", "codec"}, "audio": {"bytes"},
//    "requests": [{"method", "path", "status"}], "errors": [uncaught errors and messages of the console]}}
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { launch, packages } from './browser_launch.mjs';

const { values: options } = parseArgs({
  options: {
    client: { type: 'string' },
    role: { type: 'string' },
    url: { type: 'string' },
    token: { type: 'string' },
    frames: { type: 'string', default: '60' },
  },
});

// Advertisements: not for a page without a bundler, and never called here.
const LEFT_OUT = new Set(['@eyevinn/csai-manager']);

/** All CommonJS modules that `name` needs, as one script that puts what it exports into window[name]. */
function bundle(name) {
  const modules = new Map();
  const add = (path) => {
    if (modules.has(path)) return path;
    modules.set(path, '');
    const near = createRequire(path);
    const find = (wanted) => near.resolve(wanted.startsWith('.') || wanted.includes('/') ? wanted : `${wanted}/`);
    const put = (_, _quote, wanted) => (LEFT_OUT.has(wanted) ? '({})' : `require(${JSON.stringify(add(find(wanted)))})`);
    const source = readFileSync(path, 'utf8').replace(/\brequire\(\s*(["'])([^"']+)\1\s*\)/g, put);
    modules.set(path, source);
    return path;
  };
  const first = add(createRequire(join(packages('puppeteer-core'), 'x.js')).resolve(name));
  const functions = [...modules].map(([path, source]) => `${JSON.stringify(path)}: (module, exports, require) => {${source}\n}`);
  return `(() => { const all = {${functions.join(',\n')}}; const made = {}; const global = window;
    const require = (path) => { if (!made[path]) { made[path] = { exports: {} }; all[path](made[path], made[path].exports, require); } return made[path].exports; };
    window[${JSON.stringify(name)}] = require(${JSON.stringify(first)}); })();`;
}

const FILES = {
  'whip-whep': { '/whip.js': 'whip-whep/whip.js', '/whep.js': 'whip-whep/whep.js' },
  eyevinn: {},
}[options.client];

/** A page of our own with the client's files beside it. */
function serve() {
  const server = createServer((request, response) => {
    const file = FILES[request.url] && join(packages('puppeteer-core'), 'node_modules', FILES[request.url]);
    const found = file && existsSync(file);
    response.writeHead(found ? 200 : request.url === '/' ? 200 : 404, { 'content-type': found ? 'text/javascript' : 'text/html' });
    response.end(found ? readFileSync(file) : '<!doctype html><link rel="icon" href="data:,"><video id="video" autoplay muted playsinline></video>');
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

// What runs in the page: starts the call, keeps `window.call` = {pc(), stop()}.
const STARTS = {
  'whip-whep publish': async ({ url, token }) => {
    const { WHIPClient } = await import('/whip.js');
    const media = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    const pc = new RTCPeerConnection();
    for (const track of media.getTracks()) pc.addTransceiver(track, { direction: 'sendonly' });
    const client = new WHIPClient();
    await client.publish(pc, url, token);
    window.call = { pc: () => pc, stop: () => client.stop() };
  },
  'whip-whep view': async ({ url, token }) => {
    const { WHEPClient } = await import('/whep.js');
    const pc = new RTCPeerConnection();
    pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.ontrack = ({ streams }) => { document.getElementById('video').srcObject = streams[0]; };
    const client = new WHEPClient();
    await client.view(pc, url, token);
    window.call = { pc: () => pc, stop: () => client.stop() };
  },
  'eyevinn publish': async ({ url, token }) => {
    const { WHIPClient } = window['@eyevinn/whip-web-client'];
    const media = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    const client = new WHIPClient({ endpoint: url, opts: { authkey: token, iceServers: [] } });
    await client.ingest(media);
    window.call = { pc: () => client.peer, stop: () => client.destroy() };
  },
  'eyevinn view': async ({ url, token }) => {
    const { WebRTCPlayer } = window['@eyevinn/webrtc-player'];
    const player = new WebRTCPlayer({ video: document.getElementById('video'), type: 'whep', iceServers: [] });
    // Its key is the whole header.
    await player.load(new URL(url), `Bearer ${token}`);
    window.call = { pc: () => player.peer, stop: () => player.unload() };
  },
};

/** What the connection's own counters say, read in the page. */
async function count() {
  const pc = window.call.pc();
  const reports = pc ? [...(await pc.getStats()).values()] : [];
  const of = (kind) => reports.find((one) => /^(in|out)bound-rtp$/.test(one.type) && one.kind === kind) ?? {};
  const [picture, sound] = [of('video'), of('audio')];
  const codec = reports.find((one) => one.id === picture.codecId)?.mimeType?.split('/')[1];
  return {
    video: { frames: picture.framesDecoded ?? picture.framesSent ?? 0, width: picture.frameWidth ?? 0, height: picture.frameHeight ?? 0, codec },
    audio: { bytes: sound.bytesReceived ?? sound.bytesSent ?? 0 },
  };
}

const result = { requests: [], errors: [] };
const server = await serve();
const { browser, close } = await launch('chromium', { flags: ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'] });
try {
  const page = (await browser.pages())[0];
  const { port } = server.address();
  page.on('pageerror', (error) => result.errors.push(error.message));
  page.on('console', (message) => message.type() === 'error' && result.errors.push(message.text()));
  page.on('response', (response) => {
    const [request, url] = [response.request(), new URL(response.url())];
    if (url.port !== String(port)) result.requests.push({ method: request.method(), path: url.pathname, status: response.status() });
  });
  // An answer whose body nobody reads counts as failed too.
  page.on('requestfailed', (request) => request.response() || result.errors.push(`${request.method()} ${request.url()}: ${request.failure()?.errorText}`));
  await page.goto(`http://127.0.0.1:${port}/`);
  if (options.client === 'eyevinn') await page.addScriptTag({ content: bundle(options.role === 'publish' ? '@eyevinn/whip-web-client' : '@eyevinn/webrtc-player') });
  await page.evaluate(STARTS[`${options.client} ${options.role}`], { url: options.url, token: options.token });
  const end = Date.now() + 20000;
  do {
    await new Promise((resolve) => setTimeout(resolve, 100));
    Object.assign(result, await page.evaluate(count));
  } while (result.video.frames < Number(options.frames) && Date.now() < end);
  await page.evaluate(() => window.call.stop());
} catch (error) {
  result.error = String(error.stack ?? error);
} finally {
  await close();
  server.close();
}
process.stdout.write(`${JSON.stringify({ result })}\n`);
process.exit(result.error ? 1 : 0);
