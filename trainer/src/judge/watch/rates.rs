//! The decision rates of the groups, which the fairness measures compare.

use super::exchange::Exchangeability;
use super::report::{Alarm, Group, Quantity};
use super::{Levels, alarm, favourable};
use crate::rows::{Attribute, NO_GROUP};

/// The kind of rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Over all records.
    Selection,
    /// Over those with the favourable outcome.
    TruePositive,
    /// Over those with the other outcome.
    FalsePositive,
}

impl Which {
    pub fn of(label: bool) -> Self {
        if label { Self::TruePositive } else { Self::FalsePositive }
    }
}

/// The column and the groups of each attribute.
pub(super) type Names = Vec<(String, Vec<String>)>;

/// The tests of every group of every attribute. They are created when a group first occurs.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    levels: Levels,
    names: Names,
    /// The tests by attribute and group, in the order of [`Which`].
    tests: Vec<Vec<[Exchangeability; 3]>>,
}

impl Rates {
    pub fn new(levels: Levels) -> Self {
        Self { levels, names: Names::new(), tests: Vec::new() }
    }

    /// Adds the names of new groups.
    pub fn name<'a>(&mut self, attributes: impl Iterator<Item = &'a Attribute>) {
        for (index, attribute) in attributes.enumerate() {
            match self.names.get_mut(index) {
                Some((_, groups)) => {
                    groups.extend(attribute.groups().iter().skip(groups.len()).cloned());
                }
                None => self.names.push((attribute.column().to_owned(), attribute.groups().to_vec())),
            }
        }
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Returns the number of tests.
    pub fn count(&self) -> usize {
        3 * self.tests.iter().map(Vec::len).sum::<usize>()
    }

    /// Adds a decision without testing it.
    pub fn learn(&mut self, which: Which, groups: &[u8], decision: usize) {
        self.each(groups, |tests, _, _| {
            if let Some(test) = tests.get_mut(which as usize) {
                test.learn(0, decision);
            }
        });
    }

    /// Tests a decision and adds it.
    pub fn update(&mut self, which: Which, groups: &[u8], decision: usize, row: u64, alarms: &mut Vec<Alarm>) {
        self.each(groups, |tests, attribute, group| {
            let change = tests.get_mut(which as usize).and_then(|test| test.update(0, decision));
            let alarm = |change| alarm(quantity(which, attribute, group), row, favourable(change), "favourable".into());
            alarms.extend(change.map(alarm));
        });
    }

    /// Calls `with` for the tests of a record's groups, with the names of attribute and group.
    fn each(&mut self, groups: &[u8], mut with: impl FnMut(&mut [Exchangeability; 3], &str, &str)) {
        self.tests.resize(groups.len().max(self.tests.len()), Vec::new());
        for (index, (tests, group)) in self.tests.iter_mut().zip(groups).enumerate() {
            if *group == NO_GROUP {
                continue;
            }
            let group = usize::from(*group);
            while tests.len() <= group {
                tests.push([(); 3].map(|()| {
                    let (level, seed) = self.levels.next();
                    Exchangeability::new(1, 2, level, seed)
                }));
            }
            let (attribute, names) = self.names.get(index).map_or(("", &[][..]), |(name, groups)| (name, groups));
            if let Some(tests) = tests.get_mut(group) {
                with(tests, attribute, names.get(group).map_or("", String::as_str));
            }
        }
    }
}

fn quantity(which: Which, attribute: &str, group: &str) -> Quantity {
    let group = Group { attribute: attribute.to_owned(), group: group.to_owned() };
    match which {
        Which::Selection => Quantity::SelectionRate(group),
        Which::TruePositive => Quantity::Tpr(group),
        Which::FalsePositive => Quantity::Fpr(group),
    }
}
