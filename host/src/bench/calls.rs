//! What calls of plugins cost: real components, called as a shard calls them, in this process.
//!
//! CPU time of this thread, not the clock's; cases take turns in short rounds, and each case's fastest round
//! counts: what else the machine does meanwhile then hardly shows. A call that overruns its limit because
//! this thread had to wait for a processor costs its instance, as on a shard; the next round has a new one.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;

use super::machine::thread_cpu_ns;
use super::rows::{Limit, Row};
use crate::domain::exchange::Response;
use crate::domain::headers;
use crate::domain::message::Message;
use crate::domain::plugin::{NATIVE, STANDARD};
use crate::domain::record::Record;
use crate::plugin::{
    AppView, Call, Code, Engine, Handler, Load, Pick, Plugin, Selector, ServerView, Settings, Stopped,
    StoppedKind, compile, native, standard,
};
use crate::wire;

const ROUNDS: usize = 21;
const SERVERS: usize = 32;
const SELECTORS: &[&str] = &["round-robin", "random", "weighted", "least-loaded", "consistent-hash"];
/// As the services of `json-rpc-errno` answer.
const ANSWER: &[u8] = br#"{"errno":0,"errmsg":"ok","data":{"id":4711}}"#;

struct Case {
    name: String,
    /// One call.
    call: Box<dyn FnMut() -> anyhow::Result<()>>,
    /// The fastest round, a call.
    best_ns: f64,
    gate: Option<Limit>,
}

impl Case {
    fn new(name: impl Into<String>, call: impl FnMut() -> anyhow::Result<()> + 'static) -> Self {
        Self { name: name.into(), call: Box::new(call), best_ns: f64::MAX, gate: None }
    }

    fn gate_us(mut self, most: f64) -> Self {
        self.gate = Some(Limit::AtMost(most));
        self
    }

    fn round(&mut self, lasting: Duration) -> anyhow::Result<()> {
        let begun = thread_cpu_ns();
        let mut calls = 0;
        loop {
            for _ in 0..64 {
                (self.call)()?;
            }
            calls += 64;
            let took = thread_cpu_ns() - begun;
            if took >= lasting.as_nanos() as u64 {
                self.best_ns = self.best_ns.min(took as f64 / f64::from(calls));
                return Ok(());
            }
        }
    }
}

/// Measures them all; `lasting` is the length of a round.
pub fn rows(lasting: Duration) -> anyhow::Result<Vec<Row>> {
    let engine = Engine::new().map_err(|it| anyhow::anyhow!("{it:#}")).context("the plugin engine")?;
    let mut cases = Vec::new();
    for (plugin, case_of) in plugins() {
        cases.push(case_of(&engine, plugin)?);
        let twin = format!("{NATIVE}{plugin}");
        if STANDARD.iter().any(|it| it.0 == twin) {
            // What is promised is the component's cost.
            cases.push(Case { gate: None, ..case_of(&engine, &twin)? });
        }
    }
    for case in &mut cases {
        case.round(lasting)?;
        case.best_ns = f64::MAX;
    }
    for _ in 0..ROUNDS {
        for case in &mut cases {
            case.round(lasting)?;
        }
    }
    Ok(cases
        .iter()
        .map(|it| {
            let row = Row::of(it.name.clone(), "µs", vec![it.best_ns / 1e3]);
            let twin = cases.iter().find(|at| at.name == it.name.replacen(", ", &format!(", {NATIVE}"), 1));
            let row = match twin {
                Some(twin) => row.beside(format!("{:.1} × native twin", it.best_ns / twin.best_ns)),
                None => row,
            };
            Row { gate: it.gate, ..row }
        })
        .collect())
}

type CaseOf = fn(&Engine, &str) -> anyhow::Result<Case>;

/// What is called, and how; each beside its native twin where it has one.
fn plugins() -> impl Iterator<Item = (&'static str, CaseOf)> {
    let handlers: [(&str, CaseOf); 2] = [("forward", handler_case), ("json-rpc-errno", judge_case)];
    handlers.into_iter().chain(SELECTORS.iter().map(|it| (*it, selector_case as CaseOf)))
}

/// 1 KB and four headers.
fn message() -> anyhow::Result<Rc<Message>> {
    let mut block = Vec::new();
    let values: [(&str, &str); 4] = [
        ("content-type", "application/json"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("x-tenant", "tenant-0815"),
        ("x-request-id", "7b1f0f0e-6f0a-4a39-9b6f-0f8b8a5d2a11"),
    ];
    for (name, value) in values {
        headers::push(&mut block, name.as_bytes(), Some(value.as_bytes()));
    }
    let place = ("orders".into(), 3, 4_711);
    let record =
        Record::new(place, Some(1_700_000_000_000), Some(b"key-000815"), Some(&[b'x'; 1_024]), &block);
    let message = wire::decode(wire::Format::Raw, record);
    message.map(Rc::new).map_err(|(_, failure)| anyhow::anyhow!("{}", failure.detail))
}

fn call_of(message: &Rc<Message>) -> Call {
    Call { message: Some(Rc::clone(message)), attempt: 1, remaining_ms: 10_000, ..Call::default() }
}

fn handler_case(engine: &Engine, name: &str) -> anyhow::Result<Case> {
    let (message, start) = (message()?, starter(engine, name, handler)?);
    let mut handler = start()?;
    let case = Case::new(format!("handler call, {name}, 1 KB, 4 headers"), move || {
        match handler.handle(&message, "group", 1_700_000_000_001, call_of(&message)) {
            Ok(handled) => drop(std::hint::black_box(handled)),
            Err(stopped) => handler = again(&stopped, &start)?,
        }
        Ok(())
    });
    Ok(case.gate_us(1.2))
}

fn judge_case(engine: &Engine, name: &str) -> anyhow::Result<Case> {
    let (message, start) = (message()?, starter(engine, name, handler)?);
    let mut handler = start()?;
    let response = Response {
        status: 200,
        headers: Vec::new(),
        body: Bytes::from_static(ANSWER),
        took_ms: 1,
        retry_after_ms: None,
    };
    Ok(Case::new(format!("judge call, {name}"), move || {
        match handler.judge(&message, "10.0.0.1:8080", &response, call_of(&message)) {
            Ok(verdict) => drop(std::hint::black_box(verdict.context("no verdict")?)),
            Err(stopped) => handler = again(&stopped, &start)?,
        }
        Ok(())
    }))
}

fn selector_case(engine: &Engine, name: &str) -> anyhow::Result<Case> {
    let message = message()?;
    let start = starter(engine, name, selector)?;
    let mut selector = start()?;
    let loads: Rc<dyn Fn(u32) -> Load> =
        Rc::new(|at| Load { in_flight: at % 7, latency_ewma_us: 300, consecutive_failures: 0 });
    let mut turn = 0;
    let case = Case::new(format!("selector call, {name}, {SERVERS} servers"), move || {
        turn += 1;
        let call = Call { loads: Some(Rc::clone(&loads)), servers: SERVERS as u32, ..call_of(&message) };
        let hash = crate::domain::hash::hash(&u64::to_le_bytes(turn));
        let pick = Pick { hash, attempt: 1, failed: None, turn };
        match selector.select(&pick, call) {
            Ok(picked) => drop(std::hint::black_box(picked.map_err(anyhow::Error::msg)?)),
            Err(stopped) => selector = again(&stopped, &start)?,
        }
        Ok(())
    });
    Ok(case.gate_us(0.3))
}

fn tell(selector: &mut Selector) -> anyhow::Result<()> {
    let addresses: Vec<String> = (0..SERVERS).map(|it| format!("10.0.0.{it}:8080")).collect();
    let uris: Vec<String> = addresses.iter().map(|it| format!("http://{it}")).collect();
    let servers: Vec<ServerView<'_>> = addresses
        .iter()
        .zip(&uris)
        .map(|(id, uri)| ServerView { id, uri, weight: 1, zone: "a", labels: &[] })
        .collect();
    let app = AppView {
        name: "orders",
        protocol: "http",
        path: "/",
        server_type: "",
        commands: &["orders"],
        generation: 1,
        servers: &servers,
        shard: 0,
        shards: 1,
    };
    selector.update(&app).map_err(|it| anyhow::anyhow!("{it}"))
}

/// Compiles a standard plugin, or takes a native twin; gives what makes an instance of it.
fn starter<T>(
    engine: &Engine,
    name: &str,
    start: fn(&Engine, &Plugin) -> anyhow::Result<T>,
) -> anyhow::Result<impl Fn() -> anyhow::Result<T> + use<T>> {
    let plugin = match native(engine, name, name, Settings::default()) {
        Some(twin) => twin?,
        None => {
            let bytes = standard::component(name).with_context(|| format!("there is no plugin {name}"))?;
            compile(engine, name, bytes, Settings::default())?
        }
    };
    let engine = engine.clone();
    Ok(move || start(&engine, &plugin))
}

fn again<T>(stopped: &Stopped, start: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    anyhow::ensure!(stopped.kind == StoppedKind::Deadline, "{stopped}");
    start()
}

fn handler(engine: &Engine, plugin: &Plugin) -> anyhow::Result<Handler> {
    match &plugin.code {
        Code::Handler(code) => {
            code.start(engine, plugin, crate::plugin::INLINE_MS).map_err(|it| anyhow::anyhow!("{it}"))
        }
        Code::Selector(_) => anyhow::bail!("{} is a selector", plugin.name),
    }
}

fn selector(engine: &Engine, plugin: &Plugin) -> anyhow::Result<Selector> {
    let Code::Selector(code) = &plugin.code else { anyhow::bail!("{} is a handler", plugin.name) };
    let mut selector = code.start(engine, plugin).map_err(|it| anyhow::anyhow!("{it}"))?;
    tell(&mut selector)?;
    Ok(selector)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S194: what a call of a plugin costs stands beside what its native twin costs.
    #[test]
    fn a_call_is_measured_beside_its_native_twin() {
        let rows = rows(Duration::from_micros(50)).unwrap();
        for plugin in ["forward", "json-rpc-errno", "round-robin", "random", "weighted", "least-loaded"] {
            let of = |name: String| rows.iter().find(|it| it.name.contains(&name)).unwrap();
            assert!(of(format!(", {NATIVE}{plugin}")).gate.is_none());
            let component = of(format!(", {plugin}"));
            assert!(component.beside.contains("native twin"), "{}", component.name);
        }
    }
}
