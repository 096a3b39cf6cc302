// SPDX-License-Identifier: MPL-2.0
//! One call of a sink, from READY to READY: what its tracks share.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::media::codec::Codec;
use crate::media::rtp_packet::OutboundFrame;
use crate::session::Session;
use crate::session::negotiation::Wish;

use super::gate::Gate;

/// At most one key frame is asked of an encoder in this time.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);

/// Shared by the element and the tracks of one call.
pub struct SinkCall {
    /// Holds media until the call is up.
    pub gate: Gate,
    session: Session,
    /// Plain data; never held over a call into GStreamer or the session's waits.
    tracks: Mutex<Tracks>,
}

#[derive(Default)]
struct Tracks {
    all: Vec<Track>,
    /// What is sent was told to the session: tracks neither come nor change any more.
    started: bool,
}

struct Track {
    pad: String,
    codec: Option<Codec>,
    /// Its pad is gone.
    released: bool,
    finished: bool,
    key_frame_asked: Option<Instant>,
    /// Its index in the session's wish.
    sent_as: Option<usize>,
}

impl SinkCall {
    /// A call without tracks.
    pub fn new(session: Session) -> Arc<Self> {
        Arc::new(Self {
            gate: Gate::default(),
            session,
            tracks: Mutex::default(),
        })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Adds a track for pad `name`; `None` once the call has begun.
    pub fn add_track(&self, name: &str) -> Option<usize> {
        let mut tracks = self.lock();
        if tracks.started {
            return None;
        }
        tracks.all.push(Track {
            pad: name.to_owned(),
            codec: None,
            released: false,
            finished: false,
            key_frame_asked: None,
            sent_as: None,
        });
        Some(tracks.all.len() - 1)
    }

    /// The pad of `track` is gone. If all others have ended, so has the call.
    pub fn release_track(&self, track: usize) {
        let mut tracks = self.lock();
        if let Some(track) = tracks.all.get_mut(track) {
            track.released = true;
        }
        if tracks.started && tracks.all.iter().all(|t| t.finished || t.released) {
            drop(tracks);
            self.session.finish();
            return;
        }
        self.start_if_ready(tracks);
    }

    /// `track` carries `codec`. Once all are known the offer or answer is made.
    ///
    /// # Errors
    ///
    /// A text when the track was agreed as something else: it cannot change during a call.
    pub fn set_codec(&self, track: usize, codec: Codec) -> Result<(), String> {
        let mut tracks = self.lock();
        let started = tracks.started;
        let Some(track) = tracks.all.get_mut(track) else {
            return Err("the pad came after the call began".to_owned());
        };
        if started {
            return match &track.codec {
                Some(agreed) if agreed.same_encoding(&codec) => Ok(()),
                _ => Err(format!(
                    "the call carries another codec than {codec} on pad {}",
                    track.pad
                )),
            };
        }
        track.codec = Some(codec);
        self.start_if_ready(tracks);
        Ok(())
    }

    fn start_if_ready(&self, mut tracks: MutexGuard<'_, Tracks>) {
        let present = || tracks.all.iter().filter(|t| !t.released);
        let codecs: Option<Vec<Codec>> = present().map(|t| t.codec.clone()).collect();
        let Some(codecs) = codecs.filter(|codecs| !codecs.is_empty() && !tracks.started) else {
            return;
        };
        for (index, track) in tracks.all.iter_mut().filter(|t| !t.released).enumerate() {
            track.sent_as = Some(index);
        }
        tracks.started = true;
        drop(tracks);
        self.session.set_wish(Wish::Send(codecs));
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
        let tracks = self.lock();
        tracks.all.iter().position(|t| t.sent_as == Some(sent_as))
    }

    /// Name of the pad of `track`.
    pub fn pad_name(&self, track: usize) -> Option<String> {
        self.lock().all.get(track).map(|t| t.pad.clone())
    }

    /// Queues a frame; `false` when it was dropped.
    pub fn push_frame(&self, track: usize, frame: OutboundFrame) -> bool {
        let sent_as = self.lock().all.get(track).and_then(|t| t.sent_as);
        sent_as.is_some_and(|local| self.session.push_frame(local, frame))
    }

    /// Whether the encoder of `track` may be asked for a key frame now.
    pub fn may_ask_key_frame(&self, track: usize) -> bool {
        let mut tracks = self.lock();
        let Some(track) = tracks.all.get_mut(track) else {
            return false;
        };
        let now = Instant::now();
        let due = track
            .key_frame_asked
            .is_none_or(|then| now.duration_since(then) >= KEY_FRAME_INTERVAL);
        if due {
            track.key_frame_asked = Some(now);
        }
        due
    }

    /// `track` has ended. Tells whether it was the last one.
    pub fn finish_track(&self, track: usize) -> bool {
        let mut tracks = self.lock();
        if let Some(track) = tracks.all.get_mut(track) {
            track.finished = true;
        }
        tracks.all.iter().all(|t| t.finished || t.released)
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
