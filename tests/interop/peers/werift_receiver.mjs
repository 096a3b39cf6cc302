#!/usr/bin/env node
// SPDX-License-Identifier: MPL-2.0
// werift, which is none of webrtc-rs's or libwebrtc's family, as an answerer that takes simulcast by rid:
//
//   werift_receiver.mjs --dir FOLDER
//
// Counts what comes of each layer until the other side says bye. Asks for a key frame of each layer (PLI) once
// it has come for a second. Prints {"layers": {RID: {"packets", "bytes", "frames", "keys", "keysAsked",
// "missing", "ssrcs"}}, "offer": TEXT, "answer": TEXT}.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Meeting } from './file_signalling.mjs';

const { values: options } = parseArgs({ options: { dir: { type: 'string' } } });
const folder = process.env.RSWEBRTC_WERIFT ?? process.env.RSWEBRTC_NODE_TESTS ?? '.node-tests';
const { RTCPeerConnection, RTCRtpCodecParameters, useSdesMid, useSdesRTPStreamId, useRepairedRtpStreamId } =
  createRequire(join(folder, 'x.js'))('werift');

const feedback = [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }, { type: 'ccm', parameter: 'fir' }];
const connection = new RTCPeerConnection({
  iceServers: [],
  iceAdditionalHostAddresses: ['127.0.0.1'],
  headerExtensions: { video: [useSdesMid(), useSdesRTPStreamId(), ...(useRepairedRtpStreamId ? [useRepairedRtpStreamId()] : [])] },
  codecs: { video: [new RTCRtpCodecParameters({ mimeType: 'video/VP8', clockRate: 90000, rtcpFeedback: feedback })], audio: [] },
});

/** Whether a VP8 payload begins a key frame (RFC 7741 section 4). */
function isKey(payload) {
  if ((payload[0] & 0x17) !== 0x10) return false;
  let at = 1;
  if (payload[0] & 0x80) {
    const extensions = payload[at];
    at += 1;
    if (extensions & 0x80) at += payload[at] & 0x80 ? 2 : 1;
    if (extensions & 0x40) at += 1;
    if (extensions & 0x30) at += 1;
  }
  return (payload[at] & 1) === 0;
}

const layers = {};
connection.onRemoteTransceiverAdded.subscribe((transceiver) => {
  transceiver.onTrack.subscribe((track) => {
    const layer = { packets: 0, bytes: 0, frames: 0, keys: 0, keysAsked: 0, missing: 0, ssrcs: [] };
    layers[track.rid ?? ''] = layer;
    let last;
    track.onReceiveRtp.subscribe(({ header, payload }) => {
      if (!layer.ssrcs.includes(header.ssrc)) {
        layer.ssrcs.push(header.ssrc);
        setTimeout(() => {
          layer.asked = true;
          transceiver.receiver.sendRtcpPLI(header.ssrc);
        }, 1000);
      }
      const step = last === undefined ? 1 : (header.sequenceNumber - last) & 0xffff;
      if (step < 0x8000) {
        layer.missing += step - 1;
        last = header.sequenceNumber;
      }
      layer.packets += 1;
      layer.bytes += payload.length;
      layer.frames += header.marker ? 1 : 0;
      if (payload.length && isKey(payload)) layer[layer.asked ? 'keysAsked' : 'keys'] += 1;
    });
  });
});

const meeting = new Meeting(options.dir);
const offer = await meeting.read('offer');
await connection.setRemoteDescription({ type: 'offer', sdp: offer });
await connection.setLocalDescription(await connection.createAnswer());
const answer = connection.localDescription.sdp;
await meeting.write('answer', answer);
await meeting.awaitBye();
console.log(JSON.stringify({ layers, offer, answer }));
process.exit(0);
