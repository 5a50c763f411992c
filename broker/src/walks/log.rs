//! Appends, reads, deletions, compactions and restarts in an order that a seed decides, against a plain list.
use crate::batch::{HEADER_LEN, Header, Records, build, put_record};
use crate::log::{Log, Place};
use crate::segment::parse_file_name;
use crate::settings::{Overrides, Settings};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn batch(records: &[(u8, u8)]) -> (Header, Bytes) {
    let mut body = BytesMut::new();
    for (nth, (key, value)) in records.iter().enumerate() {
        let value = (*value != 0).then_some(std::slice::from_ref(value));
        put_record(&mut body, nth as i32, 0, Some(std::slice::from_ref(key)), value);
    }
    let count = records.len() as i32;
    let header = Header {
        base_offset: 0,
        len: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: 1000,
        max_timestamp: 1000,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        count,
    };
    let bytes = build(header, &body).freeze();
    (Header::parse(&bytes).unwrap(), bytes)
}

/// Everything that can be read: offset to key and value (0 stands for a tombstone).
fn contents(log: &Log) -> BTreeMap<i64, (u8, u8)> {
    let (mut out, mut offset) = (BTreeMap::new(), log.start);
    while offset < log.end {
        let mut slice = log.read(offset, log.end, 200, true).unwrap();
        if slice.records.is_empty() {
            break;
        }
        assert!(slice.up_to > offset, "a reader gets on");
        while !slice.records.is_empty() {
            let header = Header::parse(&slice.records).unwrap();
            let whole = slice.records.split_to(header.len);
            assert!(crate::batch::checksum_holds(&whole));
            for record in Records::new(&whole[HEADER_LEN..]) {
                let record = record.unwrap();
                let at = header.base_offset + i64::from(record.offset_delta);
                if at >= log.start {
                    out.insert(at, (record.key.unwrap()[0], record.value.map_or(0, |value| value[0])));
                }
            }
        }
        offset = slice.up_to;
    }
    out
}

/// What a reader of a compacted topic may rely on: the last value of each key.
fn latest(contents: &BTreeMap<i64, (u8, u8)>) -> BTreeMap<u8, (i64, u8)> {
    let mut last: BTreeMap<u8, (i64, u8)> = BTreeMap::new();
    last.extend(contents.iter().map(|(offset, (key, value))| (*key, (*offset, *value))));
    last.retain(|_, (_, value)| *value != 0);
    last
}

fn reopened(place: &Place, now_ms: i64) -> Log {
    let files = std::fs::read_dir(place.directory.as_ref().unwrap()).unwrap().flatten();
    let files =
        files.filter_map(|entry| Some((parse_file_name(entry.file_name().to_str()?)?.1, entry.path())));
    Log::open(place, 0, files.collect(), now_ms).unwrap()
}

fn walk(seed: u64, compact: bool, directory: Option<PathBuf>) {
    let settings =
        [("segment.bytes", "300"), ("delete.retention.ms", "0"), ("min.cleanable.dirty.ratio", "0")];
    let settings: Overrides =
        settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let settings = Settings::new(&settings).unwrap();
    let place = Place { directory, fsync: false, open_files: Default::default() };
    let (mut log, mut model, mut start, mut end) = (Log::new(&place, 0), BTreeMap::new(), 0, 0);
    let mut random = seed;
    let mut below = |most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) % most
    };
    for step in 0..120 {
        let now = crate::state::now_ms();
        match below(12) {
            0 if place.directory.is_some() => {
                log = reopened(&place, now);
                log.truncate_before(start); // the journal's part
            }
            1 => {
                start = start.max(end - below(20) as i64);
                log.truncate_before(start);
                model.retain(|offset, _| *offset >= start);
            }
            2 if compact => log.compact(&settings, now + 1).unwrap(),
            3 => log.roll(now).unwrap(),
            _ => {
                let records: Vec<(u8, u8)> =
                    (0..=below(4)).map(|_| (below(6) as u8, below(4) as u8)).collect();
                let (header, bytes) = batch(&records);
                assert_eq!(log.append(&header, &bytes, &settings, now).unwrap().base_offset, end);
                for record in records {
                    model.insert(end, record);
                    end += 1;
                }
            }
        }
        assert_eq!((log.start, log.end), (start, end), "seed {seed} step {step}");
        let found = contents(&log);
        if compact {
            assert_eq!(latest(&found), latest(&model), "seed {seed} step {step}");
        } else {
            assert_eq!(found, model, "seed {seed} step {step}");
        }
    }
}

#[test]
fn a_log_is_a_list() {
    for seed in 1..=60 {
        let directory = std::env::temp_dir().join(format!("drover-log-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&directory).unwrap();
        for compact in [false, true] {
            walk(seed * 0x9e37_79b9, compact, None);
        }
        if seed <= 15 {
            walk(seed * 0x51_7c_c1, seed % 2 == 0, Some(directory.clone())); // the disk takes its time
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
}
