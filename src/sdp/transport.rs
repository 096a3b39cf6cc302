// SPDX-License-Identifier: MPL-2.0
//! The transport that a description names: what ICE and DTLS need, apart from any stream.

use sdp_types::Attribute;

use super::model::{MediaLine, Remote};
use crate::media::header_extension::HeaderExtension;

/// The SCTP port of data channels.
const SCTP_PORT: u16 = 5000;

/// ICE and DTLS parameters of one side (RFC 8839, RFC 8842).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transport {
    /// `a=ice-ufrag`
    pub ufrag: String,
    /// `a=ice-pwd`; secret.
    pub pwd: String,
    /// `a=ice-options`, if any.
    pub ice_options: Option<String>,
    /// `a=ice-lite`
    pub ice_lite: bool,
    /// Values of `a=fingerprint`.
    pub fingerprints: Vec<String>,
    /// `a=setup`: `active`, `passive`, `actpass`; empty where there is none.
    pub setup: String,
    /// Values of `a=candidate`, those for RTCP alone left out.
    pub candidates: Vec<String>,
    /// `a=end-of-candidates` stands there.
    pub end_of_candidates: bool,
}

/// What a remote declares of its sources in one m-line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// SSRCs, retransmissions left out.
    pub ssrcs: Vec<u32>,
    /// Retransmission SSRCs, each with the one it repairs (`ssrc-group:FID`).
    pub rtx: Vec<(u32, u32)>,
    /// SSRCs of FEC, each with the one it protects (`ssrc-group:FEC-FR`, RFC 5956).
    pub fec: Vec<(u32, u32)>,
}

impl Remote {
    /// The transport of m-line `index`; under BUNDLE candidates may stand in another one, so all
    /// of them count.
    pub fn transport(&self, index: usize) -> Transport {
        let own = self.session.medias.get(index);
        let others = || self.session.medias.iter().flat_map(|m| &m.attributes);
        let first = |name: &str| {
            own.iter()
                .flat_map(|media| &media.attributes)
                .chain(&self.session.attributes)
                .chain(others())
                .find(|a| a.attribute == name)
                .map(|a| a.value.clone().unwrap_or_default().trim().to_owned())
        };
        let in_media =
            |name: &str| own.is_some_and(|m| m.attributes.iter().any(|a| a.attribute == name));
        let fingerprints: Vec<&Attribute> = if in_media("fingerprint") {
            own.iter().flat_map(|m| &m.attributes).collect()
        } else if self
            .session
            .attributes
            .iter()
            .any(|a| a.attribute == "fingerprint")
        {
            self.session.attributes.iter().collect()
        } else {
            others().collect()
        };
        let mut candidates: Vec<String> = Vec::new();
        for value in others()
            .filter(|a| a.attribute == "candidate")
            .filter_map(|a| a.value.as_deref())
        {
            // RTCP is multiplexed: component 2 is never used.
            if value.split_ascii_whitespace().nth(1) == Some("1")
                && !candidates.iter().any(|c| c == value)
            {
                candidates.push(value.to_owned());
            }
        }
        Transport {
            ufrag: first("ice-ufrag").unwrap_or_default(),
            pwd: first("ice-pwd").unwrap_or_default(),
            ice_options: first("ice-options"),
            ice_lite: self
                .session
                .attributes
                .iter()
                .any(|a| a.attribute == "ice-lite"),
            fingerprints: fingerprints
                .into_iter()
                .filter(|a| a.attribute == "fingerprint")
                .filter_map(|a| a.value.clone())
                .fold(Vec::new(), |mut all, value| {
                    if !all.contains(&value) {
                        all.push(value);
                    }
                    all
                }),
            setup: first("setup").unwrap_or_default(),
            candidates,
            end_of_candidates: others()
                .chain(&self.session.attributes)
                .any(|a| a.attribute == "end-of-candidates"),
        }
    }

    /// The m-line of data channels, if there is one that can be used.
    pub fn data_line(&self) -> Option<&MediaLine> {
        let usable = |line: &&MediaLine| {
            let sctp = line.sctp.as_ref().filter(|_| !line.rejected);
            // Another port is possible, and nobody has one.
            sctp.is_some_and(|sctp| sctp.port.is_none_or(|port| port == SCTP_PORT))
        };
        self.media.iter().find(usable)
    }

    /// The sources that m-line `index` declares.
    pub fn declared(&self, index: usize) -> Declared {
        let Some(line) = self.media.get(index) else {
            return Declared::default();
        };
        let pairs = |wanted: &str| -> Vec<(u32, u32)> {
            let groups = line.groups.iter();
            groups
                .filter(|(semantics, _)| semantics == wanted)
                .filter_map(|(_, ssrcs)| match ssrcs.as_slice() {
                    [primary, repair, ..] => Some((*repair, *primary)),
                    _ => None,
                })
                .collect()
        };
        let (rtx, fec) = (pairs("FID"), pairs("FEC-FR"));
        let repairs = |ssrc: &u32| rtx.iter().chain(&fec).any(|(repair, _)| repair == ssrc);
        let ssrcs = line.sources.iter().map(|source| source.ssrc);
        Declared {
            ssrcs: ssrcs.filter(|ssrc| !repairs(ssrc)).collect(),
            rtx,
            fec,
        }
    }

    /// Whether m-line `index` shares the transport of m-line `first` (RFC 9143).
    pub fn bundled(&self, first: usize, index: usize) -> bool {
        first == index
            || self
                .bundle
                .iter()
                .any(|mids| self.is_in(mids, first) && self.is_in(mids, index))
    }

    /// Whether m-line `index` stands in a BUNDLE group.
    pub fn bundles(&self, index: usize) -> bool {
        self.bundle.iter().any(|mids| self.is_in(mids, index))
    }

    fn is_in(&self, mids: &[String], index: usize) -> bool {
        let mid = self.media.get(index).map(|line| &line.mid);
        mid.is_some_and(|mid| !mid.is_empty() && mids.contains(mid))
    }

    /// The header extensions of m-line `index` that we know (RFC 8285 section 5); those that need both
    /// forms only where they may be mixed.
    pub fn header_extensions(&self, index: usize) -> Vec<(u8, HeaderExtension)> {
        let Some(line) = self.media.get(index) else {
            return Vec::new();
        };
        line.extensions
            .iter()
            .filter_map(|e| Some((e.id, HeaderExtension::from_uri(&e.uri)?)))
            .filter(|(_, e)| line.extmap_allow_mixed || !e.needs_mixed_forms())
            .collect()
    }

    /// Stream and track of m-line `index` (RFC 8830), the first of them under Plan B.
    pub fn msid(&self, index: usize) -> Option<String> {
        let msid = self.media.get(index)?.msid.first()?;
        Some(msid.to_string())
    }

    /// Kind, protocol and formats of m-line `index`, as they stand there.
    pub fn first_line(&self, index: usize) -> (&str, &str, &str) {
        self.session
            .medias
            .get(index)
            .map(|m| (m.media.as_str(), m.proto.as_str(), m.fmt.as_str()))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::read::tests::AIORTC;

    #[test]
    fn the_transport_is_read_from_wherever_it_stands() {
        let remote = Remote::read(AIORTC).unwrap();
        let transport = remote.transport(0);
        assert!(!transport.ufrag.is_empty() && !transport.pwd.is_empty());
        assert_eq!(transport.fingerprints.len(), 1);
        assert_eq!(transport.setup, "actpass");
        assert!(!transport.candidates.is_empty());
        // No such m-line: whatever the session says still counts.
        assert_eq!(remote.transport(99).ufrag, transport.ufrag);
    }

    #[test]
    fn sources_and_their_repairs_are_told_apart() {
        let text = AIORTC.to_owned()
            + "a=ssrc-group:FID 1 2\r\na=ssrc:1 cname:x\r\na=ssrc:1 msid:a b\r\na=ssrc:2 cname:x\r\n";
        let last = Remote::read(&text).unwrap();
        let declared = last.declared(last.media.len() - 1);
        assert!(declared.rtx.contains(&(2, 1)));
        assert!(declared.ssrcs.contains(&1) && !declared.ssrcs.contains(&2));
    }
}
