//! Plugins: which run, and a new version of one, swapped in under load.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

use super::{Admin, COMPONENT_BYTES_MAX, Operator, Shared};
use crate::control::{PluginInfo, Upload, UploadError};
use crate::domain::plugin::check_upload_name;
use crate::web::answer::{self, Refusal};
use crate::web::body;

/// For a component to come.
const UPLOAD_TIME: Duration = Duration::from_secs(120);

pub async fn list(State(admin): Shared) -> Response {
    match admin.control() {
        Ok(control) => {
            let all: Vec<Value> = control.plugins().iter().map(shown).collect();
            answer::json(StatusCode::OK, &json!({ "plugins": all }))
        }
        Err(refusal) => refusal.response(),
    }
}

pub async fn one(State(admin): Shared, name: Named) -> Response {
    let found = named(name).and_then(|name| {
        let runs = admin.control()?.plugins().iter().find(|it| it.name == name).map(shown);
        runs.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("no plugin {name:?} runs")))
    });
    match found {
        Ok(it) => answer::json(StatusCode::OK, &it),
        Err(refusal) => refusal.response(),
    }
}

type Named = Result<Path<String>, PathRejection>;

fn named(name: Named) -> Result<String, Refusal> {
    let wrong =
        |_| Refusal::bad("the plugin's name is not UTF-8: letters, digits, dashes, dots, underscores");
    name.map(|it| it.0).map_err(wrong)
}

fn shown(it: &PluginInfo) -> Value {
    json!({ "name": it.name, "kind": it.kind, "digest": it.digest, "used_by": it.used_by })
}

/// `PUT /v1/plugins/{name}` with the component as the body.
pub async fn upload(State(admin): Shared, name: Named, request: Request) -> Response {
    carry_out(&admin, name, request).await.unwrap_or_else(|it| it.response())
}

async fn carry_out(admin: &Admin, name: Named, request: Request) -> Result<Response, Refusal> {
    let control = admin.control()?;
    let name = named(name)?;
    check_upload_name(&name).map_err(Refusal::bad)?;
    let _place = admin.inner.uploads.try_acquire().map_err(|_| {
        Refusal::later(StatusCode::SERVICE_UNAVAILABLE, "other uploads are under way: try again", 5)
    })?;
    let (parts, body) = request.into_parts();
    let by = parts.extensions.get::<Operator>().map_or("", |it| it.0).to_owned();
    let read = body::read(&parts.headers, body, COMPONENT_BYTES_MAX, UPLOAD_TIME, &admin.inner.bodies);
    let (bytes, _share) = read.await?;
    look(&bytes)?;
    let uploaded = control.upload(Upload { name, bytes, by }).await.map_err(|it| match it {
        UploadError::Refused(text) => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, text),
        UploadError::Unavailable(text) => Refusal::later(StatusCode::SERVICE_UNAVAILABLE, text, 5),
    })?;
    tracing::info!(plugin = uploaded.name, digest = uploaded.digest, "a plugin was uploaded");
    let shown = json!({
        "name": uploaded.name,
        "kind": uploaded.kind,
        "digest": uploaded.digest,
        "unchanged": uploaded.unchanged,
        "generation": uploaded.generation,
    });
    Ok(answer::json(StatusCode::OK, &shown))
}

/// What is no WASM at all needs no compiler to be told.
fn look(bytes: &Bytes) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::bad(
            "the body is empty: send the component, as `curl --data-binary @it.wasm` does",
        ));
    }
    if !bytes.starts_with(b"\0asm") {
        let text = "this is no WASM file: send the .wasm that `cargo build --target wasm32-wasip2` makes";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    Ok(())
}
