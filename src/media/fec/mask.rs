// SPDX-License-Identifier: MPL-2.0
//! Which packets of a group a repair packet covers.

/// Packets of a group: position 0 is its first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mask(u128);

impl Mask {
    /// Positions that there are.
    pub const WIDTH: usize = 128;

    /// From bits on the wire, where the first packet is the highest of `width` bits.
    pub(super) fn from_wire(bits: u128, width: u32) -> Self {
        match width {
            1..=128 => Self(bits.reverse_bits() >> (128 - width)),
            _ => Self(0),
        }
    }

    /// As bits on the wire, see [`Self::from_wire`].
    pub(super) fn to_wire(self, width: u32) -> u128 {
        match width {
            1..=128 => self.0.reverse_bits() >> (128 - width),
            _ => 0,
        }
    }

    /// The same packets, counted from `by` positions earlier.
    pub(super) fn shifted(self, by: u32) -> Self {
        Self(self.0.checked_shl(by).unwrap_or(0))
    }

    /// Both.
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Adds a position; one out of range changes nothing.
    pub fn insert(&mut self, position: usize) {
        if position < Self::WIDTH {
            self.0 |= 1 << position;
        }
    }

    /// Takes a position out.
    pub fn remove(&mut self, position: usize) {
        if position < Self::WIDTH {
            self.0 &= !(1 << position);
        }
    }

    /// Whether `position` is covered.
    pub fn contains(self, position: usize) -> bool {
        position < Self::WIDTH && self.0 & (1 << position) != 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Positions up to the last one.
    pub fn span(self) -> usize {
        (128 - self.0.leading_zeros()) as usize
    }

    /// The positions, lowest first.
    pub fn positions(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let position = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(position)
        })
    }
}

/// Which of `media` packets each of `repairs` packets covers.
///
/// Interleaved, so that the packets of a burst fall to different repair packets. Where there are
/// enough repair packets, each packet is covered by a second one too, ever another: what one of
/// them cannot repair because two are missing, a chain of them can. With few, a second cover only
/// makes it more likely that two of what a repair packet covers are missing.
pub(super) fn masks(media: usize, repairs: usize) -> Vec<Mask> {
    let mut masks = vec![Mask::default(); repairs.min(media)];
    let count = masks.len();
    let twice = count >= 4 && count * 10 >= media * 3;
    for packet in 0..media.min(Mask::WIDTH) {
        let (Some(turn), Some(own)) = (packet.checked_div(count), packet.checked_rem(count)) else {
            break;
        };
        let other = (own + 1 + turn % (count - 1).max(1)) % count;
        for (row, mask) in masks.iter_mut().enumerate() {
            if row == own || (twice && row == other) {
                mask.insert(packet);
            }
        }
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Part of the lost packets that stay lost, where `lost` draws what is.
    fn residue(masks: &[Mask], media: usize, mut lost: impl FnMut() -> bool) -> f64 {
        let (mut left, mut all) = (0, 0);
        for _ in 0..4000 {
            let mut missing = Mask::default();
            (0..media)
                .filter(|_| lost())
                .for_each(|n| missing.insert(n));
            let here: Vec<Mask> = masks.iter().filter(|_| !lost()).copied().collect();
            all += missing.len();
            while let Some(one) = here.iter().find_map(|mask| {
                let both = Mask(mask.0 & missing.0);
                (both.len() == 1).then(|| both.positions().next().unwrap())
            }) {
                missing.remove(one);
            }
            left += missing.len();
        }
        left as f64 / all as f64
    }

    fn random() -> impl FnMut() -> f64 {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    fn interleaved(media: usize, repairs: usize) -> Vec<Mask> {
        let mut masks = vec![Mask::default(); repairs];
        (0..media).for_each(|n| masks[n % repairs].insert(n));
        masks
    }

    #[test]
    fn every_packet_is_covered_and_a_burst_as_long_as_the_repairs_can_be_repaired() {
        for media in 1..=109 {
            for repairs in 1..=media {
                let masks = masks(media, repairs);
                assert!(masks.iter().all(|mask| !mask.is_empty()));
                let covered = masks.iter().fold(Mask::default(), |a, b| a.or(*b));
                assert_eq!((covered.len(), covered.span()), (media, media));
                if repairs >= 4 && repairs * 10 >= media * 3 {
                    continue;
                }
                for first in 0..=media - repairs {
                    let burst = first..first + repairs;
                    let one = |mask: &Mask| mask.positions().filter(|n| burst.contains(n)).count();
                    assert!(masks.iter().all(|mask| one(mask) == 1));
                }
            }
        }
    }

    #[test]
    fn against_random_loss_a_second_cover_leaves_less_than_half_of_what_interleaving_leaves() {
        for (media, repairs) in [(10, 5), (20, 8), (40, 16)] {
            let mut dice = random();
            let ours = residue(&masks(media, repairs), media, || dice() < 0.1);
            let mut dice = random();
            let plain = residue(&interleaved(media, repairs), media, || dice() < 0.1);
            assert!(ours < plain / 2.0, "{media}+{repairs}: {ours} of {plain}");
        }
    }

    #[test]
    fn a_mask_is_on_the_wire_what_it_was() {
        let mut mask = Mask::default();
        [0, 14, 15, 46].into_iter().for_each(|n| mask.insert(n));
        assert_eq!(mask.to_wire(15), 0b100_0000_0000_0001);
        assert_eq!(Mask::from_wire(mask.to_wire(47), 47), mask);
        assert_eq!(mask.positions().collect::<Vec<_>>(), [0, 14, 15, 46]);
        assert_eq!(mask.span(), 47);
    }
}
