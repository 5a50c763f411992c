//! Where a dead letter goes that is sent again: the one place that knows.
//!
//! Never to its source: other groups read that too and would get it twice. It goes to a topic of its own group and keeps
//! its identity (topic, partition and offset of the original), so that its delivery id stays what it was.

use tokio::runtime::Handle;

use super::Error;
use crate::clock;
use crate::domain::dead::DeadLetter;
use crate::domain::ladder::{Names, Purpose, Rung};
use crate::domain::message::Past;
use crate::domain::record::Record;
use crate::outbox::rungs::{NewRung, Rungs};
use crate::wire::rung::{Stay, headers_of};

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

    /// Called before the first record, that of this letter, is written to a topic.
    ///
    /// # Errors
    /// The topic is not there, and cannot be made.
    fn make_ready(&self, topic: &str, letter: &DeadLetter) -> Result<(), Error>;
}

/// What a way back has to know of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The topics that it reads.
    pub topics: Vec<String>,
    /// Copies of its rungs; -1: as the cluster does by itself.
    pub replication: i32,
    /// Whether rungs are made where they are missing.
    pub create: bool,
}

/// Finds a group by its name, as it is now.
pub type Readers = Box<dyn Fn(&str) -> Option<Reader> + Send + Sync>;

/// The shortest rung of the ladder that the letter's source has in its group: the group reads that beside the source,
/// and takes from it the original, at its old place.
pub struct Ladder {
    pub rungs: Rungs,
    pub runtime: Handle,
    pub readers: Readers,
}

impl ReEntry for Ladder {
    fn re_entry(&self, letter: &DeadLetter, record: &Record, redriven: u32) -> Result<Parts, String> {
        let origin = &letter.origin;
        let reader = (self.readers)(&letter.group)
            .ok_or_else(|| format!("group {} is not among those of this configuration", letter.group))?;
        if !reader.topics.contains(&origin.topic) {
            let (group, topic) = (&letter.group, &origin.topic);
            return Err(format!("group {group} reads {topic} no more: nobody would take it up"));
        }
        let place = (origin.topic.as_str().into(), origin.partition, origin.offset);
        let original = record.clone().moved(place, origin.timestamp_ms, letter.own);
        let now_ms = clock::now_ms();
        let past = Past {
            first_seen_ms: letter.first_seen_ms,
            first_reason: letter.first_reason.clone(),
            redriven,
            ..Past::default()
        };
        let reason = Some("sent again from the dead letters".to_owned());
        let stay = Stay { attempt: 1, due_ms: now_ms, past, reason };
        let names = Names::new(&letter.group, &origin.topic);
        Ok(Parts {
            topic: names.topic(Purpose::Retry, Rung::SHORTEST),
            partition: Some(origin.partition),
            headers: headers_of(&original, now_ms, &stay),
        })
    }

    fn make_ready(&self, topic: &str, letter: &DeadLetter) -> Result<(), Error> {
        let reader = (self.readers)(&letter.group);
        let rung = NewRung {
            topic: topic.to_owned(),
            source: letter.origin.topic.as_str().into(),
            replication: reader.as_ref().map_or(-1, |it| it.replication),
            create: reader.is_none_or(|it| it.create),
            holds_ms: Rung::SHORTEST.ms(),
        };
        Ok(self.runtime.block_on(self.rungs.ready(rung))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::headers::{self, Headers};
    use crate::kafka::ClientSettings;
    use crate::kafka::topics::Topics;
    use crate::wire::rung::restore;

    /// S88: what the group takes from its rung is the original, at its old place: its delivery id stays.
    #[test]
    fn the_original_comes_back() {
        let client = ClientSettings { brokers: vec!["127.0.0.1:1".to_owned()], ..ClientSettings::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outbox = crate::outbox::Outbox::start(&client, &Default::default()).unwrap();
        let ladder = Ladder {
            rungs: Rungs::start(Topics::new(&client).unwrap(), outbox).unwrap(),
            runtime: runtime.handle().clone(),
            readers: Box::new(|group| {
                let reader = Reader { topics: vec!["orders".to_owned()], replication: -1, create: true };
                (group == "g").then_some(reader)
            }),
        };
        let mut block = Vec::new();
        for (name, value) in [
            ("drover-command", "pay"),
            ("drover-origin-topic", "orders"),
            ("drover-origin-partition", "3"),
            ("drover-origin-offset", "42"),
            ("drover-origin-timestamp-ms", "1234"),
            ("drover-group", "g"),
            ("drover-first-reason", "status 500"),
            ("drover-first-seen-ms", "900"),
        ] {
            headers::push(&mut block, name.as_bytes(), Some(value.as_bytes()));
        }
        let dead = Record::new(("g.dead".into(), 1, 7), Some(9), Some(b"k"), Some(b"v"), &block);
        let letter = DeadLetter::read(&dead).unwrap();
        let parts = ladder.re_entry(&letter, &dead, 2).unwrap();
        assert_eq!((&*parts.topic, parts.partition), ("g.orders.retry.1s", Some(3)));
        let on_rung =
            Record::new(("g.orders.retry.1s".into(), 3, 0), None, dead.key(), dead.value(), &parts.headers);
        let (back, stay) = restore(on_rung, |it| it.into()).unwrap();
        assert_eq!(
            (&*back.topic, back.partition, back.offset, back.timestamp_ms),
            ("orders", 3, 42, Some(1234))
        );
        assert_eq!((back.key(), back.value()), (dead.key(), dead.value()));
        assert_eq!(Headers::new(back.headers()).map(|it| it.name).collect::<Vec<_>>(), [b"drover-command"]);
        assert_eq!((stay.attempt, stay.past.redriven, stay.past.first_seen_ms), (1, 2, 900));
        assert_eq!(stay.past.first_reason.as_deref(), Some("status 500"));
        let mut elsewhere = letter.clone();
        elsewhere.origin.topic = "other".to_owned();
        assert!(ladder.re_entry(&elsewhere, &dead, 2).unwrap_err().contains("reads other no more"));
        elsewhere.group = "h".to_owned();
        assert!(ladder.re_entry(&elsewhere, &dead, 2).unwrap_err().contains("group h"));
    }
}
