// SPDX-License-Identifier: MPL-2.0
/**
 * SECTION:element-rswebrtcsink
 *
 * Sends encoded streams to a WebRTC peer, or to any number of viewers. Whatever encoder, parser
 * or demuxer stands before it stays as it is: the element packs and sends what it gets.
 *
 * Pads are requested by linking. Streams that are stored (a file) wait until the peer is there
 * and then play from their first frame in real time; live ones are dropped until then and start
 * at a key frame (#GstRsWebRtcSink:early-data). The pipeline is PLAYING meanwhile. After EOS
 * everything is delivered, then the call ends with a bye.
 *
 * ## Example pipelines
 * |[
 * gst-launch-1.0 filesrc location=test.mp4 ! qtdemux ! h264parse ! rswebrtcsink
 * ]|
 * Prints an offer. Paste it into the other side, and the answer back here.
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! x264enc tune=zerolatency ! rswebrtcsink name=s  audiotestsrc is-live=true ! opusenc ! s.
 * ]|
 * Sends a test picture and a tone in one call.
 * |[
 * gst-launch-1.0 filesrc location=film.webm ! matroskademux name=d  d.video_0 ! queue ! rswebrtcsink name=s signaller=file location=/tmp/call ice-addresses=127.0.0.1  d.audio_0 ! queue ! s.
 * ]|
 * Sends a VP8 film with Opus sound to a peer that meets it in a directory.
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! x264enc tune=zerolatency key-int-max=60 ! rswebrtcsink name=s signaller=whep-server location=http://127.0.0.1:8081/whep  audiotestsrc is-live=true ! opusenc ! s.
 * ]|
 * Serves a test picture and a tone, encoded once, to all who open http://127.0.0.1:8081/ in a browser.
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! x264enc tune=zerolatency key-int-max=60 ! rswebrtcsink signaller=whip-client location=https://live.example.org/whip/stream auth-token=swordfish
 * ]|
 * Publishes to a WHIP server, again whenever the connection is lost.
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! vp8enc deadline=1 ! rswebrtcsink signaller=whep-server location=http://127.0.0.1:8081/whep fec=ulpfec
 * ]|
 * Serves browsers over paths that lose packets, where retransmissions come late: what is lost is made again from
 * redundant packets (#GstRsWebRtcSink:fec-percentage).
 *
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! x264enc tune=zerolatency ! h264parse ! rswebrtcsink start-bitrate=1000000 max-bitrate=4000000
 * ]|
 * The encoder follows what the network carries. Any encoder upstream does, in hardware too; one that is not known
 * is named with #GstRsWebRtcSink:bitrate-element and #GstRsWebRtcSink:bitrate-property. Each change is told by an
 * element message `rswebrtc-bitrate`.
 *
 * |[
 * gst-launch-1.0 rswebrtcsrc name=r call=a  r.video_0 ! queue ! s.video_0  r.audio_0 ! queue ! s.audio_0  rswebrtcsink name=s call=a
 * ]|
 * Sends back what comes, on one connection of both directions (#GstRsWebRtcSink:call).
 * |[
 * gst-launch-1.0 filesrc location=any.file blocksize=65536 ! s.data_0  rswebrtcsink name=s data_0::label=file
 * ]|
 * Sends a file through a data channel: a buffer on a pad `data_%u` is a message. The streaming thread of such a pad
 * waits for room; EOS delivers everything and closes the channel. The element message `rswebrtc-data-channel` tells of
 * channels that open and close.
 *
 * |[
 * gst-launch-1.0 rswebrtcsink name=s signaller=whip-client location=http://127.0.0.1:8080/whip video_0::rid=h video_1::rid=l  videotestsrc is-live=true ! video/x-raw,width=1280,height=720 ! tee name=t  t. ! queue ! vp8enc deadline=1 ! s.video_0  t. ! queue ! videoscale ! video/x-raw,width=320,height=180 ! vp8enc deadline=1 ! s.video_1
 * ]|
 * Sends a picture in two sizes (simulcast): pads that have a `rid` and the same `msid` are layers of one m-line.
 *
 * ## Viewers who steer
 *
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! navigationtest ! videoconvert ! vp8enc deadline=1 ! rswebrtcsink signaller=whep-server location=http://127.0.0.1:8081/whep auth-token=swordfish enable-data-channel-navigation=true
 * ]|
 * With #GstRsWebRtcSink:enable-data-channel-navigation mouse and keyboard of viewers on the player page come out upstream of the
 * first video pad as GstNavigation events, in pixels of its picture. A server needs #GstRsWebRtcSink:auth-token for that.
 *
 * ## Programs that signal themselves
 *
 * With `signaller=application` the signal #GstRsWebRtcSink::on-signalling-message brings each message for the other side,
 * and the action signal #GstRsWebRtcSink::handle-signalling-message takes each of the other side. They are the lines that
 * `signaller=stdio` writes and reads. The former is emitted on a thread that may block; the latter never does, works in
 * every state, and returns %FALSE, with a warning on the bus, when nothing was taken. What comes before PLAYING waits.
 *
 * |[<!-- language="Python" -->
 * element.connect("on-signalling-message", lambda element, message: connection.send(message))
 * connection.on_message = lambda message: element.emit("handle-signalling-message", message)
 * ]|
 *
 * The other side: #rswebrtcsrc.
 */
use gst::glib;
use gst::prelude::*;

mod access_unit;
mod adaptation;
mod bitrate;
mod call;
mod congestion;
mod data;
mod data_sink;
mod delimiters;
mod driving;
mod encoder;
mod flow;
mod gate;
mod holding;
mod imp;
mod key_frames;
mod layers;
mod media_pads;
mod navigation;
mod one_call;
mod opus;
mod pad;
mod parameter_sets;
mod settings;
mod statistics;
mod timing;
mod track_sink;
mod viewers;

glib::wrapper! {
    /// The `rswebrtcsink` element.
    pub struct RsWebRtcSink(ObjectSubclass<imp::RsWebRtcSink>)
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
        "rswebrtcsink",
        gst::Rank::PRIMARY,
        RsWebRtcSink::static_type(),
    )
}
