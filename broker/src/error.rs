//! The two kinds of failure: a broker that cannot start, and a request that is refused.
use kafka_protocol::ResponseError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why a broker did not start. Every variant names what it is about.
#[derive(Debug)]
pub enum Error {
    /// The listening address is taken or not ours.
    Listen { address: SocketAddr, source: io::Error },
    /// Another broker has the data directory open.
    Locked { directory: PathBuf },
    /// The data directory cannot be read or written.
    Data { path: PathBuf, source: io::Error },
    /// The operating system gave us no thread or no runtime.
    Thread { source: io::Error },
}

impl Error {
    pub(crate) fn data(path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Data { path: path.to_path_buf(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Listen { address, source } => write!(f, "the broker cannot listen on {address}: {source}"),
            Error::Locked { directory } => {
                write!(f, "another broker has the data directory {} open", directory.display())
            }
            Error::Data { path, source } => write!(f, "the broker's data in {}: {source}", path.display()),
            Error::Thread { source } => write!(f, "the broker got no thread of its own: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { source, .. } | Error::Data { source, .. } | Error::Thread { source } => {
                Some(source)
            }
            Error::Locked { .. } => None,
        }
    }
}

/// A request, or a part of one, that is answered with a protocol error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub error: ResponseError,
    /// For the APIs that carry a text next to the code.
    pub message: Option<String>,
    /// Where single records are to blame: which ones of their batch.
    pub records: Vec<i32>,
}

pub(crate) type Answer<T> = Result<T, Refusal>;

impl Refusal {
    pub fn new(error: ResponseError, message: impl Into<String>) -> Refusal {
        Refusal { error, message: Some(message.into()), records: Vec::new() }
    }
}

impl From<ResponseError> for Refusal {
    fn from(error: ResponseError) -> Refusal {
        Refusal { error, message: None, records: Vec::new() }
    }
}

/// A disk that fails is the client's KAFKA_STORAGE_ERROR (it may retry) and our log line.
impl From<io::Error> for Refusal {
    fn from(failure: io::Error) -> Refusal {
        tracing::error!(%failure, "the broker cannot use its data directory");
        Refusal::new(ResponseError::KafkaStorageError, failure.to_string())
    }
}

/// The code of an outcome as it stands in answers; 0 is success.
pub(crate) fn code<T>(outcome: &Answer<T>) -> i16 {
    match outcome {
        Ok(_) => 0,
        Err(refusal) => refusal.error.code(),
    }
}
