//! Where a dead letter goes that is sent again: the one place that knows.
//!
//! Never to its source: other groups read that too and would get it twice. It goes to a topic of its own group and keeps
//! its identity (topic, partition and offset of the original), so that its delivery id stays what it was.

use super::Error;
use crate::domain::dead::DeadLetter;
use crate::domain::record::Record;

/// What is written for a letter; key and value are the record's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    pub topic: String,
    /// None: the partitioner chooses by the key.
    pub partition: Option<i32>,
    /// Header block.
    pub headers: Vec<u8>,
}

/// A way back to the group. Its calls may block.
pub trait ReEntry {
    /// `redriven`: how often the letter has then been sent again, this time included.
    ///
    /// # Errors
    /// Why there is no way back.
    fn re_entry(&self, letter: &DeadLetter, record: &Record, redriven: u32) -> Result<Parts, String>;

    /// Called before the first record is written to a topic; `source` is the one that its messages came from.
    ///
    /// # Errors
    /// The topic is not there, and cannot be made.
    fn make_ready(&self, topic: &str, source: &str) -> Result<(), Error>;
}

/// No way back: a group of this version reads no topic of its own.
pub struct Closed;

impl ReEntry for Closed {
    fn re_entry(&self, _: &DeadLetter, _: &Record, _: u32) -> Result<Parts, String> {
        Err("this version's groups read no re-entry topic: nothing can be sent again yet".to_owned())
    }

    fn make_ready(&self, _: &str, _: &str) -> Result<(), Error> {
        Ok(())
    }
}
