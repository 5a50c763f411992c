//! The bare loop *conn*: the leanest that can be had from the same libraries. Batches on a thread, hyper's
//! HTTP/1.1 connections held by hand, one thread with its own runtime for all of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;

use super::bare::Bare;
use super::batch::Batches;

/// What waits for a connection.
#[derive(Default)]
struct Waiting {
    bodies: RefCell<VecDeque<Bytes>>,
    some: Notify,
    none: Notify,
}

impl Waiting {
    async fn next(&self) -> Bytes {
        loop {
            let body = self.bodies.borrow_mut().pop_front();
            match body {
                Some(body) => {
                    if self.bodies.borrow().is_empty() {
                        self.none.notify_one();
                    }
                    return body;
                }
                None => self.some.notified().await,
            }
        }
    }
}

pub fn run(bare: &Bare) -> anyhow::Result<()> {
    let (sender, mut inbox) = mpsc::channel::<Vec<Bytes>>(4);
    let mut batches = Batches::open(bare)?;
    std::thread::Builder::new().name("batches".to_owned()).spawn(move || {
        loop {
            let mut all = Vec::new();
            batches.take(|value| all.push(Bytes::copy_from_slice(value)));
            if !all.is_empty() && sender.blocking_send(all).is_err() {
                return;
            }
        }
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let waiting = Rc::new(Waiting::default());
        for _ in 0..bare.in_flight {
            let (waiting, sink) = (Rc::clone(&waiting), bare.sink.clone());
            tokio::task::spawn_local(async move {
                if let Err(error) = connection(&waiting, &sink).await {
                    tracing::error!(%error, "a connection failed: this run counts for nothing");
                }
            });
        }
        while let Some(batch) = inbox.recv().await {
            waiting.bodies.borrow_mut().extend(batch);
            waiting.some.notify_waiters();
            waiting.none.notified().await;
        }
        Ok(())
    })
}

/// One request after the other.
async fn connection(waiting: &Waiting, sink: &str) -> anyhow::Result<()> {
    let stream = TcpStream::connect(sink).await.context("reaching the sink")?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::error!(%error, "a connection broke");
        }
    });
    loop {
        let mut request = http::Request::new(Full::new(waiting.next().await));
        *request.method_mut() = http::Method::POST;
        request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_str(sink)?);
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        answer.into_body().collect().await?;
    }
}
