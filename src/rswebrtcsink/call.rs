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

struct Tracks {
    codecs: Vec<Option<Codec>>,
    names: Vec<String>,
    finished: Vec<bool>,
    key_frame_asked: Vec<Option<Instant>>,
    started: bool,
}

impl SinkCall {
    /// A call with one track for each pad name.
    pub fn new(session: Session, names: Vec<String>) -> Arc<Self> {
        let count = names.len();
        Arc::new(Self {
            gate: Gate::default(),
            session,
            tracks: Mutex::new(Tracks {
                codecs: vec![None; count],
                finished: vec![false; count],
                key_frame_asked: vec![None; count],
                names,
                started: false,
            }),
        })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Track `local` carries `codec`. Once all are known the offer or answer is made.
    ///
    /// # Errors
    ///
    /// A text when the track was agreed as something else: it cannot change during a call.
    pub fn set_codec(&self, local: usize, codec: Codec) -> Result<(), String> {
        let mut tracks = self.lock();
        let started = tracks.started;
        let Some(slot) = tracks.codecs.get_mut(local) else {
            return Err("the pad came after the call began".to_owned());
        };
        if started {
            return match slot {
                Some(agreed) if agreed.same_encoding(&codec) => Ok(()),
                _ => Err(format!("the call carries another codec than {codec} on this pad")),
            };
        }
        *slot = Some(codec);
        let all: Option<Vec<Codec>> = tracks.codecs.iter().cloned().collect();
        if let Some(codecs) = all {
            tracks.started = true;
            drop(tracks);
            self.session.set_wish(Wish::Send(codecs));
        }
        Ok(())
    }

    /// Names of the pads that have brought nothing yet.
    pub fn silent_pads(&self) -> Vec<String> {
        let tracks = self.lock();
        tracks
            .codecs
            .iter()
            .zip(&tracks.names)
            .filter(|(codec, _)| codec.is_none())
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// Name of the pad of track `local`.
    pub fn pad_name(&self, local: usize) -> Option<String> {
        self.lock().names.get(local).cloned()
    }

    /// Queues a frame; `false` when it was dropped.
    pub fn push_frame(&self, local: usize, frame: OutboundFrame) -> bool {
        self.session.push_frame(local, frame)
    }

    /// Whether the encoder of track `local` may be asked for a key frame now.
    pub fn may_ask_key_frame(&self, local: usize) -> bool {
        let mut tracks = self.lock();
        let Some(last) = tracks.key_frame_asked.get_mut(local) else {
            return false;
        };
        let now = Instant::now();
        let due = last.is_none_or(|then| now.duration_since(then) >= KEY_FRAME_INTERVAL);
        if due {
            *last = Some(now);
        }
        due
    }

    /// Track `local` has ended. Tells whether it was the last one.
    pub fn finish_track(&self, local: usize) -> bool {
        let mut tracks = self.lock();
        if let Some(finished) = tracks.finished.get_mut(local) {
            *finished = true;
        }
        tracks.finished.iter().all(|finished| *finished)
    }

    /// Track `local` goes on after all (a flush after its end).
    pub fn resume_track(&self, local: usize) {
        if let Some(finished) = self.lock().finished.get_mut(local) {
            *finished = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tracks> {
        self.tracks
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
