//! Where configuration is read from: the disk, or memory for tests and `drover dev`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What loading needs to see of the world.
pub trait Files {
    /// At most `most` bytes and one more, so that the caller can tell a longer file.
    fn read(&self, path: &Path, most: usize) -> io::Result<Vec<u8>>;
    /// Paths of the files in a folder, in order.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    fn is_file(&self, path: &Path) -> bool;
    fn variable(&self, name: &str) -> Option<String>;
}

pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
        use std::io::Read;
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let paths: io::Result<Vec<_>> = std::fs::read_dir(folder)?.map(|it| it.map(|it| it.path())).collect();
        let mut paths = paths?;
        // A link that leads nowhere is an app that is missing: whoever reads it says so.
        paths.retain(|it| it.is_file() || (it.is_symlink() && !it.exists()));
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

    /// An app whose link leads nowhere is not left out silently.
    #[cfg(unix)]
    #[test]
    fn links_that_lead_nowhere_are_listed() {
        let folder = std::env::temp_dir().join(format!("drover-files-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(folder.join("folder.yaml")).unwrap();
        std::fs::write(folder.join("b.yaml"), "").unwrap();
        for (to, name) in [("gone", "a.yaml"), ("b.yaml", "c.yaml"), ("d.yaml", "d.yaml")] {
            std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
        }
        let listed = Disk.list(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(listed, ["a.yaml", "b.yaml", "c.yaml", "d.yaml"].map(|it| folder.join(it)));
    }
}
