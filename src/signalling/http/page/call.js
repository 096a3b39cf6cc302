// SPDX-License-Identifier: MPL-2.0
// A call with a WHIP (RFC 9725) or WHEP (draft-ietf-wish-whep) server, as both pages make it. The server puts it into them,
// in place of CALL in double braces.
//
// The page has #status, #countdown, #retry, #token-form and #token, and the endpoint's path in <body data-endpoint>.
// `window.rswebrtc` is for tests: {state, stats, connection, pc}.

// In seconds. `relay`: how long a call may take that was offered before the server named its ICE servers.
const LIMITS = { gathering: 1, request: 20, connecting: 15, relay: 4, firstMedia: 10, silence: 4, still: 3 };
const RETRY = { first: 0.5, most: 8, over: 5, refused: 15, longest: 300, settled: 5 };
const clock = () => performance.now() / 1000;
const element = (id) => document.getElementById(id);

/** A number for people; a dash where there is none. */
const known = (value, unit = '', digits = 0) => (Number.isFinite(value) ? `${value.toFixed(digits)}${unit}` : '–');

/** Fills the page's list of numbers. `lines`: the name of each and what it says of the statistics. */
function showNumbers(lines, stats) {
  const parts = lines.flatMap(([name, say]) => [['dt', name], ['dd', say(stats)]]);
  document.querySelector('.numbers').replaceChildren(...parts.map(([tag, text]) => {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  }));
}

/** Why there is no call now. `after`: seconds to the next attempt; undefined: as the back-off says; null: a person is asked. */
class Refusal extends Error {
  constructor(state, text, after) {
    super(text);
    Object.assign(this, { state, after });
  }

  static async from(response, hadToken, over) {
    const words = await serverWords(response);
    const say = (text) => (words ? `${text}: ${words}` : `${text}.`);
    const after = retryAfter(response.headers.get('retry-after'));
    switch (response.status) {
      case 401: case 403:
        return new Refusal('token', hadToken ? 'Wrong token: the server does not accept it.' : 'The server asks for a token.', null);
      case 404: return new Refusal('refused', 'There is no stream at this address.', after ?? RETRY.over);
      case 406: case 422: return new Refusal('refused', say('No codec in common'), after ?? RETRY.refused);
      case 410: return new Refusal('over', over, after ?? RETRY.over);
      case 429: case 503: return new Refusal('full', say('The server is full'), after);
      case 502: case 504: return new Refusal('gone', 'The server cannot be reached.', after);
      default: return new Refusal('refused', say(`The server refuses (${response.status})`), after ?? RETRY.refused);
    }
  }
}

/** What a refusing server says, if it is meant for people. */
async function serverWords(response) {
  const type = response.headers.get('content-type') ?? '';
  const text = (await response.text().catch(() => '')).trim();
  if (type.startsWith('text/plain')) return text.slice(0, 300);
  if (!/^application\/(problem\+)?json/.test(type)) return '';
  try {
    const problem = JSON.parse(text);
    return String(problem.detail ?? problem.title ?? '').slice(0, 300);
  } catch {
    return '';
  }
}

/** Seconds from a Retry-After header: a number or a date. */
function retryAfter(header) {
  if (!header) return undefined;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(RETRY.longest, Math.max(RETRY.first, seconds)) : undefined;
}

/** ICE servers of Link headers: `<turn:host?transport=udp>; rel="ice-server"; username="…"; credential="…"`. */
function iceServers(header) {
  const parameter = /;\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))/g;
  const links = (header ?? '').matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]*))*)/g);
  return [...links].map(([, urls, rest]) => {
    const values = [...rest.matchAll(parameter)].map(([, name, quoted, bare]) => [name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? bare]);
    const { rel, username, credential } = Object.fromEntries(values);
    return rel === 'ice-server' && /^(stun|turn)s?:/.test(urls) && (username ? { urls, username, credential } : { urls });
  }).filter(Boolean);
}

function gathered(pc, limit) {
  return new Promise((resolve) => {
    const look = () => pc.iceGatheringState === 'complete' && resolve();
    pc.addEventListener('icegatheringstatechange', look);
    setTimeout(resolve, limit * 1000);
    look();
  });
}

/** The bearer token, kept as long as the tab. `#token=…` is taken and leaves the address bar. */
class Token {
  #value = '';

  constructor() {
    const given = /^#(?:.*&)?token=([^&]*)/.exec(location.hash)?.[1];
    if (given === undefined) {
      try { this.#value = sessionStorage.getItem('token') ?? ''; } catch { /* no storage: it is asked for again */ }
      return;
    }
    history.replaceState(null, '', location.pathname + location.search);
    try { this.set(decodeURIComponent(given)); } catch { /* badly escaped: as if there were none */ }
  }

  /** A header holds visible ASCII only. */
  set(value) {
    this.#value = /^[!-~]*$/.test(value) ? value : '';
    try { sessionStorage.setItem('token', this.#value); } catch { /* kept in this page */ }
  }

  get header() {
    return this.#value ? { authorization: `Bearer ${this.#value}` } : {};
  }

  get present() {
    return this.#value !== '';
  }
}

/** What getStats says now, and how it has changed since the last time. */
class Measured {
  #now = new Map();
  #before = new Map();

  update(report) {
    [this.#before, this.#now] = [this.#now, report];
  }

  find(type, kind) {
    return [...this.#now.values()].find((one) => one.type === type && (!kind || one.kind === kind));
  }

  get(id) {
    return this.#now.get(id);
  }

  /** By how much `field` has grown; 0 where there is none. */
  growth(one, field) {
    return (one?.[field] ?? 0) - (this.#before.get(one?.id)?.[field] ?? 0);
  }

  /** Per second. */
  rate(one, field) {
    const seconds = this.growth(one, 'timestamp') / 1000;
    return this.#before.has(one?.id) && seconds > 0 ? this.growth(one, field) / seconds : 0;
  }

  /** The candidate pair in use. */
  get pair() {
    const chosen = this.find('transport')?.selectedCandidatePairId;
    return this.get(chosen) ?? [...this.#now.values()].find((one) => one.type === 'candidate-pair' && one.nominated && one.state === 'succeeded');
  }

  /** Of all pairs: which of them the remote sends over is its choice, whatever is selected here. */
  get bytesReceived() {
    return [...this.#now.values()].reduce((sum, one) => sum + (one.type === 'candidate-pair' && one.bytesReceived || 0), 0);
  }

  codec(one) {
    return this.get(one?.codecId)?.mimeType.split('/')[1];
  }
}

/**
 * A call with the endpoint, made again whenever it ends, until `stop`.
 * `page` has prepare(pc), which adds the media; measure(measured), which gives numbers, `flowing` among them; shown(state),
 * which is called after each change; and texts for {idle, waiting, live, over}.
 */
class Caller {
  pc = null;
  state = 'idle';
  #page;
  #token = new Token();
  #measured;
  #iceServers = [];
  #learnt = false;
  #resource = null;
  #failures = 0;
  #wanted = false;
  #retry = 0;
  #retryAt = 0;
  #tick = 0;

  constructor(page) {
    this.#page = page;
    const caller = this;
    window.rswebrtc = {
      stats: {},
      get state() { return caller.state; },
      get pc() { return caller.pc; },
      get connection() { return caller.pc?.connectionState ?? 'closed'; },
    };
    addEventListener('pagehide', () => this.#leave());
    addEventListener('pageshow', (event) => event.persisted && this.#wanted && this.#connect());
    addEventListener('online', () => this.#retry && this.#connect());
    setInterval(() => this.#countDown(), 250);
    element('retry').addEventListener('click', () => this.#connect());
    element('token-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#token.set(element('token').value.trim());
      element('token').value = '';
      this.start();
    });
  }

  start() {
    this.#wanted = true;
    this.#failures = 0;
    this.state = 'idle';
    return this.#connect();
  }

  stop() {
    this.#wanted = false;
    this.#leave();
    this.#retryAt = 0;
    this.#show('idle', this.#page.texts.idle);
  }

  /** Whether there is a call, or will be without anybody's doing. */
  get trying() {
    return this.pc !== null || this.#retryAt > 0;
  }

  /** There can be no call from this page. */
  refuse(text) {
    this.#fail(new Refusal('refused', text, null));
  }

  #show(state, text) {
    const changed = state !== this.state;
    this.state = document.body.dataset.state = state;
    // Said anew only if it is new: it is read aloud.
    if (element('status').textContent !== text) element('status').textContent = text;
    if (element('token-form').hidden === (state === 'token')) {
      element('token-form').hidden = state !== 'token';
      if (state === 'token') element('token').focus();
    }
    this.#countDown();
    if (changed) this.#page.shown(state);
  }

  #countDown() {
    const left = Math.ceil(this.#retryAt - clock());
    element('countdown').textContent = !this.#retryAt ? '' : left > 0 ? `Trying again in ${left} s` : 'Trying again…';
    element('retry').hidden = !this.#retryAt;
  }

  async #connect() {
    this.#leave();
    const pc = this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    // A server that is full, over or gone stays so in the words shown until it says something else.
    const still = ['full', 'over', 'gone', 'refused'].includes(this.state);
    this.#retryAt = still ? clock() : 0;
    if (!still) this.#show('connecting', 'Connecting…');
    try {
      pc.setConfiguration({ ...pc.getConfiguration(), iceServers: this.#iceServers });
      await this.#page.prepare(pc);
      await pc.setLocalDescription();
      await gathered(pc, LIMITS.gathering);
      const sdp = pc === this.pc && await this.#post(pc);
      if (pc !== this.pc) return;
      this.#retryAt = 0;
      this.#show('connecting', 'Connecting…');
      await pc.setRemoteDescription({ type: 'answer', sdp });
      if (pc === this.pc) this.#watch(pc);
    } catch (error) {
      if (pc === this.pc) this.#fail(error);
    }
  }

  /** The answer; its session is left at once if nobody wants it any more. */
  async #post(pc) {
    const headers = { 'content-type': 'application/sdp', ...this.#token.header };
    const request = { method: 'POST', headers, body: pc.localDescription.sdp, cache: 'no-store', signal: AbortSignal.timeout(LIMITS.request * 1000) };
    try {
      const response = await fetch(document.body.dataset.endpoint, request);
      if (response.status !== 201) throw await Refusal.from(response, this.#token.present, this.#page.texts.over);
      const place = response.headers.get('location');
      const resource = place && new URL(place, response.url).href;
      if (pc !== this.pc) return this.#hangUp(resource);
      this.#resource = resource;
      const servers = iceServers(response.headers.get('link'));
      this.#learnt = servers.length > 0 && JSON.stringify(servers) !== JSON.stringify(this.#iceServers);
      this.#iceServers = servers;
      return await response.text();
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw new Refusal('gone', error.name === 'TimeoutError' ? 'The server does not answer.' : 'The server cannot be reached.');
    }
  }

  #watch(pc) {
    const used = pc.getTransceivers().filter((one) => /send|recv/.test(one.currentDirection));
    if (!used.length) throw new Refusal('refused', 'No codec in common: the server declines picture and sound.', RETRY.refused);
    const ended = (text) => pc === this.pc && this.#fail(new Refusal('connecting', text));
    pc.onconnectionstatechange = () => /failed|closed/.test(pc.connectionState) && ended('The connection has failed.');
    const dtls = used[0].sender.transport;
    if (dtls) dtls.onstatechange = () => /failed|closed/.test(dtls.state) && ended('The server has ended the call.');
    this.#measured = new Measured();
    this.#look(pc, { began: clock(), connected: 0, bytes: 0, heard: 0, first: 0, flowed: 0 });
  }

  /** Once a second (oftener until there is a picture): is there a connection, does anything arrive, does media flow? */
  async #look(pc, seen) {
    const measured = this.#measured;
    measured.update(await pc.getStats());
    if (pc !== this.pc) return;
    const now = clock();
    const bytes = measured.bytesReceived;
    if (bytes !== seen.bytes) Object.assign(seen, { bytes, heard: now });
    if (!seen.connected && pc.connectionState === 'connected') Object.assign(seen, { connected: now, heard: now });
    const stats = window.rswebrtc.stats = this.#page.measure(measured);
    if (stats.flowing) Object.assign(seen, { flowed: now, first: seen.first || now });
    const live = seen.first && now - seen.flowed < LIMITS.still;
    if (!seen.connected) {
      if (now - seen.began > (this.#learnt ? LIMITS.relay : LIMITS.connecting)) return this.#fail(this.#unreachable());
    } else if (now - seen.heard > (seen.first ? LIMITS.silence : LIMITS.firstMedia)) {
      return this.#fail(new Refusal('connecting', 'Nothing arrives any more.'));
    } else {
      this.#show(live ? 'live' : 'waiting', this.#page.texts[live ? 'live' : 'waiting']);
    }
    if (live && now - seen.first > RETRY.settled) this.#failures = 0;
    this.#tick = setTimeout(() => this.#look(pc, seen).catch((error) => pc === this.pc && this.#fail(error)), live ? 1000 : 250);
  }

  #unreachable() {
    const text = 'No connection: perhaps a firewall is in the way of UDP.';
    return new Refusal('connecting', text, this.#learnt ? RETRY.first : undefined);
  }

  #fail(error) {
    this.#leave();
    const refusal = error instanceof Refusal ? error : new Refusal('refused', `This browser cannot: ${error.message}`, RETRY.refused);
    this.#retryAt = 0;
    if (refusal.after !== null) {
      const seconds = refusal.after ?? RETRY.first + Math.random() * (Math.min(RETRY.most, RETRY.first * 2 ** ++this.#failures) - RETRY.first);
      this.#retryAt = clock() + seconds;
      this.#retry = setTimeout(() => this.#connect(), seconds * 1000);
    }
    this.#show(refusal.state, refusal.message);
  }

  #leave() {
    clearTimeout(this.#retry);
    clearTimeout(this.#tick);
    this.#retry = 0;
    const { pc } = this;
    this.pc = null;
    pc?.close();
    this.#hangUp(this.#resource);
    this.#resource = null;
  }

  #hangUp(resource) {
    if (resource) fetch(resource, { method: 'DELETE', headers: this.#token.header, keepalive: true }).catch(() => {});
  }
}
