//! Native twins of the usual plugins (S5): the same crates as the components, linked into the host. Routes name them
//! `native:forward` and so on; they decide the same without a sandbox, and without its cost and limits.
//!
//! Only conversions live here. What they decide is in `plugins/`, once for component and twin.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use drover_guest as sdk;
use drover_guest::config::Config;
use drover_guest::forward::PassOn;
use drover_plugin_forward as forward;
use drover_plugin_json_rpc_errno as json_rpc_errno;
use drover_plugin_least_loaded::LeastLoaded;
use drover_plugin_random::Random;
use drover_plugin_round_robin::RoundRobin;
use drover_plugin_weighted::Weighted;

use super::Stopped;
use super::guest::{Call, Load, body_of};
use super::selector::{AppView, Pick};
use crate::domain::exchange::{Method, Request, Response};
use crate::domain::message::Message;
use crate::domain::outcome::Verdict;

/// Which handler it is the twin of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerTwin {
    Forward,
    JsonRpcErrno,
}

/// Which selector it is the twin of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectorTwin {
    RoundRobin,
    Random,
    Weighted,
    LeastLoaded,
}

/// One of either kind.
pub enum Twin {
    Handler(HandlerTwin),
    Selector(SelectorTwin),
}

/// The twin that routes call by this name.
pub fn twin_of(name: &str) -> Option<Twin> {
    Some(match name {
        "native:forward" => Twin::Handler(HandlerTwin::Forward),
        "native:json-rpc-errno" => Twin::Handler(HandlerTwin::JsonRpcErrno),
        "native:round-robin" => Twin::Selector(SelectorTwin::RoundRobin),
        "native:random" => Twin::Selector(SelectorTwin::Random),
        "native:weighted" => Twin::Selector(SelectorTwin::Weighted),
        "native:least-loaded" => Twin::Selector(SelectorTwin::LeastLoaded),
        _ => return None,
    })
}

/// A handler and its settings.
pub struct NativeHandler {
    twin: HandlerTwin,
    settings: PassOn,
}

impl NativeHandler {
    /// Errors: those of the component's `init`, in the same words.
    pub fn start(twin: HandlerTwin, settings: &BTreeMap<String, String>) -> Result<Self, Stopped> {
        let settings: Config = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let read = match twin {
            HandlerTwin::Forward => forward::read(&settings),
            HandlerTwin::JsonRpcErrno => json_rpc_errno::read(&settings),
        };
        match read {
            Ok(settings) => Ok(Self { twin, settings }),
            Err(error) => Err(Stopped::of_init(error.reason())),
        }
    }

    pub fn handle(&self, message: &Message) -> Request {
        request_of(message, self.settings.request(&message.headers))
    }

    pub fn judge(&self, response: &Response) -> Option<Verdict> {
        match self.twin {
            HandlerTwin::Forward => None,
            HandlerTwin::JsonRpcErrno => {
                Some(verdict_of(json_rpc_errno::verdict(response.status, &response.body)))
            }
        }
    }
}

impl HandlerTwin {
    pub fn has_judge(self) -> bool {
        self == HandlerTwin::JsonRpcErrno
    }
}

/// A selector and what its last update told it.
pub enum NativeSelector {
    RoundRobin(RoundRobin),
    Random(Random),
    Weighted(Weighted),
    LeastLoaded(LeastLoaded),
}

impl NativeSelector {
    pub fn start(twin: SelectorTwin) -> Self {
        // Of the process' own randomness, as a component's is.
        let seed = || RandomState::new().build_hasher().finish();
        match twin {
            SelectorTwin::RoundRobin => Self::RoundRobin(RoundRobin::default()),
            SelectorTwin::Random => Self::Random(Random::from_seed(seed())),
            SelectorTwin::Weighted => Self::Weighted(Weighted::default()),
            SelectorTwin::LeastLoaded => Self::LeastLoaded(LeastLoaded::from_seed(seed())),
        }
    }

    pub fn update(&mut self, app: &AppView<'_>) {
        let servers: Vec<sdk::Server> = app
            .servers
            .iter()
            .map(|it| sdk::Server {
                id: it.id.to_owned(),
                uri: it.uri.to_owned(),
                weight: it.weight,
                zone: it.zone.to_owned(),
                labels: it.labels.to_vec(),
            })
            .collect();
        match self {
            Self::RoundRobin(it) => it.build(&servers),
            Self::Random(it) => it.build(&servers),
            Self::Weighted(it) => it.build(&servers),
            Self::LeastLoaded(it) => it.build(&servers),
        }
    }

    /// An index into the last update's servers, or why there is none.
    pub fn select(&mut self, pick: &Pick, call: &Call) -> Result<u32, String> {
        let chosen = match self {
            Self::RoundRobin(it) => it.choose(pick.turn, pick.failed),
            Self::Random(it) => it.choose(pick.failed),
            Self::Weighted(it) => it.choose(pick.turn, pick.failed),
            // Through the contract's number: a component sees no more than that holds.
            Self::LeastLoaded(it) => {
                it.choose(pick.failed, |server| Load::from_packed(call.load(server).packed()))
            }
        };
        let chosen = chosen.map_or_else(sdk::select::no_server, Ok);
        chosen.map_err(|error| error.reason().to_owned())
    }
}

fn request_of(message: &Message, it: sdk::Request) -> Request {
    let replaced = match it.body {
        sdk::Body::Passthrough => None,
        sdk::Body::Replace(bytes) => Some(bytes),
    };
    Request {
        method: match it.method {
            sdk::Method::Get => Method::Get,
            sdk::Method::Head => Method::Head,
            sdk::Method::Post => Method::Post,
            sdk::Method::Put => Method::Put,
            sdk::Method::Patch => Method::Patch,
            sdk::Method::Delete => Method::Delete,
            sdk::Method::Options => Method::Options,
        },
        path: it.path,
        headers: it.headers,
        body: body_of(message, replaced),
        timeout_ms: it.timeout_ms,
    }
}

fn verdict_of(it: sdk::Verdict) -> Verdict {
    let after = |it: &sdk::Advice| it.after_ms.map(u64::from);
    match it {
        sdk::Verdict::Done => Verdict::Done,
        sdk::Verdict::Skip(reason) => Verdict::Skip(reason),
        sdk::Verdict::Retry(it) => Verdict::Retry { after_ms: after(&it), reason: it.reason },
        sdk::Verdict::RetryElsewhere(it) => {
            Verdict::RetryElsewhere { after_ms: after(&it), reason: it.reason }
        }
        sdk::Verdict::Throttled(it) => Verdict::Throttled { after_ms: after(&it), reason: it.reason },
        sdk::Verdict::Defer(until_ms) => Verdict::Defer(until_ms),
        sdk::Verdict::Park(reason) => Verdict::Park(reason),
        sdk::Verdict::Reject(it) => Verdict::Reject { code: it.code, reason: it.reason },
    }
}
