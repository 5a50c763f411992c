//! THE LIFE OF A MESSAGE. Start reading here.
//!
//! A job whose turn has come is attempted until its outcome is final, and that outcome is carried out.
//! Everything on the way is a value: every early end of an attempt is an outcome, none is an error.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::Shard;
use super::admit::{Job, RouteHere};
use super::apps::Choice;
use super::request;
use super::settle::Ending;
use super::work::Ack;
use crate::clock;
use crate::domain::app::OnPluginFailure;
use crate::domain::exchange::{Request, Response};
use crate::domain::outcome::{Failure, Outcome, Stage};
use crate::domain::retry::Next;
use crate::failpoint;
use crate::metrics::RouteCounters;
use crate::plugin::{Action, Call, Code, Emitted, Stopped};
use crate::upstream::Server;

/// From its turn in the queue to the acknowledgement that it needs us no more. A local task of its own;
/// it holds one of its route's places when it begins.
pub async fn life(shard: Rc<Shard>, job: Job) {
    let ended = AssertUnwindSafe(handle(&shard, &job)).catch_unwind().await.unwrap_or_else(|panic| {
        let detail = format!("a bug of the host: {}", text_of(&*panic));
        tracing::error!(message = job.message.record.coordinates(), detail, "a message made us panic");
        Some(Ending::of(
            Rc::clone(&job.message),
            Some(Rc::clone(&job.route)),
            Outcome::Dead { code: "panic".to_owned(), failure: Failure::lasting(Stage::Handle, detail) },
            job.received_ms,
        ))
    });
    let settled = match ended {
        Some(ending) => shard.settle(&job.ticket, ending).await,
        None => false,
    };
    failpoint::reached("settled");
    shard.acknowledge(Ack { ticket: job.ticket, settled });
    shard.pass_on(&job.route, job.key.as_ref());
}

/// What the attempts so far leave behind for the next one.
struct Tries {
    /// Number of the attempt under way, from 1; throttled ones keep it (S84).
    attempt: u32,
    throttled: u32,
    /// Where the last attempt failed, when the next is to go elsewhere (S110).
    failed: Option<Arc<Server>>,
    first_reason: Option<String>,
}

/// Attempts until the outcome is final. None: its lane is being given back, another owner will begin anew.
async fn handle(shard: &Rc<Shard>, job: &Job) -> Option<Ending> {
    let mut tries = Tries { attempt: job.message.attempt, throttled: 0, failed: None, first_reason: None };
    loop {
        if !shard.shared.lanes.is_live(&job.ticket) {
            return None;
        }
        // What runs now, not what ran when it was read: a mended route mends what waits.
        let route = shard.current_route(job);
        let counters = shard.counters(&route, &job.ticket, &job.message.record.topic);
        counters.attempt();
        let (outcome, emitted) = attempt(shard, job, &route, &mut tries).await;
        if matches!(outcome, Outcome::Retry { .. } | Outcome::Dead { .. }) {
            counters.failed();
        }
        if let Outcome::Retry { failure, .. } = &outcome {
            tracing::debug!(
                log_id = &*job.message.log_id,
                attempt = tries.attempt,
                stage = failure.stage.as_str(),
                detail = failure.detail,
                "an attempt failed"
            );
            tries.first_reason.get_or_insert_with(|| failure.detail.clone());
        }
        match route.route.retry.next(outcome, tries.attempt, tries.throttled, shard.random()) {
            Next::Again { pause_ms, counts } => {
                counters.retry();
                tries.attempt += u32::from(counts);
                tries.throttled = if counts { 0 } else { tries.throttled + 1 };
                // Its key waits with it, its place goes to another.
                shard.pause(&job.ticket, &job.route, Duration::from_millis(pause_ms)).await;
            }
            Next::End(outcome) => {
                let ending = Ending::of(Rc::clone(&job.message), Some(route), outcome, job.received_ms);
                return Some(ending.after(tries.attempt, tries.first_reason, emitted));
            }
        }
    }
}

/// One attempt. The emitted records go out only if it ends well.
async fn attempt(shard: &Shard, job: &Job, route: &RouteHere, tries: &mut Tries) -> (Outcome, Vec<Emitted>) {
    if let Some(rate) = &route.rate {
        let wait_ns = rate.reserve(clock::monotonic_ns());
        if wait_ns > 0 {
            tokio::time::sleep(Duration::from_nanos(wait_ns)).await;
        }
    }
    match try_once(shard, job, route, tries).await {
        Ok(ended) => ended,
        Err(failure) => (failure.into(), Vec::new()),
    }
}

async fn try_once(
    shard: &Shard,
    job: &Job,
    route: &RouteHere,
    tries: &mut Tries,
) -> Result<(Outcome, Vec<Emitted>), Failure> {
    let message = &job.message;
    let Some(handler) = &route.handler else {
        let detail = format!("there is no handler {}", route.route.handler);
        return Err(Failure::transient(Stage::Handle, detail));
    };
    let Some(app) = &route.app else {
        return Err(Failure::transient(Stage::Select, format!("app {} is gone", route.route.app.name)));
    };
    let failed = tries.failed.take();
    let choice = Choice { job, attempt: tries.attempt, failed: failed.as_ref() };
    // A handler that wants to know its server gets it chosen first.
    let asks_server = matches!(&handler.code, Code::Handler(it) if it.asks_server);
    let early = if asks_server { Some(app.choose(shard, &choice)?) } else { None };
    let call = Call {
        message: Some(Rc::clone(message)),
        attempt: tries.attempt,
        remaining_ms: route.route.timeout_ms.min(u64::from(u32::MAX)) as u32,
        server: early.as_ref().map(|it| Arc::clone(&it.uri)),
        ..Call::default()
    };
    let group = shard.group_name(&job.ticket);
    let counters = shard.counters(route, &job.ticket, &message.record.topic);
    let began_ns = clock::monotonic_ns();
    let handled = shard.slots.handle(handler, message, &group, job.received_ms, call.clone());
    counters.plugin_ran(since(began_ns));
    let handled = handled.map_err(|it| plugin_failure(route, &counters, Stage::Handle, &it))?;
    let request = match handled.action {
        Action::Finish(verdict) => return Ok((Outcome::of(verdict, Stage::Handle), handled.emitted)),
        Action::Deliver(request) => request,
    };
    let server = match early {
        Some(server) => server,
        None => app.choose(shard, &choice)?,
    };
    let response = send(shard, job, route, &server, request, tries.attempt).await;
    let response = response.inspect_err(|_| tries.failed = Some(Arc::clone(&server)))?;
    let verdict = shard
        .slots
        .judge(handler, message, &server.address, &response, call)
        .map_err(|it| plugin_failure(route, &counters, Stage::Judge, &it))?
        .unwrap_or_else(|| route.route.success.judge(&response));
    let outcome = Outcome::of(verdict, Stage::Judge);
    if let Outcome::Retry { .. } = &outcome {
        tries.failed = Some(server);
    }
    Ok((outcome, handled.emitted))
}

/// The only wait for the network.
async fn send(
    shard: &Shard,
    job: &Job,
    route: &RouteHere,
    server: &Arc<Server>,
    request: Request,
    attempt: u32,
) -> Result<Response, Failure> {
    let asked_ms = request.timeout_ms.map_or(u64::MAX, u64::from);
    let timeout = Duration::from_millis(route.route.timeout_ms.min(asked_ms));
    let group = shard.group_name(&job.ticket);
    let wants_headers =
        matches!(route.handler.as_deref().map(|it| &it.code), Some(Code::Handler(it)) if it.has_judge());
    let counters = shard.counters(route, &job.ticket, &job.message.record.topic);
    let request = request::build(job, route, server, request, &group, attempt)?;
    let sent = shard.client.send(server, request, timeout, route.route.app.response_bytes_max).await;
    match sent {
        Ok(sent) => {
            counters.answered(sent.took);
            Ok(request::response_of(sent, wants_headers))
        }
        Err(error) => Err(Failure::transient(Stage::Send, error.to_string())),
    }
}

/// S6: a trap, a loop, a bomb or a bad answer is a failed attempt of this message and nothing else.
fn plugin_failure(route: &RouteHere, counters: &RouteCounters, stage: Stage, stopped: &Stopped) -> Failure {
    counters.plugin_failed(stopped.kind.as_str());
    let detail = format!("{} {stopped}", route.route.handler);
    match route.route.on_plugin_failure {
        OnPluginFailure::Retry => Failure::transient(stage, detail),
        OnPluginFailure::Dead => Failure::lasting(stage, detail),
    }
}

fn since(began_ns: u64) -> Duration {
    Duration::from_nanos(clock::monotonic_ns() - began_ns)
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}
