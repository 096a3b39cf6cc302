// SPDX-License-Identifier: MPL-2.0
//! The line editing that a terminal does not do out of canonical mode.
//!
//! Invariant: pure, in bounded memory; what is not a control character passes unchanged.

use crate::signalling::line_codec::MAX_LINE;

/// What typing amounted to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Edited {
    /// A line with its line end.
    Line(Vec<u8>),
    /// Ctrl-D at the start of a line.
    End,
}

/// The line being typed.
#[derive(Default)]
pub(super) struct Editor {
    line: Vec<u8>,
}

impl Editor {
    /// The next bytes from the terminal. `echo` gets what wipes erased characters off the screen,
    /// on top of the terminal's own echo (`^?` for a backspace).
    pub(super) fn feed(&mut self, bytes: &[u8], echo: &mut Vec<u8>) -> Vec<Edited> {
        const END: u8 = 0x04;
        const BACKSPACE: u8 = 0x08;
        const KILL: u8 = 0x15;
        const DELETE: u8 = 0x7f;
        /// The terminal echoes a control character as two.
        const WIPE_ECHO: &[u8] = b"\x08\x08  \x08\x08";
        let mut edited = Vec::new();
        for byte in bytes {
            match *byte {
                b'\n' => {
                    self.push(b'\n');
                    edited.push(Edited::Line(self.take()));
                }
                END if self.line.is_empty() => edited.push(Edited::End),
                END => {
                    self.push(b'\n');
                    edited.push(Edited::Line(self.take()));
                }
                DELETE | BACKSPACE => {
                    echo.extend_from_slice(WIPE_ECHO);
                    if self.erase() {
                        echo.extend_from_slice(b"\x08 \x08");
                    }
                }
                KILL => {
                    self.line.clear();
                    echo.push(b'\n');
                }
                other => self.push(other),
            }
        }
        edited
    }

    /// What was typed since the last line end.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.line)
    }

    /// Whether the line is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    fn push(&mut self, byte: u8) {
        // Long enough for the codec to see that it is too long; the end of line always fits.
        if self.line.len() <= MAX_LINE || byte == b'\n' {
            self.line.push(byte);
        }
    }

    /// Drops one character, all its bytes.
    fn erase(&mut self) -> bool {
        while let Some(byte) = self.line.pop() {
            if byte & 0xc0 != 0x80 {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_in(bytes: &[u8]) -> Vec<Edited> {
        Editor::default().feed(bytes, &mut Vec::new())
    }

    #[test]
    fn backspace_erases_whole_characters_and_ctrl_u_the_line() {
        let typed = "aé\x7fb\x08c\n".as_bytes();
        assert_eq!(type_in(typed), [Edited::Line(b"ac\n".to_vec())]);
        assert_eq!(type_in(b"abc\x15de\n"), [Edited::Line(b"de\n".to_vec())]);
        assert_eq!(type_in(b"\x7f\x7f\n"), [Edited::Line(b"\n".to_vec())]);
    }

    #[test]
    fn ctrl_d_ends_input_only_at_the_start_of_a_line() {
        assert_eq!(type_in(b"\x04"), [Edited::End]);
        assert_eq!(
            type_in(b"ab\x04\x04"),
            [Edited::Line(b"ab\n".to_vec()), Edited::End]
        );
    }

    #[test]
    fn endless_line_is_bounded_and_still_ends() {
        let mut editor = Editor::default();
        let chunk = vec![b'x'; 1 << 16];
        for _ in 0..40 {
            assert!(editor.feed(&chunk, &mut Vec::new()).is_empty());
        }
        match editor.feed(b"\n", &mut Vec::new()).as_slice() {
            [Edited::Line(line)] => assert_eq!(line.len(), MAX_LINE + 2),
            other => panic!("{} items", other.len()),
        }
    }
}
