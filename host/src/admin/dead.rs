//! Dead letters: `drover dlq` by HTTP (S88). What changes something only says what it would do, unless `dry-run` is false.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::{Admin, Operator, Shared};
use crate::clock;
use crate::dlq::{
    Before, Dlq, Error, Headline, Letter, Place, Redrive, Redriven, Selection, WHOLE, Way, Wish,
};
use crate::web::answer::{self, Refusal};
use crate::web::body;

/// What the door works with.
pub(super) struct Dead {
    pub dlq: Dlq,
    pub way: Way,
}

/// Who looks, and who changes, at once.
pub(super) const READERS: usize = 2;
pub(super) const WRITERS: usize = 1;
/// For reading the dead letters, in one request.
const WITHIN: Duration = Duration::from_secs(30);
/// Letters in one answer.
const LISTED: u64 = 100;
const LISTED_MOST: u64 = 10_000;
/// Of a value that is not shown whole, in bytes.
const SHOWN_BYTES: usize = 4 << 10;
/// Longest body, in bytes, and the time for it.
const BODY_BYTES_MAX: usize = 64 << 10;
const BODY_TIME: Duration = Duration::from_secs(10);
/// Letters that one request sends again, and for how long it may take by its rate, in s.
const REDRIVE_LETTERS: u64 = 1_000;
const REDRIVE_S: u64 = 60;

/// `GET /v1/dead-letters?group=…`, with the parts of a filter.
pub async fn list(State(admin): Shared, RawQuery(query): RawQuery) -> Response {
    listed(&admin, query.unwrap_or_default()).await.unwrap_or_else(|it| it.response())
}

async fn listed(admin: &Admin, query: String) -> Result<Response, Refusal> {
    let (selection, others) = Selection::of_query(&query, &["group", "limit"]).map_err(refusal)?;
    let other = |name: &str| others.iter().find(|it| it.0 == name).map(|it| it.1.as_str());
    let group = other("group").ok_or_else(|| Refusal::bad("say whose: `?group=…`"))?;
    let limit = match other("limit").map(str::parse) {
        None => LISTED,
        Some(Ok(it)) if it <= LISTED_MOST => it,
        Some(_) => return Err(Refusal::bad(format!("`limit` is a number, at most {LISTED_MOST}"))),
    };
    let filter = selection.filter(clock::now_ms()).map_err(refusal)?;
    let place = place(admin, group)?;
    let answer = aside(admin, &admin.inner.dead_reads, move |dead, _| {
        let mut letters = Vec::new();
        let listing = dead.dlq.list((&place, &filter), limit, WITHIN, |it| {
            letters.push(value(&Headline::of(it))?);
            Ok(())
        })?;
        let Place { group, topic } = place;
        Ok(json!({
            "group": group, "topic": topic, "letters": letters, "more": listing.more, "others": listing.others,
        }))
    });
    Ok(answer::json(StatusCode::OK, &answer.await?))
}

type Named = Result<Path<(String, i32, i64)>, PathRejection>;

/// `GET /v1/dead-letters/{group}/{partition}/{offset}`; the whole value with `?whole=true`.
pub async fn one(State(admin): Shared, named: Named, RawQuery(query): RawQuery) -> Response {
    shown(&admin, named, query.as_deref()).await.unwrap_or_else(|it| it.response())
}

async fn shown(admin: &Admin, named: Named, query: Option<&str>) -> Result<Response, Refusal> {
    let wrong = |_| Refusal::bad("name a letter as /v1/dead-letters/{group}/{partition}/{offset}");
    let Path((group, partition, offset)) = named.map_err(wrong)?;
    let most = match query {
        None | Some("" | "whole=false") => SHOWN_BYTES,
        Some("whole=true") => WHOLE,
        Some(_) => return Err(Refusal::bad("this takes `?whole=true` and nothing else")),
    };
    let place = place(admin, &group)?;
    let answer = aside(admin, &admin.inner.dead_reads, move |dead, _| {
        let found = dead.dlq.show(&place, (partition, offset), WITHIN)?;
        Ok(value(&Letter::of(&found, most))?)
    });
    Ok(answer::json(StatusCode::OK, &answer.await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PurgeBody {
    group: String,
    #[serde(default = "yes")]
    dry_run: bool,
    before: Value,
    #[serde(default)]
    others: bool,
}

/// `POST /v1/dead-letters/purge`.
pub async fn purge(State(admin): Shared, request: Request) -> Response {
    purged(&admin, request).await.unwrap_or_else(|it| it.response())
}

async fn purged(admin: &Admin, request: Request) -> Result<Response, Refusal> {
    let by = request.extensions().get::<Operator>().map_or("", |it| it.0);
    let own = ["group", "dry-run", "before", "others"];
    let (body, selection): (PurgeBody, _) = read(admin, request, &own).await?;
    let now_ms = clock::now_ms();
    let before = match &body.before {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let before = Before::parse(&before, now_ms).map_err(refusal)?;
    let wish = Wish { filter: selection.filter(now_ms).map_err(refusal)?, before, others: body.others };
    let place = place(admin, &body.group)?;
    let answer = aside(admin, &admin.inner.dead_writes, move |dead, _| {
        let cuts = dead.dlq.plan_purge(&place, &wish, WITHIN)?;
        let purged = match body.dry_run {
            true => Vec::new(),
            false => dead.way.runtime.block_on(dead.dlq.purge(&place, &cuts))?,
        };
        if !body.dry_run {
            tracing::info!(group = place.group, by, "dead letters were purged");
        }
        let Place { group, topic } = place;
        Ok(json!({
            "group": group, "topic": topic, "dry-run": body.dry_run, "partitions": cuts, "purged": purged,
        }))
    });
    Ok(answer::json(StatusCode::OK, &answer.await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RedriveBody {
    group: String,
    #[serde(default = "yes")]
    dry_run: bool,
    #[serde(default)]
    all: bool,
    #[serde(default = "usual_rate")]
    rate: u32,
    #[serde(default = "usual_redrives")]
    max_redrives: u32,
    #[serde(default = "usual_limit")]
    limit: u64,
}

/// `POST /v1/dead-letters/redrive`.
pub async fn redrive(State(admin): Shared, request: Request) -> Response {
    redriven(&admin, request).await.unwrap_or_else(|it| it.response())
}

async fn redriven(admin: &Admin, request: Request) -> Result<Response, Refusal> {
    let by = request.extensions().get::<Operator>().map_or("", |it| it.0);
    let own = ["group", "dry-run", "all", "rate", "max-redrives", "limit"];
    let (body, selection): (RedriveBody, _) = read(admin, request, &own).await?;
    let filter = selection.filter(clock::now_ms()).map_err(refusal)?;
    if body.all != filter.is_all() {
        let text = "say which letters: `letter`, a filter, or `\"all\": true` and no filter";
        return Err(Refusal::bad(text));
    }
    if body.rate == 0 || REDRIVE_S * u64::from(body.rate) < body.limit {
        let most = REDRIVE_S * u64::from(body.rate);
        let text = format!(
            "a request sends for {REDRIVE_S} s at most, so `limit` is at most {most} at this `rate`: ask again for the \
             rest from where the answer says, or use `drover dlq redrive`"
        );
        return Err(Refusal::bad(text));
    }
    let wish = Redrive { filter, rate: body.rate, max_redrives: body.max_redrives, limit: Some(body.limit) };
    let place = place(admin, &body.group)?;
    let answer = aside(admin, &admin.inner.dead_writes, move |dead, stopping| {
        let way = (!body.dry_run).then_some(&dead.way);
        // A host that stops does not wait for it; the answer says where to go on.
        let mut watch = |_: &Redriven| match stopping.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let report = dead.dlq.redrive((&place, &wish), way, WITHIN, &mut watch)?;
        if !body.dry_run {
            tracing::info!(group = place.group, by, letters = report.letters, "dead letters were sent again");
        }
        let Place { group, topic } = place;
        Ok(json!({ "group": group, "topic": topic, "dry-run": body.dry_run, "redriven": report }))
    });
    Ok(answer::json(StatusCode::OK, &answer.await?))
}

fn yes() -> bool {
    true
}

fn usual_rate() -> u32 {
    100
}

fn usual_redrives() -> u32 {
    3
}

fn usual_limit() -> u64 {
    REDRIVE_LETTERS
}

/// A JSON object: what is the request's own, and what selects.
async fn read<T: for<'de> Deserialize<'de>>(
    admin: &Admin,
    request: Request,
    own: &[&str],
) -> Result<(T, Selection), Refusal> {
    let (parts, body) = request.into_parts();
    let read = body::read(&parts.headers, body, BODY_BYTES_MAX, BODY_TIME, &admin.inner.bodies);
    let (bytes, _share) = read.await?;
    let wrong = |it: serde_json::Error| {
        Refusal::bad(format!(
            "the body is a JSON object as in {{\"group\": \"g\", \"command\": \"pay\"}}: {it}"
        ))
    };
    let all: Map<String, Value> = serde_json::from_slice(&bytes).map_err(wrong)?;
    let (own, selection): (Map<_, _>, Map<_, _>) =
        all.into_iter().partition(|(name, _)| own.contains(&name.as_str()));
    let own = serde_json::from_value(own.into()).map_err(wrong)?;
    Ok((own, serde_json::from_value(selection.into()).map_err(wrong)?))
}

/// Where a group's dead letters lie.
fn place(admin: &Admin, group: &str) -> Result<Place, Refusal> {
    let topic = admin.control()?.dead_topic(group).ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            format!("this host has no group {group:?}; /v1/groups lists them"),
        )
    })?;
    Ok(Place { group: group.to_owned(), topic: topic.to_string() })
}

/// On a thread that may block, and hears whether the host is stopping. `places`: so many at once.
async fn aside(
    admin: &Admin,
    places: &Semaphore,
    work: impl FnOnce(&Dead, &AtomicBool) -> Result<Value, Error> + Send + 'static,
) -> Result<Value, Refusal> {
    let _place = places.try_acquire().map_err(|_| {
        let text = "others are at the dead letters: try again";
        Refusal::later(StatusCode::SERVICE_UNAVAILABLE, text, 5)
    })?;
    let admin = admin.clone();
    let done = tokio::task::spawn_blocking(move || {
        let Some(dead) = admin.inner.dead.get() else {
            return Err(Error::Refused("the host is starting: try again".to_owned()));
        };
        work(dead, &admin.inner.stopping)
    });
    let done = done.await.map_err(|it| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, it.to_string()))?;
    done.map_err(refusal)
}

fn refusal(error: Error) -> Refusal {
    let text = error.to_string();
    match error {
        Error::Refused(_) => Refusal::bad(text),
        Error::Missing(_) => Refusal::new(StatusCode::NOT_FOUND, text),
        Error::Kafka(_) => Refusal::later(StatusCode::SERVICE_UNAVAILABLE, text, 5),
        Error::Output(_) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text),
    }
}

fn value(it: &impl serde::Serialize) -> std::io::Result<Value> {
    Ok(serde_json::to_value(it)?)
}
