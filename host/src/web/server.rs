//! An HTTP/1.1 and h2c server: bounded connections, time limits, and an end that waits for what was begun.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt as _;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::answer;
use super::stream::Stream;

/// What a server may be made to hold.
#[derive(Clone, Debug)]
pub struct Config {
    /// Open at once; further ones wait to be accepted.
    pub connections: usize,
    /// Time for the head of a request, also for the first one of a connection and between two, and for the
    /// peer to take more of an answer, in ms.
    pub head_ms: u64,
    /// What one connection of HTTP/2 may have under way.
    pub streams: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { connections: 4_096, head_ms: 30_000, streams: 256 }
    }
}

/// A running server.
pub struct Server {
    /// Where it listens; tells the port that was asked for as 0.
    pub address: SocketAddr,
    router: watch::Sender<Router>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Listens, so that a taken port is known before anything else starts.
pub async fn bind(listen: &str) -> std::io::Result<TcpListener> {
    TcpListener::bind(listen).await
}

impl Server {
    /// Serves a listener from now on, on `runtime`.
    pub fn start(
        runtime: &Handle,
        listener: TcpListener,
        router: Router,
        config: Config,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let (router, routers) = watch::channel(router);
        let mut tasks = JoinSet::new();
        tasks.spawn_on(accept(listener, routers, config, stopped), runtime);
        Ok(Self { address, router, stop, tasks })
    }

    /// Requests that begin from now on are this router's, on connections that are open, too.
    pub fn serve(&self, router: Router) {
        drop(self.router.send_replace(router));
    }

    /// Accepts no more and waits for what is under way, as long as `wait`; what then remains is cut off.
    pub async fn stop(mut self, wait: Duration) {
        // It may have ended by itself.
        let _ = self.stop.send(true);
        if tokio::time::timeout(wait, self.tasks.join_next()).await.is_err() {
            tracing::warn!(address = %self.address, "requests were still under way at the end: cut off");
            self.tasks.shutdown().await;
        }
    }
}

type Routers = watch::Receiver<Router>;

async fn accept(listener: TcpListener, routers: Routers, config: Config, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(config.connections));
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let place = tokio::select! {
            biased;
            _ = stop.changed() => break,
            it = Arc::clone(&places).acquire_owned() => it,
        };
        let stream = tokio::select! {
            biased;
            _ = stop.changed() => break,
            it = listener.accept() => it,
        };
        match stream {
            Ok((stream, _)) => {
                let (routers, config, stop) = (routers.clone(), config.clone(), stop.clone());
                open.spawn(async move {
                    connection(stream, routers, &config, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, or a connection that went before it was taken.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, routers: Routers, config: &Config, mut stop: watch::Receiver<bool>) {
    // Answers are small: they are not to wait for more.
    let _ = stream.set_nodelay(true);
    let head = Duration::from_millis(config.head_ms);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Who has said all closes that half, and still waits for the answer.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams)
        .keep_alive_interval(head)
        .keep_alive_timeout(head);
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let service = hyper::service::service_fn(move |request| {
        seen.store(true, Ordering::Relaxed);
        guarded(routers.borrow().clone(), request)
    });
    let mut served = pin!(builder.serve_connection(TokioIo::new(Stream::new(stream, head)), service));
    // Before the first request it is not known which HTTP it is, and no other limit holds.
    let mut silent = pin!(tokio::time::sleep(head));
    let (mut watching, mut stopping) = (true, false);
    if *stop.borrow() {
        served.as_mut().graceful_shutdown();
        stopping = true;
    }
    loop {
        tokio::select! {
            ended = served.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
                return;
            }
            _ = stop.changed(), if !stopping => {
                stopping = true;
                served.as_mut().graceful_shutdown();
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
            }
            () = silent.as_mut(), if watching => {
                watching = false;
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}

/// A panic of a handler is this request's alone.
async fn guarded(
    router: Router,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let answered = AssertUnwindSafe(async move { TowerToHyperService::new(router).call(request).await });
    Ok(match answered.catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => {
            tracing::error!(path, "a request made us panic");
            answer::error(StatusCode::INTERNAL_SERVER_ERROR, "a bug of the host; its log says more")
        }
    })
}

#[cfg(test)]
mod tests {
    use axum::extract::Path;
    use axum::routing::get;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    use super::*;

    /// Only a test that fails waits so long.
    const WAIT: Duration = Duration::from_secs(60);

    async fn started(router: Router, config: Config) -> Server {
        let listener = bind("127.0.0.1:0").await.unwrap();
        Server::start(&Handle::current(), listener, router, config).unwrap()
    }

    async fn say(server: &Server, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn hear(mut stream: TcpStream) -> String {
        let mut text = String::new();
        // A reset ends it as well.
        let _ = tokio::time::timeout(WAIT, stream.read_to_string(&mut text)).await.unwrap();
        text
    }

    fn get_of(path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").into_bytes()
    }

    #[tokio::test]
    async fn a_panic_is_its_request_alone() {
        let router = Router::new().route(
            "/{it}",
            get(|Path(it): Path<String>| async move {
                assert_eq!(it, "good", "told to");
                "fine"
            }),
        );
        let server = started(router, Config::default()).await;
        let answer = hear(say(&server, &get_of("/bad")).await).await;
        assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("a bug of the host"), "{answer}");
        assert!(hear(say(&server, &get_of("/good")).await).await.ends_with("fine"));
        server.stop(WAIT).await;
    }

    /// S37: whoever sends slowly, or nothing, is closed and holds no place.
    #[tokio::test]
    async fn slow_heads_are_closed() {
        let config = Config { connections: 1, head_ms: 50, ..Config::default() };
        let server = started(Router::new().route("/", get(|| async { "fine" })), config).await;
        for part in [&b""[..], b"P", b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\nx-", b"PRI * HTTP/2.0\r\n"] {
            hear(say(&server, part).await).await;
        }
        assert!(hear(say(&server, &get_of("/")).await).await.ends_with("fine"));
        server.stop(WAIT).await;
    }

    /// S37: whoever asks and never reads is closed, too.
    #[tokio::test]
    async fn answers_that_nobody_takes() {
        let config = Config { connections: 1, head_ms: 50, ..Config::default() };
        let large = "x".repeat(1 << 20);
        let router =
            Router::new().route("/large", get(|| async { large })).route("/", get(|| async { "fine" }));
        let server = started(router, config).await;
        let deaf = say(&server, &b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n".repeat(64)).await;
        assert!(hear(say(&server, &get_of("/")).await).await.ends_with("fine"));
        drop(deaf);
        server.stop(WAIT).await;
    }

    #[tokio::test]
    async fn who_has_said_all_is_answered() {
        let router = Router::new().route(
            "/",
            get(|| async {
                tokio::task::yield_now().await;
                "fine"
            }),
        );
        let server = started(router, Config::default()).await;
        let mut stream = say(&server, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        stream.shutdown().await.unwrap();
        assert!(hear(stream).await.ends_with("fine"));
        server.stop(WAIT).await;
    }

    /// S40: what was begun is answered, what comes later is not taken.
    #[tokio::test]
    async fn the_end_waits_for_what_was_begun() {
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begins, goes) = (Arc::clone(&begun), Arc::clone(&go));
        let handler = move || {
            let (begins, goes) = (Arc::clone(&begins), Arc::clone(&goes));
            async move {
                begins.notify_one();
                goes.notified().await;
                "fine"
            }
        };
        let server = started(Router::new().route("/", get(handler)), Config::default()).await;
        let address = server.address;
        let idle = say(&server, b"").await;
        let stream = say(&server, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        begun.notified().await;
        let stopped = tokio::spawn(server.stop(WAIT));
        hear(idle).await;
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        assert!(hear(stream).await.ends_with("fine"));
        stopped.await.unwrap();
    }
}
