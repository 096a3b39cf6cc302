// SPDX-License-Identifier: MPL-2.0
//! What became of each datagram, for tables and plots.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Duration;

use impaired_link::{Fate, Passage};

use crate::datagram::Kind;

/// A file of CSV. `size` is without the headers of UDP and IP; `queued` is the time in the
/// bottleneck, `arrives` when it comes out of the link; both, as `time`, in microseconds.
pub struct Log(BufWriter<File>);

impl Log {
    pub fn create(path: &str) -> Result<Self, String> {
        let wrong = |error| format!("{path}: {error}");
        let mut file = BufWriter::with_capacity(1 << 16, File::create(path).map_err(wrong)?);
        writeln!(
            file,
            "time,way,flow,size,fate,queued,arrives,kind,payload_type,ssrc,sequence_number"
        )
        .map_err(wrong)?;
        Ok(Self(file))
    }

    /// One line; an error of the disk ends the program, since what was measured is then lost.
    pub fn write(
        &mut self,
        (now, way, flow): (Duration, &str, u64),
        (size, kind): (usize, Kind),
        passage: &Passage,
    ) -> Result<(), String> {
        let fate = match passage.fate {
            Fate::Arrives { .. } => "arrives",
            Fate::Lost => "lost",
            Fate::Overflow => "overflow",
        };
        let arrives = passage
            .arrivals()
            .next()
            .map(|at| at.as_micros().to_string());
        let (payload_type, ssrc, number) = match kind {
            Kind::Rtp {
                payload_type,
                sequence_number,
                ssrc,
            } => (
                payload_type.to_string(),
                ssrc.to_string(),
                sequence_number.to_string(),
            ),
            _ => Default::default(),
        };
        writeln!(
            self.0,
            "{},{way},{flow},{size},{fate},{},{},{},{payload_type},{ssrc},{number}",
            now.as_micros(),
            passage.queued.as_micros(),
            arrives.unwrap_or_default(),
            kind.name(),
        )
        .map_err(|error| format!("the log: {error}"))
    }
}
