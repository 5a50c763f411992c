//! Deleting dead letters. Kafka deletes from the front of a partition and nowhere else: what is to go must have nothing
//! before it that is to stay. So a purge is planned first, by reading what would go, and refused where that holds
//! something that was not meant.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{Dlq, Error, Place, read, time_ms};
use crate::domain::dead::Filter;

/// Up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// This offset stays.
    Offset(i64),
    /// What ended before this, in ms since 1970.
    Time(u64),
    /// All that is there when it begins.
    All,
}

/// What is to be deleted.
#[derive(Clone, Debug)]
pub struct Wish {
    pub filter: Filter,
    pub before: Before,
    /// Also what is no dead letter of this group, where it lies between.
    pub others: bool,
}

/// What of one partition is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cut {
    pub partition: i32,
    /// The first offset that stays.
    pub before: i64,
    pub letters: u64,
    /// Records that are no letters of this group.
    pub others: u64,
    /// Old enough, but behind one that is not: they stay.
    pub behind: u64,
}

/// What became of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Purged {
    pub partition: i32,
    /// The first offset that is held now.
    pub first: Option<i64>,
    pub error: Option<String>,
}

impl Before {
    /// `all`, an offset, or a time. A bare number is an offset.
    pub fn parse(text: &str, now_ms: u64) -> Result<Self, Error> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Ok(offset) = text.parse::<i64>() {
            return if 0 <= offset {
                Ok(Self::Offset(offset))
            } else {
                Err(Error::Refused(format!("`before`: {offset} is no offset: they begin at 0")))
            };
        }
        let wrong = |_| {
            let text = format!(
                "`before`: {text:?} is no offset, no time (`2026-01-31T12:00:00Z`, `2h` ago), and not `all`"
            );
            Error::Refused(text)
        };
        time_ms(text, now_ms).map(Self::Time).map_err(wrong)
    }
}

/// One partition while it is read.
#[derive(Default)]
struct Front {
    cut: Cut,
    /// A record that is too young was met: nothing behind it can go.
    is_closed: bool,
    /// The first record that was not meant, and what it is.
    blocker: Option<(i64, String)>,
    /// Letters that were meant, behind that.
    blocked: u64,
}

impl Dlq {
    /// What would go. Changes nothing.
    ///
    /// # Errors
    /// Also when something would go that was not meant: the text says what, and what to do.
    pub fn plan_purge(&self, place: &Place, wish: &Wish, within: Duration) -> Result<Vec<Cut>, Error> {
        let ends = self.ends(place)?;
        if let Before::Offset(offset) = wish.before {
            check_offset(place, wish, offset, &ends)?;
        }
        // Also what the filter's own offsets leave out has to be looked at: it lies in front.
        let reach = Filter {
            partition: wish.filter.partition,
            to_offset: match wish.before {
                Before::Offset(offset) => Some(offset - 1),
                Before::Time(_) | Before::All => None,
            },
            ..Filter::default()
        };
        let (mut walk, _) = self.walk(place, &reach, within)?;
        let filter = Filter { group: Some(place.group.clone()), ..wish.filter.clone() };
        let mut fronts: BTreeMap<i32, Front> = BTreeMap::new();
        while let Some(record) = walk.next_record()? {
            let front = fronts.entry(record.partition).or_default();
            front.cut.partition = record.partition;
            let (offset, timestamp_ms) = (record.offset, record.timestamp_ms);
            match read(record, place) {
                Ok(it) => {
                    let is_old = wish.before.holds(it.letter.ended_ms);
                    let meant = filter.matches(&it.letter, it.record.key());
                    let command = it.letter.command.as_deref().unwrap_or("unknown");
                    front.take(offset, is_old, meant, || {
                        format!("command {command}, code {}", it.letter.code)
                    });
                }
                Err(_) => {
                    let at_ms = timestamp_ms.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
                    let is_old = wish.before.holds(at_ms);
                    let what = || format!("no dead letter of group {}", place.group);
                    front.take_other(offset, is_old, wish.others, what);
                }
            }
        }
        if let Some(refusal) = refusal(place, &fronts) {
            return Err(Error::Refused(refusal));
        }
        Ok(fronts
            .into_values()
            .map(|it| it.cut)
            .filter(|it| 0 < it.letters + it.others + it.behind)
            .collect())
    }

    /// Deletes what was planned.
    pub async fn purge(&self, place: &Place, cuts: &[Cut]) -> Result<Vec<Purged>, Error> {
        let offsets: Vec<_> =
            cuts.iter().filter(|it| 0 < it.letters + it.others).map(|it| (it.partition, it.before)).collect();
        if offsets.is_empty() {
            return Ok(Vec::new());
        }
        let purged = self.topics.delete_before(&place.topic, &offsets).await?;
        let of = |(partition, first): (i32, Result<i64, String>)| match first {
            Ok(first) => Purged { partition, first: Some(first), error: None },
            Err(error) => Purged { partition, first: None, error: Some(error) },
        };
        tracing::info!(topic = place.topic, group = place.group, ?offsets, "dead letters were purged");
        Ok(purged.into_iter().map(of).collect())
    }
}

impl Before {
    fn holds(self, ended_ms: u64) -> bool {
        match self {
            // The walk ends there by itself.
            Self::Offset(_) | Self::All => true,
            Self::Time(time_ms) => ended_ms < time_ms,
        }
    }
}

impl Front {
    fn take(&mut self, offset: i64, is_old: bool, meant: bool, what: impl FnOnce() -> String) {
        if self.is_closed {
            self.cut.behind += u64::from(is_old && meant);
        } else if !is_old {
            self.is_closed = true;
        } else if self.blocker.is_some() {
            self.blocked += u64::from(meant);
        } else if meant {
            self.cut.letters += 1;
            self.cut.before = offset + 1;
        } else {
            self.blocker = Some((offset, what()));
        }
    }

    fn take_other(&mut self, offset: i64, is_old: bool, allowed: bool, what: impl FnOnce() -> String) {
        if allowed && is_old && !self.is_closed && self.blocker.is_none() {
            self.cut.others += 1;
            self.cut.before = offset + 1;
        } else {
            self.take(offset, is_old, false, what);
        }
    }
}

/// An offset says something of one partition, and only of what is there.
fn check_offset(place: &Place, wish: &Wish, offset: i64, ends: &[(i64, i64)]) -> Result<(), Error> {
    let topic = &place.topic;
    let partition = match wish.filter.partition {
        Some(partition) => partition,
        None if ends.len() == 1 => 0,
        None => {
            return Err(Error::Refused(format!(
                "{topic} has {} partitions, and an offset means something in one only: say which by `partition`",
                ends.len()
            )));
        }
    };
    // A partition that is not there is told by the walk.
    let end = usize::try_from(partition).ok().and_then(|it| ends.get(it)).map_or(i64::MAX, |it| it.1);
    if end < offset {
        return Err(Error::Refused(format!(
            "{topic}[{partition}] ends at {end}: give an offset up to that, or `all`"
        )));
    }
    Ok(())
}

/// S88: why this cannot be carried out, and what can be.
fn refusal(place: &Place, fronts: &BTreeMap<i32, Front>) -> Option<String> {
    let topic = &place.topic;
    let mut lines = Vec::new();
    for (partition, front) in fronts {
        let Some((offset, what)) = &front.blocker else { continue };
        let behind = match front.blocked {
            0 => String::new(),
            1 => ", and one that is meant lies behind it".to_owned(),
            count => format!(", and {count} that are meant lie behind it"),
        };
        let possible = match front.cut.letters + front.cut.others {
            0 => "nothing lies before it".to_owned(),
            _ => format!("what lies before it can go: partition {partition}, before {}", front.cut.before),
        };
        lines.push(format!("{topic}[{partition}]@{offset} is not meant ({what}){behind}; {possible}"));
    }
    if lines.is_empty() {
        return None;
    }
    Some(format!(
        "Kafka deletes only from the front of a partition, so everything before the end of a purge goes with it. \
         Nothing was deleted:\n  {}\nPurge up to there, or redrive what has to be kept and purge with a wider filter, or \
         leave it to the topic's retention; `others` takes along what is no dead letter of this group.",
        lines.join("\n  ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_what() {
        let now = 10_000_000;
        let cases = [
            ("all", Some(Before::All)),
            ("0", Some(Before::Offset(0))),
            ("17", Some(Before::Offset(17))),
            ("2h", Some(Before::Time(2_800_000))),
            ("1970-01-01T00:00:01Z", Some(Before::Time(1_000))),
            ("-3", None),
            ("All", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Before::parse(text, now).ok(), expected, "{text}");
        }
    }

    /// S88: what is not meant stops a purge, and what is too young ends it.
    #[test]
    fn only_the_front_goes() {
        // For each record: is it old enough, is it meant. Then: letters, before, behind, blocker, blocked.
        type Records<'a> = &'a [(bool, bool)];
        type Expected = (u64, i64, u64, Option<i64>, u64);
        let cases: [(Records<'_>, Expected); 6] = [
            (&[], (0, 0, 0, None, 0)),
            (&[(true, true), (true, true)], (2, 2, 0, None, 0)),
            (&[(true, true), (false, true), (true, true)], (1, 1, 1, None, 0)),
            (&[(true, true), (true, false), (true, true)], (1, 1, 0, Some(1), 1)),
            (&[(true, false), (false, true), (true, true)], (0, 0, 1, Some(0), 0)),
            (&[(false, false), (true, true)], (0, 0, 1, None, 0)),
        ];
        for (records, expected) in cases {
            let mut front = Front::default();
            for (offset, (is_old, meant)) in records.iter().enumerate() {
                front.take(offset as i64, *is_old, *meant, String::new);
            }
            let Front { cut, blocker, blocked, .. } = front;
            let got = (cut.letters, cut.before, cut.behind, blocker.map(|it| it.0), blocked);
            assert_eq!(got, expected, "{records:?}");
        }
    }
}
