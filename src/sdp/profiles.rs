// SPDX-License-Identifier: MPL-2.0
//! Profiles, levels and tiers by the names that people use, from format parameters.

use serde::Serialize;

use crate::media::codec::parameter;
use crate::media::h264;

/// What format parameters say of a stream's shape.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// `constrained-baseline`, `profile 0`, `main`; compares equal for what can talk to each other.
    pub name: String,
    /// `3.1`; none where the codec's parameters have none.
    pub level: Option<String>,
    /// `main` or `high`, where there are tiers.
    pub tier: Option<&'static str>,
    /// The level as a number that grows with it, to compare.
    #[serde(skip)]
    pub rank: u32,
}

impl Profile {
    /// Profile of encoding `name` with these parameters; absent ones count as their RFC says.
    /// `None` for codecs without profiles, or when what is there is no number.
    pub fn of(name: &str, fmtp: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "H264" => h264_profile(fmtp),
            "VP9" => numbered(fmtp, "profile-id"),
            "AV1" => av1(fmtp),
            "H265" => h265(fmtp),
            _ => None,
        }
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if let Some(level) = &self.level {
            write!(f, " {level}")?;
        }
        match self.tier {
            // What nearly all are.
            None | Some("main") => Ok(()),
            Some(tier) => write!(f, " {tier} tier"),
        }
    }
}

/// Number of parameter `name`, or its default; `None` when it is there and no number.
fn number(fmtp: &str, name: &str, default: u32) -> Option<u32> {
    parameter(fmtp, name).map_or(Some(default), |value| value.parse().ok())
}

/// RFC 6184 section 8.1; without `profile-level-id`: Baseline, level 1.
fn h264_profile(fmtp: &str) -> Option<Profile> {
    let id = parameter(fmtp, "profile-level-id");
    let text = id.unwrap_or("42000a");
    if text.len() != 6 {
        return None;
    }
    let bytes = u32::from_str_radix(text, 16).ok()?;
    let [_, idc, iop, level] = bytes.to_be_bytes();
    let name = match h264::Profile::from_fmtp(Some(text)) {
        h264::Profile::Other => h264_rare(idc, iop).to_owned(),
        known => known.as_str().to_owned(),
    };
    // Level 1b (RFC 6184 section 8.1): constraint_set3 in Baseline, Main and Extended.
    let one_b = level == 9 || (level == 11 && iop & 0x10 != 0 && [66, 77, 88].contains(&idc));
    Some(Profile {
        name,
        level: Some(if one_b {
            "1b".to_owned()
        } else if level % 10 == 0 {
            format!("{}", level / 10)
        } else {
            format!("{}.{}", level / 10, level % 10)
        }),
        tier: None,
        // 1b is between 1 and 1.1.
        rank: if one_b { 105 } else { u32::from(level) * 10 },
    })
}

fn h264_rare(idc: u8, iop: u8) -> &'static str {
    let intra = iop & 0x10 != 0;
    match (idc, intra) {
        (88, _) => "extended",
        (110, false) => "high-10",
        (110, true) => "high-10-intra",
        (122, false) => "high-4:2:2",
        (122, true) => "high-4:2:2-intra",
        (244, false) => "high-4:4:4",
        (244, true) => "high-4:4:4-intra",
        (44, _) => "cavlc-4:4:4-intra",
        _ => "unknown profile",
    }
}

/// RFC 9628 section 6: `profile-id`, 0 if absent.
fn numbered(fmtp: &str, name: &str) -> Option<Profile> {
    Some(Profile {
        name: format!("profile {}", number(fmtp, name, 0)?),
        ..Profile::default()
    })
}

/// AV1 RTP payload specification section 7.2: profile 0, level-idx 5, tier 0 if absent.
fn av1(fmtp: &str) -> Option<Profile> {
    let index = number(fmtp, "level-idx", 5)?;
    Some(Profile {
        name: match number(fmtp, "profile", 0)? {
            0 => "main".to_owned(),
            1 => "high".to_owned(),
            2 => "professional".to_owned(),
            other => format!("profile {other}"),
        },
        level: Some(match index {
            0..=23 => format!("{}.{}", 2 + index / 4, index % 4),
            31 => "any level".to_owned(),
            other => format!("level-idx {other}"),
        }),
        tier: Some(tier(number(fmtp, "tier", 0)?)),
        rank: index,
    })
}

/// RFC 7798 section 7.1: profile-id 1, level-id 93, tier-flag 0 if absent.
fn h265(fmtp: &str) -> Option<Profile> {
    let level = number(fmtp, "level-id", 93)?;
    Some(Profile {
        name: match number(fmtp, "profile-id", 1)? {
            1 => "main".to_owned(),
            2 => "main-10".to_owned(),
            3 => "main-still-picture".to_owned(),
            4 => "range-extensions".to_owned(),
            other => format!("profile {other}"),
        },
        level: Some(if level % 30 == 0 {
            format!("{}", level / 30)
        } else {
            format!("{}.{}", level / 30, level % 30 / 3)
        }),
        tier: Some(tier(number(fmtp, "tier-flag", 0)?)),
        rank: level,
    })
}

fn tier(flag: u32) -> &'static str {
    if flag == 0 { "main" } else { "high" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(codec: &str, fmtp: &str) -> String {
        Profile::of(codec, fmtp).map_or("-".to_owned(), |profile| profile.to_string())
    }

    #[test]
    fn profiles_and_levels_have_their_names() {
        for (codec, fmtp, expected) in [
            (
                "H264",
                "profile-level-id=42e01f;packetization-mode=1",
                "constrained-baseline 3.1",
            ),
            ("h264", "profile-level-id=640C34", "constrained-high 5.2"),
            ("H264", "profile-level-id=42f00b", "constrained-baseline 1b"),
            ("H264", "profile-level-id=4d0028", "main 4"),
            ("H264", "profile-level-id=6e001f", "high-10 3.1"),
            ("H264", "", "baseline 1"),
            ("H264", "profile-level-id=é1f0", "-"),
            ("VP9", "", "profile 0"),
            ("VP9", "profile-id=2", "profile 2"),
            ("VP9", "profile-id=x", "-"),
            ("AV1", "", "main 3.1"),
            ("AV1", "level-idx=13;profile=1;tier=1", "high 5.1 high tier"),
            ("H265", "", "main 3.1"),
            (
                "H265",
                "level-id=180;profile-id=2;tier-flag=1",
                "main-10 6 high tier",
            ),
            ("VP8", "", "-"),
        ] {
            assert_eq!(name(codec, fmtp), expected, "{codec} {fmtp}");
        }
    }

    #[test]
    fn levels_compare_by_rank() {
        let rank = |id: &str| {
            Profile::of("H264", &format!("profile-level-id={id}"))
                .unwrap()
                .rank
        };
        assert!(rank("42e00a") < rank("42f00b"));
        assert!(rank("42f00b") < rank("42e00b"));
        assert!(rank("42e01f") < rank("42e034"));
    }
}
