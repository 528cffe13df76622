//! Accuracies by group.

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer};

/// A mean of accuracies.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Tally {
    sum: f64,
    count: usize,
}

impl Tally {
    /// Adds an accuracy in [0, 1].
    pub(crate) fn add(&mut self, accuracy: f64) {
        self.sum += accuracy;
        self.count += 1;
    }

    /// Of what; `None` if of nothing.
    pub(crate) fn percent(self) -> Option<f64> {
        (self.count > 0).then(|| 100.0 * self.sum / self.count as f64)
    }

    /// How many there are.
    pub(crate) fn count(self) -> usize {
        self.count
    }
}

impl Serialize for Tally {
    /// Per cent with two decimals, as the evaluators write it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.percent().map(|percent| (percent * 100.0).round() / 100.0).serialize(serializer)
    }
}

/// Accuracies of the questions of each group, by its name.
pub(crate) type Groups = BTreeMap<String, Tally>;

/// Adds an accuracy to the group of that name.
pub(crate) fn add(groups: &mut Groups, name: &str, accuracy: f64) {
    groups.entry(name.to_owned()).or_default().add(accuracy);
}

/// A table for people: names, per cent, and of how many.
pub(crate) struct Table<'a> {
    /// Of all questions.
    pub(crate) overall: Tally,
    /// Titles and groups; empty ones are left out.
    pub(crate) groups: &'a [(&'a str, &'a Groups)],
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, tally: &Tally| match tally.percent() {
            Some(percent) => writeln!(formatter, "{name:<34} {percent:6.2} % of {}", tally.count()),
            None => writeln!(formatter, "{name:<34}      - of 0"),
        };
        line("accuracy", &self.overall)?;
        for (title, groups) in self.groups.iter().filter(|(_, groups)| !groups.is_empty()) {
            for (name, tally) in *groups {
                line(&format!("  {title} {name}"), tally)?;
            }
        }
        Ok(())
    }
}
