// SPDX-License-Identifier: MPL-2.0
//! Which header extensions go into a description (RFC 8285, RFC 8843 section 9.1.3: one id means
//! one extension in all bundled m-lines).

use crate::media::codec::MediaKind;
use crate::media::header_extension::HeaderExtension as Extension;

/// Ids that fit the one-byte form, which everybody reads.
const ONE_BYTE: std::ops::RangeInclusive<u8> = 1..=14;

/// What we write ourselves on every stream of `kind` that we send.
fn written(kind: MediaKind) -> &'static [Extension] {
    match kind {
        MediaKind::Audio => &[
            Extension::Mid,
            Extension::AbsSendTime,
            Extension::TransportWideCc,
        ],
        MediaKind::Video => &[
            Extension::Mid,
            Extension::AbsSendTime,
            Extension::TransportWideCc,
            Extension::VideoOrientation,
        ],
    }
}

/// What we offer to receive: used here, or passed on with RTP.
fn read(kind: MediaKind) -> Vec<Extension> {
    Extension::all()
        // Layers of a picture are not asked for yet.
        .filter(|e| !matches!(e, Extension::Rid | Extension::RepairedRid))
        .filter(|e| e.kinds().contains(&kind))
        .collect()
}

/// The extensions of an offered m-line, with ids that agree with `others`.
pub(super) fn offered(
    kind: MediaKind,
    sends: bool,
    brought: &[Extension],
    others: &mut Vec<(u8, Extension)>,
) -> Vec<(u8, Extension)> {
    let wanted: Vec<Extension> = if sends {
        let brought = brought
            .iter()
            .copied()
            .filter(|e| e.kinds().contains(&kind));
        let mut all = written(kind).to_vec();
        all.extend(brought.filter(|e| !written(kind).contains(e)));
        all
    } else {
        read(kind)
    };
    wanted
        .into_iter()
        .filter_map(|extension| {
            let known = others
                .iter()
                .find(|(_, e)| *e == extension)
                .map(|(id, _)| *id);
            let id = known.or_else(|| {
                let free = |id: &u8| !others.iter().any(|(taken, _)| taken == id);
                ONE_BYTE.into_iter().find(free)
            })?;
            if known.is_none() {
                others.push((id, extension));
            }
            Some((id, extension))
        })
        .collect()
}

/// What we take of the `theirs` of an offer.
pub(super) fn answered(
    theirs: &[(u8, Extension)],
    kind: MediaKind,
    sends: bool,
    brought: &[Extension],
) -> Vec<(u8, Extension)> {
    let takes = |extension: Extension| {
        extension.kinds().contains(&kind)
            && (!sends || written(kind).contains(&extension) || brought.contains(&extension))
    };
    unique(theirs, |(id, extension)| {
        ONE_BYTE.contains(&id) && takes(extension)
    })
}

/// What the answer's `theirs` left of what was `offered`.
pub(super) fn agreed(
    offered: &[(u8, Extension)],
    theirs: &[(u8, Extension)],
) -> Vec<(u8, Extension)> {
    unique(theirs, |entry| offered.contains(&entry))
}

/// The entries that `keep` likes, each id and each extension once.
fn unique(all: &[(u8, Extension)], keep: impl Fn((u8, Extension)) -> bool) -> Vec<(u8, Extension)> {
    let mut kept: Vec<(u8, Extension)> = Vec::new();
    for (id, extension) in all.iter().copied().filter(|entry| keep(*entry)) {
        if !kept.iter().any(|(i, e)| *i == id || *e == extension) {
            kept.push((id, extension));
        }
    }
    kept
}
