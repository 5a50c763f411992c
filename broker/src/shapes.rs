//! Measures a request before the codec reads it.
//!
//! The codec makes room for an array by the length that stands in front of it, so that twenty bytes can ask for 200 GB
//! and end the process. Here every length is held against the bytes that are really there first.
use bytes::Buf;
use kafka_protocol::messages::ApiKey;

/// More elements than any sane request has, in all its arrays together; it bounds what decoding allocates.
const ELEMENTS_MAX: usize = 250_000;
const NEVER: i16 = i16::MAX;

/// An API, its first flexible version, and its fields from the protocol's definition: a digit is so many bytes, `u` a
/// UUID, `s` a string, `b` bytes; `*x` an array of such, `[..]` an array of structs, `{..}` a struct or null; behind a
/// colon the versions that have the field. Tagged fields are not named: they carry their size.
const SHAPES: &[(ApiKey, i16, &str)] = &[
    (ApiKey::Produce, 9, "s:3- 2 4 [s:0-12 u:13- [4 b]]"),
    (
        ApiKey::Fetch,
        12,
        "4:0-14 4 4 4:3- 1:4- 4:7- 4:7- [s:0-12 u:13- [4 4:9- 8 4:12- 8:5- 4]] [s:7-12 u:13- *4:7-]:7- s:11-",
    ),
    (ApiKey::ListOffsets, 6, "4 1:2- [s [4 4:4- 8]] 4:10-"),
    (ApiKey::Metadata, 9, "[u:10- s] 1:4- 1:8-10 1:8-"),
    (ApiKey::OffsetCommit, 8, "s 4:1- s:1- s:7- 8:2-4 [s:0-9 u:10- [4 8 4:6- s]]"),
    (ApiKey::OffsetFetch, 6, "s:0-7 [s:0-7 *4:0-7]:0-7 [s:8- s:9- 4:9- [s:8-9 u:10- *4:8-]:8-]:8- 1:7-"),
    (ApiKey::FindCoordinator, 3, "s:0-3 1:1- *s:4-"),
    (ApiKey::JoinGroup, 6, "s 4 4:1- s s:5- s [s b] s:8-"),
    (ApiKey::Heartbeat, 4, "s 4 s s:3-"),
    (ApiKey::LeaveGroup, 4, "s s:0-2 [s:3- s:3- s:5-]:3-"),
    (ApiKey::SyncGroup, 4, "s 4 s s:3- s:5- s:5- [s b]"),
    (ApiKey::DescribeGroups, 5, "*s 1:3-"),
    (ApiKey::ListGroups, 3, "*s:4- *s:5-"),
    (ApiKey::ApiVersions, 3, "s:3- s:3-"),
    (ApiKey::CreateTopics, 5, "[s 4 2 [4 *4] [s s]] 4 1:1-"),
    (ApiKey::DeleteTopics, 4, "[s:6- u:6-]:6- *s:0-5 4"),
    (ApiKey::DeleteRecords, 2, "[s [4 8]] 4"),
    (ApiKey::InitProducerId, 2, "s 4 8:3- 2:3- 1:6- 1:6-"),
    (ApiKey::OffsetForLeaderEpoch, 4, "4:3- [s [4 4:2- 4]]"),
    (ApiKey::AddPartitionsToTxn, 3, "[s:4- 8:4- 2:4- 1:4- [s *4]:4-]:4- s:0-3 8:0-3 2:0-3 [s *4]:0-3"),
    (ApiKey::AddOffsetsToTxn, 3, "s 8 2 s"),
    (ApiKey::EndTxn, 3, "s 8 2 1"),
    (ApiKey::TxnOffsetCommit, 3, "s s 8 2 4:3- s:3- s:3- [s [4 8 4:2- s]]"),
    (ApiKey::DescribeAcls, 2, "1 s 1:1- s s 1 1"),
    (ApiKey::CreateAcls, 2, "[1 s 1:1- s s 1 1]"),
    (ApiKey::DeleteAcls, 2, "[1 s 1:1- s s 1 1]"),
    (ApiKey::DescribeConfigs, 4, "[1 s *s] 1:1- 1:3-"),
    (ApiKey::AlterConfigs, 2, "[1 s [s s]] 1"),
    (ApiKey::DescribeLogDirs, 2, "[s *4]"),
    (ApiKey::CreatePartitions, 2, "[s 4 [*4]] 4 1"),
    (ApiKey::DeleteGroups, 2, "*s"),
    (ApiKey::ElectLeaders, 2, "1:1- [s *4] 4"),
    (ApiKey::IncrementalAlterConfigs, 1, "[1 s [s 1 s]] 1"),
    (ApiKey::ListPartitionReassignments, 0, "4 [s *4]"),
    (ApiKey::OffsetDelete, NEVER, "s [s [4]]"),
    (ApiKey::DescribeClientQuotas, 1, "[s 1 s] 1"),
    (ApiKey::DescribeCluster, 0, "1 1:1- 1:2-"),
    (ApiKey::DescribeProducers, 0, "[s *4]"),
    (ApiKey::DescribeTransactions, 0, "*s"),
    (ApiKey::ListTransactions, 0, "*s *8 8:1- s:2-"),
    (ApiKey::DescribeTopicPartitions, 0, "[s] 4 {s 4}"),
];

/// Why a request is not one.
pub(crate) type Misfit = &'static str;

/// Walks over a frame (its header included) without keeping anything.
pub(crate) fn measure(api: ApiKey, version: i16, frame: &[u8]) -> Result<(), Misfit> {
    let Some((_, first_flexible, shape)) = SHAPES.iter().find(|(of, _, _)| *of == api) else {
        return Err("no shape is known");
    };
    let mut walk = Walk { left: frame, version, flexible: false, elements: ELEMENTS_MAX };
    walk.skip(8)?; // API, version, correlation id
    walk.sized(2)?; // the client id is a plain string in every header
    walk.flexible = version >= *first_flexible;
    walk.tags()?;
    walk.fields(shape)?;
    // Bytes behind the fields are passed over, as Apache Kafka does: librdkafka 2.12 sends some with Metadata.
    walk.tags()
}

struct Walk<'a> {
    left: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl Walk<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), Misfit> {
        if bytes > self.left.len() {
            return Err("a field goes beyond the frame");
        }
        self.left.advance(bytes);
        Ok(())
    }

    fn varint(&mut self) -> Result<usize, Misfit> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.left.try_get_u8().map_err(|_| "a length goes beyond the frame")?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a length has too many bytes")
    }

    /// A length of so many bytes (or a compact one); null is 0.
    fn length(&mut self, bytes: usize) -> Result<usize, Misfit> {
        if self.flexible {
            return Ok(self.varint()?.saturating_sub(1));
        }
        if bytes > self.left.len() {
            return Err("a length goes beyond the frame");
        }
        let length = self.left.get_int(bytes);
        if length < -1 { Err("a length is negative") } else { Ok(length.max(0) as usize) }
    }

    fn sized(&mut self, bytes: usize) -> Result<(), Misfit> {
        let length = self.length(bytes)?;
        self.skip(length)
    }

    fn tags(&mut self) -> Result<(), Misfit> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.skip(size)?;
        }
        Ok(())
    }

    fn fields(&mut self, shape: &str) -> Result<(), Misfit> {
        let mut rest = shape;
        while let Some((field, versions, after)) = next_field(rest) {
            rest = after;
            if versions.contains(&self.version) {
                self.field(field)?;
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &str) -> Result<(), Misfit> {
        let inner = field.get(1..field.len() - 1).unwrap_or_default();
        match field.as_bytes()[0] {
            digit @ b'1'..=b'8' => self.skip(usize::from(digit - b'0')),
            b'u' => self.skip(16),
            b's' => self.sized(2),
            b'b' => self.sized(4),
            b'*' => self.each(|walk| walk.field(&field[1..])),
            b'[' => self.each(|walk| {
                walk.fields(inner)?;
                walk.tags()
            }),
            // the only nullable structs there are say so in one byte
            _ => {
                let is_null = self.left.try_get_i8().map_err(|_| "a field goes beyond the frame")? < 0;
                if is_null {
                    return Ok(());
                }
                self.fields(inner)?;
                self.tags()
            }
        }
    }

    fn each(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), Misfit>) -> Result<(), Misfit> {
        let count = self.length(4)?;
        // every element has a byte at least
        if count > self.left.len() || count > self.elements {
            return Err("an array is longer than the frame");
        }
        self.elements -= count;
        (0..count).try_for_each(|_| element(self))
    }
}

/// The first field of a shape, the versions that have it, and what follows.
fn next_field(shape: &str) -> Option<(&str, std::ops::RangeInclusive<i16>, &str)> {
    let shape = shape.trim_start();
    let mut depth = 0;
    let end = shape.char_indices().find(|(_, letter)| {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        depth == 0 && *letter == ' '
    });
    let (whole, after) = shape.split_at(end.map_or(shape.len(), |(at, _)| at));
    if whole.is_empty() {
        return None;
    }
    // versions stand behind the last bracket
    let colon = whole.rfind(':').filter(|at| !whole[*at..].contains([']', '}']));
    let Some(colon) = colon else { return Some((whole, 0..=i16::MAX, after)) };
    let (first, last) = whole[colon + 1..].split_once('-')?;
    Some((&whole[..colon], first.parse().ok()?..=last.parse().unwrap_or(i16::MAX), after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::APIS;

    #[test]
    fn every_offered_api_has_a_shape() {
        for api in APIS {
            assert!(SHAPES.iter().any(|(of, _, _)| *of == api.key), "{:?}", api.key);
        }
    }

    #[test]
    fn a_length_that_lies_is_found() {
        // Metadata version 1: header with an empty client id, then an array of 2^31 - 1 topics
        let frame = [0, 3, 0, 1, 0, 0, 0, 7, 0, 0, 0x7f, 0xff, 0xff, 0xff];
        assert_eq!(measure(ApiKey::Metadata, 1, &frame), Err("an array is longer than the frame"));
        let frame = [0, 3, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 1, b't'];
        assert_eq!(measure(ApiKey::Metadata, 1, &frame), Ok(()));
        assert!(measure(ApiKey::Metadata, 1, &frame[..frame.len() - 1]).is_err());
    }
}
