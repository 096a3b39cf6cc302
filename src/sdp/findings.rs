// SPDX-License-Identifier: MPL-2.0
//! What is wrong or unusual in descriptions, each with the place where its rule is written.

use serde::Serialize;

/// No list grows beyond this, whatever the description.
const MAX_FINDINGS: usize = 200;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A rule is broken: a peer may refuse it, or media will not flow.
    Wrong,
    /// Allowed, or common once, and a likely cause of trouble.
    Unusual,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Unusual => "unusual",
            Self::Note => "note",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A name that stays, for scripts: `mid-duplicate`.
    pub rule: &'static str,
    /// Index of the m-line; none for the whole description.
    pub m_line: Option<usize>,
    /// What is so, and what it means.
    pub text: String,
    /// RFC and section.
    pub reference: &'static str,
}

/// A rule: its name, and where it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule(pub &'static str, pub &'static str);

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    all: Vec<Finding>,
    /// The m-line that is looked at.
    pub(super) m_line: Option<usize>,
}

impl Findings {
    pub(super) fn wrong(&mut self, rule: Rule, text: impl Into<String>) {
        self.add(Severity::Wrong, rule, text.into());
    }

    pub(super) fn unusual(&mut self, rule: Rule, text: impl Into<String>) {
        self.add(Severity::Unusual, rule, text.into());
    }

    pub(super) fn note(&mut self, rule: Rule, text: impl Into<String>) {
        self.add(Severity::Note, rule, text.into());
    }

    fn add(&mut self, severity: Severity, rule: Rule, text: String) {
        if self.all.len() >= MAX_FINDINGS {
            return;
        }
        let finding = Finding {
            severity,
            rule: rule.0,
            m_line: self.m_line,
            text,
            reference: rule.1,
        };
        if !self.all.contains(&finding) {
            self.all.push(finding);
        }
    }

    /// All, the worst first, then by m-line.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.all.sort_by_key(|f| (f.severity, f.m_line));
        self.all
    }
}

/// `96, 98 and 100`.
pub(super) fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.pop() {
        None => String::new(),
        Some(last) if items.is_empty() => last,
        Some(last) => format!("{} and {last}", items.join(", ")),
    }
}
