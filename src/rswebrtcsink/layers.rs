// SPDX-License-Identifier: MPL-2.0
//! What the layers of one picture get of its bitrate: the smallest comes first, and the largest is
//! the first that is stopped. Pure.

/// A layer as its encoder makes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layer {
    /// Of its pictures; 0: not known.
    pub pixels: u32,
    /// bit/s that the user set.
    pub nominal: u64,
    /// It gets nothing now.
    pub stopped: bool,
}

impl Layer {
    /// Less than this is worse than the next smaller layer, bit/s.
    fn least(&self) -> u64 {
        match self.pixels {
            0 => self.nominal / 4,
            pixels => u64::from(pixels) * 6 / 10,
        }
    }

    /// With this it looks well, and what is left is of more use to a larger one, bit/s.
    fn enough(&self) -> u64 {
        match self.pixels {
            0 => self.nominal,
            pixels => u64::from(pixels) * 22 / 10,
        }
    }

    /// What has to be left for it to be sent: more, if it is to begin again.
    fn threshold(&self) -> u64 {
        let least = self.least();
        if self.stopped {
            least + least / 3
        } else {
            least
        }
    }
}

/// Shares `total`, bit/s, among `layers`; 0: it is not sent. The smallest always is, and the
/// largest of those that are sent gets what is left.
pub fn share(total: u64, layers: &[Layer]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..layers.len()).collect();
    let size = |index: &usize| layers.get(*index).map(|l| (l.pixels, l.nominal));
    order.sort_by_key(size);
    let mut shares = vec![0; layers.len()];
    let (mut rest, mut last) = (total, None);
    for index in order {
        let Some(layer) = layers.get(index) else {
            continue;
        };
        if last.is_some() && rest < layer.threshold() {
            break;
        }
        let given = rest.min(layer.enough());
        if let Some(share) = shares.get_mut(index) {
            *share = given;
        }
        rest -= given;
        last = Some(index);
    }
    if let Some(share) = last.and_then(|index| shares.get_mut(index)) {
        *share += rest;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(stopped: [bool; 3]) -> Vec<Layer> {
        let sizes = [1280 * 720, 640 * 360, 320 * 180];
        let all = sizes.into_iter().zip(stopped);
        let layer = |(pixels, stopped)| Layer {
            pixels,
            nominal: 1_000_000,
            stopped,
        };
        all.map(layer).collect()
    }

    #[test]
    fn the_largest_layer_is_stopped_first_and_the_smallest_never() {
        let sent = |total| {
            let shares = share(total, &layers([false; 3]));
            assert_eq!(shares.iter().sum::<u64>(), total);
            shares.iter().map(|share| *share > 0).collect::<Vec<_>>()
        };
        assert_eq!(sent(3_000_000), [true, true, true]);
        assert_eq!(sent(1_000_000), [false, true, true]);
        assert_eq!(sent(200_000), [false, false, true]);
        assert_eq!(sent(10_000), [false, false, true]);
    }

    #[test]
    fn a_layer_that_was_stopped_needs_more_to_begin_again() {
        let enough = share(1_250_000, &layers([false; 3]));
        assert!(enough[0] > 0);
        let again = share(1_250_000, &layers([true, false, false]));
        assert_eq!(again[0], 0);
        assert!(share(1_500_000, &layers([true, false, false]))[0] > 0);
    }

    #[test]
    fn sizes_that_are_not_known_are_taken_from_what_the_user_set() {
        let layer = |nominal| Layer {
            nominal,
            ..Layer::default()
        };
        let shares = share(700_000, &[layer(500_000), layer(4_000_000)]);
        assert_eq!(shares, [700_000, 0]);
        assert!(share(7, &[]).is_empty());
    }
}
