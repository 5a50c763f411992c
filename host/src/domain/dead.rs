//! Dead letters: what the headers of one say, and which ones an operator means.
//!
//! A dead letter is the record as it was, with drover's headers behind its own (`outbox/context`). A producer may have
//! written the same names before: what counts stands from the last `drover-origin-topic` on, and of a name the last.

use super::headers::Headers;
use super::record::Record;

/// The header that drover's begin with.
const FIRST: &[u8] = b"drover-origin-topic";

/// Where the message came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// When it was produced, in ms since 1970.
    pub timestamp_ms: Option<i64>,
}

/// What a dead letter says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it lies in the dead-letter topic.
    pub partition: i32,
    pub offset: i64,
    pub origin: Origin,
    pub group: String,
    pub command: Option<String>,
    pub log_id: Option<String>,
    /// `app/matcher`.
    pub route: Option<String>,
    /// `name@digest`.
    pub plugin: Option<String>,
    pub stage: String,
    pub code: String,
    pub reason: String,
    pub first_reason: Option<String>,
    pub attempts: u32,
    /// In ms since 1970.
    pub first_seen_ms: u64,
    pub ended_ms: u64,
    pub due_ms: Option<u64>,
    /// What was cut or left out, in bytes that it had.
    pub truncated_from: Option<u64>,
    pub headers_left_out: Option<u64>,
    pub key_left_out: Option<u64>,
    /// How often it was sent again before.
    pub redriven: u32,
    /// Length of the record's own headers, in bytes of the block.
    pub own: usize,
}

impl DeadLetter {
    /// None where the record is no dead letter: somebody else wrote it.
    pub fn read(record: &Record) -> Option<Self> {
        let own = own_length(record.headers())?;
        let ours = &record.headers()[own..];
        let mut letter = Self { partition: record.partition, offset: record.offset, own, ..Self::default() };
        let mut has_place = [false; 3];
        for header in Headers::new(ours) {
            let Some(value) = header.value else { continue };
            let text = String::from_utf8_lossy(value).into_owned();
            match header.name {
                b"drover-origin-topic" => letter.origin.topic = text,
                b"drover-origin-partition" => {
                    letter.origin.partition = text.parse().ok()?;
                    has_place[0] = true;
                }
                b"drover-origin-offset" => {
                    letter.origin.offset = text.parse().ok()?;
                    has_place[1] = true;
                }
                b"drover-origin-timestamp-ms" => letter.origin.timestamp_ms = text.parse().ok(),
                b"drover-group" => {
                    letter.group = text;
                    has_place[2] = true;
                }
                name => letter.take(name, text),
            }
        }
        has_place.iter().all(|it| *it).then_some(letter)
    }

    fn take(&mut self, name: &[u8], text: String) {
        let number = || text.parse::<u64>().ok();
        match name {
            b"drover-origin-command" => self.command = Some(text),
            b"drover-origin-log-id" => self.log_id = Some(text),
            b"drover-route" => self.route = Some(text),
            b"drover-plugin" => self.plugin = Some(text),
            b"drover-first-reason" => self.first_reason = Some(text),
            b"drover-stage" => self.stage = text,
            b"drover-code" => self.code = text,
            b"drover-reason" => self.reason = text,
            b"drover-attempts" => self.attempts = text.parse().unwrap_or(0),
            b"drover-first-seen-ms" => self.first_seen_ms = number().unwrap_or(0),
            b"drover-ended-ms" => self.ended_ms = number().unwrap_or(0),
            b"drover-due-ms" => self.due_ms = number(),
            b"drover-redriven" => self.redriven = text.parse().unwrap_or(0),
            b"drover-truncated-from-bytes" => self.truncated_from = number(),
            b"drover-headers-left-out-bytes" => self.headers_left_out = number(),
            b"drover-key-left-out-bytes" => self.key_left_out = number(),
            _ => {}
        }
    }

    /// The headers that the record had before it died.
    pub fn own_headers<'a>(&self, record: &'a Record) -> &'a [u8] {
        record.headers().get(..self.own).unwrap_or_default()
    }

    /// Whether key, value and headers are all there, as they were.
    pub fn is_whole(&self) -> bool {
        [self.truncated_from, self.headers_left_out, self.key_left_out].iter().all(Option::is_none)
    }

    /// `partition:offset`, as commands name it.
    pub fn place(&self) -> String {
        format!("{}:{}", self.partition, self.offset)
    }
}

/// Bytes of the block before the last header that drover's begin with; none where there is no such header.
fn own_length(block: &[u8]) -> Option<usize> {
    let (mut at, mut found) = (0, None);
    for header in Headers::new(block) {
        if header.name == FIRST {
            found = Some(at);
        }
        // Two bytes of length before a name, four before a value: `headers`.
        at += 2 + header.name.len() + 4 + header.value.map_or(0, <[u8]>::len);
    }
    found
}

/// Which dead letters are meant: those that agree with everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The letters of one group: several may share a topic.
    pub group: Option<String>,
    pub app: Option<String>,
    pub command: Option<String>,
    pub code: Option<String>,
    pub stage: Option<String>,
    /// A part of the reason, or of the first one.
    pub reason: Option<String>,
    pub key: Option<Vec<u8>>,
    pub log_id: Option<String>,
    /// When it ended, in ms since 1970: from here on,
    pub from_ms: Option<u64>,
    /// and before this.
    pub to_ms: Option<u64>,
    pub origin_topic: Option<String>,
    pub origin_partition: Option<i32>,
    /// Of the dead-letter topic.
    pub partition: Option<i32>,
    /// Of the dead-letter topic: from here on,
    pub from_offset: Option<i64>,
    /// and up to this one, which counts.
    pub to_offset: Option<i64>,
}

impl Filter {
    /// `key` is the record's.
    pub fn matches(&self, letter: &DeadLetter, key: Option<&[u8]>) -> bool {
        fn same(wanted: &Option<String>, is: Option<&str>) -> bool {
            wanted.as_deref().is_none_or(|it| Some(it) == is)
        }
        let reason = self.reason.as_deref().is_none_or(|it| {
            letter.reason.contains(it) || letter.first_reason.as_ref().is_some_and(|at| at.contains(it))
        });
        same(&self.group, Some(&letter.group))
            && self.app.as_deref().is_none_or(|it| is_of_app(letter, it))
            && same(&self.command, letter.command.as_deref())
            && same(&self.code, Some(&letter.code))
            && same(&self.stage, Some(&letter.stage))
            && same(&self.log_id, letter.log_id.as_deref())
            && same(&self.origin_topic, Some(&letter.origin.topic))
            && self.origin_partition.is_none_or(|it| it == letter.origin.partition)
            && self.partition.is_none_or(|it| it == letter.partition)
            && self.from_offset.is_none_or(|it| it <= letter.offset)
            && self.to_offset.is_none_or(|it| letter.offset <= it)
            && self.from_ms.is_none_or(|it| it <= letter.ended_ms)
            && self.to_ms.is_none_or(|it| letter.ended_ms < it)
            && self.key.as_deref().is_none_or(|it| Some(it) == key)
            && reason
    }

    /// Whether it says no more than whose letters they are.
    pub fn is_all(&self) -> bool {
        *self == Self { group: self.group.clone(), ..Self::default() }
    }
}

/// A route's name is `app/matcher`.
fn is_of_app(letter: &DeadLetter, app: &str) -> bool {
    letter.route.as_deref().and_then(|it| it.strip_prefix(app)).is_some_and(|it| it.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::headers;

    fn record(all: &[(&str, &str)]) -> Record {
        let mut block = Vec::new();
        for (name, value) in all {
            headers::push(&mut block, name.as_bytes(), Some(value.as_bytes()));
        }
        Record::new(("g.dead".into(), 1, 17), Some(5), Some(b"k"), Some(b"v"), &block)
    }

    const LETTER: &[(&str, &str)] = &[
        ("drover-origin-topic", "orders"),
        ("drover-origin-partition", "3"),
        ("drover-origin-offset", "42"),
        ("drover-origin-timestamp-ms", "1234"),
        ("drover-group", "g"),
        ("drover-origin-command", "pay"),
        ("drover-origin-log-id", "log-1"),
        ("drover-route", "shop/pay"),
        ("drover-plugin", "forward@abc"),
        ("drover-first-reason", "status 500"),
        ("drover-stage", "judge"),
        ("drover-code", "attempts"),
        ("drover-reason", "five attempts"),
        ("drover-attempts", "5"),
        ("drover-first-seen-ms", "900"),
        ("drover-ended-ms", "1000"),
    ];

    fn letter() -> DeadLetter {
        DeadLetter::read(&record(LETTER)).unwrap()
    }

    /// S87, S88.
    #[test]
    fn a_letter_says_all_that_is_known() {
        let it = letter();
        let origin = Origin { topic: "orders".into(), partition: 3, offset: 42, timestamp_ms: Some(1234) };
        let text = |it: &str| Some(it.to_owned());
        assert_eq!((it.partition, it.offset, it.place(), it.origin.clone()), (1, 17, "1:17".into(), origin));
        assert_eq!(
            (it.command.clone(), it.log_id.clone(), it.route.clone()),
            (text("pay"), text("log-1"), text("shop/pay"))
        );
        assert_eq!((it.plugin.clone(), it.first_reason.clone()), (text("forward@abc"), text("status 500")));
        assert_eq!(
            (&*it.group, &*it.stage, &*it.code, &*it.reason),
            ("g", "judge", "attempts", "five attempts")
        );
        assert_eq!((it.attempts, it.first_seen_ms, it.ended_ms, it.due_ms), (5, 900, 1000, None));
        assert_eq!((it.redriven, it.is_whole()), (0, true));
    }

    /// S88: what a producer wrote under drover's names is its own header, and never taken for drover's.
    #[test]
    fn the_last_block_counts() {
        let forged = [
            ("x", "1"),
            ("drover-origin-topic", "forged"),
            ("drover-origin-partition", "no number"),
            ("drover-route", "forged/route"),
            ("drover-key-left-out-bytes", "9"),
            ("drover-redriven", "7"),
        ];
        let ours: Vec<_> = LETTER.iter().copied().filter(|it| it.0 != "drover-route").collect();
        let record =
            record(&[&forged[..], &ours, &[("drover-redriven", "1"), ("drover-redriven", "2")]].concat());
        let it = DeadLetter::read(&record).unwrap();
        assert_eq!((&*it.origin.topic, &it.route, it.is_whole()), ("orders", &None, true));
        assert_eq!(it.redriven, 2);
        let own: Vec<_> = Headers::new(it.own_headers(&record)).map(|it| it.name).collect();
        assert_eq!(own, forged.map(|it| it.0.as_bytes()));
    }

    #[test]
    fn what_is_no_dead_letter() {
        let without = |name: &str| LETTER.iter().copied().filter(|it| it.0 != name).collect::<Vec<_>>();
        assert_eq!(DeadLetter::read(&record(&[])), None);
        for name in ["drover-origin-topic", "drover-origin-partition", "drover-origin-offset", "drover-group"]
        {
            assert_eq!(DeadLetter::read(&record(&without(name))), None, "{name}");
        }
        let more = [LETTER, &[("drover-origin-offset", "x")]].concat();
        assert_eq!(DeadLetter::read(&record(&more)), None);
    }

    #[test]
    fn what_is_cut_is_not_whole() {
        for name in
            ["drover-truncated-from-bytes", "drover-headers-left-out-bytes", "drover-key-left-out-bytes"]
        {
            let it = DeadLetter::read(&record(&[LETTER, &[(name, "70000")]].concat())).unwrap();
            assert!(!it.is_whole(), "{name}");
        }
    }

    /// S88: each part of a filter lets the letter through or keeps it out, whatever the others say.
    #[test]
    fn filters() {
        let of = |it: fn(&mut Filter, bool)| {
            [true, false].map(|good| {
                let mut filter = Filter::default();
                it(&mut filter, good);
                filter
            })
        };
        let all = [
            of(|it, good| it.group = Some(if good { "g" } else { "h" }.into())),
            of(|it, good| it.app = Some(if good { "shop" } else { "sho" }.into())),
            of(|it, good| it.command = Some(if good { "pay" } else { "Pay" }.into())),
            of(|it, good| it.code = Some(if good { "attempts" } else { "attempt" }.into())),
            of(|it, good| it.stage = Some(if good { "judge" } else { "send" }.into())),
            of(|it, good| it.reason = Some(if good { "attempts" } else { "timeout" }.into())),
            of(|it, good| it.reason = Some(if good { "500" } else { "502" }.into())),
            of(|it, good| it.key = Some(if good { b"k" } else { b"K" }.to_vec())),
            of(|it, good| it.log_id = Some(if good { "log-1" } else { "log" }.into())),
            of(|it, good| it.from_ms = Some(if good { 1000 } else { 1001 })),
            of(|it, good| it.to_ms = Some(if good { 1001 } else { 1000 })),
            of(|it, good| it.origin_topic = Some(if good { "orders" } else { "order" }.into())),
            of(|it, good| it.origin_partition = Some(if good { 3 } else { 1 })),
            of(|it, good| it.partition = Some(if good { 1 } else { 3 })),
            of(|it, good| it.from_offset = Some(if good { 17 } else { 18 })),
            of(|it, good| it.to_offset = Some(if good { 17 } else { 16 })),
        ];
        for [good, bad] in all {
            assert!(good.matches(&letter(), Some(b"k")), "{good:?}");
            assert!(!bad.matches(&letter(), Some(b"k")), "{bad:?}");
            assert_eq!(bad.is_all(), bad.group.is_some(), "{bad:?}");
        }
        let both =
            Filter { stage: Some("judge".into()), command: Some("refund".into()), ..Filter::default() };
        assert!(!both.matches(&letter(), None), "all that is given has to agree");
        let keyed = Filter { key: Some(Vec::new()), ..Filter::default() };
        assert!(!keyed.matches(&letter(), None), "no key is not an empty key");
        assert!(Filter::default().matches(&letter(), None) && Filter::default().is_all());
    }
}
