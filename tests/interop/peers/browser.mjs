#!/usr/bin/env node
// SPDX-License-Identifier: MPL-2.0
// Chromium or Firefox as the other end of many calls: `browser.mjs chromium|firefox`.
//
// Reads commands from standard input, one JSON object a line, and answers each with one line, in any order:
//   {"id": 1, "do": "call", "plan": PLAN}                      one whole call; signalling by files in PLAN.dir
//   {"id": 2, "do": "loopback", "plan": PLAN, "other": PLAN}   a call of the browser with itself
//   {"id": 3, "do": "cancel", "call": 1}                       ends call 1, if it still goes on
// Answers are {"id": …, "result": …} or {"id": …, "error": TEXT}; the first line is {"ready": VERSION}.
//
// PLAN: {"role": "offer"|"answer", "dir": FOLDER, "timeout": SECONDS, "streams": [STREAM…], "data": BOOL (a data channel in the
// offer), "describe": BOOL (only the descriptions, no media)}; a STREAM for each m-line: {"kind": "video"|"audio", "direction":
// "sendonly"|…|"stopped" (an answerer's), "codecs": ["VP8"…], "encodings": [{"rid": …}…], "turns": [{"at": PICTURE, "encodings": {RID: {"active": false}}}…], video: "frames", "fps",
// "width", "height", "measured" (measured.js); audio: "seconds"}; "start": kbit/s that a browser begins to send with. Who sends says bye at its end; who only receives waits for it.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { launch } from './browser_launch.mjs';
import { Meeting } from './file_signalling.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const PAGES = ['page.html', 'page.js', 'stamp.js', 'measured.js'];
const name = process.argv[2];
if (!['chromium', 'firefox'].includes(name)) {
  console.error('usage: browser.mjs chromium|firefox');
  process.exit(2);
}

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

async function serve() {
  const server = createServer(async (request, response) => {
    const page = request.url.slice(1);
    if (!PAGES.includes(page)) {
      response.writeHead(404).end();
      return;
    }
    const type = extname(page) === '.js' ? 'text/javascript' : 'text/html';
    response.writeHead(200, { 'content-type': type }).end(await readFile(join(HERE, page)));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${server.address().port}/page.html`;
}

/** The description with candidates of this machine only: those on 127.0.0.1, or (Firefox gathers none) those on IPv4. */
function onlyLocal(sdp) {
  const lines = sdp.split('\r\n');
  const address = (line) => line.split(' ')[4];
  const udp = (line) => line.startsWith('a=candidate:') && / udp /i.test(line);
  const loopback = lines.some((line) => udp(line) && address(line) === '127.0.0.1');
  const wanted = (line) => udp(line) && (loopback ? address(line) === '127.0.0.1' : /^[\d.]+$/.test(address(line)));
  return lines.filter((line) => !line.startsWith('a=candidate:') || wanted(line)).join('\r\n');
}

const url = await serve();
const { browser, close } = await launch(name);
if (name === 'chromium') {
  // A page that may not hear or see gathers the address of the default route alone.
  await browser.defaultBrowserContext().overridePermissions(new URL(url).origin, ['camera', 'microphone']);
}
const sessions = new Map();

async function open(session, plan) {
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(`${name}: ${error.message}`));
  await page.goto(url);
  await make(page, session, plan);
  sessions.set(session, page);
  return page;
}

const make = (page, session, plan) => page.evaluate((key, given) => { window.peers[key] = new Peer(given); }, session, plan);
/** Calls a method of the peer in the page. */
const ask = (page, session, method, ...words) => page.evaluate((key, what, given) => window.peers[key][what](...given), session, method, words);

async function shut(session) {
  const page = sessions.get(session);
  sessions.delete(session);
  if (!page) return;
  await page.evaluate(() => Object.values(window.peers).forEach((peer) => peer.close())).catch(() => {});
  await page.close();
}

async function call(plan, session) {
  const meeting = new Meeting(plan.dir);
  const page = await open(session, plan);
  if (plan.role === 'offer') {
    await meeting.write('offer', onlyLocal(await ask(page, session, 'offer')));
    await ask(page, session, 'finish', await meeting.read('answer'));
  } else {
    await meeting.write('answer', onlyLocal(await ask(page, session, 'answer', await meeting.read('offer'))));
  }
  if (plan.describe) return null;
  if (!await ask(page, session, 'connected')) throw new Error('the connection failed');
  if (plan.streams.some((stream) => /send/.test(stream.direction))) {
    await ask(page, session, 'send');
    if (plan.streams.some((stream) => /recv/.test(stream.direction))) await ask(page, session, 'drain');
    const result = await ask(page, session, 'result');
    await meeting.bye();
    return result;
  }
  await meeting.awaitBye();
  await ask(page, session, 'drain');
  return ask(page, session, 'result');
}

async function loopback(plan, other, session) {
  const page = await open(session, plan);
  await make(page, 'other', other);
  const answer = await ask(page, 'other', 'answer', onlyLocal(await ask(page, session, 'offer')));
  await ask(page, session, 'finish', onlyLocal(answer));
  if (!await ask(page, session, 'connected')) throw new Error('the connection failed');
  await Promise.all([ask(page, session, 'send'), ask(page, 'other', 'send')]);
  await ask(page, 'other', 'drain');
  return { one: await ask(page, session, 'result'), other: await ask(page, 'other', 'result') };
}

const COMMANDS = {
  call: ({ plan, id }) => call(plan, `call ${id}`).finally(() => shut(`call ${id}`)),
  cancel: ({ call: id }) => shut(`call ${id}`),
  loopback: ({ plan, other, id }) => loopback(plan, other, `call ${id}`).finally(() => shut(`call ${id}`)),
};

function inTime(work, seconds) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not done within ${seconds} s`)), seconds * 1000); });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

async function run(command) {
  try {
    const seconds = command.plan?.timeout ?? 30;
    say({ id: command.id, result: await inTime(COMMANDS[command.do](command), seconds) ?? null });
  } catch (error) {
    await shut(`call ${command.id}`).catch(() => {});
    say({ id: command.id, error: String(error.message ?? error).split('\n')[0] });
  }
}

let ending = false;
async function end() {
  if (ending) return;
  ending = true;
  await close();
  process.exit(0);
}
process.on('SIGTERM', end);
process.on('SIGINT', end);
say({ ready: await browser.version() });
createInterface({ input: process.stdin }).on('line', (line) => run(JSON.parse(line))).on('close', end);
