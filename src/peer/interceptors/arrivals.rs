// SPDX-License-Identifier: MPL-2.0
//! Feedback on the arrival of every packet, by transport-wide numbers
//! (draft-holmer-rmcat-transport-wide-cc-extensions).

use std::time::{Duration, Instant};

use rtc::interceptor::{
    Interceptor, StreamInfo, TaggedPacket, TwccReceiverBuilder, TwccReceiverInterceptor,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use super::media_path::stream_info;
use crate::media::header_extension::HeaderExtension;
use crate::peer::Direction;
use crate::peer::shared::Line;

/// Feedback goes out no more often than this, ...
const SHORTEST: Duration = Duration::from_millis(50);
/// ... and no less often, as long as something comes.
const LONGEST: Duration = Duration::from_millis(250);
/// Part of what comes in that feedback may take, as libwebrtc has it.
const SHARE: f64 = 0.05;
/// A usual feedback packet with all headers, bits.
const FEEDBACK_SIZE: f64 = 68.0 * 8.0;

/// Notes arrivals with webrtc's recorder, and says how often to tell of them.
pub(super) struct Arrivals {
    recorder: TwccReceiverInterceptor,
    /// The next feedback leaves no sooner.
    due: Option<Instant>,
    /// The last one left.
    told: Option<Instant>,
    /// Since the last feedback.
    bytes: usize,
}

impl Default for Arrivals {
    fn default() -> Self {
        let recorder = TwccReceiverBuilder::new().with_interval(SHORTEST).build();
        Self {
            recorder,
            due: None,
            told: None,
            bytes: 0,
        }
    }
}

impl Arrivals {
    /// Transport-wide numbers count for the transport, not for a stream, and one id stands for
    /// them on all m-lines (RFC 8843 section 9.1).
    pub(super) fn bind(&mut self, lines: &[Line]) {
        let mut receiving = lines.iter().filter_map(|line| {
            let id = line.config.extension(HeaderExtension::TransportWideCc)?;
            let receives = line.config.direction == Direction::RecvOnly;
            let codec = line.config.codecs.first().filter(|_| receives)?;
            let info = stream_info(codec, 0, None, Some(id));
            (!info.rtp_header_extensions.is_empty()).then_some(info)
        });
        match receiving.next() {
            Some(info) => self.recorder.bind_remote_stream(&info),
            None => self.recorder.unbind_remote_stream(&StreamInfo::default()),
        }
    }

    /// A packet came in. Before anything is known of it: padding, repairs of what is there already
    /// and unknown sources are what bandwidth is probed with, and to leave them out of the feedback
    /// makes the remote believe that all of it is lost.
    pub(super) fn note(
        &mut self,
        message: TaggedPacket,
        size: usize,
    ) -> Result<Option<TaggedPacket>, Error> {
        self.bytes += size;
        self.recorder.handle_read(message)?;
        Ok(self.recorder.poll_read())
    }

    /// Feedback to send.
    pub(super) fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.recorder.poll_write()
    }

    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        let recorded = self.recorder.poll_timeout()?;
        Some(self.due.map_or(recorded, |due| due.max(recorded)))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return Ok(());
        }
        let told = self.told.replace(now);
        let passed = told.map_or(SHORTEST, |told| now.saturating_duration_since(told));
        let bits = std::mem::take(&mut self.bytes) as f64 * 8.0;
        let rate = bits / passed.max(SHORTEST).as_secs_f64();
        self.due = Some(now + interval(rate));
        self.recorder.handle_timeout(now)
    }
}

/// Between two feedback packets at `rate` bit/s.
fn interval(rate: f64) -> Duration {
    let seconds = FEEDBACK_SIZE / (SHARE * rate).max(1.0);
    Duration::from_secs_f64(seconds.clamp(SHORTEST.as_secs_f64(), LONGEST.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_takes_a_twentieth_of_what_comes() {
        assert_eq!(interval(0.0), LONGEST);
        assert_eq!(interval(30_000.0), LONGEST);
        assert_eq!(interval(108_800.0), Duration::from_millis(100));
        assert_eq!(interval(2_500_000.0), SHORTEST);
    }
}
