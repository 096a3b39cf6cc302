// SPDX-License-Identifier: MPL-2.0
/**
 * SECTION:element-rswebrtcsrc
 *
 * Receives encoded streams from a WebRTC peer. Pads appear in the order of the m-lines, one a
 * stream, then no-more-pads. They give encoded streams, or RTP where what is linked takes only
 * `application/x-rtp`. A pad may be linked at any time, as for a recording that begins during the
 * call: video comes from a key frame on, which is asked for.
 *
 * When the call ends, for whatever reason, what was received is drained and every pad gets EOS:
 * a recording is always finished. `gst-launch-1.0 -e` does the same on Ctrl-C.
 *
 * ## Example pipelines
 * |[
 * gst-launch-1.0 -e rswebrtcsrc ! h264parse ! mp4mux ! filesink location=video.mp4
 * ]|
 * Waits for an offer to be pasted, prints the answer, records until the other side ends.
 * |[
 * gst-launch-1.0 rswebrtcsrc video-codecs=VP8 ! vp8dec ! videoconvert ! autovideosink
 * ]|
 * Shows a VP8 stream.
 * |[
 * gst-launch-1.0 -e rswebrtcsrc name=r signaller=file location=/tmp/call ice-addresses=127.0.0.1  r.video_0 ! queue ! matroskamux name=m ! filesink location=call.mkv  r.audio_0 ! queue ! opusparse ! m.
 * ]|
 * Records picture and sound from a peer that meets it in a directory.
 * |[
 * gst-launch-1.0 -e rswebrtcsrc name=r signaller=whip-server location=http://127.0.0.1:8080/whip  r.video_0 ! queue ! 'video/x-vp8;video/x-h264,stream-format=avc3' ! matroskamux name=m ! filesink location=browser.mkv  r.audio_0 ! queue ! opusparse ! m.
 * ]|
 * Records camera and microphone of a browser that opens http://127.0.0.1:8080/.
 * |[
 * gst-launch-1.0 playbin3 uri=wheps://live.example.org/whep/stream
 * ]|
 * Plays the stream of a WHEP server.
 * |[
 * gst-launch-1.0 rswebrtcsrc name=r r.data_0 ! filesink location=any.copy
 * ]|
 * Writes what comes on the first data channel that the other side opens; a buffer is a message.
 * |[
 * gst-launch-1.0 rswebrtcsrc signaller=whip-server location=http://127.0.0.1:8080/whip : rswebrtcsink signaller=whep-server location=http://127.0.0.1:8081/whep
 * ]|
 * Relays what one publishes to all who watch, as it is encoded.
 *
 * ## Simulcast
 *
 * |[
 * gst-launch-1.0 -e rswebrtcsrc name=r signaller=whip-server location=http://127.0.0.1:8080/whip simulcast-layer=all  r.video_0 ! queue ! matroskamux ! filesink location=large.mkv  r.video_1 ! queue ! matroskamux ! filesink location=small.mkv
 * ]|
 * Records two layers of a picture that comes in several sizes. `simulcast-layer=best`, the default,
 * follows the largest that comes; it can be changed while PLAYING.
 * |[
 * gst-launch-1.0 -e rswebrtcsrc name=r signaller=whip-server location=http://127.0.0.1:8080/whip  r.video_0 ! application/x-rtp ! queue ! s.video_0  rswebrtcsink name=s signaller=whep-server location=http://127.0.0.1:8081/whep
 * ]|
 * Passes scalable video (SVC, VP9 and AV1) on with all its layers and their dependency descriptor: as RTP.
 *
 * ## Bad networks
 *
 * `latency` is how long a packet is waited for: it should be more than a round trip, so that what
 * is lost can be sent again. `latency-mode=auto` finds it out. Video that is sent again later than
 * that, but within `repair-overtime`, comes late instead of not at all. Video that has holes all the same is
 * not shown, nor is what refers to it: `broken-frames`. The message `rswebrtc-stats`
 * tells each second how it goes: frames, freezes, repairs, delays.
 *
 * ## Programs that signal themselves
 *
 * With `signaller=application` the signal #GstRsWebRtcSrc::on-signalling-message brings each message for the other side,
 * and the action signal #GstRsWebRtcSrc::handle-signalling-message takes each of the other side. They are the lines that
 * `signaller=stdio` writes and reads. The former is emitted on a thread that may block; the latter never does, works in
 * every state, and returns %FALSE, with a warning on the bus, when nothing was taken. What comes before PLAYING waits.
 *
 * |[<!-- language="Python" -->
 * element.connect("on-signalling-message", lambda element, message: connection.send(message))
 * connection.on_message = lambda message: element.emit("handle-signalling-message", message)
 * ]|
 *
 * The other side: #rswebrtcsink.
 */
use gst::glib;
use gst::prelude::*;

mod batch;
mod call;
mod data;
mod data_src;
mod frame_gate;
mod frames;
mod freezes;
mod imp;
mod latency;
mod lip_sync;
mod output;
mod pad;
mod playout;
mod publishers;
mod settings;
mod silence;
mod spacing;
mod splice;
mod statistics;
mod streams;
mod track_src;
mod vp9_size;

glib::wrapper! {
    /// The `rswebrtcsrc` element.
    pub struct RsWebRtcSrc(ObjectSubclass<imp::RsWebRtcSrc>)
        @extends gst::Bin, gst::Element, gst::Object, @implements gst::ChildProxy, gst::URIHandler;
}

/// Registers the element.
///
/// # Errors
///
/// GStreamer's word when the name is taken.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "rswebrtcsrc",
        gst::Rank::PRIMARY,
        RsWebRtcSrc::static_type(),
    )
}
