// SPDX-License-Identifier: MPL-2.0
//! The transport that a description names: what ICE and DTLS need, apart from any stream.

use sdp_types::Attribute;

use super::read::Remote;
use crate::media::header_extension::HeaderExtension;

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

    /// The sources that m-line `index` declares.
    pub fn declared(&self, index: usize) -> Declared {
        let Some(media) = self.session.medias.get(index) else {
            return Declared::default();
        };
        let values = |name: &'static str| {
            media
                .attributes
                .iter()
                .filter(move |a| a.attribute == name)
                .filter_map(|a| a.value.as_deref())
        };
        let rtx: Vec<(u32, u32)> = values("ssrc-group")
            .filter_map(|value| {
                let mut words = value.strip_prefix("FID ")?.split_ascii_whitespace();
                let primary = words.next()?.parse().ok()?;
                Some((words.next()?.parse().ok()?, primary))
            })
            .collect();
        let mut ssrcs = Vec::new();
        for value in values("ssrc") {
            if let Some(Ok(ssrc)) = value.split(' ').next().map(str::parse::<u32>)
                && !ssrcs.contains(&ssrc)
                && !rtx.iter().any(|(repair, _)| *repair == ssrc)
            {
                ssrcs.push(ssrc);
            }
        }
        Declared { ssrcs, rtx }
    }

    /// Whether m-line `index` shares the transport of m-line `first` (RFC 9143).
    pub fn bundled(&self, first: usize, index: usize) -> bool {
        let mid = |at: usize| {
            let media = self.media.get(at)?;
            (!media.mid.is_empty()).then_some(media.mid.as_str())
        };
        first == index
            || self.bundle_groups().any(|mids| {
                let holds =
                    |at| mid(at).is_some_and(|m| mids.split_ascii_whitespace().any(|w| w == m));
                holds(first) && holds(index)
            })
    }

    /// The header extensions of m-line `index` that we know (RFC 8285 section 5); those of the
    /// session stand for every m-line.
    pub fn header_extensions(&self, index: usize) -> Vec<(u8, HeaderExtension)> {
        let own = self
            .session
            .medias
            .get(index)
            .into_iter()
            .flat_map(|m| &m.attributes);
        self.session
            .attributes
            .iter()
            .chain(own)
            .filter(|a| a.attribute == "extmap")
            .filter_map(|a| {
                let mut words = a.value.as_deref()?.split_ascii_whitespace();
                let id = words.next()?.split('/').next()?.parse().ok()?;
                Some((id, HeaderExtension::from_uri(words.next()?)?))
            })
            .collect()
    }

    /// `a=msid` of m-line `index` (RFC 8830), or what stood in `a=ssrc` before there was one.
    pub fn msid(&self, index: usize) -> Option<String> {
        let attributes = &self.session.medias.get(index)?.attributes;
        let own = attributes.iter().find(|a| a.attribute == "msid");
        let of_source = || {
            attributes
                .iter()
                .filter(|a| a.attribute == "ssrc")
                .find_map(|a| a.value.as_deref()?.split_once(" msid:"))
                .map(|(_, msid)| msid.to_owned())
        };
        own.and_then(|a| a.value.clone()).or_else(of_source)
    }

    /// Whether m-line `index` stands in a BUNDLE group.
    pub fn bundles(&self, index: usize) -> bool {
        let Some(mid) = self.media.get(index).map(|m| m.mid.as_str()) else {
            return false;
        };
        !mid.is_empty()
            && self
                .bundle_groups()
                .any(|mids| mids.split_ascii_whitespace().any(|m| m == mid))
    }

    fn bundle_groups(&self) -> impl Iterator<Item = &str> {
        self.session
            .attributes
            .iter()
            .filter(|a| a.attribute == "group")
            .filter_map(|a| a.value.as_deref()?.strip_prefix("BUNDLE"))
    }

    /// Kind, protocol and formats of m-line `index`, as they stand there.
    pub fn first_line(&self, index: usize) -> (&str, &str, &str) {
        self.session
            .medias
            .get(index)
            .map(|m| (m.media.as_str(), m.proto.as_str(), m.fmt.as_str()))
            .unwrap_or_default()
    }

    /// `sess-id` of the origin line: the same one in all descriptions of one side of a call.
    pub fn session_id(&self) -> &str {
        &self.session.origin.sess_id
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
