// SPDX-License-Identifier: MPL-2.0
//! Settings that belong to a shared call, and not to one of its legs.

/// Settings of a call by the names that the user knows them by. What a leg leaves alone (`None`)
/// is the other's to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    name: &'static str,
    value: Option<String>,
    /// Not to be shown.
    secret: bool,
}

impl Terms {
    /// Adds setting `name`.
    pub fn set(&mut self, name: &'static str, value: Option<String>) {
        self.0.push(Term {
            name,
            value,
            secret: false,
        });
    }

    /// Adds setting `name`, which no message shows.
    pub fn set_secret(&mut self, name: &'static str, value: Option<String>) {
        self.set(name, value);
        if let Some(term) = self.0.last_mut() {
            term.secret = true;
        }
    }

    /// What was said of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|t| t.name == name)?.value.as_deref()
    }

    /// These and `other`'s. `running`: these hold already, and nothing can be added.
    ///
    /// # Errors
    ///
    /// Name and both values of the first setting that the two disagree on.
    pub(super) fn merged(&self, other: &Self, running: bool) -> Result<Self, String> {
        let mut merged = self.clone();
        for theirs in other.0.iter().filter(|t| t.value.is_some()) {
            let Some(ours) = merged.0.iter_mut().find(|t| t.name == theirs.name) else {
                merged.0.push(theirs.clone());
                continue;
            };
            match &ours.value {
                None if !running => ours.value.clone_from(&theirs.value),
                value if *value == theirs.value => {}
                _ => return Err(disagreement(ours, theirs)),
            }
        }
        Ok(merged)
    }
}

fn disagreement(ours: &Term, theirs: &Term) -> String {
    let name = ours.name;
    if ours.secret {
        return format!("{name} is not the same on both");
    }
    match (&ours.value, &theirs.value) {
        (Some(ours), Some(theirs)) => format!("{name} is {ours} on one and {theirs} on the other"),
        (None, Some(theirs)) => format!("it runs without {name}={theirs}"),
        _ => format!("{name} is not the same on both"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(all: &[(&'static str, Option<&str>)]) -> Terms {
        let mut terms = Terms::default();
        for (name, value) in all {
            terms.set(name, value.map(str::to_owned));
        }
        terms
    }

    #[test]
    fn what_one_leaves_alone_is_the_others_to_say() {
        let one = terms(&[("signaller", Some("file")), ("location", None)]);
        let other = terms(&[("signaller", None), ("location", Some("/tmp/x"))]);
        let merged = one.merged(&other, false).unwrap();
        assert_eq!(merged.get("signaller"), Some("file"));
        assert_eq!(merged.get("location"), Some("/tmp/x"));
    }

    #[test]
    fn a_disagreement_names_the_setting_and_both_values_but_no_secret() {
        let one = terms(&[("role", Some("offer"))]);
        let error = one.merged(&terms(&[("role", Some("answer"))]), false);
        let error = error.unwrap_err();
        assert!(error.contains("role is offer on one and answer on the other"));
        let secret = |value: &str| {
            let mut terms = Terms::default();
            terms.set_secret("turn-servers", Some(value.to_owned()));
            terms
        };
        let error = secret("turn://u:hush@h").merged(&secret("turn://u:psst@h"), false);
        let error = error.unwrap_err();
        assert!(
            error.contains("turn-servers") && !error.contains("hush") && !error.contains("psst")
        );
    }

    #[test]
    fn nothing_is_added_to_a_call_that_runs() {
        let running = terms(&[("stun-server", None), ("role", Some("offer"))]);
        assert!(
            running
                .merged(&terms(&[("role", Some("offer"))]), true)
                .is_ok()
        );
        assert!(running.merged(&terms(&[("role", None)]), true).is_ok());
        let late = terms(&[("stun-server", Some("stun://h"))]);
        assert!(
            running
                .merged(&late, true)
                .unwrap_err()
                .contains("stun-server")
        );
    }
}
