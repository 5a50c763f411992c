//! `/stats`, in the shape of bigpipe's with ours beside it (S134, S138), and `/metrics`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::{Admin, Shared};
use crate::control::Control;
use crate::domain::breaker;
use crate::metrics::page;
use crate::metrics::picture::{BreakerNumbers, GroupNumbers, LaneNumbers, Picture, ServerNumbers};
use crate::metrics::{RouteKey, RouteSum};
use crate::web::answer;

pub async fn metrics(State(admin): Shared, headers: HeaderMap) -> Response {
    let control = match admin.control() {
        Ok(control) => control,
        Err(refusal) => return refusal.response(),
    };
    let format = page::Format::of(answer::header(&headers, http::header::ACCEPT).unwrap_or_default());
    let text = page::render(control.counters(), &picture(&admin, control), format);
    answer::of(StatusCode::OK, HeaderValue::from_static(format.media_type()), text)
}

fn picture(admin: &Admin, control: &Control) -> Picture {
    let report = control.report();
    let groups = report.groups.into_iter().map(|it| GroupNumbers {
        received: it.received,
        settled: it.settled,
        open: it.open,
        dropped: it.dropped,
        repeated: it.repeated,
        commits_acknowledged: it.commits_acknowledged,
        commits_refused: it.commits_refused,
        late_acks: it.late_acks,
        rebalances: it.rebalances,
        joined: it.joined,
        commit_blocked: it.commit_gate.is_some(),
        lanes: it
            .lanes
            .into_iter()
            .map(|it| LaneNumbers {
                topic: it.topic,
                partition: it.partition,
                low: it.low,
                next: it.next,
                committed: it.committed,
                open: u64::from(it.open),
                bytes: it.bytes as u64,
                gate: it.gate,
            })
            .collect(),
        group: it.group,
    });
    Picture {
        generation: report.generation,
        ready: admin.missing().is_empty(),
        outbox_queued: report.outbox_queued as u64,
        groups: groups.collect(),
        servers: servers(control),
        breakers: breakers(control),
    }
}

fn breakers(control: &Control) -> Vec<BreakerNumbers> {
    let mut all = Vec::new();
    for (app, servers) in control.directory().apps() {
        for it in servers.breakers() {
            let server = it.server.map_or_else(String::new, |it| it.to_string());
            let state = match it.state {
                breaker::State::Normal => 0,
                breaker::State::Break => 1,
                breaker::State::Recover => 2,
            };
            all.push(BreakerNumbers { app: app.to_string(), server, state });
        }
    }
    all
}

pub(super) fn servers(control: &Control) -> Vec<ServerNumbers> {
    let mut all = Vec::new();
    for (app, servers) in control.directory().apps() {
        let in_service = servers.in_service();
        for it in servers.all() {
            let load = |it: &std::sync::atomic::AtomicU64| it.load(std::sync::atomic::Ordering::Relaxed);
            all.push(ServerNumbers {
                app: app.to_string(),
                server: it.address.to_string(),
                in_flight: u64::from(it.stats.in_flight()),
                latency_ewma_us: u64::from(it.stats.latency_ewma_us()),
                requests: it.stats.requests(),
                failures: it.stats.failures(),
                connections_opened: load(&it.stats.connections_opened),
                ejected: !in_service.servers.iter().any(|at| at.address == it.address),
                breaker: it.health.admission.state().as_str(),
            });
        }
    }
    all
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    errno: i32,
    msg: &'static str,
    data: Data,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    server_stats: ServerStats,
    producer_stats: BTreeMap<String, ProducerStats>,
    consumer_stats: Vec<ConsumerStats>,
    client_stats: BTreeMap<String, ClientStats>,
    /// Ours: by group, topic and the route that takes the command.
    route_stats: Vec<RouteStats>,
    group_stats: Vec<GroupStats>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerStats {
    received_call: u64,
    accepted_call: u64,
    overload_call: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProducerStats {
    delivery_success: u64,
    delivery_fail: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsumerStats {
    topic: String,
    group_id: String,
    handle_message: u64,
    invalid_message: u64,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientStats {
    rpc_total: u64,
    rpc_success: u64,
    rpc_fail: u64,
    rpc_retries: u64,
    circuit_is_break: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteStats {
    group: String,
    topic: String,
    route: String,
    attempts: u64,
    failures: u64,
    retries: u64,
    done: u64,
    skipped: u64,
    deferred: u64,
    parked: u64,
    dead: u64,
    /// Mean, in ms.
    answer_ms: f64,
    circuit_is_break: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupStats {
    group: String,
    received: u64,
    settled: u64,
    open: u64,
    dropped: u64,
}

pub async fn stats(State(admin): Shared) -> Response {
    match admin.control() {
        Ok(control) => answer::json(StatusCode::OK, &Stats { errno: 0, msg: "success", data: data(control) }),
        Err(refusal) => refusal.response(),
    }
}

fn data(control: &Control) -> Data {
    let counters = control.counters();
    let gateway = counters.gateway.sum();
    let broken = broken_apps(control);
    let mut data = Data {
        server_stats: ServerStats {
            received_call: gateway.received,
            accepted_call: gateway.accepted,
            overload_call: gateway.overload,
        },
        ..Data::default()
    };
    for (topic, (delivery_success, delivery_fail)) in gateway.topics {
        data.producer_stats.insert(topic, ProducerStats { delivery_success, delivery_fail });
    }
    let routes = counters.by_route();
    let mut consumers: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    for (key, sum) in &routes {
        let broken = u8::from(broken.iter().any(|it| key.route.starts_with(&format!("{it}/"))));
        let entry = consumers.entry((key.topic.to_string(), key.group.to_string())).or_default();
        entry.0 += sum.settled();
        let client = data.client_stats.entry(key.topic.to_string()).or_default();
        client.rpc_total += sum.attempts;
        client.rpc_success += sum.attempts.saturating_sub(sum.failures);
        client.rpc_fail += sum.failures;
        client.rpc_retries += sum.retries;
        client.circuit_is_break |= broken;
        data.route_stats.push(route_stats(key, sum, broken));
    }
    for ((group, topic, outcome), count) in counters.by_unrouted() {
        let entry = consumers.entry((topic, group)).or_default();
        if outcome == "dead" { entry.1 += count } else { entry.0 += count }
    }
    for ((topic, group_id), (handle_message, invalid_message)) in consumers {
        data.consumer_stats.push(ConsumerStats { topic, group_id, handle_message, invalid_message });
    }
    for it in control.report().groups {
        let (received, settled, open, dropped) = (it.received, it.settled, it.open, it.dropped);
        data.group_stats.push(GroupStats { group: it.group, received, settled, open, dropped });
    }
    data
}

fn route_stats(key: &RouteKey, sum: &RouteSum, circuit_is_break: u8) -> RouteStats {
    let answers = sum.answers.count().max(1);
    RouteStats {
        group: key.group.to_string(),
        topic: key.topic.to_string(),
        route: key.route.to_string(),
        attempts: sum.attempts,
        failures: sum.failures,
        retries: sum.retries,
        done: sum.done,
        skipped: sum.skipped,
        deferred: sum.deferred,
        parked: sum.parked,
        dead: sum.dead,
        answer_ms: sum.answers.sum_us as f64 / answers as f64 / 1e3,
        circuit_is_break,
    }
}

/// Apps that get nothing at the moment, or nothing but trials (S104).
fn broken_apps(control: &Control) -> Vec<String> {
    let now_ms = crate::clock::monotonic_ms();
    let broken = control.directory().apps().into_iter().filter(|it| it.1.is_broken(now_ms));
    broken.map(|it| it.0.to_string()).collect()
}
