// SPDX-License-Identifier: MPL-2.0
//! The `image-orientation` tag (`GST_TAG_IMAGE_ORIENTATION`).

use crate::media::orientation::Orientation;

impl Orientation {
    /// The orientation that a tag's value asks for. What sinks and videoflip do with it is what
    /// EXIF says, and this type: mirror, then turn clockwise.
    pub fn from_tag(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.as_tag() == value)
    }

    /// The tag's value.
    pub fn as_tag(&self) -> &'static str {
        match self {
            Self::Rotate0 => "rotate-0",
            Self::Rotate90 => "rotate-90",
            Self::Rotate180 => "rotate-180",
            Self::Rotate270 => "rotate-270",
            Self::FlipRotate0 => "flip-rotate-0",
            Self::FlipRotate90 => "flip-rotate-90",
            Self::FlipRotate180 => "flip-rotate-180",
            Self::FlipRotate270 => "flip-rotate-270",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What GStreamer shows of a picture with the corners 1 2 / 3 4 and this tag.
    fn shown(tag: &str) -> [u8; 4] {
        let mut harness = gst_check::Harness::new_parse("videoflip video-direction=auto");
        harness.play();
        harness.set_src_caps_str("video/x-raw,format=GRAY8,width=4,height=4,framerate=1/1");
        let mut tags = gst::TagList::new();
        let list = tags.get_mut().unwrap();
        list.add::<gst::tags::ImageOrientation>(&tag, gst::TagMergeMode::Replace);
        assert!(harness.push_event(gst::event::Tag::new(tags)));
        let picture = [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4u8];
        let out = harness
            .push_and_pull(gst::Buffer::from_slice(picture))
            .unwrap();
        let map = out.map_readable().unwrap();
        [map[0], map[3], map[12], map[15]]
    }

    #[test]
    fn gstreamer_shows_what_the_remote_asks_for() {
        gst::init().unwrap();
        for (byte, corners) in [
            (0, [1, 2, 3, 4]),
            (1, [3, 1, 4, 2]),
            (2, [4, 3, 2, 1]),
            (3, [2, 4, 1, 3]),
            // Turned by R, then mirrored.
            (4, [2, 1, 4, 3]),
            (5, [1, 3, 2, 4]),
            (6, [3, 4, 1, 2]),
            (7, [4, 2, 3, 1]),
        ] {
            let orientation = Orientation::from_cvo(byte);
            assert_eq!(shown(orientation.as_tag()), corners, "{orientation:?}");
        }
    }

    #[test]
    fn only_known_values_are_read() {
        for orientation in Orientation::ALL {
            assert_eq!(
                Orientation::from_tag(orientation.as_tag()),
                Some(orientation)
            );
        }
        assert_eq!(Orientation::from_tag("rotate-45"), None);
        assert_eq!(Orientation::from_tag(""), None);
    }
}
