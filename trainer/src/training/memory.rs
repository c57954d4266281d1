//! Rows kept in memory: what `--shuffle` needs.

use feamoe_engine::mixture::Term;

use crate::encoder::Example;

/// Encoded rows, packed.
#[derive(Clone, Default)]
pub(super) struct Memory {
    terms: Vec<Term>,
    /// Where each row's terms end.
    ends: Vec<usize>,
    labels: Vec<bool>,
    groups: Vec<u8>,
}

impl Memory {
    pub(super) fn push(&mut self, example: &Example) {
        self.terms.extend_from_slice(&example.terms);
        self.ends.push(self.terms.len());
        self.labels.push(example.label);
        self.groups.extend_from_slice(&example.groups);
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.terms) + size_of_val(&*self.ends) + self.labels.len() + self.groups.len()
    }

    pub(super) fn read(&self, index: u32, example: &mut Example) {
        let index = index as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let attributes = self.groups.len() / self.ends.len();
        example.terms.clear();
        example.terms.extend_from_slice(&self.terms[start..self.ends[index]]);
        example.label = self.labels[index];
        example.groups.clear();
        example.groups.extend_from_slice(&self.groups[index * attributes..(index + 1) * attributes]);
    }
}
