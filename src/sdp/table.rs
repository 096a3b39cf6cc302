// SPDX-License-Identifier: MPL-2.0
//! Text in columns, for people at a terminal.
//!
//! Invariant: no line is wider than [`WIDTH`] unless one word is, and no control character of a
//! description reaches the terminal.

/// Columns of a line.
pub const WIDTH: usize = 120;

/// Rows whose cells stand below each other; the last column is wrapped.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows
            .push(cells.iter().map(|cell| (*cell).to_owned()).collect());
    }

    /// The rows, each indented by `indent`; columns that are empty everywhere are left out.
    pub(super) fn write(&self, out: &mut String, indent: usize) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        // The first row is the heading.
        let used: Vec<usize> = (0..columns)
            .filter(|column| {
                let mut body = self.rows.iter().skip(1).filter_map(|row| row.get(*column));
                body.any(|cell| !cell.is_empty())
            })
            .collect();
        let widths: Vec<usize> = used
            .iter()
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(*column));
                cells
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (at, (column, width)) in used.iter().zip(&widths).enumerate() {
                let cell = row.get(*column).map_or("", String::as_str);
                if at + 1 == used.len() {
                    wrap_after(out, &line, cell);
                } else {
                    line.push_str(cell);
                    let missing = width.saturating_sub(cell.chars().count());
                    line.push_str(&" ".repeat(missing + 2));
                }
            }
        }
    }
}

/// `label  text`, the text wrapped under itself.
pub(super) fn labelled(out: &mut String, indent: usize, label: &str, text: &str) {
    const LABEL: usize = 12;
    let head = format!("{}{label:<LABEL$}", " ".repeat(indent));
    // A label that is too long still has a space behind it.
    let head = if label.len() < LABEL {
        head
    } else {
        format!("{head} ")
    };
    wrap_after(out, &head, text);
}

/// `text` behind `head`; what does not fit goes below, indented as far. Words joined by
/// [`joined`] stay together.
pub(super) fn wrap_after(out: &mut String, head: &str, text: &str) {
    let indent = head.chars().count();
    let mut line = head.to_owned();
    let mut used = indent;
    let mut fresh = true;
    for word in text.split(' ') {
        let length = word.chars().count();
        if !fresh && used + 1 + length > WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(indent);
            used = indent;
            fresh = true;
        }
        if !fresh {
            line.push(' ');
            used += 1;
        }
        line.extend(word.chars().map(|c| if c == JOIN { ' ' } else { c }));
        used += length;
        fresh = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// No-break space: stands for a space inside a word, until it is written.
const JOIN: char = '\u{a0}';

/// `text` as one word for [`wrap_after`].
pub(super) fn joined(text: &str) -> String {
    text.chars()
        .map(|c| if c == ' ' { JOIN } else { c })
        .collect()
}

/// `text` with nothing in it that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' => c,
            // Marks that turn the direction of writing hide what is written.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {
                '\u{fffd}'
            }
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let mut table = Table::default();
        table.row(["a", "none", "b"]);
        table.row(["long", "", "x"]);
        let mut out = String::new();
        table.write(&mut out, 2);
        assert_eq!(out, "  a     b\n  long  x\n");
    }

    #[test]
    fn long_text_is_wrapped_under_itself() {
        let mut out = String::new();
        labelled(&mut out, 2, "label", &"word ".repeat(60));
        assert!(out.lines().count() > 2);
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(
            out.lines()
                .nth(1)
                .unwrap()
                .starts_with(&format!("{}word", " ".repeat(14)))
        );
    }

    #[test]
    fn a_terminal_is_given_nothing_to_obey() {
        assert_eq!(
            printable("a\u{1b}[2Jb\u{9b}\u{202e}\n"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}\n"
        );
    }
}
