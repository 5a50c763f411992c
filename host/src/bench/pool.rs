//! The bare loop *pool*: what one writes first. `StreamConsumer`, a task for each message, hyper-util's pooled
//! client, tokio with two workers. No plugin, no order, no tracking, offsets committed as they are read.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rdkafka::Message as _;
use rdkafka::consumer::{Consumer, StreamConsumer};
use tokio::sync::Semaphore;

use super::bare::{Bare, client_config};

pub fn run(bare: &Bare) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(deliver(bare))
}

async fn deliver(bare: &Bare) -> anyhow::Result<()> {
    let consumer: StreamConsumer = client_config(bare).create().context("making the consumer")?;
    consumer.subscribe(&[&bare.topic])?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(bare.in_flight).build(connector);
    let uri: http::Uri = format!("http://{}/", bare.sink).parse()?;
    let places = Arc::new(Semaphore::new(bare.in_flight));
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        let message = consumer.recv().await?;
        let body = Bytes::copy_from_slice(message.payload().unwrap_or_default());
        let (client, uri) = (client.clone(), uri.clone());
        #[allow(clippy::disallowed_methods, reason = "the loop that everybody writes, to be compared with")]
        tokio::spawn(async move {
            let mut request = http::Request::new(Full::new(body));
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = uri;
            let answer = client.request(request).await.map_err(anyhow::Error::from);
            let read = match answer {
                Ok(answer) => answer.into_body().collect().await.map_err(anyhow::Error::from).map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                tracing::error!(%error, "a request failed: this run counts for nothing");
            }
            drop(place);
        });
    }
}
