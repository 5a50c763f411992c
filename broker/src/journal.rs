//! The append-only journal of everything that is not a record: topics, committed offsets, producers, transactions.
//!
//! An entry is its length, the CRC-32C of its bytes, and its bytes (JSON, by the owner of the journal).
use bytes::{Buf, BufMut};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const FRAME_LEN: usize = 8;
/// A length beyond this is damage, not an entry.
const ENTRY_MAX: usize = 64 << 20;
/// The journal is rewritten when it has grown to this size and to this multiple of what it was.
const REWRITE_FROM: u64 = 4 << 20;
const REWRITE_FACTOR: u64 = 4;

/// In memory (no file) it forgets everything, as it should.
pub(crate) struct Journal {
    file: Option<(File, PathBuf)>,
    fsync: bool,
    size: u64,
    size_when_rewritten: u64,
}

impl Journal {
    pub fn in_memory() -> Journal {
        Journal { file: None, fsync: false, size: 0, size_when_rewritten: 0 }
    }

    /// Opens the file and gives back its entries. A torn tail is cut; damage before it is set aside and skipped.
    pub fn open(path: &Path, fsync: bool) -> io::Result<(Journal, Vec<Vec<u8>>)> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(failure) if failure.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(failure) => return Err(failure),
        };
        let (entries, end) = scan(path, &bytes);
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        if end < bytes.len() {
            tracing::warn!(path = %path.display(), at = end, lost = bytes.len() - end, "cut the torn end of the journal");
            file.set_len(end as u64)?;
        }
        let size = end as u64;
        let journal =
            Journal { file: Some((file, path.to_path_buf())), fsync, size, size_when_rewritten: size };
        Ok((journal, entries))
    }

    pub fn add(&mut self, entry: &[u8]) -> io::Result<()> {
        let Some((file, _)) = &mut self.file else { return Ok(()) };
        let mut framed = Vec::with_capacity(entry.len() + FRAME_LEN);
        frame(entry, &mut framed);
        if let Err(failure) = file.write_all(&framed) {
            file.set_len(self.size)?; // half an entry would hide what comes after it
            return Err(failure);
        }
        if self.fsync {
            file.sync_data()?;
        }
        self.size += framed.len() as u64;
        Ok(())
    }

    pub fn wants_rewrite(&self) -> bool {
        self.size >= REWRITE_FROM && self.size >= self.size_when_rewritten * REWRITE_FACTOR
    }

    /// Replaces the journal by these entries; a crash leaves the old one or the new one.
    pub fn rewrite(&mut self, entries: &[Vec<u8>]) -> io::Result<()> {
        let Some((file, path)) = &mut self.file else { return Ok(()) };
        let fresh = path.with_extension("new");
        let mut framed = Vec::new();
        for entry in entries {
            frame(entry, &mut framed);
        }
        let mut to = File::create(&fresh)?;
        to.write_all(&framed)?;
        to.sync_all()?;
        std::fs::rename(&fresh, &*path)?;
        *file = OpenOptions::new().append(true).read(true).open(&*path)?;
        self.size = framed.len() as u64;
        self.size_when_rewritten = self.size;
        Ok(())
    }
}

fn frame(entry: &[u8], out: &mut Vec<u8>) {
    out.put_u32(entry.len() as u32);
    out.put_u32(crc32c::crc32c(entry));
    out.put_slice(entry);
}

/// The entry that starts at `at`, if one does.
fn entry_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let mut from = bytes.get(at..)?;
    if from.len() < FRAME_LEN {
        return None;
    }
    let len = from.get_u32() as usize;
    let sum = from.get_u32();
    if len == 0 || len > ENTRY_MAX || len > from.len() {
        return None;
    }
    let entry = &from[..len];
    (crc32c::crc32c(entry) == sum).then_some(entry)
}

/// All whole entries, and where the last of them ends.
fn scan(path: &Path, bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let (mut entries, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if let Some(entry) = entry_at(bytes, at) {
            entries.push(entry.to_vec());
            at += FRAME_LEN + entry.len();
            continue;
        }
        let Some(next) = (at + 1..bytes.len()).find(|&from| entry_at(bytes, from).is_some()) else { break };
        let aside = path.with_extension(format!("broken-{at}"));
        let kept = std::fs::write(&aside, &bytes[at..next]).is_ok();
        tracing::error!(path = %path.display(), from = at, to = next, aside = %aside.display(), kept,
            "a broken journal entry is set aside; what it said is lost, the rest is used");
        at = next;
    }
    (entries, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &Path, entries: &[&[u8]]) {
        let (mut journal, _) = Journal::open(path, false).unwrap();
        for entry in entries {
            journal.add(entry).unwrap();
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("drover-journal-{name}-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        path.join("meta.log")
    }

    #[test]
    fn a_torn_tail_is_cut_and_written_over() {
        let path = scratch("torn");
        written(&path, &[b"one", b"two"]);
        let whole = std::fs::read(&path).unwrap();
        for cut in 12..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            written(&path, &[b"three"]);
            let (_, entries) = Journal::open(&path, false).unwrap();
            assert_eq!(entries, [b"one".to_vec(), b"three".to_vec()], "cut at {cut}");
        }
    }

    #[test]
    fn a_broken_entry_does_not_hide_the_next() {
        let path = scratch("broken");
        written(&path, &[b"one", b"two", b"three"]);
        let whole = std::fs::read(&path).unwrap();
        for at in 11..22 {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            let (_, entries) = Journal::open(&path, false).unwrap();
            assert_eq!(entries, [b"one".to_vec(), b"three".to_vec()], "flipped at {at}");
        }
    }

    #[test]
    fn a_rewrite_keeps_what_it_is_given() {
        let path = scratch("rewrite");
        written(&path, &[b"one", b"two"]);
        let (mut journal, _) = Journal::open(&path, true).unwrap();
        journal.rewrite(&[b"both".to_vec()]).unwrap();
        journal.add(b"more").unwrap();
        let (_, entries) = Journal::open(&path, false).unwrap();
        assert_eq!(entries, [b"both".to_vec(), b"more".to_vec()]);
    }
}
