//! A loopback HTTP/1.1 service that writes down what it gets and answers as it is told, badly too: it is by hand,
//! on plain sockets, so that it can break every rule.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::wait::eventually_is;

/// What came, in order of arrival.
#[derive(Clone, Debug)]
pub struct Request {
    /// Place in the order of arrival, from 0.
    pub number: usize,
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
    }

    /// Of a header that has to be there.
    #[track_caller]
    pub fn said(&self, name: &str) -> String {
        let found = self.header(name);
        found.unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers)).to_owned()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `group/topic/partition/offset`, stable over attempts and hosts.
    pub fn id(&self) -> String {
        self.said("idempotency-key")
    }

    pub fn attempt(&self) -> u32 {
        self.said("drover-attempt").parse().unwrap()
    }
}

/// What a request is answered with.
#[derive(Clone)]
pub enum Answer {
    Reply {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// When the gate is opened.
    Held(Gate, Box<Answer>),
    /// Never.
    Hang,
    /// The connection is closed without an answer.
    Close,
    /// The connection is reset without an answer.
    Reset,
    /// Half of an answer, then the connection is closed.
    Half,
    /// No HTTP at all.
    Garbage,
    /// A head at once; a body of which never more comes than its first byte.
    Stuck,
    /// A head without length: all that comes until the connection is closed.
    UntilClosed(Vec<u8>),
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::body(status, "")
    }

    pub fn body(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Reply { status, headers: Vec::new(), body: body.into() }
    }

    pub fn ok() -> Self {
        Self::status(200)
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn held(gate: &Gate) -> Self {
        Self::Held(gate.clone(), Box::new(Self::ok()))
    }
}

/// Holds answers back until it is opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }
}

/// When a request came, and when it was answered or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Came(usize),
    Ended(usize),
}

#[derive(Default)]
struct Book {
    requests: Vec<Request>,
    events: Vec<Event>,
    open: usize,
    most_open: usize,
}

struct Inner {
    script: Box<dyn Fn(&Request) -> Answer + Send + Sync>,
    book: Mutex<Book>,
    connections: AtomicUsize,
    stopping: AtomicBool,
}

/// Stops listening when it is dropped.
pub struct Service {
    inner: Arc<Inner>,
    address: SocketAddr,
}

impl Service {
    /// `script` is asked for each request, by the thread of its connection.
    pub fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Port::take().serve(script)
    }

    /// Answers 200 to all.
    pub fn ok() -> Self {
        Self::start(|_| Answer::ok())
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// YAML of an app with this server and these keys; its command is `pay` where they name none.
    pub fn app(&self, keys: &str) -> String {
        app_of(&[self.address()], keys)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.inner.book.lock().unwrap().requests.clone()
    }

    pub fn count(&self) -> usize {
        self.inner.book.lock().unwrap().requests.len()
    }

    pub fn events(&self) -> Vec<Event> {
        self.inner.book.lock().unwrap().events.clone()
    }

    /// Requests that came and were not answered yet.
    pub fn open(&self) -> usize {
        self.inner.book.lock().unwrap().open
    }

    /// The most there ever were at once.
    pub fn most_open(&self) -> usize {
        self.inner.book.lock().unwrap().most_open
    }

    pub fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }

    /// Waits until so many requests have come, at least; gives them all.
    #[track_caller]
    pub fn got(&self, count: usize) -> Vec<Request> {
        eventually_is("requests came", &count, || self.count().min(count));
        self.requests()
    }

    /// Waits until so many different messages have come, at least; gives all requests.
    #[track_caller]
    pub fn got_messages(&self, count: usize) -> Vec<Request> {
        let different = || self.requests().iter().map(Request::id).collect::<HashSet<_>>().len();
        eventually_is("different messages at the service", &count, || different().min(count));
        self.requests()
    }
}

/// YAML of an app with these servers and keys; its command is `pay` where they name none.
pub fn app_of(servers: &[String], keys: &str) -> String {
    let commands = if keys.contains("commands:") { "" } else { "commands: [pay]" };
    format!("servers: ['{}']\n{keys}\n{commands}\n", servers.join("', '"))
}

impl Drop for Service {
    fn drop(&mut self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        // Wakes `accept`; if it cannot, the thread ends with the process.
        drop(TcpStream::connect(self.address));
    }
}

/// A port of the system's choice that refuses connections until it is served.
pub struct Port(socket2::Socket);

impl Port {
    pub fn take() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> String {
        self.0.local_addr().unwrap().as_socket().unwrap().to_string()
    }

    pub fn serve(self, script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Service {
        self.0.listen(1_024).unwrap();
        let listener = TcpListener::from(self.0);
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            script: Box::new(script),
            book: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&inner);
        std::thread::spawn(move || accept(&accepting, &listener));
        Service { inner, address }
    }
}

fn accept(inner: &Arc<Inner>, listener: &TcpListener) {
    for stream in listener.incoming() {
        if inner.stopping.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        inner.connections.fetch_add(1, Ordering::Relaxed);
        let inner = Arc::clone(inner);
        std::thread::spawn(move || {
            // The peer may go at any time.
            let _ = serve(&inner, &stream);
            let _ = stream.shutdown(Shutdown::Both);
        });
    }
}

fn serve(inner: &Inner, stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = read(&mut reader)? {
        let number = {
            let mut book = inner.book.lock().unwrap();
            let number = book.requests.len();
            request.number = number;
            book.requests.push(request.clone());
            book.events.push(Event::Came(number));
            book.open += 1;
            book.most_open = book.most_open.max(book.open);
            number
        };
        let mut answer = (inner.script)(&request);
        while let Answer::Held(gate, then) = answer {
            gate.wait();
            answer = *then;
        }
        if matches!(answer, Answer::Hang) {
            // Until the client gives it up.
            let mut rest = [0; 1];
            let _ = reader.read(&mut rest);
        }
        {
            let mut book = inner.book.lock().unwrap();
            book.events.push(Event::Ended(number));
            book.open -= 1;
        }
        if !write(stream, answer)? {
            return Ok(());
        }
    }
    Ok(())
}

/// None at the end of the connection.
fn read(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, path) = (word(), word());
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|it| it.0 == "content-length").map_or(0, |it| it.1.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { number: 0, method, path, headers, body }))
}

/// Whether the connection goes on.
fn write(mut stream: &TcpStream, answer: Answer) -> std::io::Result<bool> {
    match answer {
        Answer::Reply { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            let mut all = (head + "\r\n").into_bytes();
            all.extend_from_slice(&body);
            stream.write_all(&all)?;
            return Ok(true);
        }
        Answer::Held(..) => unreachable!("waited for before"),
        Answer::Hang | Answer::Close => {}
        Answer::Reset => socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO))?,
        Answer::Half => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")?,
        Answer::Garbage => stream.write_all(b"\x00\x01 this is not HTTP\r\n\r\n")?,
        Answer::Stuck => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n1")?;
            let _ = stream.read(&mut [0]);
        }
        Answer::UntilClosed(body) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            stream.write_all(&body)?;
        }
    }
    Ok(false)
}
