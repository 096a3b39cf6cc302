// SPDX-License-Identifier: MPL-2.0
//! One call of a sink, from READY to READY: what its tracks share.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::media::codec::{Codec, MediaKind};
use crate::media::header_extension::HeaderExtension;
use crate::media::rtp_packet::OutboundFrame;
use crate::session::negotiation::{OwnLayer, Sending, Wish};

use super::adaptation::Adaptation;
use super::data::DataTracks;
use super::gate::Gate;
use super::key_frames::{KeyFrame, KeyFrameRequests};
use super::navigation::Navigators;
use super::settings::Simulcast;
use crate::session::calls::Calls;

/// Shared by the element and the tracks of one call.
pub struct SinkCall {
    /// Holds media until the call is up.
    pub gate: Gate,
    /// Peers that media flows to.
    pub viewers: Viewers,
    /// Data pads, and which of them have ended.
    pub data: DataTracks,
    /// Peers that steer what makes the picture.
    pub navigators: Navigators,
    calls: Calls,
    /// What the paths to the peers carry, and who acts on it.
    adaptation: Arc<Adaptation>,
    /// At most one key frame is asked of an encoder in this time.
    key_frame_interval: Duration,
    /// Layers are told apart by SSRCs.
    by_ssrc: bool,
    /// Plain data; never held over a call into GStreamer or the session's waits.
    tracks: Mutex<Tracks>,
}

#[derive(Default)]
struct Tracks {
    all: Vec<Track>,
    /// Tracks that the session knows, at their places in its wish.
    sent: Vec<usize>,
    /// What is sent was told to the session: what comes now is negotiated anew.
    started: bool,
}

struct Track {
    pad: String,
    kind: MediaKind,
    msid: Option<String>,
    /// It is a layer of a picture.
    rid: Option<String>,
    /// Of its picture, if they are known.
    pixels: u32,
    /// The remote does not take it.
    left_out: bool,
    /// As a layer for which the path carries too little.
    stopped: bool,
    /// It goes on with the next key frame.
    resuming: bool,
    codec: Option<Codec>,
    /// Header extensions that its packets bring along.
    extensions: Vec<HeaderExtension>,
    /// Its pad is gone.
    released: bool,
    finished: bool,
    key_frames: KeyFrameRequests,
    /// Of all its packets.
    bytes: u64,
}

/// What became of a frame.
#[derive(Debug, Default)]
pub struct Pushed {
    /// It was not dropped.
    pub taken: bool,
    /// A key frame was wanted sooner than it might be asked for, and may be asked for now.
    pub key_frame_due: bool,
}

/// The peers of a host that media flows to.
#[derive(Debug, Default)]
pub struct Viewers(Mutex<Vec<Arc<str>>>);

impl Viewers {
    /// Adds one; tells whether it is new.
    pub fn add(&self, id: &Arc<str>) -> bool {
        let mut all = self.lock();
        let new = !all.contains(id);
        if new {
            all.push(id.clone());
        }
        new
    }

    /// Removes one; tells whether it was there.
    pub fn remove(&self, id: &str) -> bool {
        let mut all = self.lock();
        let at = all.iter().position(|other| **other == *id);
        at.map(|at| all.swap_remove(at)).is_some()
    }

    /// Removes all.
    pub fn take(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl SinkCall {
    /// A call without tracks.
    pub fn new(calls: Calls, key_frame_interval: Duration, simulcast: Simulcast) -> Arc<Self> {
        Arc::new(Self {
            gate: Gate::default(),
            viewers: Viewers::default(),
            data: DataTracks::default(),
            navigators: Navigators::default(),
            calls,
            adaptation: Arc::default(),
            key_frame_interval,
            by_ssrc: simulcast == Simulcast::Ssrc,
            tracks: Mutex::default(),
        })
    }

    /// Where what is sent goes to.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// What the paths to the peers carry.
    pub fn adaptation(&self) -> &Arc<Adaptation> {
        &self.adaptation
    }

    /// Whether media is taken: by a peer, or by a host that keeps it for those who come.
    pub fn takes_media(&self) -> bool {
        self.gate.is_open() || self.calls.host().is_some()
    }

    /// Adds a track for pad `name`; during the call it is negotiated once its codec is known.
    pub fn add_track(&self, name: &str, kind: MediaKind) -> usize {
        let mut tracks = self.lock();
        tracks.all.push(Track {
            pad: name.to_owned(),
            kind,
            msid: None,
            rid: None,
            pixels: 0,
            left_out: false,
            stopped: false,
            resuming: false,
            codec: None,
            extensions: Vec::new(),
            released: false,
            finished: false,
            key_frames: KeyFrameRequests::new(self.key_frame_interval),
            bytes: 0,
        });
        let index = tracks.all.len() - 1;
        self.announce(&tracks);
        index
    }

    /// What will be sent in a codec that is not known yet.
    fn announce(&self, tracks: &Tracks) {
        let unknown = || {
            tracks
                .all
                .iter()
                .filter(|t| !t.released && t.codec.is_none())
        };
        self.calls
            .announce(|| unknown().map(|track| track.kind).collect());
    }

    /// What `track` is called in descriptions; before [`Self::set_codec`].
    pub fn set_msid(&self, track: usize, msid: Option<String>, rid: Option<String>) {
        if let Some(track) = self.lock().all.get_mut(track) {
            track.msid = msid;
            track.rid = rid;
        }
    }

    /// The pictures of `track` have so many pixels; before [`Self::set_codec`].
    pub fn set_pixels(&self, track: usize, pixels: u32) {
        if let Some(track) = self.lock().all.get_mut(track) {
            track.pixels = pixels;
        }
    }

    /// The pad of `track` is gone. If all others have ended, so has the call.
    pub fn release_track(&self, track: usize) {
        let mut tracks = self.lock();
        if let Some(track) = tracks.all.get_mut(track) {
            track.released = true;
        }
        self.adaptation.look_again();
        let over = tracks.all.iter().all(|t| t.finished || t.released);
        if tracks.started && over && self.data.finished() {
            drop(tracks);
            self.calls.finish();
            return;
        }
        self.tell_session(tracks);
    }

    /// `track` carries `codec`, with `extensions` on its packets. Once all are known the offer or
    /// answer is made.
    ///
    /// # Errors
    ///
    /// A text when the track was agreed as something else: it cannot change during a call.
    pub fn set_codec(
        &self,
        track: usize,
        codec: Codec,
        extensions: Vec<HeaderExtension>,
    ) -> Result<(), String> {
        let mut tracks = self.lock();
        let known = tracks.sent.contains(&track);
        // The other leg of a shared call may have made it already.
        let late = !known && (tracks.started || self.gate.is_open());
        let Some(entry) = tracks.all.get_mut(track) else {
            return Err("the pad is gone".to_owned());
        };
        if known {
            return match &entry.codec {
                Some(agreed) if agreed.same_encoding(&codec) => Ok(()),
                _ => Err(format!(
                    "the call carries another codec than {codec} on pad {}",
                    entry.pad
                )),
            };
        }
        entry.codec = Some(codec);
        entry.extensions = extensions;
        self.adaptation.look_again();
        if late {
            self.gate.set_pending(track, true);
            if self.calls.host().is_some() {
                // Nobody has to agree first: it plays, and those who come get it.
                self.gate.set_pending(track, false);
            }
        }
        self.tell_session(tracks);
        Ok(())
    }

    /// The session learns of all tracks at once first, and then of every change.
    fn tell_session(&self, mut tracks: MutexGuard<'_, Tracks>) {
        self.announce(&tracks);
        let mut present = tracks.all.iter().filter(|t| !t.released).peekable();
        if !tracks.started && (present.peek().is_none() || present.any(|t| t.codec.is_none())) {
            return;
        }
        let new: Vec<usize> = tracks
            .all
            .iter()
            .enumerate()
            .filter(|(_, t)| !t.released && t.codec.is_some())
            .map(|(index, _)| index)
            .filter(|index| !tracks.sent.contains(index))
            .collect();
        tracks.sent.extend(new);
        tracks.started = true;
        let wish = tracks
            .sent
            .iter()
            .filter_map(|index| tracks.all.get(*index));
        let wish = wish.filter_map(|track| {
            Some(Sending {
                codec: track.codec.clone()?,
                msid: track.msid.clone(),
                extensions: track.extensions.clone(),
                removed: track.released,
                layer: track.rid.as_ref().map(|rid| OwnLayer {
                    group: track.msid.clone().unwrap_or_default(),
                    rid: if self.by_ssrc {
                        String::new()
                    } else {
                        rid.clone()
                    },
                    pixels: track.pixels,
                }),
            })
        });
        let wish = Wish::Send(wish.collect());
        // Under the lock, so that a later wish cannot overtake this one; it does not wait.
        self.calls.set_wish(wish);
    }

    /// Whether the call has begun, and the pads that it still waits for.
    pub fn waits_for(&self) -> Option<Vec<String>> {
        let tracks = self.lock();
        let silent = tracks
            .all
            .iter()
            .filter(|t| !t.released && t.codec.is_none());
        (!tracks.started).then(|| silent.map(|t| t.pad.clone()).collect())
    }

    /// The track that the session knows as `sent_as`.
    pub fn track_sent_as(&self, sent_as: usize) -> Option<usize> {
        self.lock().sent.get(sent_as).copied()
    }

    /// What the session knows `track` as.
    pub fn sent_as(&self, track: usize) -> Option<usize> {
        self.lock().sent.iter().position(|sent| *sent == track)
    }

    /// Name of the pad of `track`.
    pub fn pad_name(&self, track: usize) -> Option<String> {
        self.lock().all.get(track).map(|t| t.pad.clone())
    }

    /// Queues a frame.
    pub fn push_frame(&self, track: usize, frame: OutboundFrame) -> Pushed {
        let mut pushed = Pushed::default();
        let local = {
            let mut tracks = self.lock();
            if let Some(track) = tracks.all.get_mut(track) {
                track.bytes = track.bytes.wrapping_add(frame.len() as u64);
                let due = track.key_frames.frame(frame.key, Instant::now);
                track.resuming &= !frame.key;
                pushed.key_frame_due = due && !track.stopped;
                if track.stopped || track.resuming {
                    return pushed;
                }
            }
            tracks.sent.iter().position(|sent| *sent == track)
        };
        pushed.taken = local.is_some_and(|local| self.calls.push_frame(local, frame));
        pushed
    }

    /// Bytes of RTP that came for `track` so far, payload only.
    pub fn bytes(&self, track: usize) -> u64 {
        self.lock().all.get(track).map_or(0, |t| t.bytes)
    }

    /// Audio or video, once `track` has a codec and while its pad is there.
    pub fn kind(&self, track: usize) -> Option<MediaKind> {
        let tracks = self.lock();
        let here = |t: &&Track| !(t.released || t.left_out && t.rid.is_some());
        let track = tracks.all.get(track).filter(here)?;
        track.codec.as_ref().map(|codec| codec.kind)
    }

    /// The remote does not take `track`, or does after all. Gives what it was before.
    pub fn set_left_out(&self, track: usize, left_out: bool) -> bool {
        let mut tracks = self.lock();
        let place = tracks.all.get_mut(track).map(|track| &mut track.left_out);
        let before = place.map(|place| std::mem::replace(place, left_out));
        drop(tracks);
        self.adaptation.look_again();
        before.unwrap_or_default()
    }

    /// The picture of which `track` is a layer, and how many pixels it has in it.
    pub fn layer(&self, track: usize) -> Option<(String, u32)> {
        let tracks = self.lock();
        let track = tracks.all.get(track)?;
        track.rid.as_ref()?;
        Some((track.msid.clone().unwrap_or_default(), track.pixels))
    }

    /// Whether `track` is stopped.
    pub fn is_stopped(&self, track: usize) -> bool {
        self.lock().all.get(track).is_some_and(|t| t.stopped)
    }

    /// Stops `track`, or lets it go on with its next key frame. Tells whether that is to be asked
    /// for.
    pub fn set_stopped(&self, track: usize, stopped: bool) -> bool {
        let mut tracks = self.lock();
        let Some(track) = tracks.all.get_mut(track) else {
            return false;
        };
        track.resuming |= track.stopped && !stopped;
        track.stopped = stopped;
        track.resuming && !stopped
    }

    /// Whether `track` is video.
    pub fn is_video(&self, track: usize) -> bool {
        let tracks = self.lock();
        let codec = tracks.all.get(track).and_then(|t| t.codec.as_ref());
        codec.is_some_and(|codec| codec.kind == MediaKind::Video)
    }

    /// Whether the encoder of `track` may be asked for a key frame now.
    pub fn may_ask_key_frame(&self, track: usize) -> bool {
        self.key_frame(track) == KeyFrame::Now
    }

    /// Somebody wants a key frame of `track`.
    pub fn key_frame(&self, track: usize) -> KeyFrame {
        let mut tracks = self.lock();
        let Some(track) = tracks.all.get_mut(track) else {
            return KeyFrame::Pending { made: false };
        };
        // Of a host it is reminded, as its frames may not go to whoever waits.
        let by_frames = self.calls.host().is_none();
        track.key_frames.want(by_frames, Instant::now())
    }

    /// The time of [`KeyFrame::After`] is over.
    pub fn key_frame_is_due(&self, track: usize) {
        if let Some(track) = self.lock().all.get_mut(track) {
            track.key_frames.reminded();
        }
    }

    /// The request for a key frame of `track` was `taken`, or was not. Tells whether one will come
    /// of it, as far as is known.
    pub fn makes_key_frames(&self, track: usize, taken: bool) -> bool {
        let mut tracks = self.lock();
        let Some(track) = tracks.all.get_mut(track) else {
            return false;
        };
        track.key_frames.asked(taken, Instant::now())
    }

    /// Whether requests for key frames of `track` are taken and nothing comes of them.
    pub fn ignores_key_frame_requests(&self, track: usize) -> bool {
        let tracks = self.lock();
        let track = tracks.all.get(track);
        track.is_some_and(|track| track.key_frames.ignores())
    }

    /// `track` has ended. Tells whether it was the last one.
    pub fn finish_track(&self, track: usize) -> bool {
        let mut tracks = self.lock();
        if let Some(track) = tracks.all.get_mut(track) {
            track.finished = true;
        }
        tracks.all.iter().all(|t| t.finished || t.released) && self.data.finished()
    }

    /// A data pad ended, or went: if all else has ended too, so has the call. One that has not begun
    /// goes on.
    pub fn finish_if_over(&self) {
        let tracks = self.lock();
        let over = tracks.started && tracks.all.iter().all(|t| t.finished || t.released);
        drop(tracks);
        if over && self.data.finished() {
            self.calls.finish();
        }
    }

    /// The pipeline plays: where there are data pads and no others, nothing is to be waited for.
    pub fn begin_without_media(&self) {
        let mut tracks = self.lock();
        if !tracks.started && self.data.any() && tracks.all.iter().all(|t| t.released) {
            tracks.started = true;
            self.calls.set_wish(Wish::Send(Vec::new()));
            drop(tracks);
            // What has nothing to send may have ended before.
            self.finish_if_over();
        }
    }

    /// `track` goes on after all (a flush after its end).
    pub fn resume_track(&self, track: usize) {
        if let Some(track) = self.lock().all.get_mut(track) {
            track.finished = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tracks> {
        self.tracks
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
