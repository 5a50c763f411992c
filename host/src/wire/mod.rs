//! A message as bytes: what a record's envelope says, in each of the forms that producers write.
//!
//! Pure: bytes in, value out. Everything above this floor is blind to formats.

mod native;

use crate::domain::message::Message;
use crate::domain::outcome::{Failure, Stage};
use crate::domain::record::Record;

/// How the records of a group's topics are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Recognised record by record.
    #[default]
    Auto,
    /// Kafka headers carry the envelope, the value is the data. S20.
    Native,
    /// The topic's name is the command, the value is the data.
    Raw,
}

/// Reads a record's envelope.
///
/// # Errors
/// A lasting failure of the stage `decode`: the record goes to the dead letters as it is (S24).
pub fn decode(format: Format, record: Record) -> Result<Message, (Record, Failure)> {
    match format {
        Format::Native => native::decode(record),
        Format::Raw => Ok(native::raw(record)),
        Format::Auto if native::is(&record) => native::decode(record),
        Format::Auto => Ok(native::raw(record)),
    }
}

/// What cannot be read, in words for the producer's author.
fn unreadable(record: Record, detail: String) -> (Record, Failure) {
    (record, Failure::lasting(Stage::Decode, detail))
}
