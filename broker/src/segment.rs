//! A stretch of a partition's log: one file (or one buffer in memory) of batches, and where each of them stands.
use crate::batch::{HEADER_LEN, Header, checksum_holds};
use bytes::{Bytes, BytesMut};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a batch stands, and what is asked about it without reading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub base_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
    pub at: u32,
    pub len: u32,
}

pub(crate) struct Segment {
    pub base_offset: i64,
    pub entries: Vec<Entry>,
    pub size: u64,
    pub max_timestamp: i64,
    /// When it began, by the wall clock.
    pub since_ms: i64,
    /// When it was last written to, by the wall clock.
    pub written_ms: i64,
    /// The compactor has been here: no key stands in it twice, nor in an older clean one.
    pub clean: bool,
    /// It holds tombstones or markers, which the compactor removes when their time is up.
    pub passing: bool,
    store: Store,
}

enum Store {
    /// Sealed segments are opened to read, so that a broker with many of them holds few file descriptors.
    File {
        path: PathBuf,
        active: Option<OpenFile>,
        open: OpenFiles,
    },
    Memory(Vec<u8>),
}

/// Files that may stay open to be written to; with more partitions than these, the others are opened for each write.
const OPEN_FILES_MAX: usize = 256;

/// Counts the files that are open, over all partitions.
pub(crate) type OpenFiles = Rc<Cell<usize>>;

struct OpenFile {
    file: File,
    open: OpenFiles,
}

impl OpenFile {
    fn new(file: File, open: &OpenFiles) -> OpenFile {
        open.set(open.get() + 1);
        OpenFile { file, open: open.clone() }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

pub(crate) fn file_name(partition: i32, base_offset: i64) -> String {
    format!("{partition}-{base_offset:020}.log")
}

/// The partition and the base offset in a segment's file name.
pub(crate) fn parse_file_name(name: &str) -> Option<(i32, i64)> {
    let (partition, base_offset) = name.strip_suffix(".log")?.split_once('-')?;
    Some((partition.parse().ok()?, base_offset.parse().ok()?))
}

impl Segment {
    /// `directory: None` keeps it in memory.
    pub fn create(
        directory: Option<&Path>,
        partition: i32,
        base_offset: i64,
        now_ms: i64,
        open: &OpenFiles,
    ) -> io::Result<Segment> {
        let store = match directory {
            None => Store::Memory(Vec::new()),
            Some(directory) => {
                let path = directory.join(file_name(partition, base_offset));
                // what a crash may have left under this name was never acknowledged
                let file =
                    OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
                Store::File { path, active: Some(OpenFile::new(file, open)), open: open.clone() }
            }
        };
        Ok(Segment::of(store, base_offset, now_ms))
    }

    fn of(store: Store, base_offset: i64, since_ms: i64) -> Segment {
        Segment {
            base_offset,
            entries: Vec::new(),
            size: 0,
            max_timestamp: -1,
            since_ms,
            written_ms: since_ms,
            clean: false,
            passing: false,
            store,
        }
    }

    /// Reads a file's batches from its start, with their checksums if `verify`, and cuts it where they end.
    /// `visit` sees each batch: all of it where it was read, else its header.
    pub fn open(
        path: &Path,
        base_offset: i64,
        verify: bool,
        now_ms: i64,
        open: &OpenFiles,
        mut visit: impl FnMut(&Header, &[u8]),
    ) -> io::Result<Segment> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let file_len = file.metadata()?.len();
        let active = Some(OpenFile::new(file, open));
        let store = Store::File { path: path.to_path_buf(), active, open: open.clone() };
        let mut segment = Segment::of(store, base_offset, now_ms);
        let mut next_offset = base_offset;
        while let Some((header, bytes)) = segment.batch_at(file_len, verify)? {
            if header.base_offset < next_offset || header.last_offset_delta < 0 {
                break;
            }
            next_offset = header.last_offset() + 1;
            segment.note(&header);
            visit(&header, &bytes);
        }
        if segment.size < file_len {
            tracing::warn!(path = %path.display(), at = segment.size, lost = file_len - segment.size,
                "cut a segment where its whole batches end");
            if let Store::File { active: Some(file), .. } = &segment.store {
                file.file.set_len(segment.size)?;
            }
        }
        segment.close_if_many();
        let metadata = std::fs::metadata(path)?;
        segment.written_ms = metadata.modified().map_or(now_ms, ms_of);
        segment.since_ms = metadata.created().map_or(segment.written_ms, ms_of);
        Ok(segment)
    }

    /// The batch that starts where the known ones end; None where no whole batch does.
    fn batch_at(&self, file_len: u64, verify: bool) -> io::Result<Option<(Header, Bytes)>> {
        if self.size + HEADER_LEN as u64 > file_len {
            return Ok(None);
        }
        let head = self.read(self.size as u32, HEADER_LEN as u32)?;
        let Some(header) = Header::parse(&head) else { return Ok(None) };
        if self.size + header.len as u64 > file_len {
            return Ok(None);
        }
        if !verify && !header.control() {
            return Ok(Some((header, head)));
        }
        let whole = self.read(self.size as u32, header.len as u32)?;
        Ok(checksum_holds(&whole).then_some((header, whole)))
    }

    fn note(&mut self, header: &Header) {
        self.entries.push(Entry {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            at: self.size as u32,
            len: header.len as u32,
        });
        self.size += header.len as u64;
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
    }

    /// Writes a batch whose offset is given in `header`; the bytes may still carry the producer's.
    pub fn append(&mut self, header: &Header, batch: &[u8], now_ms: i64) -> io::Result<()> {
        let mut head = [0; HEADER_LEN];
        head.copy_from_slice(&batch[..HEADER_LEN]);
        head[..8].copy_from_slice(&header.base_offset.to_be_bytes());
        head[12..16].fill(0); // leader epoch: there is one leader, for ever
        match &mut self.store {
            Store::Memory(bytes) => {
                bytes.extend_from_slice(&head);
                bytes.extend_from_slice(&batch[HEADER_LEN..]);
            }
            Store::File { path, active, open } => {
                let file = opened(path, active, open)?;
                if let Err(failure) = write_at_end(file, self.size, &head, &batch[HEADER_LEN..]) {
                    file.set_len(self.size)?; // half a batch would hide the next one after a restart
                    return Err(failure);
                }
            }
        }
        self.note(header);
        self.written_ms = now_ms;
        self.close_if_many();
        Ok(())
    }

    /// Makes what was written survive a loss of power.
    pub fn sync(&self) -> io::Result<()> {
        match &self.store {
            Store::File { active: Some(file), .. } => file.file.sync_data(),
            Store::File { path, .. } => File::open(path)?.sync_data(),
            _ => Ok(()),
        }
    }

    fn close_if_many(&mut self) {
        if let Store::File { active, open, .. } = &mut self.store
            && open.get() > OPEN_FILES_MAX
        {
            *active = None;
        }
    }

    /// No more is written here.
    pub fn seal(&mut self) {
        if let Store::File { active, .. } = &mut self.store {
            *active = None;
        }
    }

    pub fn read(&self, at: u32, len: u32) -> io::Result<Bytes> {
        match &self.store {
            Store::Memory(bytes) => {
                let from = at as usize;
                let range = bytes.get(from..from + len as usize).ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(Bytes::copy_from_slice(range))
            }
            Store::File { path, active, .. } => {
                let mut out = BytesMut::zeroed(len as usize);
                match active {
                    Some(file) => file.file.read_exact_at(&mut out, u64::from(at))?,
                    None => File::open(path)?.read_exact_at(&mut out, u64::from(at))?,
                }
                Ok(out.freeze())
            }
        }
    }

    pub fn read_entry(&self, entry: &Entry) -> io::Result<Bytes> {
        self.read(entry.at, entry.len)
    }

    /// Deletes its file. Readers that have it open are not disturbed.
    pub fn remove(self) {
        if let Store::File { path, .. } = self.store
            && let Err(failure) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %failure, "a segment's file stays");
        }
    }

    /// Puts these batches in place of its own, by a rename: a crash leaves the old ones or the new ones.
    pub fn replace(&mut self, batches: &[(Header, Bytes)]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (_, batch) in batches {
            bytes.extend_from_slice(batch);
        }
        match &mut self.store {
            Store::Memory(own) => *own = bytes,
            Store::File { path, active, .. } => {
                let fresh = path.with_extension("new");
                let mut to = File::create(&fresh)?;
                to.write_all(&bytes)?;
                // when its records were written decides on retention
                to.set_modified(UNIX_EPOCH + Duration::from_millis(self.written_ms.max(0) as u64))?;
                to.sync_all()?;
                std::fs::rename(&fresh, &*path)?;
                *active = None;
            }
        }
        self.entries.clear();
        self.size = 0;
        self.max_timestamp = -1;
        for (header, _) in batches {
            self.note(header);
        }
        Ok(())
    }
}

fn ms_of(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map(|since| since.as_millis() as i64).unwrap_or_default()
}

fn opened<'a>(path: &Path, active: &'a mut Option<OpenFile>, open: &OpenFiles) -> io::Result<&'a mut File> {
    if active.is_none() {
        *active = Some(OpenFile::new(OpenOptions::new().read(true).write(true).open(path)?, open));
    }
    active.as_mut().map(|active| &mut active.file).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// One system call where the kernel takes it all, which for files it does.
fn write_at_end(file: &mut File, end: u64, head: &[u8], body: &[u8]) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(end))?;
    let written = file.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
    if written < head.len() {
        file.write_all(&head[written..])?;
        return file.write_all(body);
    }
    file.write_all(&body[written - head.len()..])
}
