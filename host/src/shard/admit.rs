//! A record becomes a job: decoded, routed, and put behind the others of its order key.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::Shard;
use super::appetite::Portion;
use super::apps::AppHere;
use super::gates::{Gate, SharedRate};
use super::live::Unmatched;
use super::queues::OrderKey;
use super::request;
use super::settle::Ending;
use super::work::{Ack, Ticket, Work};
use crate::domain::app::{Order, Route};
use crate::domain::ladder::Rung;
use crate::domain::message::Message;
use crate::domain::outcome::{Failure, Outcome, Stage};
use crate::domain::record::Record;
use crate::domain::routes::Routes;
use crate::metrics::{RouteCounters, RouteKey, Wait};
use crate::plugin::Plugin;
use crate::wire;

/// A message on its way through this shard.
pub struct Job {
    pub ticket: Ticket,
    pub received_ms: u64,
    /// Of what ran when it was admitted.
    pub generation: u64,
    /// Of its order.
    pub order_hash: u64,
    /// None: waits for nobody.
    pub key: Option<OrderKey>,
    pub message: Rc<Message>,
    pub route: Rc<RouteHere>,
}

impl Job {
    /// What consistent hashing goes by: the envelope's hash key, else the record's key, else its place.
    pub fn hash(&self) -> u64 {
        match &self.message.hash_key {
            Some(it) => crate::domain::hash::hash(it.as_bytes()),
            None => self.order_hash,
        }
    }

    /// Has the processor fetch what an attempt reads first. It was written when the message was admitted, and while it
    /// waited it has left the nearest caches: without this the attempt would stop at each of these lines in turn.
    pub fn warm(&self) {
        let it = &*self.message;
        let first = |it: &[u8]| it.first().copied();
        let value = it.value.as_deref().and_then(first);
        let names = (first(it.command.as_bytes()), first(it.log_id.as_bytes()));
        black_box((it.attempt, it.expires_ms, first(&it.headers), value, names));
    }
}

/// A topic's name and what a route counts of it.
pub type TopicCounters = (Arc<str>, Arc<RouteCounters>);

/// A route as this shard sees it.
pub struct RouteHere {
    pub route: Arc<Route>,
    pub app: Option<Rc<AppHere>>,
    pub handler: Option<Arc<Plugin>>,
    pub gate: Gate<Job>,
    pub portion: Portion,
    pub rate: Option<Arc<SharedRate>>,
    /// Besides the gate's: where all shards together have fewer places than there are shards (S93).
    pub few: Option<Arc<Semaphore>>,
    /// Requests that this shard may have under way to one server of its app.
    pub server_places: u32,
    /// The route's path, else the app's, as a request's target; or what is wrong with it.
    pub uri: Result<http::Uri, String>,
    /// Of each topic that it was met in.
    pub counters: RefCell<Vec<TopicCounters>>,
}

/// Records of a batch that are taken in before what has begun may go on.
const AT_ONCE: usize = 64;

impl Shard {
    /// Takes a batch in, a few records at a time: those that can end at once do, while they are in the caches.
    pub(super) async fn take_in(self: &Rc<Self>, batch: Vec<Work>) {
        let records = batch.len();
        let mut batch = batch.into_iter();
        while batch.len() > 0 {
            batch.by_ref().take(AT_ONCE).for_each(|it| self.admit(it));
            if batch.len() > 0 {
                tokio::task::yield_now().await;
            }
        }
        self.shared.appetite.read(self.index, records);
        self.tell_appetite();
    }

    /// Takes a record in. It ends as a job in a queue or in flight, or is settled at once.
    fn admit(self: &Rc<Self>, work: Work) {
        let Work { ticket, hash, received_ms, is_from_rung, record } = work;
        if !self.shared.lanes.is_live(&ticket) {
            self.acknowledge(Ack { ticket, settled: false });
            return;
        }
        let live = self.live();
        let Some(group) = live.groups.get(ticket.group as usize) else {
            self.acknowledge(Ack { ticket, settled: false });
            return;
        };
        let decoded = match is_from_rung {
            false => wire::decode(group.format, record),
            true => self.restore(group.format, record),
        };
        let mut message = match decoded {
            Ok(message) => message,
            Err((record, failure)) => {
                let ending = Ending::unreadable(record, failure, received_ms);
                self.settle_now(ticket, ending);
                return;
            }
        };
        let Some(route) = live.routes.find(&group.name, &message.record.topic, &message.command) else {
            let outcome = unmatched(group.unmatched, &message);
            self.settle_now(ticket, Ending::of(Rc::new(message), None, outcome, received_ms));
            return;
        };
        let route = self.route_here(route);
        self.note_met(&route, ticket.group, received_ms);
        expire_by_default(&mut message, route.route.ttl_ms);
        let first_seen_ms = message.past.as_ref().map_or(received_ms, |it| it.first_seen_ms);
        let wait_ms = match not_now(&message, received_ms, route.route.delays) {
            None => 0,
            Some(Outcome::Deferred(due_ms)) if due_ms - received_ms < Rung::SHORTEST.ms() => {
                due_ms - received_ms
            }
            Some(outcome) => {
                self.settle_now(ticket, Ending::of(Rc::new(message), Some(route), outcome, first_seen_ms));
                return;
            }
        };
        let key = self.order_key(route.route.order, ticket.group, hash, &message);
        let (generation, message) = (live.generation, Rc::new(message));
        let job =
            Job { ticket, received_ms: first_seen_ms, generation, order_hash: hash, key, message, route };
        match wait_ms {
            0 => self.enter(job),
            _ => self.enter_when_due(job, Duration::from_millis(wait_ms)),
        }
    }

    /// A record of a rung is read as what it was before it came there.
    fn restore(&self, format: wire::Format, record: Record) -> Result<Message, (Record, Failure)> {
        let shared = |name: &str| {
            let topics = self.topics.borrow();
            topics.iter().find(|it| ***it == *name).map_or_else(|| name.into(), Arc::clone)
        };
        let unreadable = |(record, detail)| (record, Failure::lasting(Stage::Decode, detail));
        let (record, stay) = wire::rung::restore(record, shared).map_err(unreadable)?;
        let mut message = wire::decode(format, record)?;
        message.attempt = stay.attempt;
        message.due_ms = Some(stay.due_ms);
        message.past = Some(Box::new(stay.past));
        Ok(message)
    }

    /// It is due so soon that no rung is worth it: it waits here, before it waits for its key.
    fn enter_when_due(self: &Rc<Self>, job: Job, wait: Duration) {
        let shard = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let waiting = shard.shared.counters.waits.begin(Wait::Due);
            shard.sleep(&job.ticket, wait).await;
            drop(waiting);
            if shard.shared.lanes.is_live(&job.ticket) {
                shard.enter(job);
            } else {
                shard.acknowledge(Ack { ticket: job.ticket, settled: false });
            }
        });
    }

    /// Behind the others of its key.
    fn enter(self: &Rc<Self>, job: Job) {
        let job = match job.key.clone() {
            Some(key) => self.queues.borrow_mut().enter(key, job),
            None => Some(job),
        };
        if let Some(job) = job {
            self.begin(job);
        }
    }

    /// Its turn has come: it starts as soon as its route has a place.
    pub(super) fn begin(self: &Rc<Self>, job: Job) {
        let route = Rc::clone(&job.route);
        if let Some(job) = route.gate.enter_or_wait(job) {
            self.start(job);
        }
    }

    /// After a job's end: whoever waited for its place or behind its key may go. The worker that ended it takes
    /// the one that is returned.
    pub(super) fn pass_on(self: &Rc<Self>, route: &RouteHere, key: Option<&OrderKey>) -> Option<Job> {
        let mut mine = route.gate.leave();
        route.gate.look_at_next(Job::warm);
        let behind = key.and_then(|it| self.queues.borrow_mut().leave(it));
        if let Some(job) = behind {
            let route = Rc::clone(&job.route);
            if let Some(job) = route.gate.enter_or_wait(job)
                && let Some(job) = mine.replace(job)
            {
                self.start(job);
            }
        }
        mine
    }

    /// The route as this shard sees it, made when first met.
    pub(super) fn route_here(&self, route: &Arc<Route>) -> Rc<RouteHere> {
        if let Some(known) = self.routes.borrow().get(&Arc::as_ptr(route)) {
            return Rc::clone(known);
        }
        let live = self.live();
        let places = share_of(route.concurrency, self.index, self.count);
        let here = Rc::new(RouteHere {
            app: self.app_here(&live, route),
            handler: live.plugins.get(&route.handler).cloned(),
            gate: Gate::new(places),
            portion: Portion::new(places),
            server_places: share_of(route.app.server_concurrency, self.index, self.count),
            uri: request::uri_of(route.path.as_deref().unwrap_or(&route.app.path)),
            rate: route.rate.map(|it| self.shared.common.rate(&route.name, it)),
            few: (1..self.count)
                .contains(&route.concurrency)
                .then(|| self.shared.common.places(&route.name, route.concurrency)),
            counters: RefCell::default(),
            route: Arc::clone(route),
        });
        self.routes.borrow_mut().insert(Arc::as_ptr(route), Rc::clone(&here));
        here
    }

    /// What a route counts of one topic. Most routes see one: a look at a pointer finds it.
    pub(super) fn counters(
        &self,
        route: &RouteHere,
        ticket: &Ticket,
        topic: &Arc<str>,
    ) -> Arc<RouteCounters> {
        let known = route.counters.borrow();
        if let Some((_, it)) = known.iter().find(|it| Arc::ptr_eq(&it.0, topic) || it.0 == *topic) {
            return Arc::clone(it);
        }
        drop(known);
        let group = self.group_name(ticket);
        let key = RouteKey { group, topic: Arc::clone(topic), route: Arc::clone(&route.route.name) };
        let counters = self.shared.counters.route(&key, self.index);
        route.counters.borrow_mut().push((Arc::clone(topic), Arc::clone(&counters)));
        counters
    }

    fn order_key(&self, order: Order, group: u16, hash: u64, message: &Message) -> Option<OrderKey> {
        let record = &message.record;
        let key = match order {
            Order::None => return None,
            Order::Partition => None,
            // Without a key there is nothing to be in order with.
            Order::Key => Some(record.key_shared()?),
        };
        let hash = if key.is_none() { record.partition as u64 } else { hash };
        Some(OrderKey {
            hash,
            group,
            topic: self.topic_number(&record.topic),
            key,
            partition: record.partition,
        })
    }

    /// Records come in runs of one topic.
    fn topic_number(&self, topic: &Arc<str>) -> u32 {
        let mut topics = self.topics.borrow_mut();
        let last = self.last_topic.get();
        if topics.get(last as usize).is_some_and(|it| Arc::ptr_eq(it, topic)) {
            return last;
        }
        let known = topics.iter().position(|it| Arc::ptr_eq(it, topic));
        let known = known.or_else(|| topics.iter().position(|it| it == topic));
        let number = known.unwrap_or_else(|| {
            topics.push(Arc::clone(topic));
            topics.len() - 1
        }) as u32;
        self.last_topic.set(number);
        number
    }

    fn app_here(&self, live: &super::live::Live, route: &Arc<Route>) -> Option<Rc<AppHere>> {
        let app = &route.app;
        let place = (Arc::clone(&app.name), Arc::clone(&route.selector));
        if let Some(known) = self.apps.borrow().get(&place)
            && Arc::ptr_eq(&known.app, app)
        {
            return Some(Rc::clone(known));
        }
        let servers = self.shared.directory.app(&app.name)?;
        let plugin = live.plugins.get(&route.selector).cloned();
        let commands = commands_of(&live.routes, &app.name);
        let of_app = |it: &&Rc<AppHere>| Arc::ptr_eq(&it.app, app);
        let places = self.apps.borrow().values().find(of_app).map(|it| Rc::clone(&it.places));
        let servers = (servers, places.unwrap_or_default());
        let here =
            Rc::new(AppHere::new((Arc::clone(app), Arc::clone(&route.selector)), servers, commands, plugin));
        self.apps.borrow_mut().insert(place, Rc::clone(&here));
        Some(here)
    }
}

/// What one shard may have under way of a route's places; all shards' shares are the whole, but at least one
/// each: see [`RouteHere::few`].
pub(super) fn share_of(places: u32, index: u32, count: u32) -> u32 {
    match places {
        // No limit.
        0 => 0,
        _ => (places / count + u32::from(index < places % count)).max(1),
    }
}

fn unmatched(policy: Unmatched, message: &Message) -> Outcome {
    let reason = format!("no route of this group matches command {:?}", message.command);
    match policy {
        Unmatched::Dead => {
            let failure = Failure::lasting(Stage::Route, reason);
            Outcome::Dead { code: "unmatched".to_owned(), failure }
        }
        Unmatched::Park => Outcome::Parked(reason),
        Unmatched::Skip => Outcome::Skipped(reason),
    }
}

/// S86: a message that says nothing expires as its route says; one that says never, never.
fn expire_by_default(message: &mut Message, ttl_ms: Option<u64>) {
    if let (None, Some(ttl_ms), Some(produced_ms)) = (message.expires_ms, ttl_ms, message.record.timestamp_ms)
    {
        message.expires_ms = Some(produced_ms.max(0).unsigned_abs().saturating_add(ttl_ms));
    }
}

/// The end of a message that has expired. Who sends one again from the dead letters means it to be delivered.
pub(super) fn expired(message: &Message, now_ms: u64) -> Option<Outcome> {
    let late_ms = now_ms.checked_sub(message.expires_ms?)?;
    if message.past.as_ref().is_some_and(|it| it.redriven > 0) {
        return None;
    }
    let failure = Failure::lasting(Stage::Route, format!("it expired {late_ms} ms ago"));
    Some(Outcome::Dead { code: "expired".to_owned(), failure })
}

/// A message that is expired or not yet due is not tried. `delays`: whether its route keeps them (S57); what has come
/// from a rung is not asked.
fn not_now(message: &Message, now_ms: u64, delays: bool) -> Option<Outcome> {
    if let Some(outcome) = expired(message, now_ms) {
        return Some(outcome);
    }
    if !delays && message.past.is_none() {
        return None;
    }
    // Without a time of production the delay counts from when it was read. A producer may name any number.
    let counted_here = (message.delay_ms > 0).then(|| now_ms.saturating_add(message.delay_ms));
    message.due_ms.or(counted_here).filter(|it| *it > now_ms).map(Outcome::Deferred)
}

/// What an app's selector is told: the commands that it serves.
fn commands_of(routes: &Routes, app: &str) -> Vec<String> {
    let of_app = routes.entries().iter().filter(|it| &*it.route.app.name == app);
    of_app.map(|it| it.matcher.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::headers;

    fn delayed(delay_ms: u64, timestamp_ms: Option<i64>) -> Message {
        let mut block = Vec::new();
        headers::push(&mut block, b"drover-command", Some(b"pay"));
        headers::push(&mut block, b"drover-delay-ms", Some(delay_ms.to_string().as_bytes()));
        let record = Record::new(("orders".into(), 0, 0), timestamp_ms, None, Some(b"v"), &block);
        wire::decode(wire::Format::Auto, record).unwrap()
    }

    /// S54: the longest delay that can be written is a delay, and no overflow that ends the host, or the delay.
    #[test]
    fn a_delay_counts_to_the_end_of_time() {
        for (delay_ms, timestamp_ms, due_ms) in [
            (5, None, Some(1_005)),
            (5, Some(999), Some(1_004)),
            (5, Some(-1), Some(1_005)),
            (5, Some(100), None),
            (u64::MAX, None, Some(u64::MAX)),
            (u64::MAX, Some(999), Some(u64::MAX)),
        ] {
            let outcome = not_now(&delayed(delay_ms, timestamp_ms), 1_000, true);
            assert_eq!(outcome, due_ms.map(Outcome::Deferred), "{delay_ms} {timestamp_ms:?}");
            assert_eq!(not_now(&delayed(delay_ms, timestamp_ms), 1_000, false), None, "S57");
        }
    }
}
