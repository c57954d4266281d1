//! Features that act together.

use std::str::FromStr;

use feamoe_engine::Schema;

use super::Player;
use crate::error::{Error, list};

/// Features that share one value, such as `money=income+debt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The displayed name.
    pub name: String,
    /// Names of its features.
    pub features: Vec<String>,
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected NAME=FEATURE+FEATURE, such as money=income+debt".to_owned();
        let (name, features) = text.split_once('=').ok_or_else(expected)?;
        let features: Vec<String> = features.split('+').map(str::to_owned).collect();
        if name.is_empty() || features.iter().any(String::is_empty) {
            Err(expected())
        } else {
            Ok(Self { name: name.to_owned(), features })
        }
    }
}

/// Returns the players: the groups and each feature in no group, ordered by their first features.
///
/// # Errors
/// [`Error::NamesStripped`]; [`Error::Group`] for an unknown feature, a feature that is named
/// twice, or two players of the same name.
pub(super) fn players(schema: Schema<'_>, groups: &[Group]) -> Result<Vec<Player>, Error> {
    let names = (0..schema.features().len()).map(|index| schema.feature_name(index).ok_or(Error::NamesStripped));
    let names: Vec<&str> = names.collect::<Result<_, _>>()?;
    let fault = |group: &Group, message: String| Error::Group { group: group.name.clone(), message };
    let mut group_of: Vec<Option<usize>> = vec![None; names.len()];
    for (number, group) in groups.iter().enumerate() {
        if groups.iter().take(number).any(|other| other.name == group.name) {
            return Err(fault(group, "there is another group of this name".into()));
        }
        for feature in &group.features {
            let Some(index) = names.iter().position(|name| name == feature) else {
                return Err(fault(
                    group,
                    format!("{feature:?} is not a feature of the model; the features are {}", list(&names)),
                ));
            };
            if let Some(other) = group_of[index].replace(number) {
                return Err(fault(group, format!("feature {feature:?} is already in group {}", groups[other].name)));
            }
        }
        if names.iter().zip(&group_of).any(|(name, of)| *name == group.name && *of != Some(number)) {
            return Err(fault(group, "a feature outside of the group has this name".into()));
        }
    }
    let mut players = Vec::new();
    for (feature, name) in names.iter().enumerate() {
        match group_of[feature] {
            None => players.push(Player { name: (*name).to_owned(), features: vec![feature] }),
            Some(number) => {
                let features: Vec<usize> = (0..names.len()).filter(|other| group_of[*other] == Some(number)).collect();
                if features.first() == Some(&feature) {
                    players.push(Player { name: groups[number].name.clone(), features });
                }
            }
        }
    }
    Ok(players)
}
