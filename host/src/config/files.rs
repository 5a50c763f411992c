//! Where configuration is read from: the disk, or memory for tests and `drover dev`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What loading needs to see of the world.
pub trait Files {
    /// At most `most` bytes and one more, so that the caller can tell a longer file.
    fn read(&self, path: &Path, most: usize) -> io::Result<Vec<u8>>;
    /// What stands in a folder, in order; also what is no file: a link that leads nowhere, or the folder that a
    /// container's mount made in place of a file, is an app that is missing, and whoever reads it says so.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    fn is_file(&self, path: &Path) -> bool;
    fn variable(&self, name: &str) -> Option<String>;
}

pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
        use std::io::Read;
        // A pipe without a writer would be waited for without an end.
        let kind = std::fs::metadata(path)?;
        if !kind.is_file() && !kind.is_dir() {
            return Err(io::Error::other("it is a device or a pipe, not a regular file"));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let paths: io::Result<Vec<_>> = std::fs::read_dir(folder)?.map(|it| it.map(|it| it.path())).collect();
        let mut paths = paths?;
        paths.sort();
        Ok(paths)
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// Files by their paths, and environment variables. A folder is there when a file of it is.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    pub variables: BTreeMap<String, String>,
}

impl Memory {
    pub fn with(mut self, path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }
}

impl Files for Memory {
    fn read(&self, path: &Path, _: usize) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let paths: Vec<_> = self.files.keys().filter(|it| it.parent() == Some(folder)).cloned().collect();
        if paths.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(paths) }
    }

    fn is_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An app that is no file is not left out silently, and a pipe is not waited for.
    #[cfg(unix)]
    #[test]
    fn what_is_no_file() {
        let folder = std::env::temp_dir().join(format!("drover-files-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(folder.join("d.yaml")).unwrap();
        std::fs::write(folder.join("b.yaml"), "text").unwrap();
        for (to, name) in [("gone", "a.yaml"), ("b.yaml", "c.yaml"), ("e.yaml", "e.yaml")] {
            std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
        }
        let made = std::process::Command::new("mkfifo").arg(folder.join("f.yaml")).status().unwrap();
        assert!(made.success());
        let listed = Disk.list(&folder).unwrap();
        let read: Vec<_> = listed.iter().map(|it| Disk.read(it, 9).ok()).collect();
        std::fs::remove_dir_all(&folder).unwrap();
        let names = ["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml", "f.yaml"];
        assert_eq!(listed, names.map(|it| folder.join(it)));
        let text = Some(b"text".to_vec());
        assert_eq!(read, [None, text.clone(), text, None, None, None]);
    }
}
