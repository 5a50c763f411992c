//! Dead letters, for operators: listed, looked at, sent again, deleted (S88).
//!
//! ```text
//! selection   what an operator writes        ──> domain::dead::Filter
//! list, show  read, change nothing
//! purge       plan, then delete: only from the front of a partition, Kafka knows no other way
//! redrive     plan, then write to the group's re-entry topic (`reentry`): never to the source, others read that too
//! ```
//! Needs no running host: it speaks to Kafka alone, joins no group and commits nothing. Its calls block, but for
//! [`Dlq::purge`]: the doors call them aside, the command line has nothing else to do.

mod purge;
mod redrive;
pub mod reentry;
mod selection;
mod shown;

use std::time::Duration;

pub use purge::{Before, Cut, Purged, Wish};
pub use redrive::{Left, Part, Redrive, Redriven, Way};
pub use selection::{Selection, letter_place, time_ms};
pub use shown::{Bytes, Header, Headline, Letter, WHOLE, text_or_hex};

use crate::domain::dead::{DeadLetter, Filter};
use crate::domain::record::Record;
use crate::kafka::scan::{Scan, Span};
use crate::kafka::topics::Topics;
use crate::kafka::{self, ClientSettings};

/// The way to a cluster's dead letters. Cheap to clone.
#[derive(Clone)]
pub struct Dlq {
    client: ClientSettings,
    topics: Topics,
}

/// Whose dead letters, and where they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub group: String,
    pub topic: String,
}

/// A dead letter, and the record that it is.
pub struct Found {
    pub letter: DeadLetter,
    pub record: Record,
}

/// What was found besides what was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub shown: u64,
    /// Further ones that agree.
    pub more: u64,
    /// Records of the topic that are no dead letters of this group.
    pub others: u64,
}

/// Why it is not done. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for cannot be meant, or cannot be carried out.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Missing(String),
    #[error("{0}")]
    Kafka(#[from] kafka::Error),
    /// What is shown cannot be written.
    #[error("{0}")]
    Output(#[from] std::io::Error),
}

/// For the cluster to answer a question.
const ASK: Duration = Duration::from_secs(30);

impl Dlq {
    pub fn new(client: &ClientSettings) -> Result<Self, Error> {
        Ok(Self { client: client.clone(), topics: Topics::new(client)? })
    }

    /// Shows the letters that agree, partition by partition in their order, and counts those beyond `limit`.
    pub fn list(
        &self,
        (place, filter): (&Place, &Filter),
        limit: u64,
        within: Duration,
        mut show: impl FnMut(&Found) -> Result<(), Error>,
    ) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        let (mut walk, filter) = self.walk(place, filter, within)?;
        while let Some(record) = walk.next_record()? {
            match read(record, place) {
                Err(_) => listing.others += 1,
                Ok(it) if !filter.matches(&it.letter, it.record.key()) => {}
                Ok(_) if limit <= listing.shown => listing.more += 1,
                Ok(it) => {
                    show(&it)?;
                    listing.shown += 1;
                }
            }
        }
        Ok(listing)
    }

    /// One letter; whoever's it is.
    pub fn show(
        &self,
        place: &Place,
        (partition, offset): (i32, i64),
        within: Duration,
    ) -> Result<Found, Error> {
        let ends = self.ends(place)?;
        let topic = &place.topic;
        let Some((first, end)) = usize::try_from(partition).ok().and_then(|it| ends.get(it)) else {
            return Err(Error::Missing(no_partition(topic, partition, ends.len())));
        };
        if !(*first..*end).contains(&offset) {
            let text = if first == end {
                "it is empty".to_owned()
            } else {
                format!("it holds {first} to {}", end - 1)
            };
            return Err(Error::Missing(format!("{topic}[{partition}] has no offset {offset}: {text}")));
        }
        let span = Span { partition, from: offset, end: offset + 1 };
        let record = Scan::start(&self.client, topic, &[span], within)?.next_record()?;
        let missing = || Error::Missing(format!("{topic}[{partition}] holds no record at {offset} any more"));
        let record = record.filter(|it| it.offset == offset).ok_or_else(missing)?;
        let letter = DeadLetter::read(&record).ok_or_else(|| {
            let coordinates = record.coordinates();
            Error::Refused(format!("{coordinates} is no dead letter: drover's headers are not there"))
        })?;
        Ok(Found { letter, record })
    }

    /// First offset held and the next one to come, for each partition.
    fn ends(&self, place: &Place) -> Result<Vec<(i64, i64)>, Error> {
        let ends = self.topics.ends(&place.topic, ASK)?;
        if ends.is_empty() {
            return Err(Error::Missing(format!(
                "there is no topic {}: nothing has died in group {} yet, or its dead letters go elsewhere (`dead-letters`)",
                place.topic, place.group
            )));
        }
        Ok(ends)
    }

    /// Over what the filter can mean, as the topic was when it began; and the filter, made the group's.
    fn walk(&self, place: &Place, filter: &Filter, within: Duration) -> Result<(Scan, Filter), Error> {
        let spans = spans(&place.topic, &self.ends(place)?, filter)?;
        let filter = Filter { group: Some(place.group.clone()), ..filter.clone() };
        Ok((Scan::start(&self.client, &place.topic, &spans, within)?, filter))
    }
}

/// The parts of the partitions in which the filter may find something.
fn spans(topic: &str, ends: &[(i64, i64)], filter: &Filter) -> Result<Vec<Span>, Error> {
    if let Some(partition) = filter.partition
        && usize::try_from(partition).map_or(true, |it| ends.len() <= it)
    {
        return Err(Error::Missing(no_partition(topic, partition, ends.len())));
    }
    let span = |(partition, (first, end)): (usize, &(i64, i64))| Span {
        partition: partition as i32,
        from: filter.from_offset.unwrap_or(*first).max(*first),
        end: filter.to_offset.map_or(*end, |it| it.saturating_add(1)).min(*end),
    };
    let spans = ends.iter().enumerate().map(span);
    Ok(spans.filter(|it| filter.partition.is_none_or(|at| at == it.partition)).collect())
}

fn no_partition(topic: &str, partition: i32, count: usize) -> String {
    format!("{topic} has no partition {partition}: it has {count}, from 0 on")
}

/// The record back where it is no letter of this group.
fn read(record: Record, place: &Place) -> Result<Found, Record> {
    match DeadLetter::read(&record) {
        Some(letter) if letter.group == place.group => Ok(Found { letter, record }),
        Some(_) | None => Err(record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S88: only what can agree is read.
    #[test]
    fn spans_of_a_filter() {
        let ends = [(5, 10), (0, 0), (0, 3)];
        let of = |partition, from_offset, to_offset| {
            let filter = Filter { partition, from_offset, to_offset, ..Filter::default() };
            let spans = spans("t", &ends, &filter).map_err(|it| it.to_string())?;
            Ok::<_, String>(spans.iter().map(|it| (it.partition, it.from, it.end)).collect::<Vec<_>>())
        };
        assert_eq!(of(None, None, None).unwrap(), [(0, 5, 10), (1, 0, 0), (2, 0, 3)]);
        assert_eq!(of(Some(0), Some(1), Some(7)).unwrap(), [(0, 5, 8)]);
        assert_eq!(of(Some(0), Some(7), Some(i64::MAX)).unwrap(), [(0, 7, 10)]);
        for wrong in [3, -1] {
            assert!(of(Some(wrong), None, None).unwrap_err().contains("it has 3, from 0 on"));
        }
    }
}
