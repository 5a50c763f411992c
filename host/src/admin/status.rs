//! What the host does, for a person, and reading its files again.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::Shared;
use super::numbers;
use crate::web::answer;

/// Every lane of every group: what it has open, and what it waits for.
pub async fn groups(State(admin): Shared) -> Response {
    let control = match admin.control() {
        Ok(control) => control,
        Err(refusal) => return refusal.response(),
    };
    let report = control.report();
    let groups = report.groups.iter().map(|it| {
        let lanes: Vec<Value> = it
            .lanes
            .iter()
            .map(|it| {
                json!({
                    "topic": it.topic, "partition": it.partition, "low": it.low, "next": it.next,
                    "committed": it.committed, "open": it.open, "bytes": it.bytes, "gate": it.gate,
                })
            })
            .collect();
        json!({
            "group": it.group, "joined": it.joined, "received": it.received, "settled": it.settled,
            "open": it.open, "dropped": it.dropped, "repeated": it.repeated, "commits_acknowledged": it.commits_acknowledged,
            "commits_refused": it.commits_refused, "commit_gate": it.commit_gate,
            "late_acks": it.late_acks, "rebalances": it.rebalances, "lanes": lanes,
        })
    });
    let all: Vec<Value> = groups.collect();
    answer::json(StatusCode::OK, &json!({ "groups": all }))
}

pub async fn servers(State(admin): Shared) -> Response {
    let control = match admin.control() {
        Ok(control) => control,
        Err(refusal) => return refusal.response(),
    };
    let server = |it: &crate::metrics::picture::ServerNumbers| {
        json!({
            "app": it.app, "server": it.server, "in_flight": it.in_flight,
            "latency_ms": it.latency_ewma_us as f64 / 1e3, "requests": it.requests, "failures": it.failures,
            "connections_opened": it.connections_opened, "ejected": it.ejected,
            "breaker": it.breaker,
        })
    };
    let all: Vec<Value> = numbers::servers(control).iter().map(server).collect();
    answer::json(StatusCode::OK, &json!({ "servers": all }))
}

/// 422 with every problem; what runs goes on.
pub async fn reload(State(admin): Shared) -> Response {
    let control = match admin.control() {
        Ok(control) => control,
        Err(refusal) => return refusal.response(),
    };
    match control.reload().await {
        Ok(generation) => answer::json(StatusCode::OK, &json!({ "generation": generation })),
        Err(problems) => {
            let text = "not reloaded, what runs goes on";
            let body = json!({ "error": text, "problems": problems });
            answer::json(StatusCode::UNPROCESSABLE_ENTITY, &body)
        }
    }
}
