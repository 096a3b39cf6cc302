// SPDX-License-Identifier: MPL-2.0
//! Stand-ins have the names, property types and texts of encoders that this machine lacks.

use std::sync::Mutex;

use gst::subclass::prelude::*;

use super::*;

/// What a stand-in's properties hold.
#[derive(Default)]
struct Held(Mutex<Vec<(String, Content)>>);

#[derive(Debug, Clone)]
enum Content {
    Number(u64),
    Controls(Option<gst::Structure>),
}

impl Held {
    fn set(&self, value: &glib::Value, spec: &glib::ParamSpec) {
        let content = match value.get::<Option<gst::Structure>>() {
            Ok(controls) => Content::Controls(controls),
            Err(_) => Content::Number(number(value).unwrap()),
        };
        let mut held = self.0.lock().unwrap();
        held.retain(|(name, _)| name != spec.name());
        held.push((spec.name().to_owned(), content));
    }

    fn get(&self, spec: &glib::ParamSpec) -> glib::Value {
        let held = self.0.lock().unwrap();
        match held.iter().find(|(name, _)| name == spec.name()) {
            Some((_, Content::Number(number))) => typed(*number, spec.value_type()).unwrap(),
            Some((_, Content::Controls(controls))) => controls.to_value(),
            None => spec.default_value().clone(),
        }
    }
}

/// Registers an encoder `$factory` with `$properties`.
macro_rules! stand_in {
    ($module:ident, $factory:literal, $properties:expr) => {
        mod $module {
            use super::*;

            #[derive(Default)]
            pub struct StandIn(Held);

            #[glib::object_subclass]
            impl ObjectSubclass for StandIn {
                const NAME: &'static str = concat!("StandIn_", $factory);
                type Type = Wrapper;
                type ParentType = gst::Element;
            }

            impl ObjectImpl for StandIn {
                fn properties() -> &'static [glib::ParamSpec] {
                    static PROPERTIES: std::sync::LazyLock<Vec<glib::ParamSpec>> =
                        std::sync::LazyLock::new(|| $properties);
                    PROPERTIES.as_ref()
                }

                fn set_property(&self, _: usize, value: &glib::Value, spec: &glib::ParamSpec) {
                    self.0.set(value, spec);
                }

                fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
                    self.0.get(spec)
                }
            }

            impl GstObjectImpl for StandIn {}

            impl ElementImpl for StandIn {
                fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
                    static METADATA: std::sync::LazyLock<gst::subclass::ElementMetadata> =
                        std::sync::LazyLock::new(|| {
                            gst::subclass::ElementMetadata::new(
                                $factory,
                                "Codec/Encoder/Video/Hardware",
                                "stands in",
                                "tests",
                            )
                        });
                    Some(&METADATA)
                }
            }

            glib::wrapper! {
                pub struct Wrapper(ObjectSubclass<StandIn>)
                    @extends gst::Element, gst::Object;
            }

            pub fn make() -> gst::Element {
                gst::init().unwrap();
                let rank = gst::Rank::NONE;
                // Again is no fault: tests share a process.
                let _ = gst::Element::register(None, $factory, rank, Wrapper::static_type());
                gst::ElementFactory::make($factory).build().unwrap()
            }
        }
    };
}

fn uint(name: &'static str, blurb: &'static str, most: u32, default: u32) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder(name)
        .blurb(blurb)
        .maximum(most)
        .default_value(default)
        .build()
}

fn uint_ready(name: &'static str, blurb: &'static str, default: u32) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder(name)
        .blurb(blurb)
        .default_value(default)
        .mutable_ready()
        .build()
}

fn controls() -> glib::ParamSpec {
    glib::ParamSpecBoxed::builder::<gst::Structure>("extra-controls").build()
}

const KBPS: u32 = 2000 * 1024;

stand_in!(
    nvh264enc,
    "nvh264enc",
    vec![uint("bitrate", "Bitrate in kbit/sec", KBPS, 0)]
);
stand_in!(
    vah264enc,
    "vah264enc",
    vec![uint(
        "bitrate",
        "The desired bitrate expressed in kbps",
        KBPS,
        0
    )]
);
stand_in!(
    va_second,
    "varenderD129h265lpenc",
    vec![uint("bitrate", "", KBPS, 0)]
);
stand_in!(
    vaapih264enc,
    "vaapih264enc",
    vec![uint(
        "bitrate",
        "The desired bitrate expressed in kbps",
        KBPS,
        0
    )]
);
stand_in!(
    qsvh264enc,
    "qsvh264enc",
    vec![uint(
        "bitrate",
        "Target bitrate in kbit/sec",
        0x7fff_ffff,
        2000
    )]
);
stand_in!(
    qsvvp9enc,
    "qsvvp9enc",
    vec![uint("bitrate", "Target bitrate in kbit/sec", 0xffff, 2000)]
);
stand_in!(
    msdkh264enc,
    "msdkh264enc",
    vec![uint("bitrate", "Bitrate in kbit/sec", KBPS, 2048)]
);
stand_in!(
    amfh264enc,
    "amfh264enc",
    vec![uint("bitrate", "Target bitrate in kbit/sec", 2_147_483, 0)]
);
stand_in!(
    vtenc_h264,
    "vtenc_h264",
    vec![uint(
        "bitrate",
        "Target video bitrate in kbps (0 = auto)",
        u32::MAX,
        0
    )]
);
stand_in!(
    vtenc_h264_hw,
    "vtenc_h264_hw",
    vec![uint("bitrate", "", u32::MAX, 0)]
);
stand_in!(
    nvv4l2h264enc,
    "nvv4l2h264enc",
    vec![uint_ready(
        "bitrate",
        "Set bitrate for v4l2 encode",
        4_000_000
    )]
);
stand_in!(
    mpph264enc,
    "mpph264enc",
    vec![
        uint("bps", "Target BPS (0 = auto calculate)", 0x7fff_ffff, 0),
        uint("bps-min", "Min BPS", 0x7fff_ffff, 0),
        uint("bps-max", "Max BPS", 0x7fff_ffff, 0),
    ]
);
stand_in!(
    omxh264enc,
    "omxh264enc",
    vec![uint(
        "target-bitrate",
        "Target bitrate in bits per second (0xffffffff=component default)",
        u32::MAX,
        u32::MAX
    )]
);
stand_in!(
    omxh265enc,
    "omxh265enc",
    vec![uint_ready(
        "target-bitrate",
        "Target bitrate in Kbps (0xffffffff=component default)",
        u32::MAX
    )]
);
stand_in!(
    omx_plain,
    "omxmpeg4videoenc",
    vec![uint("target-bitrate", "Target bitrate", u32::MAX, u32::MAX)]
);
stand_in!(
    omx_old,
    "omxvp8enc",
    vec![uint("bitrate", "Bitrate", u32::MAX, 4_000_000)]
);
stand_in!(v4l2h264enc, "v4l2h264enc", vec![controls()]);
stand_in!(
    v4l2_newer,
    "v4l2h265enc",
    vec![
        controls(),
        glib::ParamSpecInt::builder("bitrate")
            .minimum(-1)
            .default_value(-1)
            .build(),
    ]
);
stand_in!(
    svtav1enc,
    "svtav1enc",
    vec![uint(
        "target-bitrate",
        "Target bitrate in kbits/sec",
        100_000,
        0
    )]
);
stand_in!(
    mfh264enc,
    "mfh264enc",
    vec![uint("bitrate", "Bitrate in kbit/sec", u32::MAX >> 10, 2048)]
);
stand_in!(
    tells_bits,
    "acmeh264enc",
    vec![uint("bitrate", "Bits per second to aim at", u32::MAX, 0)]
);
stand_in!(
    tells_kbits,
    "acmeh265enc",
    vec![uint("target-bitrate", "Rate [kbps]", u32::MAX, 0)]
);
stand_in!(
    by_value,
    "acmevp8enc",
    vec![uint("bitrate", "The bitrate", u32::MAX, 2_000_000)]
);
stand_in!(
    by_small_value,
    "acmevp9enc",
    vec![uint("bitrate", "The bitrate", u32::MAX, 2000)]
);
stand_in!(
    tells_nothing,
    "acmeav1enc",
    vec![uint("bitrate", "The bitrate", u32::MAX, 0)]
);
stand_in!(
    before_playing,
    "acme1enc",
    vec![uint_ready("bitrate", "Bitrate in kbit/sec", 2000)]
);
stand_in!(
    has_none,
    "acme2enc",
    vec![uint("quality", "Quality", 100, 50)]
);

#[track_caller]
fn sets(element: &gst::Element, bitrate: u64, property: &str, value: u64) {
    let knob = Knob::of(element, None).unwrap();
    assert_eq!(knob.property(), property, "{}", factory_name(element));
    knob.set(element, bitrate).unwrap();
    let held = number(&element.property_value(property));
    assert_eq!(held, Some(value), "{}", factory_name(element));
}

#[test]
fn known_encoders_get_the_value_in_their_own_unit() {
    for element in [
        nvh264enc::make(),
        vah264enc::make(),
        va_second::make(),
        vaapih264enc::make(),
        qsvh264enc::make(),
        qsvvp9enc::make(),
        msdkh264enc::make(),
        amfh264enc::make(),
        vtenc_h264::make(),
        vtenc_h264_hw::make(),
    ] {
        sets(&element, 2_500_000, "bitrate", 2500);
    }
    sets(&nvv4l2h264enc::make(), 2_500_000, "bitrate", 2_500_000);
    sets(&mpph264enc::make(), 2_500_000, "bps", 2_500_000);
    sets(&omxh264enc::make(), 2_500_000, "target-bitrate", 2_500_000);
    sets(&omx_plain::make(), 2_500_000, "target-bitrate", 2_500_000);
    sets(&omx_old::make(), 2_500_000, "bitrate", 2_500_000);
    sets(&v4l2_newer::make(), 2_500_000, "bitrate", 2_500_000);
}

#[test]
fn software_encoders_get_the_value_in_their_own_unit() {
    gst::init().unwrap();
    let make = |name| gst::ElementFactory::make(name).build().unwrap();
    sets(&make("x264enc"), 2_500_000, "bitrate", 2500);
    sets(&make("x265enc"), 2_500_000, "bitrate", 2500);
    sets(&make("openh264enc"), 2_500_000, "bitrate", 2_500_000);
    sets(&make("vp8enc"), 2_500_000, "target-bitrate", 2_500_000);
    sets(&make("vp9enc"), 2_500_000, "target-bitrate", 2_500_000);
    sets(&make("av1enc"), 2_500_000, "target-bitrate", 2500);
    sets(&make("opusenc"), 48_000, "bitrate", 48_000);
}

#[test]
fn where_the_unit_depends_on_the_platform_its_text_counts() {
    sets(&omxh265enc::make(), 2_500_000, "target-bitrate", 2500);
}

#[test]
fn a_v4l2_control_is_an_integer_beside_those_of_the_user() {
    let encoder = v4l2h264enc::make();
    let users = gst::Structure::builder("controls")
        .field("h264_profile", 4i32)
        .build();
    encoder.set_property("extra-controls", users);
    let knob = Knob::of(&encoder, None).unwrap();
    assert_eq!(knob.set(&encoder, 1_500_000), Ok(1_500_000));
    assert_eq!(knob.current(&encoder), Some(1_500_000));
    let controls = encoder.property::<gst::Structure>("extra-controls");
    assert_eq!(controls.get::<i32>("video_bitrate"), Ok(1_500_000));
    assert_eq!(controls.get::<i32>("h264_profile"), Ok(4));
}

#[test]
fn the_value_stays_in_the_propertys_range_and_is_never_zero() {
    sets(&qsvvp9enc::make(), 100_000_000, "bitrate", 65_535);
    sets(&nvh264enc::make(), 10, "bitrate", 1);
    let bounded = mpph264enc::make();
    bounded.set_property("bps-min", 500_000u32);
    bounded.set_property("bps-max", 2_000_000u32);
    sets(&bounded, 9_000_000, "bps", 2_000_000);
    sets(&bounded, 100_000, "bps", 500_000);
}

#[test]
fn what_an_unknown_encoder_says_of_its_property_counts() {
    sets(&tells_bits::make(), 2_500_000, "bitrate", 2_500_000);
    sets(&tells_kbits::make(), 2_500_000, "target-bitrate", 2500);
    sets(&by_value::make(), 2_500_000, "bitrate", 2_500_000);
    sets(&by_small_value::make(), 2_500_000, "bitrate", 2500);
}

#[test]
fn a_doubtful_unit_is_refused_until_the_user_says_it() {
    let encoder = tells_nothing::make();
    let refusal = Knob::of(&encoder, None).unwrap_err().to_string();
    assert!(
        refusal.contains("bitrate-property=bitrate:kbit"),
        "{refusal}"
    );
    let chosen: Choice = "bitrate:kbit".parse().unwrap();
    let knob = Knob::of(&encoder, Some(&chosen)).unwrap();
    knob.set(&encoder, 800_000).unwrap();
    assert_eq!(encoder.property::<u32>("bitrate"), 800);
    assert!("bitrate:mbit".parse::<Choice>().is_err());
    let plain: Choice = "bitrate".parse().unwrap();
    assert!(Knob::of(&tells_nothing::make(), Some(&plain)).is_err());
    let wrong: Choice = "rate".parse().unwrap();
    let refusal = Knob::of(&encoder, Some(&wrong)).unwrap_err().to_string();
    assert!(refusal.contains("no property 'rate'"), "{refusal}");
}

#[test]
fn what_the_user_names_of_a_known_encoder_keeps_its_unit() {
    let encoder = vtenc_h264_hw::make();
    let named: Choice = "bitrate".parse().unwrap();
    let knob = Knob::of(&encoder, Some(&named)).unwrap();
    knob.set(&encoder, 800_000).unwrap();
    assert_eq!(encoder.property::<u32>("bitrate"), 800);
}

#[test]
fn encoders_that_cannot_change_are_refused_with_a_cure() {
    for encoder in [svtav1enc::make(), mfh264enc::make(), before_playing::make()] {
        let refusal = Knob::of(&encoder, None).unwrap_err().to_string();
        assert!(
            refusal.contains("cannot change while the stream runs"),
            "{refusal}"
        );
    }
    let refusal = Knob::of(&has_none::make(), None).unwrap_err().to_string();
    assert!(refusal.contains("bitrate-property"), "{refusal}");
}

#[test]
fn a_constant_quality_is_told() {
    gst::init().unwrap();
    let make = |name| gst::ElementFactory::make(name).build().unwrap();
    let x264 = make("x264enc");
    assert_eq!(ineffective(&x264), None);
    x264.set_property_from_str("pass", "qual");
    assert!(ineffective(&x264).unwrap().contains("pass=qual"));
    let x265 = make("x265enc");
    assert_eq!(ineffective(&x265), None);
    x265.set_property("qp", 30i32);
    assert!(ineffective(&x265).is_some());
    let av1 = make("av1enc");
    assert!(ineffective(&av1).unwrap().contains("max-quantizer=63"));
    av1.set_property("max-quantizer", 63u32);
    assert_eq!(ineffective(&av1), None);
    av1.set_property_from_str("end-usage", "q");
    assert!(ineffective(&av1).is_some());
}

#[test]
fn defaults_that_keep_an_encoder_from_following_are_changed_and_nothing_else() {
    gst::init().unwrap();
    let encoder = gst::ElementFactory::make("vp8enc").build().unwrap();
    encoder.set_property("buffer-size", 3000i32);
    let set = prepare(&encoder);
    assert_eq!(
        set,
        [
            "end-usage=cbr",
            "buffer-initial-size=500",
            "buffer-optimal-size=600"
        ]
    );
    assert_eq!(encoder.property::<i32>("buffer-optimal-size"), 600);
    assert_eq!(encoder.property::<i32>("buffer-size"), 3000, "the user's");
    assert!(prepare(&encoder).is_empty());
    let x264 = gst::ElementFactory::make("x264enc").build().unwrap();
    assert_eq!(prepare(&x264), ["vbv-buf-capacity=100"]);
    let own = gst::ElementFactory::make("x264enc").property("vbv-buf-capacity", 300u32);
    assert!(prepare(&own.build().unwrap()).is_empty(), "the user's");
    let other = gst::ElementFactory::make("openh264enc").build().unwrap();
    assert!(prepare(&other).is_empty());
}

/// What is said of `encoder` once it has made something of a picture that is live, or not.
fn said_of(encoder: &str, live: bool) -> Option<String> {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc is-live={live} ! video/x-raw,width=64,height=64,framerate=30/1 ! {encoder} \
         name=e ! fakesink name=f signal-handoffs=true sync=false"
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let (made, makes) = std::sync::mpsc::channel();
    let sink = pipeline.by_name("f").unwrap();
    sink.connect("handoff", false, move |_| {
        // overflow: retained; the test takes one and leaves.
        let _ = made.send(());
        None
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    makes
        .recv_timeout(std::time::Duration::from_secs(20))
        .unwrap();
    let said = held_back(&pipeline.by_name("e").unwrap());
    pipeline.set_state(gst::State::Null).unwrap();
    said
}

#[test]
fn an_encoder_that_keeps_live_frames_is_named_with_the_cure() {
    let said = said_of(
        "x264enc speed-preset=ultrafast rc-lookahead=20 bframes=3",
        true,
    )
    .unwrap();
    assert!(said.starts_with("e keeps each frame for "), "{said}");
    assert!(said.ends_with("set tune=zerolatency"), "{said}");
    let said = said_of("vp9enc deadline=1 cpu-used=8", true).unwrap();
    assert!(said.ends_with("set lag-in-frames=0"), "{said}");
    for quick in [
        "x264enc speed-preset=ultrafast tune=zerolatency",
        "vp9enc deadline=1 cpu-used=8 lag-in-frames=0",
        "vp8enc deadline=1",
    ] {
        assert_eq!(said_of(quick, true), None, "{quick}");
    }
    assert_eq!(said_of("x264enc", false), None, "nobody waits for a film");
}

#[test]
fn units_are_read_from_texts() {
    for text in [
        "Bitrate in kbit/sec",
        "kbps",
        "Target bitrate, in kilobits per second",
        "Kb/s",
    ] {
        assert_eq!(unit_in(text), Some(Unit::Kbit), "{text}");
    }
    for text in [
        "Bitrate (in bits per second)",
        "in bps",
        "bits/sec",
        "Target bit/s",
    ] {
        assert_eq!(unit_in(text), Some(Unit::Bit), "{text}");
    }
    for text in ["", "The bitrate", "in Mbit/s", "Mbps"] {
        assert_eq!(unit_in(text), None, "{text}");
    }
}
