//! Services that speak TLS, HTTP/2, or both: with real handshakes, against certificates of an authority of our own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Case, Send};

fn certificate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("certificates").join(name)
}

/// By which version and for which host each request came, and how many connections there were.
#[derive(Default)]
struct Book {
    requests: Vec<(Version, String)>,
    connections: usize,
}

/// A service that says 200 to all.
struct Service {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    /// Ends with it.
    _runtime: Runtime,
}

impl Service {
    /// `alpn`: what it offers over TLS; none: no TLS.
    fn start(alpn: Option<&[&str]>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // Reached by every address of this machine, its certificate is for one.
        let listener = runtime.block_on(TcpListener::bind("0.0.0.0:0")).unwrap();
        let (address, book) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Book::default())));
        let acceptor = alpn.map(|it| TlsAcceptor::from(Arc::new(tls(it))));
        let seen = Arc::clone(&book);
        let handle = runtime.handle().clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.lock().unwrap().connections += 1;
                let (seen, acceptor) = (Arc::clone(&seen), acceptor.clone());
                handle.spawn(async move {
                    let answer = service_fn(move |request| answer(Arc::clone(&seen), request));
                    let server = auto::Builder::new(TokioExecutor::new());
                    // A client that refuses our certificate ends here, too.
                    match acceptor {
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
                        }
                        None => drop(server.serve_connection(TokioIo::new(stream), answer).await),
                    }
                });
            }
        });
        Self { address, book, _runtime: runtime }
    }
}

async fn answer(
    book: Arc<Mutex<Book>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = request.version();
    let host = request.uri().authority().map(ToString::to_string);
    let host = host.or_else(|| Some(request.headers().get("host")?.to_str().ok()?.to_owned()));
    let whole = request.into_body().collect().await.is_ok();
    if whole {
        book.lock().unwrap().requests.push((version, host.unwrap_or_default()));
    }
    Ok(Response::new(Full::new(Bytes::from_static(b"an answer"))))
}

fn tls(alpn: &[&str]) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(certificate("service.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificate("service.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
    config
}

fn keyed(count: u32) -> impl Iterator<Item = Send> {
    (0..count).map(|it| Send::command("pay").key(it.to_string()).value("x".repeat(20_000)))
}

/// HTTP/1.1 and HTTP/2 over TLS, as the service offers, and HTTP/2 without; many messages share a connection, and the
/// service is called by the name it was given.
#[test]
fn each_protocol_is_spoken() {
    type Offer = Option<&'static [&'static str]>;
    let cases: [(&str, &str, Offer, Version, usize); 4] = [
        ("https-2", "https", Some(&["h2", "http/1.1"]), Version::HTTP_2, 2),
        ("https-1", "https", Some(&["http/1.1"]), Version::HTTP_11, 8),
        ("https-plain", "https", Some(&[]), Version::HTTP_11, 8),
        ("h2c", "h2c", None, Version::HTTP_2, 2),
    ];
    for (name, protocol, offer, version, connections) in cases {
        let (case, service) = (Case::new(), Service::start(offer));
        let (group, topic) = (name.to_owned(), case.topic(name, 1));
        let server = format!("localhost:{}", service.address.port());
        let app = format!(
            "protocol: {protocol}\nservers: ['{server}']\norder: none\nconcurrency: 8\ncommands: [pay]"
        );
        let roots = format!("services: {{roots: '{}'}}", certificate("ca.pem").display());
        let host = case.host().main(&roots).group(&group, &[&topic], "").app("shop", &app).start();
        case.produce(&topic, keyed(100));
        case.committed_by(&case.named(&group), &topic, &[100]);
        host.stop();
        let book = service.book.lock().unwrap();
        assert_eq!(book.requests.len(), 100, "{name}");
        let expected = (version, server);
        assert!(book.requests.iter().all(|it| *it == expected), "{name}: {:?}", book.requests[0]);
        assert!(book.connections <= connections, "{name}: {} connections", book.connections);
    }
}

/// A certificate of nobody known, or of another name, is a failure that says so; nothing is sent.
#[test]
fn a_certificate_is_checked() {
    let roots = format!("services: {{roots: '{}'}}", certificate("ca.pem").display());
    // By 127.0.0.2 the service is reached as well, but its certificate does not name that.
    let cases =
        [("unknown", "", "127.0.0.1", "UnknownIssuer"), ("name", &*roots, "127.0.0.2", "not valid for name")];
    for (name, main, host_name, word) in cases {
        let (case, service) = (Case::new(), Service::start(Some(&["h2"])));
        let (group, topic) = (name.to_owned(), case.topic(name, 1));
        let server = format!("{host_name}:{}", service.address.port());
        let app = format!("protocol: https\nservers: ['{server}']\nretry: {{attempts: 1}}\ncommands: [pay]");
        let host = case.host().main(main).group(&group, &[&topic], "").app("shop", &app).start();
        case.produce(&topic, keyed(1));
        let group = case.named(&group);
        case.committed_by(&group, &topic, &[1]);
        let dead = case.kafka.read(&format!("{group}.dead")).remove(0);
        host.stop();
        assert!(dead.said("drover-reason").contains(word), "{name}: {}", dead.said("drover-reason"));
        assert_eq!(service.book.lock().unwrap().requests.len(), 0);
    }
}
