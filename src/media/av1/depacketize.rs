// SPDX-License-Identifier: MPL-2.0
//! From RTP payloads to temporal units. What is given out can be decoded: it starts with a key
//! frame, and after a loss with the next one.

use super::obu::{DELIMITER, Obu, SequenceStart};
use super::{Av1Error, CONTINUED, CONTINUES, Elements, is_key};

/// Bytes of the largest temporal unit; more is no picture.
pub const UNIT_LIMIT: usize = 16 << 20;

/// All OBUs of one time, in the low-overhead format, with a temporal delimiter at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemporalUnit {
    /// The OBUs, each with its size.
    pub data: Vec<u8>,
    /// A coded video sequence starts here.
    pub key: bool,
}

/// How a temporal unit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// With all that it has.
    Unit(TemporalUnit),
    /// There was nothing in it.
    Empty,
    /// It cannot be decoded: a key frame is needed.
    Dropped,
}

/// Puts temporal units together. The caller knows where one ends and where packets are missing.
#[derive(Debug)]
pub struct Depacketizer {
    /// What the current unit has so far.
    unit: Vec<u8>,
    start: SequenceStart,
    /// An OBU whose end is still to come.
    fragment: Option<Vec<u8>>,
    needs_key: bool,
    /// The rest of the current unit is of no use.
    skipping: bool,
}

impl Default for Depacketizer {
    fn default() -> Self {
        Self {
            unit: Vec::new(),
            start: SequenceStart::default(),
            fragment: None,
            needs_key: true,
            skipping: false,
        }
    }
}

impl Depacketizer {
    /// Adds the payload of the next packet of the current unit.
    ///
    /// # Errors
    ///
    /// What is wrong with it. The unit will be [`Finished::Dropped`].
    pub fn add(&mut self, payload: &[u8]) -> Result<(), Av1Error> {
        // Padding alone (RFC 3550 section 5.1): bandwidth probes.
        let Some((&header, elements)) = payload.split_first() else {
            return Ok(());
        };
        if self.skipping {
            return Ok(());
        }
        if self.needs_key && !self.has_begun() && !(is_key(payload) && header & CONTINUES == 0) {
            self.skipping = true;
            return Ok(());
        }
        self.add_elements(header, elements).inspect_err(|_| {
            self.lose();
            self.skipping = true;
        })
    }

    /// Packets are missing before the next one. Tells whether that is news, so that a key frame
    /// is needed which was not yet asked for.
    pub fn lose(&mut self) -> bool {
        let news = !self.needs_key || self.has_begun();
        *self = Self::default();
        news
    }

    /// The current unit has no more packets.
    pub fn finish(&mut self) -> Finished {
        let cut = self.fragment.take().is_some();
        let skipped = std::mem::take(&mut self.skipping);
        let data = std::mem::take(&mut self.unit);
        let key = std::mem::take(&mut self.start).is_key();
        if cut || skipped || (self.needs_key && !key && !data.is_empty()) {
            self.needs_key = true;
            return Finished::Dropped;
        }
        if data.is_empty() {
            return Finished::Empty;
        }
        self.needs_key = false;
        Finished::Unit(TemporalUnit { data, key })
    }

    fn has_begun(&self) -> bool {
        !self.unit.is_empty() || self.fragment.is_some()
    }

    fn add_elements(&mut self, header: u8, elements: &[u8]) -> Result<(), Av1Error> {
        if (header & CONTINUES != 0) != self.fragment.is_some() {
            return Err(Av1Error::Fragment);
        }
        let mut elements = Elements::new(header, elements).peekable();
        while let Some(element) = elements.next() {
            let element = element?;
            let pending = self.fragment.as_ref().map_or(0, Vec::len);
            if self.unit.len() + pending + element.len() > UNIT_LIMIT {
                return Err(Av1Error::TooLarge);
            }
            let continued = elements.peek().is_none() && header & CONTINUED != 0;
            match self.fragment.take() {
                Some(mut obu) => {
                    obu.extend_from_slice(element);
                    if continued {
                        self.fragment = Some(obu);
                    } else {
                        self.add_obu(&obu)?;
                    }
                }
                None if continued => self.fragment = Some(element.to_vec()),
                None => self.add_obu(element)?,
            }
        }
        Ok(())
    }

    fn add_obu(&mut self, element: &[u8]) -> Result<(), Av1Error> {
        if element.is_empty() {
            return Ok(());
        }
        let (obu, rest) = Obu::read(element)?;
        if !rest.is_empty() {
            return Err(Av1Error::Obu);
        }
        if obu.is_left_out() {
            return Ok(());
        }
        if self.unit.is_empty() {
            self.unit.extend_from_slice(&DELIMITER);
        }
        self.start.look(&obu);
        obu.write_sized(&mut self.unit);
        Ok(())
    }
}
