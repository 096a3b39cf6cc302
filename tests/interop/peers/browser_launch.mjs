// SPDX-License-Identifier: MPL-2.0
// Starts Debian's Chromium or Firefox ESR, headless, off the network, with loopback candidates where it has such a switch.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const PROGRAMS = {
  chromium: process.env.RSWEBRTC_CHROMIUM || '/usr/bin/chromium',
  firefox: process.env.RSWEBRTC_FIREFOX || '/usr/bin/firefox-esr',
};

const CHROMIUM_FLAGS = [
  '--no-sandbox', // containers have no user namespaces, and nothing but our own page is opened
  '--disable-gpu',
  '--mute-audio',
  '--autoplay-policy=no-user-gesture-required',
  // candidates: 127.0.0.1 as it is
  '--allow-loopback-in-peer-connection',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  // nothing to anybody else
  '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--disable-domain-reliability', '--disable-default-apps', '--no-pings',
  // a page that nobody looks at runs at full speed
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows',
];

const FIREFOX_PREFS = {
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  // getUserMedia gives a tone of its own making, and asks nobody
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  'media.suspend-background-video.enabled': false,
  'dom.min_background_timeout_value': 4,
  'dom.timeout.enable_budget_timer_throttling': false,
  // H264 is decoded by the system's libavcodec: the OpenH264 plugin would have to be downloaded
  'media.webrtc.hw.h264.enabled': true,
  'media.navigator.mediadatadecoder_h264_enabled': true,
  'media.webrtc.encoder_creation_strategy': 1,
  'gfx.blacklist.webrtc.hw.acceleration': 1,
  'gfx.blacklist.webrtc.hw.acceleration.h264': 1,
  'gfx.blacklist.webrtc.hw.acceleration.encode': 1,
  'gfx.blacklist.webrtc.hw.acceleration.decode': 1,
  // AV1 is offered by default in newer versions only
  'media.webrtc.codec.video.av1.enabled': true,
  // nothing to anybody else
  'media.gmp-manager.updateEnabled': false,
  'app.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'browser.safebrowsing.downloads.remote.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
};

/** The folder whose node_modules has the package `name`. */
export function packages(name) {
  const folders = [process.env.RSWEBRTC_NODE_TESTS, join(ROOT, '.node-tests')].filter(Boolean);
  const folder = folders.find((path) => existsSync(join(path, 'node_modules', name)));
  if (!folder) throw new Error(`no ${name}: run 'scripts/setup.sh --tests' first`);
  return folder;
}

async function puppeteer() {
  const required = createRequire(join(packages('puppeteer-core'), 'x.js'))('puppeteer-core');
  return required.default ?? required;
}

/**
 * `{browser, close}`; its profile is a folder of its own, gone after `close`.
 * `more`: {flags, prefs} of Chromium and of Firefox, added to those above; `options` of puppeteer's launch.
 */
export async function launch(name, more = {}) {
  const library = await puppeteer();
  const profile = mkdtempSync(join(tmpdir(), `rswebrtc-${name}-`));
  const signals = { handleSIGINT: false, handleSIGTERM: false };
  const common = { executablePath: PROGRAMS[name], headless: true, userDataDir: profile, ...signals, ...more.options };
  const browser = name === 'chromium'
    ? await library.launch({ ...common, args: [...CHROMIUM_FLAGS, ...(more.flags ?? [])] })
    : await library.launch({ ...common, browser: 'firefox', extraPrefsFirefox: { ...FIREFOX_PREFS, ...more.prefs } });
  const close = async () => {
    const child = browser.process();
    const late = new Promise((resolve) => setTimeout(resolve, 5000).unref());
    await Promise.race([browser.close().catch(() => {}), late]);
    if (child && child.exitCode === null) child.kill('SIGKILL');
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { browser, close };
}
