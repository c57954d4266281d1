//! The work on a request: answers its records one after the other.

use std::net::IpAddr;

use serde::Serialize;

use super::Limits;
use super::answer::{Answer, JSON};
use super::budget::Budget;
use super::pool::Wish;
use super::published::Ready;
use super::record::{self, Group};
use super::refusal::Refusal;
use crate::model::AnyRecord;

/// The context of the work on a request.
#[derive(Clone, Copy)]
pub struct Work<'w> {
    /// The model that answers.
    pub ready: &'w Ready<'w>,
    /// Columns by whose values decisions are counted.
    pub columns: &'w [String],
    /// The limits of a request.
    pub limits: &'w Limits,
    /// The budget of all requests.
    pub budget: &'w Budget,
    /// The client that sent the request.
    pub client: IpAddr,
    /// Whether the answer is still wanted.
    pub wish: &'w Wish<'w>,
}

impl<'w> Work<'w> {
    /// Starts an answer.
    pub fn answer(&self, media_type: &'static str) -> Answer {
        Answer::new(media_type, self.budget.buffer(self.client), self.limits.answer_bytes)
    }

    /// Answers every record of a JSON body with an element of the list `list`. The object starts
    /// with the model's name and the texts `head`. Returns the answer with the object still open.
    pub fn answer_each<T: Serialize>(
        &self,
        body: &[u8],
        head: &[(&str, &str)],
        list: &str,
        mut each: impl FnMut(&AnyRecord<'w>, &[Group]) -> Result<T, Refusal>,
    ) -> Result<Answer, Refusal> {
        let mut answer = self.answer(JSON);
        answer.texts(&["{\"model\":\"", &self.ready.name])?;
        head.iter().try_for_each(|(key, text)| answer.texts(&["\",\"", key, "\":\"", text]))?;
        answer.texts(&["\",\"", list, "\":["])?;
        record::read(body, self.ready, self.columns, self.limits.records, |before, record, groups| {
            if before > 0 {
                self.wish.check()?;
                answer.text(",")?;
            }
            let element = each(record, groups)?;
            answer.add(&element)
        })?;
        answer.text("]")?;
        Ok(answer)
    }
}
