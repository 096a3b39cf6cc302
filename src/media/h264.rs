// SPDX-License-Identifier: MPL-2.0
//! H264 profiles in `profile-level-id` (RFC 6184 section 8.1, table 5).

/// Profiles that WebRTC peers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Subset of all others.
    ConstrainedBaseline,
    /// With FMO and ASO: no subset of Main.
    Baseline,
    /// CABAC and B-frames allowed.
    Main,
    /// High without B-frames and interlace.
    ConstrainedHigh,
    /// High.
    High,
    /// Anything else, or not hexadecimal.
    Other,
}

impl Profile {
    /// Profile of a `profile-level-id` value; absent means Baseline (RFC 6184 section 8.1).
    pub fn from_fmtp(profile_level_id: Option<&str>) -> Self {
        let Some(text) = profile_level_id else {
            return Self::Baseline;
        };
        match u32::from_str_radix(text.trim(), 16) {
            Ok(id) if text.trim().len() == 6 => Self::from_bytes((id >> 16) as u8, (id >> 8) as u8),
            _ => Self::Other,
        }
    }

    fn from_bytes(profile_idc: u8, profile_iop: u8) -> Self {
        let set = |bit: u8| profile_iop & (0x80 >> bit) != 0;
        match profile_idc {
            0x42 if set(1) => Self::ConstrainedBaseline,
            0x4d if set(0) => Self::ConstrainedBaseline,
            0x58 if set(0) && set(1) => Self::ConstrainedBaseline,
            0x42 => Self::Baseline,
            0x58 if set(0) => Self::Baseline,
            0x4d => Self::Main,
            0x64 if set(4) && set(5) => Self::ConstrainedHigh,
            0x64 => Self::High,
            _ => Self::Other,
        }
    }

    /// Whether a decoder for `receiver` decodes this profile; 0 for the same one, higher for
    /// wider ones.
    pub fn fits(self, receiver: Self) -> Option<u8> {
        if self == receiver {
            return Some(0);
        }
        let wider: &[Self] = match self {
            Self::ConstrainedBaseline => &[
                Self::Baseline,
                Self::Main,
                Self::ConstrainedHigh,
                Self::High,
            ],
            Self::Main | Self::ConstrainedHigh => &[Self::High],
            Self::Baseline | Self::High | Self::Other => &[],
        };
        let position = wider.iter().position(|profile| *profile == receiver)?;
        u8::try_from(position + 1).ok()
    }

    /// GStreamer's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConstrainedBaseline => "constrained-baseline",
            Self::Baseline => "baseline",
            Self::Main => "main",
            Self::ConstrainedHigh => "constrained-high",
            Self::High => "high",
            Self::Other => "unknown profile",
        }
    }
}

/// The `profile-level-id` of a sequence parameter set in an RTP payload, alone or aggregated
/// (RFC 6184 sections 5.6 and 5.7.1).
pub fn profile_level_id(payload: &[u8]) -> Option<String> {
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    let of_sps = |nal: &[u8]| {
        let (&header, rest) = nal.split_first()?;
        let [profile, constraints, level] = *rest.first_chunk::<3>()?;
        (header & 0x1f == SPS).then(|| format!("{profile:02x}{constraints:02x}{level:02x}"))
    };
    if payload.first()? & 0x1f != STAP_A {
        return of_sps(payload);
    }
    let mut rest = payload.get(1..)?;
    while let [high, low, nals @ ..] = rest {
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        let found = of_sps(nals.get(..size)?);
        if found.is_some() {
            return found;
        }
        rest = nals.get(size..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_in_parameter_sets_on_the_way() {
        let sps = [0x67, 0x42, 0xc0, 0x1e, 0xff];
        assert_eq!(profile_level_id(&sps).as_deref(), Some("42c01e"));
        let aggregated = [&[0x78, 0, 1, 0x09, 0, 5], &sps[..]].concat();
        assert_eq!(profile_level_id(&aggregated).as_deref(), Some("42c01e"));
        for cut in 0..aggregated.len() {
            assert_eq!(profile_level_id(&aggregated[..cut]), None);
        }
        assert_eq!(profile_level_id(&[0x65, 1, 2, 3]), None);
    }

    #[test]
    fn profiles_are_read_by_pattern_not_by_equality() {
        for (id, profile) in [
            ("42e01f", Profile::ConstrainedBaseline),
            ("42C015", Profile::ConstrainedBaseline),
            ("42001f", Profile::Baseline),
            ("4d0032", Profile::Main),
            ("640c34", Profile::ConstrainedHigh),
            ("640028", Profile::High),
            ("zz", Profile::Other),
            ("", Profile::Other),
        ] {
            assert_eq!(Profile::from_fmtp(Some(id)), profile, "{id}");
        }
        assert_eq!(Profile::from_fmtp(None), Profile::Baseline);
    }
}
