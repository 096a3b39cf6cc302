// SPDX-License-Identifier: MPL-2.0
//! What a remote's format parameters ask of an Opus encoder (RFC 7587 section 6.1): redundancy in
//! each packet, as much as the loss deserves (`useinbandfec`), and silence that is not sent
//! (`usedtx`).

use gst::prelude::*;

use crate::logging::SINK as CAT;
use crate::media::codec::Codec;

/// opusenc speaks of so many percent of loss, and no finer.
const LOSS_STEP: i32 = 2;
const FEC: &str = "inband-fec";
const DTX: &str = "dtx";
const LOSS: &str = "packet-loss-percentage";

/// What the viewers of a stream ask for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// Any of them can use redundancy; to the others it is of no harm.
    fec: bool,
    /// All of them: who did not ask may take pauses for loss.
    dtx: bool,
}

impl Wishes {
    /// By the codec as each viewer's description states it.
    pub fn of<'a>(codecs: impl Iterator<Item = &'a Codec>) -> Self {
        let asks = |codec: &Codec, name: &str| codec.parameter(name) == Some("1");
        let mut wishes: Option<Self> = None;
        for codec in codecs {
            let before = wishes.unwrap_or(Self {
                fec: false,
                dtx: true,
            });
            wishes = Some(Self {
                fec: before.fec || asks(codec, "useinbandfec"),
                dtx: before.dtx && asks(codec, "usedtx"),
            });
        }
        wishes.unwrap_or_default()
    }
}

/// An `opusenc` that is driven.
#[derive(Debug, Clone, Copy)]
pub struct Opus {
    /// As the user set it: inband-fec, dtx, packet-loss-percentage.
    found: (bool, bool, i32),
    /// What was done last; what the user changes meanwhile stands.
    followed: Wishes,
}

impl Opus {
    /// `None` if `element` is another encoder.
    pub fn of(element: &gst::Element) -> Option<Self> {
        let known = |name: &str| element.has_property(name);
        let is_opus = crate::gst_glue::encoders::factory_name(element) == "opusenc";
        (is_opus && [FEC, DTX, LOSS].into_iter().all(known)).then(|| Self {
            found: (
                element.property(FEC),
                element.property(DTX),
                element.property(LOSS),
            ),
            followed: Wishes::default(),
        })
    }

    /// Sets `element` to what is asked for, where part `loss` of the packets is lost.
    pub fn follow(&mut self, element: &gst::Element, wishes: Wishes, loss: f64) {
        let before = std::mem::replace(&mut self.followed, wishes);
        let (fec, dtx, _) = self.found;
        if before.fec != wishes.fec {
            element.set_property(FEC, fec || wishes.fec);
        }
        if before.dtx != wishes.dtx {
            element.set_property(DTX, dtx || wishes.dtx);
        }
        if before != wishes {
            gst::debug!(CAT, obj = element, "the viewers ask for {wishes:?}");
        }
        if !element.property::<bool>(FEC) {
            return;
        }
        // A part of one, so it fits.
        let percent = (loss * 100.0).round().clamp(0.0, 100.0) as i32;
        let told = element.property::<i32>(LOSS);
        let ends = percent == 0 && told != 0;
        if (percent - told).abs() >= LOSS_STEP || ends {
            element.set_property(LOSS, percent);
        }
    }

    /// Sets `element` back to what it was.
    pub fn let_go(&self, element: &gst::Element) {
        let (fec, dtx, loss) = self.found;
        if self.followed.fec {
            element.set_property(FEC, fec);
        }
        if self.followed.dtx {
            element.set_property(DTX, dtx);
        }
        element.set_property(LOSS, loss);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::supported;

    fn opus(fmtp: &str) -> Codec {
        supported("opus").unwrap().with_fmtp(fmtp)
    }

    #[test]
    fn redundancy_for_any_and_pauses_for_all() {
        let both = opus("minptime=10;useinbandfec=1;usedtx=1");
        let (fec, plain) = (opus("useinbandfec=1"), opus("usedtx=0"));
        let of = |codecs: &[&Codec]| {
            let wishes = Wishes::of(codecs.iter().copied());
            (wishes.fec, wishes.dtx)
        };
        assert_eq!(of(&[]), (false, false));
        assert_eq!(of(&[&both]), (true, true));
        assert_eq!(of(&[&both, &both]), (true, true));
        assert_eq!(of(&[&both, &fec]), (true, false));
        assert_eq!(of(&[&plain, &fec]), (true, false));
        assert_eq!(of(&[&plain]), (false, false));
    }

    #[test]
    fn an_encoder_does_what_is_asked_for_and_is_set_back() {
        gst::init().unwrap();
        let encoder = gst::ElementFactory::make("opusenc").build().unwrap();
        let state = || {
            (
                encoder.property::<bool>(FEC),
                encoder.property::<bool>(DTX),
                encoder.property::<i32>(LOSS),
            )
        };
        let mut driven = Opus::of(&encoder).expect("it is one");
        driven.follow(&encoder, Wishes::default(), 0.1);
        assert_eq!(state(), (false, false, 0), "nobody asked");
        let both = Wishes {
            fec: true,
            dtx: true,
        };
        driven.follow(&encoder, both, 0.1);
        assert_eq!(state(), (true, true, 10));
        driven.follow(&encoder, both, 0.11);
        assert_eq!(state(), (true, true, 10), "not worth a change");
        driven.follow(&encoder, both, 0.0);
        assert_eq!(state(), (true, true, 0));
        encoder.set_property(DTX, false);
        driven.follow(&encoder, both, 0.05);
        assert_eq!(state(), (true, false, 5), "the user's last word stands");
        driven.let_go(&encoder);
        assert_eq!(state(), (false, false, 0));
        let other = gst::ElementFactory::make("vp8enc").build().unwrap();
        assert!(Opus::of(&other).is_none());
    }
}
