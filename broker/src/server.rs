//! The door: connections are accepted, frames are read, answers are written in the order of the requests.
//!
//! Everything runs on the broker's one thread, so the state needs no lock; no borrow of it outlives an `.await`.
use crate::Config;
use crate::cluster::api_versions;
use crate::dispatch::{Call, Outcome, offered};
use crate::housekeeping;
use crate::state::State;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// API key, version, correlation id.
const REQUEST_MIN: usize = 8;
/// Room that is made for a frame before its bytes are there, while there is some: a length alone must not cost memory.
const READ_AHEAD: usize = 1 << 20;
/// The same where the others have taken all the room: small requests still get through, however many clients ask.
const READ_LITTLE: usize = 64 << 10;
/// A buffer that a large answer has grown is not kept.
const KEPT_BUFFER: usize = 4 << 20;
/// After an accept that failed (mostly: no file descriptors) there is a pause, or the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// File descriptors that are not for connections: segments that are written to and read, the journal, the host's.
const KEPT_DESCRIPTORS: usize = 400;

/// How many files this process may open; a great many where nobody says.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = |line: &str| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok();
    limits.lines().find_map(soft).unwrap_or(usize::MAX)
}

/// Who we are, as clients are told.
pub(crate) struct Node {
    pub host: String,
    pub port: u16,
    pub listening: SocketAddr,
    pub cluster_id: String,
}

/// What all connections share.
pub(crate) struct Shared {
    pub config: Config,
    pub node: Node,
    state: RefCell<State>,
    stopping: Cell<bool>,
    held: Rc<Cell<usize>>,
}

/// Bytes that a connection holds, given back when it is dropped: when the answer is written, however that ends.
struct Held {
    all: Rc<Cell<usize>>,
    own: usize,
}

impl Held {
    fn add(&mut self, bytes: usize) {
        self.own += bytes;
        self.all.set(self.all.get() + bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.own);
    }
}

impl Shared {
    pub fn new(config: Config, node: Node, state: State) -> Shared {
        let (state, held) = (RefCell::new(state), Rc::default());
        Shared { config, node, state, stopping: Cell::new(false), held }
    }
    pub fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }
    /// How much more requests and answers may take.
    pub fn room(&self) -> usize {
        self.config.limits.held_bytes.saturating_sub(self.held.get())
    }
    fn hold(&self) -> Held {
        Held { all: self.held.clone(), own: 0 }
    }
    pub fn stopping(&self) -> bool {
        self.stopping.get()
    }
}

/// Serves until `stop` changes; then every connection is closed.
pub(crate) async fn serve(shared: Rc<Shared>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let room = shared.config.limits.connections.min(descriptors().saturating_sub(KEPT_DESCRIPTORS));
    let mut chores = tokio::task::spawn_local(housekeeping::run(shared.clone()));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if shared.config.faults.refuses() || connections.len() >= room {
                        tracing::debug!(%peer, "refused a connection");
                        continue;
                    }
                    connections.spawn_local(connection(shared.clone(), stream, peer));
                }
                Err(failure) => {
                    tracing::warn!(%failure, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(failure) = ended && failure.is_panic() {
                    tracing::error!(%failure, "a request broke its connection's task; the others go on");
                }
            }
            ended = &mut chores => {
                // the chores end by a panic only
                tracing::error!(?ended, "the housekeeping broke and is started again");
                chores = tokio::task::spawn_local(housekeeping::run(shared.clone()));
            }
            _ = stop.changed() => break,
        }
    }
    shared.stopping.set(true);
    chores.abort();
    drop(chores.await); // its end is the cancellation just asked for
    connections.shutdown().await;
}

async fn connection(shared: Rc<Shared>, mut stream: TcpStream, peer: SocketAddr) {
    drop(stream.set_nodelay(true)); // a socket that refuses is as good as one that is slow
    if let Err(failure) = converse(&shared, &mut stream, peer).await {
        let usual = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        if usual.contains(&failure.kind()) {
            tracing::trace!(%peer, %failure, "a connection ended");
        } else {
            tracing::warn!(%peer, %failure, "closed a connection");
        }
    }
}

fn bad(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// One request after the other, until the client goes or breaks the protocol.
async fn converse(shared: &Rc<Shared>, stream: &mut TcpStream, peer: SocketAddr) -> io::Result<()> {
    let limits = &shared.config.limits;
    let mut out = BytesMut::new();
    let mut patience = limits.frame_time.min(limits.idle);
    loop {
        let Ok(len) = timeout(patience, stream.read_u32()).await else { return Ok(()) };
        patience = limits.idle;
        let len = len? as usize;
        if !(REQUEST_MIN..=limits.frame_bytes).contains(&len) {
            return Err(bad(format!("a frame of {len} bytes")));
        }
        let mut held = shared.hold();
        let frame = timeout(limits.frame_time, read_frame(shared, stream, len, &mut held));
        let frame = frame.await.map_err(|_| bad("half a frame"))??;
        out.clear();
        out.put_i32(0);
        let outcome = tokio::select! {
            biased;
            outcome = answer(shared, frame, peer, &mut out) => outcome?,
            () = hung_up(stream) => return Ok(()),
        };
        match outcome {
            Outcome::Silent => continue,
            Outcome::Hangup => return Err(bad("a produce request without acknowledgement failed")),
            Outcome::Answered => {}
        }
        held.add(out.len());
        let len = out.len() as u32 - 4;
        out[..4].copy_from_slice(&len.to_be_bytes());
        timeout(limits.frame_time, stream.write_all(&out))
            .await
            .map_err(|_| bad("an answer is not read"))??;
        if out.capacity() > KEPT_BUFFER {
            out = BytesMut::new();
        }
    }
}

async fn read_frame(
    shared: &Shared,
    stream: &mut TcpStream,
    len: usize,
    held: &mut Held,
) -> io::Result<Bytes> {
    let first = len.min(READ_AHEAD);
    let first = if first <= shared.room() { first } else { first.min(READ_LITTLE) };
    let mut frame = BytesMut::with_capacity(first);
    held.add(frame.capacity());
    while frame.len() < len {
        let left = len - frame.len();
        if frame.capacity() == frame.len() {
            if shared.room() < frame.len() {
                return Err(bad("the clients' requests and answers take all the room there is"));
            }
            let before = frame.capacity();
            frame.reserve(left.min(READ_AHEAD));
            held.add(frame.capacity().saturating_sub(before));
        }
        if stream.take(left as u64).read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame.freeze())
}

/// Comes back when the client has closed its side while it waits for an answer, so that nobody waits for nobody.
async fn hung_up(stream: &TcpStream) {
    let mut next = [0; 1];
    match stream.peek(&mut next).await {
        Ok(0) | Err(_) => {}
        // the next request is there already: it does not want to go
        Ok(_) => std::future::pending().await,
    }
}

/// Understands one frame, carries it out and writes the answer.
async fn answer(
    shared: &Rc<Shared>,
    mut frame: Bytes,
    peer: SocketAddr,
    out: &mut BytesMut,
) -> io::Result<Outcome> {
    let mut start = &frame[..REQUEST_MIN];
    let (key, version, correlation_id) = (start.get_i16(), start.get_i16(), start.get_i32());
    let Some(api) = offered(key, version) else {
        if key == ApiKey::ApiVersions as i16 {
            // a newer client: it is told what we speak, in the oldest version
            out.put_i32(correlation_id);
            api_versions(ResponseError::UnsupportedVersion.code())
                .encode(out, 0)
                .map_err(|failure| bad(failure.to_string()))?;
            return Ok(Outcome::Answered);
        }
        return crate::refuse::refuse(key, version, correlation_id, out).map_err(bad);
    };
    crate::shapes::measure(api.key, version, &frame)
        .map_err(|why| bad(format!("{:?} version {version}: {why}", api.key)))?;
    let header = RequestHeader::decode(&mut frame, api.key.request_header_version(version))
        .map_err(|failure| bad(failure.to_string()))?;
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(out, api.key.response_header_version(version))
        .map_err(|failure| bad(failure.to_string()))?;
    let faults = &shared.config.faults;
    let delay = faults.delay_of(api.key);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let body = frame;
    let call = Call {
        api: api.key,
        version,
        client_id: header.client_id.map(|id| id.to_string()).unwrap_or_default(),
        peer,
        fault: faults.meet(api.key, |topic| contains(&body, topic.as_bytes())),
    };
    let outcome = shared.dispatch(&call, body.clone(), out).await;
    let outcome = outcome.map_err(|why| bad(format!("{:?} version {version}: {why}", api.key)))?;
    if faults.drops(api.key) {
        return Err(bad("a fault was asked for"));
    }
    Ok(outcome)
}

/// Whether a request names a topic. By its bytes, as names stand in it as they are; only faults ask.
fn contains(body: &[u8], name: &[u8]) -> bool {
    !name.is_empty() && body.windows(name.len()).any(|window| window == name)
}
