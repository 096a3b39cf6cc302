// SPDX-License-Identifier: MPL-2.0
//! Which stream a packet that came in belongs to (RFC 8843 section 9.2).

use rtc::rtp;

use super::media_path::MediaPath;
use crate::media::header_extension::HeaderExtension;

/// SSRCs that a remote may use at a time, for each m-line: it may start anew, and repairs count.
const SOURCES_PER_LINE: usize = 16;

/// Where a packet belongs.
pub(super) struct Route {
    pub(super) stream: usize,
    /// Of the codec, whether or not this is a retransmission of it.
    pub(super) payload_type: u8,
    pub(super) repair: bool,
}

impl MediaPath {
    /// What no line receives any more makes room for others.
    pub(super) fn forget_idle_lines(&mut self) {
        let lines = self.lines.clone();
        self.forget_where(|stream| {
            let line = lines.get(stream);
            line.is_none_or(|line| !line.config.direction.receives())
        });
    }

    /// Whom their sources belong to has changed: they are found anew, with their next packets.
    pub(super) fn forget_streams(&mut self, streams: &[usize]) {
        self.forget_where(|stream| streams.contains(&stream));
    }

    fn forget_where(&mut self, of_no_use: impl Fn(usize) -> bool) {
        let routes = self.routes.iter();
        let gone: Vec<u32> = routes
            .filter(|(_, stream)| of_no_use(**stream))
            .map(|(ssrc, _)| *ssrc)
            .collect();
        for ssrc in gone {
            self.forget(ssrc);
        }
        for (stream, primary) in self.primaries.iter_mut().enumerate() {
            if of_no_use(stream) {
                *primary = None;
            }
        }
    }

    fn forget(&mut self, ssrc: u32) {
        self.routes.remove(&ssrc);
        self.recovery.forget(ssrc);
        self.sources.remove(&ssrc);
    }

    pub(super) fn is_full(&self) -> bool {
        self.routes.len() >= SOURCES_PER_LINE * self.lines.len().max(1)
    }

    /// The stream a packet belongs to, its codec, and whether it is a retransmission.
    pub(super) fn route(&mut self, header: &rtp::header::Header) -> Option<Route> {
        let payload_type = header.payload_type;
        let known = self.routes.get(&header.ssrc).copied();
        let stream = match known {
            // A mid counts for more than what was guessed before (RFC 9143 section 9.2).
            Some(stream) => self.stream_by_mid(header).unwrap_or(stream),
            None => self.find_stream(header)?,
        };
        let config = &self.lines.get(stream)?.config;
        let codec = config.codecs.iter().find(|codec| {
            codec.payload_type == payload_type || codec.rtx_payload_type == Some(payload_type)
        });
        let fec = || config.fec.as_ref()?.original(payload_type);
        let original = codec.map(|codec| codec.payload_type).or_else(fec)?;
        let found = Route {
            stream,
            payload_type: original,
            repair: original != payload_type,
        };
        if known != Some(stream) && (known.is_some() || !self.is_full()) {
            self.routes.insert(header.ssrc, stream);
        }
        Some(found)
    }

    /// RFC 8843 section 9.2: by mid, else by what the description declared, else by payload type.
    fn find_stream(&self, header: &rtp::header::Header) -> Option<usize> {
        let lines = || self.lines.iter();
        let declared = || {
            lines().position(|line| {
                line.declared.ssrcs.contains(&header.ssrc)
                    || line.declared.rtx.iter().any(|(rtx, _)| *rtx == header.ssrc)
                    || line.declared.fec.iter().any(|(fec, _)| *fec == header.ssrc)
            })
        };
        let by_type = || {
            lines().position(|line| {
                line.config.direction.receives()
                    && line
                        .config
                        .payload_types()
                        .any(|pt| pt == header.payload_type)
            })
        };
        self.stream_by_mid(header)
            .or_else(declared)
            .or_else(by_type)
    }

    fn stream_by_mid(&self, header: &rtp::header::Header) -> Option<usize> {
        let mut extensions = header.extensions.iter();
        // Most packets have none.
        extensions.find(|extension| self.mid_ids.contains(&extension.id))?;
        self.lines.iter().position(|line| {
            let id = line.config.extension(HeaderExtension::Mid);
            let mut extensions = header.extensions.iter();
            extensions.any(|e| Some(e.id) == id && *e.payload == *line.config.mid.as_bytes())
        })
    }

    pub(super) fn repaired_by(
        &mut self,
        header: &rtp::header::Header,
        stream: usize,
    ) -> Option<u32> {
        let rtx = header.ssrc;
        let of_layer = self.repaired_layer(stream, header);
        let declared = &self.lines.get(stream)?.declared;
        let declared = declared
            .rtx
            .iter()
            .find(|(ssrc, _)| *ssrc == rtx)
            .map(|(_, ssrc)| *ssrc);
        if let Some(of_layer) = of_layer {
            return of_layer.or(declared);
        }
        declared.or_else(|| self.primaries.get(stream).copied().flatten())
    }
}
