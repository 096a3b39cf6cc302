#!/usr/bin/env node
// SPDX-License-Identifier: MPL-2.0
// Janus as a WHIP and WHEP server on 127.0.0.1: what somebody publishes is there to view.
//
//   janus_server.mjs --folder FOLDER [--port N] [--token T]
//
//   POST /whip                   one publisher at a time; this thin WHIP front of Janus's VideoRoom is our own
//   POST /whep/endpoint/room     Meetecho's janus-whep-server (npm) before VideoRoom, which answers with an offer of its own (406)
//
// The latter is there while somebody publishes. ICE, DTLS, SRTP and RTP are Janus's (Debian's package). FOLDER takes its
// configuration. Prints {"ready": URL} once it takes requests, then {"method", "path", "status"} for each that it has answered.
// SIGTERM ends it and Janus.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire, Module } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { packages } from './browser_launch.mjs';

const { values: options } = parseArgs({
  options: { folder: { type: 'string' }, port: { type: 'string', default: '0' }, token: { type: 'string' } },
});
const PLUGINS = process.env.RSWEBRTC_JANUS_LIB || '/usr/lib/x86_64-linux-gnu/janus';
const [ROOM, FEED] = [1234, 77];
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const from = createRequire(join(packages('janus-whep-server'), 'x.js'));
const load = async (name, near = from) => import(pathToFileURL(near.resolve(name)).href);
const near = createRequire(from.resolve('janus-whep-server'));
// Janode's way to Janus over Unix sockets would have to be compiled; nobody goes it here.
const sockets = createRequire(near.resolve('janode')).resolve('unix-dgram');
near.cache[sockets] = Object.assign(new Module(sockets), { loaded: true });
const { JanusWhepServer } = await load('janus-whep-server');
const [express, Janode, VideoRoom] = await Promise.all(
  ['express', 'janode', 'janode/plugins/videoroom'].map(async (name) => (await load(name, near)).default),
);

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Janus with the VideoRoom and nothing open but a WebSocket on 127.0.0.1; its address. */
async function startJanus() {
  const port = await freePort();
  mkdirSync(options.folder, { recursive: true });
  const config = `general: { configs_folder = "${options.folder}", plugins_folder = "${PLUGINS}/plugins", transports_folder = "${PLUGINS}/transports",
    events_folder = "${options.folder}/none", loggers_folder = "${options.folder}/none", server_name = "test" }
  nat: { ignore_mdns = true }
  plugins: { disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so" }
  transports: { disable = "libjanus_http.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so" }`;
  writeFileSync(join(options.folder, 'janus.jcfg'), config);
  writeFileSync(join(options.folder, 'janus.transport.websockets.jcfg'), `general: { ws = true, ws_port = ${port}, ws_ip = "127.0.0.1", wss = false }`);
  writeFileSync(join(options.folder, 'janus.plugin.videoroom.jcfg'), 'general: { }');
  const janus = spawn('janus', ['-F', options.folder, '-C', join(options.folder, 'janus.jcfg'), '-o'], { stdio: ['ignore', 'pipe', 'inherit'] });
  janus.on('error', (error) => { console.error(`no janus: ${error.message}`); process.exit(1); });
  janus.on('exit', () => process.exit(1));
  const end = () => { janus.removeAllListeners('exit'); janus.kill('SIGKILL'); process.exit(0); };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  await new Promise((resolve) => {
    createInterface(janus.stdout).on('line', (line) => {
      console.error(line);
      if (/WebSockets thread started/.test(line)) resolve();
    });
  });
  return `ws://127.0.0.1:${port}`;
}

/** One publisher at a time in the room. */
class Whip {
  #session;
  #whep;
  #publisher = null;

  async start(session, whep) {
    this.#session = session;
    this.#whep = whep;
    const room = await session.attach(VideoRoom);
    await room.create({ room: ROOM, max_publishers: 1, audiocodec: 'opus', videocodec: 'vp8', fir_freq: 2, bitrate: 4000000 });
  }

  async publish(request, response) {
    if (this.#publisher) return response.status(503).set('Retry-After', '1').type('text/plain').send('somebody publishes already');
    const id = randomUUID();
    const handle = await this.#session.attach(VideoRoom);
    this.#publisher = { id, handle };
    handle.once(Janode.EVENT.HANDLE_HANGUP, () => this.leave(id));
    try {
      const made = await handle.joinConfigurePublisher({ room: ROOM, feed: FEED, jsep: { type: 'offer', sdp: request.body } });
      this.#whep.createEndpoint({ id: 'room', plugin: 'videoroom', room: ROOM, feed: FEED, token: options.token });
      // A relative address, as RFC 9110 section 10.2.2 allows.
      response.status(201).set({ 'Content-Type': 'application/sdp', Location: `whip/${id}`, ETag: '"1"' }).send(made.jsep.sdp);
    } catch (error) {
      await this.leave(id);
      response.status(400).send(String(error.message ?? error));
    }
  }

  async change(request, response) {
    if (this.#publisher?.id !== request.params.id) return response.sendStatus(404);
    const candidates = request.body.match(/candidate:[^\r\n]*/g) ?? [];
    await this.#publisher.handle.trickle([...candidates.map((candidate) => ({ sdpMLineIndex: 0, candidate })), { completed: true }]);
    return response.sendStatus(204);
  }

  /** Whether `id` was publishing. */
  async leave(id) {
    if (this.#publisher?.id !== id) return false;
    const { handle } = this.#publisher;
    this.#publisher = null;
    if (this.#whep.getEndpoint({ id: 'room' })) await this.#whep.destroyEndpoint({ id: 'room' });
    await handle.detach().catch(() => {});
    return true;
  }

  routes(app) {
    app.use('/whip', (request, response, next) => {
      const good = !options.token || request.headers.authorization === `Bearer ${options.token}`;
      if (good) next();
      else response.status(401).set('WWW-Authenticate', 'Bearer').send('a token, please');
    });
    app.post('/whip', (request, response) => this.publish(request, response));
    app.patch('/whip/:id', (request, response) => this.change(request, response));
    app.delete('/whip/:id', async (request, response) => response.sendStatus(await this.leave(request.params.id) ? 200 : 404));
  }
}

const address = await startJanus();
const app = express();
app.use((request, response, next) => {
  const { method, path } = request;
  response.on('finish', () => say({ method, path, status: response.statusCode }));
  next();
});
const whep = new JanusWhepServer({ janus: { address }, rest: { app, basePath: '/whep' }, debug: 'err' });
await whep.start();
const whip = new Whip();
const connection = await Janode.connect({ is_admin: false, address: { url: address } });
await whip.start(await connection.create(), whep);
whip.routes(app);
const server = app.listen(Number(options.port), '127.0.0.1', () => say({ ready: `http://127.0.0.1:${server.address().port}` }));
