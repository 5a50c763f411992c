//! Header blocks: a record's headers as one piece of memory, in the form in which guests get them.
//!
//! For each header: `u16 n`, n bytes of name, `u32 v`, v bytes of value, little endian; `v = 0xffff_ffff`
//! is a null value. One block costs one copy into a guest, a list of records one for each string.
//! Source: `guest-sdk/wit/drover.wit`.

const NULL: u32 = u32::MAX;

/// The headers of a block in order. Stops at the first malformed byte, never panics.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

/// One header. Names are bytes on the wire; those that are no UTF-8 are shown replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: &'a [u8],
    pub value: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    pub fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let (name_len, rest) = self.rest.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*name_len) as usize)?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let value_len = u32::from_le_bytes(*value_len);
        let (value, rest) = match value_len {
            NULL => (None, rest),
            n => {
                let (value, rest) = rest.split_at_checked(n as usize)?;
                (Some(value), rest)
            }
        };
        self.rest = rest;
        Some(Header { name, value })
    }
}

/// The first header of this name, letters in any case: HTTP and the ancestors compare so.
pub fn find<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    Headers::new(block).find(|it| it.name.eq_ignore_ascii_case(name.as_bytes()))?.value
}

/// The same as text, where it is UTF-8.
pub fn find_str<'a>(block: &'a [u8], name: &str) -> Option<&'a str> {
    std::str::from_utf8(find(block, name)?).ok()
}

/// The beginning of a text that is to stand in a header, at most so many bytes.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether the whole block is well formed.
pub fn is_whole(block: &[u8]) -> bool {
    let mut all = Headers::new(block);
    while all.next().is_some() {}
    all.rest.is_empty()
}

/// Appends a header. A name over 65,535 bytes is cut: Kafka clients in use send none.
pub fn push(block: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    let name = &name[..name.len().min(u16::MAX as usize)];
    block.extend((name.len() as u16).to_le_bytes());
    block.extend(name);
    match value {
        None => block.extend(NULL.to_le_bytes()),
        Some(value) => {
            block.extend((value.len() as u32).to_le_bytes());
            block.extend(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_comes_back_in_order_with_nulls_and_doubles() {
        let all: &[(&[u8], Option<&[u8]>)] =
            &[(b"a", Some(b"1")), (b"", Some(b"")), (b"a", None), (b"\xff", Some(b"\x00\xff"))];
        let mut block = Vec::new();
        for (name, value) in all {
            push(&mut block, name, *value);
        }
        let got: Vec<_> = Headers::new(&block).map(|it| (it.name, it.value)).collect();
        assert_eq!(got, all);
        assert_eq!(find(&block, "A"), Some(&b"1"[..]));
        assert_eq!(find(&block, "b"), None);
        assert!(is_whole(&block));
    }

    #[test]
    fn a_cut_block_ends_early_and_says_so() {
        let mut block = Vec::new();
        push(&mut block, b"name", Some(b"value"));
        push(&mut block, b"other", Some(b"value"));
        for cut in 1..block.len() {
            let part = &block[..cut];
            assert!(Headers::new(part).count() <= 1);
            assert_eq!(is_whole(part), cut == 15, "{cut}");
        }
    }
}
