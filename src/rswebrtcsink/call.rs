// SPDX-License-Identifier: MPL-2.0
//! One call of a sink, from READY to READY: what its tracks share.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::media::codec::Codec;
use crate::media::header_extension::HeaderExtension;
use crate::media::rtp_packet::OutboundFrame;
use crate::session::Session;
use crate::session::negotiation::{Sending, Wish};

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
    /// Tracks that the session knows, at their places in its wish.
    sent: Vec<usize>,
    /// What is sent was told to the session: what comes now is negotiated anew.
    started: bool,
}

struct Track {
    pad: String,
    msid: Option<String>,
    codec: Option<Codec>,
    /// Header extensions that its packets bring along.
    extensions: Vec<HeaderExtension>,
    /// Its pad is gone.
    released: bool,
    finished: bool,
    key_frame_asked: Option<Instant>,
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

    /// Adds a track for pad `name`; during the call it is negotiated once its codec is known.
    pub fn add_track(&self, name: &str) -> usize {
        let mut tracks = self.lock();
        tracks.all.push(Track {
            pad: name.to_owned(),
            msid: None,
            codec: None,
            extensions: Vec::new(),
            released: false,
            finished: false,
            key_frame_asked: None,
        });
        tracks.all.len() - 1
    }

    /// What `track` is called in descriptions; before [`Self::set_codec`].
    pub fn set_msid(&self, track: usize, msid: Option<String>) {
        if let Some(track) = self.lock().all.get_mut(track) {
            track.msid = msid;
        }
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
        let late = tracks.started && !known;
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
        if late {
            self.gate.set_pending(track, true);
        }
        self.tell_session(tracks);
        Ok(())
    }

    /// The session learns of all tracks at once first, and then of every change.
    fn tell_session(&self, mut tracks: MutexGuard<'_, Tracks>) {
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
            })
        });
        let wish = Wish::Send(wish.collect());
        // Under the lock, so that a later wish cannot overtake this one; it does not wait.
        self.session.set_wish(wish);
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

    /// Queues a frame; `false` when it was dropped.
    pub fn push_frame(&self, track: usize, frame: OutboundFrame) -> bool {
        self.sent_as(track)
            .is_some_and(|local| self.session.push_frame(local, frame))
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
