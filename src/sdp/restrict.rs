// SPDX-License-Identifier: MPL-2.0
//! Narrows a description to the codecs that both sides agreed on.
//!
//! webrtc matches by name where profiles differ and answers with all it knows of; given a
//! description that holds only what was chosen here, it has nothing left to choose.

use sdp_types::{Attribute, Media};

use super::attributes::payload_value;
use super::model::Remote;

/// `remote` with only the payload types that `keep(index of the m-line)` names; `None` leaves an
/// m-line as it is.
pub fn restrict(remote: &Remote, keep: impl Fn(usize) -> Option<Vec<u8>>) -> String {
    let mut session = remote.session.clone();
    for (index, media) in session.medias.iter_mut().enumerate() {
        if let Some(payload_types) = keep(index) {
            restrict_media(media, &payload_types);
        }
    }
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = session.write(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn restrict_media(media: &mut Media, keep: &[u8]) {
    let kept: Vec<_> = media
        .fmt
        .split_ascii_whitespace()
        .filter(|pt| pt.parse().is_ok_and(|pt: u8| keep.contains(&pt)))
        .map(str::to_owned)
        .collect();
    // An m-line must name at least one format (RFC 8866 section 5.14).
    if kept.is_empty() {
        return;
    }
    media.fmt = kept.join(" ");
    media.attributes.retain(|a| attribute_stays(a, keep));
    join_fmtp(&mut media.attributes);
}

/// One `fmtp` line a payload type: where there are several (as Chrome's answers were), webrtc
/// reads only one.
fn join_fmtp(attributes: &mut Vec<Attribute>) {
    let mut first = [const { None::<usize> }; 128];
    let mut joined: Vec<Attribute> = Vec::with_capacity(attributes.len());
    for attribute in attributes.drain(..) {
        let parsed = (attribute.attribute == "fmtp")
            .then(|| attribute.value.as_deref().and_then(payload_value))
            .flatten();
        let Some((pt, text)) = parsed else {
            joined.push(attribute);
            continue;
        };
        let Some(slot) = first.get_mut(usize::from(pt)) else {
            continue;
        };
        match slot.and_then(|at| joined.get_mut(at)) {
            Some(line) => {
                let line = line.value.get_or_insert_default();
                line.push(';');
                line.push_str(text);
            }
            None => {
                *slot = Some(joined.len());
                joined.push(attribute);
            }
        }
    }
    *attributes = joined;
}

fn attribute_stays(attribute: &Attribute, keep: &[u8]) -> bool {
    match attribute.attribute.as_str() {
        "rtpmap" | "fmtp" | "rtcp-fb" => attribute
            .value
            .as_deref()
            .and_then(payload_value)
            .is_none_or(|(pt, _)| keep.contains(&pt)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::read::tests::AIORTC;

    #[test]
    fn only_the_kept_payload_types_remain_everywhere() {
        let remote = Remote::read(AIORTC).unwrap();
        let text = restrict(&remote, |_| Some(vec![99, 100]));
        assert!(text.contains("SAVPF 99 100\r\n"), "{text}");
        assert!(!text.contains("VP8") && !text.contains(":97 ") && !text.contains("apt=97"));
        assert!(text.contains("a=rtcp-fb:* nack"));
        assert_eq!(Remote::read(&text).unwrap().media[0].codecs.len(), 1);
    }

    #[test]
    fn several_fmtp_lines_of_a_payload_type_become_one() {
        let text = AIORTC.replace(
            "a=fmtp:100 apt=99\r\n",
            "a=fmtp:100 apt=99\r\na=fmtp:99 x-google-start-bitrate=300\r\n",
        );
        let text = restrict(&Remote::read(&text).unwrap(), |_| Some(vec![99, 100]));
        assert_eq!(text.matches("a=fmtp:99 ").count(), 1, "{text}");
        assert!(text.contains("profile-level-id=42001f;x-google-start-bitrate=300\r\n"));
    }

    #[test]
    fn an_m_line_keeps_its_formats_when_none_was_chosen() {
        let remote = Remote::read(AIORTC).unwrap();
        let text = restrict(&remote, |_| Some(vec![]));
        assert!(text.contains("SAVPF 97 98 99 100\r\n"));
    }
}
