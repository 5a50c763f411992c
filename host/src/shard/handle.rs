//! THE LIFE OF A MESSAGE. Start reading here.
//!
//! A job whose turn has come is attempted until its outcome is final, and that outcome is carried out.
//! Everything on the way is a value: every early end of an attempt is an outcome, none is an error.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::Shard;
use super::admit::{Job, RouteHere, expired};
use super::apps::Choice;
use super::request;
use super::settle::Ending;
use super::work::Ack;
use crate::clock;
use crate::domain::app::OnPluginFailure;
use crate::domain::exchange::{Request, Response};
use crate::domain::message::{Message, Past};
use crate::domain::outcome::{Failure, Outcome, Stage, Verdict};
use crate::domain::retry::{Behind, Next, OnRetry, RetryPolicy};
use crate::failpoint;
use crate::metrics::{RouteCounters, Wait};
use crate::plugin::{Action, Call, Code, Emitted, Handled, INLINE_MS, Plugin, Stopped, StoppedKind};
use crate::upstream::{Mark, Target};
use crate::wire::rung::Stay;

/// From its turn in the queue to the acknowledgement that it needs us no more. It holds one of its route's
/// places when it begins. Returns a job whose turn has come by that, if any.
pub async fn life(shard: &Rc<Shard>, job: Job) -> Option<Job> {
    let ended = match caught(pin!(handle(shard, &job))).await {
        Ok(ended) => ended,
        Err(panic) => {
            let detail = format!("a bug of the host: {}", text_of(&*panic));
            tracing::error!(message = job.message.record.coordinates(), detail, "a message made us panic");
            Some(Ending::of(
                Rc::clone(&job.message),
                Some(Rc::clone(&job.route)),
                Outcome::Dead { code: "panic".to_owned(), failure: Failure::lasting(Stage::Handle, detail) },
                job.received_ms,
            ))
        }
    };
    let settled = match ended {
        Some(ending) => shard.settle(&job.ticket, ending).await,
        None => false,
    };
    failpoint::reached("settled");
    shard.acknowledge(Ack { ticket: job.ticket, settled });
    shard.pass_on(&job.route, job.key.as_ref())
}

/// Awaits without moving what it awaits: a wrapper would copy it for each message.
async fn caught<F: Future>(mut it: Pin<&mut F>) -> std::thread::Result<F::Output> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| it.as_mut().poll(cx))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// What the attempts so far leave behind for the next one.
struct Tries {
    /// Number of the attempt under way, from 1; throttled ones keep it (S84).
    attempt: u32,
    throttled: u32,
    /// Where the last attempt failed, when the next is to go elsewhere (S110).
    failed: Option<Rc<Target>>,
    first_reason: Option<String>,
    /// When the first of all attempts failed, in ms since 1970.
    first_failed_ms: Option<u64>,
    /// When an attempt first failed here.
    failing_since_ns: Option<u64>,
    /// It was on its ladder before, and has had its time in place.
    has_waited: bool,
}

impl Tries {
    fn of(message: &Message) -> Self {
        let past = message.past.as_deref();
        Self {
            attempt: message.attempt,
            throttled: past.map_or(0, |it| it.throttled),
            failed: None,
            first_reason: past.and_then(|it| it.first_reason.clone()),
            first_failed_ms: past.and_then(|it| it.first_failed_ms),
            failing_since_ns: None,
            has_waited: past.is_some_and(|it| it.first_failed_ms.is_some()),
        }
    }

    /// An attempt failed, and may be followed by another.
    fn note(&mut self, job: &Job, failure: &Failure) {
        tracing::debug!(
            log_id = &*job.message.log_id,
            attempt = self.attempt,
            stage = failure.stage.as_str(),
            detail = failure.detail,
            "an attempt failed"
        );
        self.first_reason.get_or_insert_with(|| failure.detail.clone());
        self.first_failed_ms.get_or_insert_with(clock::now_ms);
    }

    /// What it takes to its ladder after the attempt that has just failed.
    fn stay(self, job: &Job, (pause_ms, counts): (u64, bool), failure: &Failure) -> Stay {
        let past = Past {
            first_seen_ms: job.received_ms,
            first_failed_ms: self.first_failed_ms,
            first_reason: self.first_reason,
            throttled: if counts { 0 } else { self.throttled + 1 },
            redriven: job.message.past.as_ref().map_or(0, |it| it.redriven),
        };
        Stay {
            attempt: self.attempt.saturating_add(u32::from(counts)),
            due_ms: clock::now_ms().saturating_add(pause_ms),
            past,
            reason: Some(failure.detail.clone()),
        }
    }

    /// How long it has been tried in place, in ms. None: it may not leave its place.
    fn spent_ms(&mut self, job: &Job, policy: &RetryPolicy) -> Option<u64> {
        let since_ns = *self.failing_since_ns.get_or_insert_with(clock::monotonic_ns);
        let may_leave = job.key.is_none() || policy.on_retry != OnRetry::Block;
        may_leave.then(|| if self.has_waited { u64::MAX } else { since(since_ns).as_millis() as u64 })
    }
}

/// Attempts until the outcome is final. None: its lane is being given back, another owner will begin anew.
async fn handle(shard: &Rc<Shard>, job: &Job) -> Option<Ending> {
    let mut tries = Tries::of(&job.message);
    loop {
        if !shard.shared.lanes.is_live(&job.ticket) {
            return None;
        }
        // What runs now, not what ran when it was read: a mended route mends what waits.
        let route = shard.current_route(job);
        if let Some(hold) = shard.held_back(job, &route) {
            Box::pin(shard.hold(&job.ticket, hold)).await;
            continue;
        }
        if job.message.expires_ms.is_some()
            && let Some(outcome) = expired(&job.message, clock::now_ms())
        {
            let ending = Ending::of(Rc::clone(&job.message), Some(route), outcome, job.received_ms);
            return Some(ending.after(tries.attempt - 1, tries.first_reason, Vec::new()));
        }
        let counters = shard.counters(&route, &job.ticket, &job.message.record.topic);
        let live = shard.live();
        let group = live.groups.get(job.ticket.group as usize).map_or("?", |it| &*it.name);
        let about = About { shard, job, route: &route, counters: &counters, group };
        let (outcome, emitted) = attempt(&about, &mut tries).await?;
        if matches!(outcome, Outcome::Retry { .. } | Outcome::Dead { .. }) {
            counters.failed();
        }
        if let Outcome::Retry { failure, .. } = &outcome {
            tries.note(job, failure);
        }
        let policy = &route.route.retry;
        let spent_ms = match &outcome {
            Outcome::Retry { .. } => tries.spent_ms(job, policy),
            // It is at its end: nobody asks.
            Outcome::Done
            | Outcome::Skipped(_)
            | Outcome::Deferred(_)
            | Outcome::Parked(_)
            | Outcome::Dead { .. } => None,
        };
        let behind = Behind { attempt: tries.attempt, throttled: tries.throttled, spent_ms };
        match policy.next(outcome, behind, shard.random()) {
            Next::Again { pause_ms, counts } => {
                counters.retry();
                // A record says which attempt is its first, and may say any.
                tries.attempt = tries.attempt.saturating_add(u32::from(counts));
                tries.throttled = if counts { 0 } else { tries.throttled + 1 };
                // Its key waits with it, its place goes to another.
                Box::pin(shard.pause(&job.ticket, &job.route, Duration::from_millis(pause_ms))).await;
            }
            Next::Later { pause_ms, counts, failure } => {
                counters.retry();
                let stay = tries.stay(job, (pause_ms, counts), &failure);
                let outcome = Outcome::Retry { failure, after_ms: Some(pause_ms), elsewhere: false, counts };
                let ending = Ending::of(Rc::clone(&job.message), Some(route), outcome, job.received_ms);
                return Some(ending.waiting(stay));
            }
            Next::End(outcome) => {
                let ending = Ending::of(Rc::clone(&job.message), Some(route), outcome, job.received_ms);
                return Some(ending.after(tries.attempt, tries.first_reason, emitted));
            }
        }
    }
}

/// What an attempt is about, looked up once.
#[derive(Clone, Copy)]
struct About<'a> {
    shard: &'a Shard,
    job: &'a Job,
    route: &'a RouteHere,
    counters: &'a RouteCounters,
    group: &'a str,
}

/// Longest wait for a place of an adaptive app, whose attempts usually end sooner; then it goes without one.
const ROOM: Duration = Duration::from_secs(60);

/// One attempt. The emitted records go out only if it ends well. None: its lane ended before it could begin.
async fn attempt(about: &About<'_>, tries: &mut Tries) -> Option<(Outcome, Vec<Emitted>)> {
    let About { shard, job, .. } = *about;
    if let Some(rate) = &about.route.rate {
        let wait_ns = rate.reserve(clock::monotonic_ns());
        if wait_ns > 0 {
            let _waiting = shard.shared.counters.waits.begin(Wait::Rate);
            Box::pin(shard.sleep(&job.ticket, Duration::from_nanos(wait_ns))).await;
        }
    }
    let _place = match &about.route.few {
        // Never closed: an error cannot come.
        Some(few) => {
            let _waiting = shard.shared.counters.waits.begin(Wait::Concurrency);
            Some(Box::pin(few.acquire()).await)
        }
        None => None,
    };
    let app = about.route.app.as_deref();
    let _room = match app.map(|it| (it, shard.room(it))) {
        Some((app, room @ 1..)) => {
            let waiting = || shard.shared.counters.waits.begin(Wait::Adaptive);
            Box::pin(app.places.enter(room, ROOM, waiting)).await
        }
        Some((_, 0)) | None => None,
    };
    while let Some(hold) = shard.held_back_late(job, app) {
        Box::pin(shard.hold(&job.ticket, hold)).await;
        if !shard.shared.lanes.is_live(&job.ticket) {
            break;
        }
    }
    if !shard.shared.lanes.begin(shard.index, &job.ticket) {
        return None;
    }
    about.counters.attempt();
    Some(match try_once(about, tries).await {
        Ok(ended) => ended,
        Err(failure) => (failure.into(), Vec::new()),
    })
}

async fn try_once(about: &About<'_>, tries: &mut Tries) -> Result<(Outcome, Vec<Emitted>), Failure> {
    let About { shard, job, route, .. } = *about;
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
    let (asks_server, judges) = match &handler.code {
        Code::Handler(it) => (it.asks_server, it.has_judge()),
        Code::Selector(_) => (false, false),
    };
    // A handler that wants to know its server gets it chosen first.
    let early = if asks_server { Some(app.choose(shard, &choice)?) } else { None };
    let call = Call {
        message: Some(Rc::clone(message)),
        attempt: tries.attempt,
        remaining_ms: route.route.timeout_ms.min(u64::from(u32::MAX)) as u32,
        server: early.as_ref().map(|it| Arc::clone(&it.server.uri)),
        ..Call::default()
    };
    let judge_call = judges.then(|| call.clone());
    let handled = ask(about, handler, call).await.map_err(|it| plugin_failure(about, Stage::Handle, &it))?;
    let request = match handled.action {
        Action::Finish(verdict) => return Ok((Outcome::of(verdict, Stage::Handle), handled.emitted)),
        Action::Deliver(request) => request,
    };
    let target = match early {
        Some(target) => target,
        None => app.choose(shard, &choice)?,
    };
    let response = send(about, &target, request, (tries.attempt, judges)).await;
    let response = response.inspect_err(|_| tries.failed = Some(Rc::clone(&target)))?;
    let verdict = match judge_call {
        Some(call) => judge(about, handler, &target.server.address, &response, call)
            .await
            .map_err(|it| plugin_failure(about, Stage::Judge, &it))?,
        None => None,
    };
    let outcome = Outcome::of(verdict.unwrap_or_else(|| route.route.success.judge(&response)), Stage::Judge);
    target.server.stats.mark(shard.index, Mark::of(&outcome, response.status));
    if let Outcome::Retry { .. } = &outcome {
        tries.failed = Some(target);
    }
    Ok((outcome, handled.emitted))
}

/// What is to be done with the message: asked inline, or aside where that would hold up the shard.
async fn ask(about: &About<'_>, handler: &Arc<Plugin>, call: Call) -> Result<Handled, Stopped> {
    let About { shard, job, counters, group, .. } = *about;
    let began_ns = clock::monotonic_ns();
    let again = may_go_aside(handler).then(|| call.clone());
    if !handler.is_aside(began_ns / 1_000_000) {
        let handled = shard.slots.handle(handler, &job.message, group, job.received_ms, call);
        let took = since(began_ns);
        counters.plugin_ran(took);
        if shard.slots.note(handler, took.as_micros() as u64) {
            put_aside(handler, "slow in the mean");
        }
        match (handled, again) {
            (Err(stopped), Some(call)) if stopped.kind == StoppedKind::Deadline => {
                put_aside(handler, "it overran");
                let _waiting = shard.shared.counters.waits.begin(Wait::Aside);
                Box::pin(shard.shared.aside.handle(handler, (group, job.received_ms), &call)).await
            }
            (handled, _) => handled,
        }
    } else {
        let _waiting = shard.shared.counters.waits.begin(Wait::Aside);
        let handled = Box::pin(shard.shared.aside.handle(handler, (group, job.received_ms), &call)).await;
        counters.plugin_ran(since(began_ns));
        handled
    }
}

/// What the answer means to the plugin; the same way as [`ask`].
async fn judge(
    about: &About<'_>,
    handler: &Arc<Plugin>,
    server: &str,
    response: &Response,
    call: Call,
) -> Result<Option<Verdict>, Stopped> {
    let shard = about.shard;
    let again = may_go_aside(handler).then(|| call.clone());
    if handler.is_aside(clock::monotonic_ns() / 1_000_000) {
        let _waiting = shard.shared.counters.waits.begin(Wait::Aside);
        return Box::pin(shard.shared.aside.judge(handler, server, response, &call)).await;
    }
    match (shard.slots.judge(handler, &about.job.message, server, response, call), again) {
        (Err(stopped), Some(call)) if stopped.kind == StoppedKind::Deadline => {
            put_aside(handler, "it overran in judging");
            let _waiting = shard.shared.counters.waits.begin(Wait::Aside);
            Box::pin(shard.shared.aside.judge(handler, server, response, &call)).await
        }
        (judged, _) => judged,
    }
}

/// Whether its own limit is more than what a shard gives it.
fn may_go_aside(handler: &Plugin) -> bool {
    handler.limits.call_ms > INLINE_MS
}

fn put_aside(handler: &Plugin, why: &str) {
    handler.put_aside(clock::monotonic_ns() / 1_000_000);
    tracing::info!(
        plugin = &*handler.name,
        why,
        "a handler is too slow for a shard: it runs aside for a minute"
    );
}

/// The only wait for the network.
async fn send(
    about: &About<'_>,
    target: &Target,
    request: Request,
    (attempt, judges): (u32, bool),
) -> Result<Response, Failure> {
    let About { shard, job, route, counters, group } = *about;
    let asked_ms = request.timeout_ms.map_or(u64::MAX, u64::from);
    let timeout = Duration::from_millis(route.route.timeout_ms.min(asked_ms));
    let request = request::build(job, route, &target.server, request, group, attempt)?;
    let app = &route.route.app;
    let waits = &shard.shared.counters.waits;
    let Some(_place) = target.places.enter(route.server_places, timeout, || waits.begin(Wait::Server)).await
    else {
        let server = &target.server.address;
        let detail = format!("{server} had {} requests under way for {timeout:?}", app.server_concurrency);
        return Err(Failure::transient(Stage::Send, detail));
    };
    match shard.client.send(target, request, timeout, app.response_bytes_max).await {
        Ok(sent) => {
            counters.answered(sent.took);
            Ok(request::response_of(sent, judges))
        }
        Err(error) => {
            if error.is_the_servers() {
                target.server.stats.mark(shard.index, Mark::Bad);
            }
            Err(Failure::transient(Stage::Send, error.to_string()))
        }
    }
}

/// S6: a trap, a loop, a bomb or a bad answer is a failed attempt of this message and nothing else.
fn plugin_failure(about: &About<'_>, stage: Stage, stopped: &Stopped) -> Failure {
    about.counters.plugin_failed(stopped.kind.as_str());
    let route = &about.route.route;
    let detail = format!("{} {stopped}", route.handler);
    match route.on_plugin_failure {
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
