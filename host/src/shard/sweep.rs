//! Pauses, and what happens to waiting work when its lane is given back.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Shard;
use super::admit::{Job, RouteHere};
use super::work::{Ack, Ticket};
use crate::metrics::Wait;

impl Shard {
    /// Waits outside the route's places: another message has the place meanwhile.
    pub(super) async fn pause(self: &Rc<Self>, ticket: &Ticket, route: &RouteHere, pause: Duration) {
        if let Some(next) = route.gate.leave() {
            self.start(next);
        }
        route.gate.pause_begins();
        let waiting = self.shared.counters.waits.begin(Wait::Pause);
        self.sleep(ticket, pause).await;
        drop(waiting);
        route.gate.pause_ends();
        route.gate.enter_again().await;
    }

    /// Ends early when the sleeper may not go on, for its lane ends; when others do, it sleeps on.
    pub(super) async fn sleep(&self, ticket: &Ticket, pause: Duration) {
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        loop {
            let closed = self.closed.notified();
            if !self.shared.lanes.is_live(ticket) {
                return;
            }
            tokio::select! {
                () = &mut over => return,
                () = closed => {}
            }
        }
    }

    /// Lanes end: what waits of them and will not begin is dropped, the rest goes on to its end.
    pub(super) fn sweep(self: &Rc<Self>) {
        let keep = |job: &Job| self.shared.lanes.is_live(&job.ticket);
        let mut dropped = self.queues.borrow_mut().sweep(keep);
        let mut unstarted = Vec::new();
        for route in self.routes.borrow().values() {
            unstarted.extend(route.gate.sweep(keep));
        }
        for route in self.retired.borrow().iter() {
            unstarted.extend(route.gate.sweep(keep));
        }
        // Those had their turn: it goes to the next of their key that is still ours.
        for job in unstarted {
            let next = job.key.as_ref().and_then(|it| self.queues.borrow_mut().leave(it));
            if let Some(next) = next {
                self.begin(next);
            }
            dropped.push(job);
        }
        for job in dropped {
            self.acknowledge(Ack { ticket: job.ticket, settled: false });
        }
        self.closed.notify_waiters();
    }

    pub(super) fn group_name(&self, ticket: &Ticket) -> Arc<str> {
        let live = self.live.borrow();
        live.groups.get(ticket.group as usize).map_or_else(|| Arc::from("?"), |it| Arc::clone(&it.name))
    }

    /// After a change of what runs: routes and apps are met anew. What waits at the old ones' gates goes on
    /// from there.
    pub(super) fn follow_routes(&self) {
        let mut retired = self.retired.borrow_mut();
        retired.extend(self.routes.borrow_mut().drain().map(|(_, it)| it));
        retired.retain(|it| it.gate.in_flight() > 0 || it.gate.waiting() > 0);
        self.apps.borrow_mut().clear();
        self.forget_idle();
    }

    /// The route that its command has now; the one it was admitted by where there is none any more.
    pub(super) fn current_route(&self, job: &Job) -> Rc<RouteHere> {
        let live = self.live();
        if live.generation == job.generation {
            return Rc::clone(&job.route);
        }
        let group = self.group_name(&job.ticket);
        match live.routes.find(&group, &job.message.record.topic, &job.message.command) {
            Some(route) if !Arc::ptr_eq(route, &job.route.route) => self.route_here(route),
            Some(_) | None => Rc::clone(&job.route),
        }
    }
}
