// SPDX-License-Identifier: MPL-2.0
//! Which of our streams share an m-line.

use crate::media::codec::MediaKind;
use crate::session::negotiation::OwnLayer;

use super::settings::{SdpSemantics, Settings, Simulcast};

/// How the user wants it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Layers are told apart by SSRCs.
    by_ssrc: bool,
    /// All streams of a codec share one.
    plan_b: bool,
}

/// What of a pad decides it.
pub struct Shares<'a> {
    /// Its name.
    pub pad: &'a str,
    /// Of its stream.
    pub kind: MediaKind,
    /// Its property.
    pub msid: Option<&'a str>,
    /// Its property: the pad is a layer.
    pub rid: Option<&'a str>,
    /// Of its picture.
    pub pixels: u32,
}

impl Sharing {
    /// As `settings` have it.
    pub fn of(settings: &Settings) -> Self {
        Self {
            by_ssrc: settings.simulcast == Simulcast::Ssrc,
            plan_b: settings.sdp_semantics == SdpSemantics::PlanB,
        }
    }

    /// What the stream of a pad shares; `None`: it has an m-line of its own.
    pub fn layer(self, own: &Shares<'_>) -> Option<OwnLayer> {
        let msid = own.msid.unwrap_or_default();
        if self.plan_b {
            // Rids came with the other plan.
            let picture = own.rid.map_or(own.pad, |_| msid);
            return Some(OwnLayer {
                group: own.kind.as_str().to_owned(),
                picture: Some(picture.to_owned()),
                rid: String::new(),
                pixels: own.pixels,
            });
        }
        let rid = own.rid?;
        Some(OwnLayer {
            group: msid.to_owned(),
            picture: None,
            rid: Some(rid)
                .filter(|_| !self.by_ssrc)
                .unwrap_or_default()
                .to_owned(),
            pixels: own.pixels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pad<'a>(pad: &'a str, msid: Option<&'a str>, rid: Option<&'a str>) -> Shares<'a> {
        Shares {
            pad,
            kind: MediaKind::Video,
            msid,
            rid,
            pixels: 4,
        }
    }

    #[test]
    fn a_stream_without_a_rid_has_an_m_line_of_its_own_but_under_plan_b() {
        assert_eq!(Sharing::default().layer(&pad("video_0", None, None)), None);
        let plan_b = Sharing {
            plan_b: true,
            ..Sharing::default()
        };
        let [one, two, large, small] = [
            pad("video_0", Some("room left"), None),
            pad("video_1", Some("room left"), None),
            pad("video_2", Some("room right"), Some("h")),
            pad("video_3", Some("room right"), Some("l")),
        ]
        .map(|own| plan_b.layer(&own).unwrap());
        assert!(
            [&two, &large, &small]
                .iter()
                .all(|layer| layer.group == one.group)
        );
        assert_ne!(one.picture, two.picture);
        assert_eq!(large.picture, small.picture);
        assert_eq!((large.rid.as_str(), large.pixels), ("", 4));
    }
}
