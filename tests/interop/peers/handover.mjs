#!/usr/bin/env node
// SPDX-License-Identifier: MPL-2.0
// Chromium views, or publishes a moving picture, by WHEP or WHIP from a machine with several networks: `handover.mjs view|publish URL`.
//
// Prints a line {"frames", "local", "remote"} for every tenth frame that was decoded or sent: how many there were, and by which
// addresses. SIGTERM ends it; {"error"} says that the connection failed.
import { createServer } from 'node:http';
import { launch } from './browser_launch.mjs';

const [what, url] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// A page of this machine: it may have a camera, and only who may gathers the addresses of all networks.
const server = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<video autoplay muted></video>'));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${server.address().port}`;
const flags = ['--disable-web-security', '--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests'];
const { browser, close } = await launch('chromium', { flags });
process.on('SIGTERM', () => close().finally(() => process.exit(0)));
await browser.defaultBrowserContext().overridePermissions(origin, ['camera', 'microphone']);
const page = await browser.newPage();
page.on('pageerror', (error) => say({ error: error.message }));
page.on('console', (message) => console.error(message.text()));
await page.exposeFunction('say', say);
await page.goto(origin);

await page.evaluate(async (view, endpoint) => {
  const connection = new RTCPeerConnection();
  const transceiver = connection.addTransceiver('video', { direction: view ? 'recvonly' : 'sendonly' });
  if (view) {
    connection.ontrack = ({ track }) => { document.querySelector('video').srcObject = new MediaStream([track]); };
  } else {
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d');
    let count = 0;
    setInterval(() => { context.fillStyle = `hsl(${count += 5} 90% 50%)`; context.fillRect(count % 300, 0, 60, 150); }, 33);
    await transceiver.sender.replaceTrack(canvas.captureStream(30).getVideoTracks()[0]);
  }
  connection.onconnectionstatechange = () => {
    console.log(connection.connectionState);
    if (connection.connectionState === 'failed') window.say({ error: 'the connection failed' });
  };
  await connection.setLocalDescription();
  while (connection.iceGatheringState !== 'complete') {
    await new Promise((resolve) => connection.addEventListener('icegatheringstatechange', resolve, { once: true }));
  }
  const headers = { 'content-type': 'application/sdp' };
  const reply = await fetch(endpoint, { method: 'POST', headers, body: connection.localDescription.sdp });
  if (!reply.ok) throw new Error(`${reply.status} ${await reply.text()}`);
  await connection.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
  let told = 0;
  setInterval(async () => {
    const stats = [...(await connection.getStats()).values()];
    const stream = stats.find(({ type }) => type === (view ? 'inbound-rtp' : 'outbound-rtp'));
    const transport = stats.find(({ type }) => type === 'transport');
    const pair = stats.find(({ id }) => id === transport?.selectedCandidatePairId);
    const frames = stream?.framesDecoded ?? stream?.framesSent ?? 0;
    if (!pair || frames < told + 10) return;
    told = frames;
    const address = (wanted) => stats.find(({ id }) => id === wanted)?.address;
    window.say({ frames, local: address(pair.localCandidateId), remote: address(pair.remoteCandidateId) });
  }, 50);
}, what === 'view', url).catch((error) => say({ error: error.message }));
