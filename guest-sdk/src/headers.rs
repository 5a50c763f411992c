//! A header block: the bytes in which headers cross the border between host and plugin, read and written.
//!
//! One block costs the same as one string, a list of records many times that; so it is unpacked only on demand.
//! Each header is `{ u16 n, n bytes of name, u32 v, v bytes of value }`, little endian; v = 0xffffffff is null.

/// The length that stands for a null value.
const NULL: u32 = u32::MAX;

/// The headers in a block, in order. Repeated names stay repeated.
///
/// A block that is cut short or otherwise wrong ends at its last whole header; nothing panics.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Over a block's bytes.
    pub fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    /// The bytes of the block that are not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The value of the first header of this name (ASCII case does not matter). Null and absent are both none.
    pub fn value_of(&self, name: &str) -> Option<&'a [u8]> {
        self.clone().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))?.1
    }

    /// Like [`Headers::value_of`], as text; none where the value is no UTF-8.
    pub fn text_of(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.value_of(name)?).ok()
    }
}

impl<'a> Iterator for Headers<'a> {
    /// Name, value; names are bytes since Kafka does not promise more.
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_len, rest) = self.rest.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*name_len)))?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = match u32::from_le_bytes(*value_len) {
            NULL => (None, rest),
            value_len => {
                let (value, rest) = rest.split_at_checked(value_len as usize)?;
                (Some(value), rest)
            }
        };
        self.rest = rest;
        Some((name, value))
    }
}

/// Builds a header block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
}

impl HeaderBlock {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.push(name.as_bytes(), Some(value.as_ref()));
        self
    }

    /// Adds a header at the end.
    pub fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        push(&mut self.bytes, name, value);
    }

    /// The block's bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Adds a header to a block. A name or value that is too long for the block's lengths is cut (64 KiB, 4 GiB).
pub fn push(block: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    let name = &name[..name.len().min(usize::from(u16::MAX))];
    block.reserve(6 + name.len() + value.map_or(0, <[u8]>::len));
    block.extend_from_slice(&(name.len() as u16).to_le_bytes());
    block.extend_from_slice(name);
    match value {
        None => block.extend_from_slice(&NULL.to_le_bytes()),
        Some(value) => {
            let value = &value[..value.len().min(NULL as usize - 1)];
            block.extend_from_slice(&(value.len() as u32).to_le_bytes());
            block.extend_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn what_is_written_is_read() {
        let mut block = HeaderBlock::new().with("A", "1").with("a", "").with("b", [0xff]);
        block.push(b"n", None);
        let block = block.into_bytes();
        let read: Vec<_> = Headers::new(&block).collect();
        let expected: Vec<(&[u8], Option<&[u8]>)> =
            vec![(b"A", Some(b"1")), (b"a", Some(b"")), (b"b", Some(&[0xff])), (b"n", None)];
        assert_eq!(read, expected);
        assert_eq!(Headers::new(&block).text_of("a"), Some("1"));
        assert_eq!(Headers::new(&block).text_of("b"), None);
        assert_eq!(Headers::new(&block).value_of("n"), None);
    }

    #[test]
    fn a_cut_or_scrambled_block_gives_whole_headers_and_no_panic() {
        let whole = HeaderBlock::new().with("one", "1").with("two", "22").into_bytes();
        for end in 0..whole.len() {
            let read = Headers::new(&whole[..end]).count();
            assert_eq!(read, usize::from(end >= 10), "cut at {end}");
        }
        let mut random = Random::from_seed(7);
        for _ in 0..10_000 {
            let mut scrambled = whole.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(scrambled.len() as u32) as usize;
                scrambled[at] = random.next() as u8;
            }
            assert!(Headers::new(&scrambled).count() <= scrambled.len() / 6);
        }
    }
}
