//! Intersections: an attribute that combines others, such as sex and race. A model may treat women
//! and Black people like everyone else, yet not Black women. Only the groups of the intersection
//! show this (Kearns et al. 2018, "fairness gerrymandering").
//!
//! Its privileged group holds the records that are privileged in every part. Every other
//! combination that occurs is a group of its own, named like `Female & Black`. A record without a
//! group in one of the parts has no group. *Cost:* one look-up per record.

use rustc_hash::FxHashMap;

use super::groups::{Attribute, Grouping, NO_GROUP};
use crate::error::{Error, list};
use crate::schema;

/// Separates the names of the parts.
const AND: &str = " & ";

/// Finds the group of a row from its groups in the parts.
#[derive(Clone)]
pub(super) struct Intersection {
    pub(super) attribute: Attribute,
    /// Indices of the parts among the protected attributes.
    parts: Vec<usize>,
    /// Group ids by the groups of the parts. Only looked up, never iterated.
    ids: FxHashMap<Box<[u8]>, u8>,
    /// The groups of the current row's parts.
    key: Vec<u8>,
}

impl Intersection {
    /// The schema was checked before: each column belongs to one of the groupings.
    pub(super) fn new(intersection: &schema::Intersection, groupings: &[Grouping]) -> Self {
        let place = |column: &String| groupings.iter().position(|grouping| grouping.attribute.column() == column);
        let parts: Vec<usize> = intersection.columns.iter().filter_map(place).collect();
        let privileged = name(groupings, &parts, &vec![0; parts.len()]);
        let attribute = Attribute::open(intersection.columns.join(AND), privileged);
        Self { attribute, parts, ids: FxHashMap::default(), key: Vec::new() }
    }

    /// Takes over the groups (not the counts) of an earlier stream.
    pub(super) fn resume(&mut self, earlier: &Attribute) {
        for name in earlier.groups().iter().skip(self.attribute.groups().len()) {
            self.attribute.add(name.clone());
        }
    }

    /// Returns the group of a record that has these groups in the protected attributes, and counts
    /// it.
    pub(super) fn group(&mut self, groupings: &[Grouping], groups: &[u8]) -> u8 {
        self.key.clear();
        self.key.extend(self.parts.iter().filter_map(|part| groups.get(*part)));
        let id = if self.key.contains(&NO_GROUP) {
            NO_GROUP
        } else if let Some(id) = self.ids.get(&*self.key) {
            *id
        } else {
            self.new_combination(groupings)
        };
        self.attribute.count(id, None);
        id
    }

    /// Returns the group of a record that has these groups in the protected attributes;
    /// [`NO_GROUP`] if it is unknown. Counts nothing.
    pub(super) fn find(&self, groups: &[u8]) -> u8 {
        let key: Vec<u8> = self.parts.iter().filter_map(|part| groups.get(*part)).copied().collect();
        self.ids.get(&*key).copied().unwrap_or(NO_GROUP)
    }

    #[cold]
    fn new_combination(&mut self, groupings: &[Grouping]) -> u8 {
        let name = name(groupings, &self.parts, &self.key);
        // An earlier stream may have had this combination.
        let known = (0..NO_GROUP).zip(self.attribute.groups()).find(|(_, group)| **group == name).map(|(id, _)| id);
        let id = known.unwrap_or_else(|| self.attribute.add(name));
        if id != NO_GROUP {
            self.ids.insert(self.key.as_slice().into(), id);
        }
        id
    }

    /// Fails if no row is privileged in every part, or if every row is.
    pub(super) fn check(&self, files: &str) -> Result<(), Error> {
        let (groups, rows) = (self.attribute.groups(), self.attribute.rows());
        let (role, group) = match (rows.first(), groups) {
            (Some(1..), [_, _, ..]) => return Ok(()),
            (Some(1..), _) => ("unprivileged", "(any other combination)".to_owned()),
            (_, groups) => ("privileged", list(groups.get(..1).unwrap_or_default())),
        };
        let occurred: Vec<&String> =
            groups.iter().zip(rows).filter(|(_, rows)| **rows > 0).map(|(group, _)| group).collect();
        Err(Error::AbsentGroup {
            files: files.into(),
            column: self.attribute.column().into(),
            role,
            group,
            seen: format!("the combinations are {}; remove the [[intersection]] table, or add data", list(&occurred)),
        })
    }
}

/// Joins the names of the parts' groups. A name that could be read as several is quoted, because
/// groups of different streams are matched by name.
fn name(groupings: &[Grouping], parts: &[usize], groups: &[u8]) -> String {
    let names = parts.iter().zip(groups).filter_map(|(part, group)| {
        groupings.get(*part).and_then(|grouping| grouping.attribute.groups().get(usize::from(*group)))
    });
    let quoted =
        |name: &String| if name.contains('&') || name.starts_with('"') { format!("{name:?}") } else { name.clone() };
    names.map(quoted).collect::<Vec<_>>().join(AND)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::rows::{Stream, Use};
    use crate::schema::Schema;

    #[test]
    fn combinations_of_values_with_an_ampersand_are_distinguished() {
        let schema = "[target]\ncolumn = \"y\"\npositive = [\"1\"]\n[[protected]]\ncolumn = \"s\"\nprivileged = [\"m\"]\n\
                      [[protected]]\ncolumn = \"r\"\nprivileged = [\"w\"]\n[[intersection]]\ncolumns = [\"s\", \"r\"]\n";
        let schema = Schema::from_toml("s.toml", schema).unwrap();
        let text = "s,r,y\nm,w,1\nf,a & b,0\nf & a,b,0\nf,b,1\n";
        let mut stream = Stream::from_reader("f.csv", text.as_bytes(), &schema, Use::Learn).unwrap();
        let mut groups = Vec::new();
        while let Some(row) = stream.next_row().unwrap() {
            groups.push(row.groups[2]);
        }
        assert_eq!(groups, [0, 1, 2, 3]);
        let names = stream.attributes().nth(2).unwrap().groups();
        assert_eq!(names, ["m & w", r#"f & "a & b""#, r#""f & a" & b"#, "f & b"]);
    }
}
