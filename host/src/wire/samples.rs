//! Records for the tests of this folder.

use bytes::Bytes;

use crate::domain::headers;
use crate::domain::record::Record;

/// When the samples were produced, in ms since 1970.
pub const T0: u64 = 1_700_000_000_000;

/// `orders[3]@42`.
pub fn record(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, &str)]) -> Record {
    Record::new(("orders".into(), 3, 42), Some(T0 as i64), key, value, &block(headers))
}

/// A record that is nothing but a value.
pub fn value(value: &str) -> Record {
    record(None, Some(value.as_bytes()), &[])
}

pub fn block(headers: &[(&str, &str)]) -> Bytes {
    let mut block = Vec::new();
    for (name, value) in headers {
        headers::push(&mut block, name.as_bytes(), Some(value.as_bytes()));
    }
    block.into()
}

/// A block as text, a header in each item.
pub fn shown(block: &[u8]) -> Vec<String> {
    assert!(headers::is_whole(block));
    let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    headers::Headers::new(block)
        .map(|it| format!("{}: {}", text(it.name), it.value.map_or("(null)".to_owned(), text)))
        .collect()
}

/// Pseudo-random numbers below the one asked for, always the same for a seed.
pub fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    }
}
