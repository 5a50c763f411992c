//! Both doors: opened at the start, changed by a reload. One that only its rules have changed for keeps its address
//! and its connections; one that moves answers at the old place what has begun there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use tokio::runtime::Handle;

use crate::admin::{self, Admin};
use crate::control::{Control, RoofChange, RoofPlan};
use crate::dlq::{Dlq, Way};
use crate::gateway;
use crate::metrics::Counters;
use crate::outbox::Outbox;
use crate::telemetry;
use crate::web::{self, Server};

/// What the files say of the doors: where each listens, and its rules.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub gateway: Option<(String, gateway::Config)>,
    pub admin: Option<(String, admin::Config)>,
}

/// Requests to publish that are under way may take so long to end.
const GATEWAY_END: Duration = Duration::from_secs(35);
const ADMIN_END: Duration = Duration::from_secs(2);

/// The open doors.
pub struct Doors {
    runtime: Handle,
    admin: Admin,
    /// What the gateway writes by; not there before Kafka is reached.
    behind: OnceLock<(Outbox, Arc<Counters>)>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    gateway: Option<Door<gateway::Config>>,
    admin: Option<Door<admin::Config>>,
    is_stopping: bool,
}

struct Door<C> {
    listen: String,
    config: C,
    server: Server,
}

/// Bound, and not served yet.
type Place = std::net::TcpListener;

impl Doors {
    /// With the operators' door alone: it answers from the first moment on.
    pub fn start(runtime: Handle, admin: Option<&(String, admin::Config)>) -> anyhow::Result<Arc<Self>> {
        let handle = Admin::new(&admin.map(|it| it.1.clone()).unwrap_or_default());
        let mut open = Open::default();
        if let Some((listen, config)) = admin {
            let server = serve(&runtime, listen_at(listen)?, handle.router()).context("the admin door")?;
            tracing::info!(address = %server.address, "operators are served");
            open.admin = Some(Door { listen: listen.clone(), config: config.clone(), server });
        }
        let (behind, open) = (OnceLock::new(), Mutex::new(open));
        Ok(Arc::new(Self { runtime, admin: handle, behind, open }))
    }

    /// Opens the producers' door.
    pub fn start_gateway(
        &self,
        door: Option<(String, gateway::Config)>,
        outbox: Outbox,
        counters: Arc<Counters>,
    ) -> anyhow::Result<()> {
        let (outbox, counters) = self.behind.get_or_init(|| (outbox, counters));
        let Some((listen, config)) = door else { return Ok(()) };
        let router = gateway::router(&config, outbox.clone(), Arc::clone(counters));
        let server = serve(&self.runtime, listen_at(&listen)?, router).context("the gateway")?;
        tracing::info!(address = %server.address, "producers are served");
        self.open().gateway = Some(Door { listen, config, server });
        Ok(())
    }

    /// All parts run.
    pub fn ready(&self, control: Control, dead_letters: (Dlq, Way)) {
        self.admin.ready(control, dead_letters);
    }

    /// Ready no more; still answering.
    pub fn stopping(&self) {
        self.open().is_stopping = true;
        self.admin.stopping();
    }

    /// Waits for what producers have under way. Blocks.
    pub fn stop_gateway(&self) {
        let gateway = self.open().gateway.take();
        if let Some(it) = gateway {
            self.runtime.block_on(it.server.stop(GATEWAY_END));
        }
    }

    /// Blocks.
    pub fn stop_admin(&self) {
        let admin = self.open().admin.take();
        if let Some(it) = admin {
            self.runtime.block_on(it.server.stop(ADMIN_END));
        }
    }

    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.open().gateway.as_ref().map(|it| it.server.address)
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.open().admin.as_ref().map(|it| it.server.address)
    }

    /// Listens where a door is wanted that is not there yet.
    fn prepare(self: &Arc<Self>, wanted: &Wanted) -> Result<RoofChange, String> {
        let refused = |door: &str, it: anyhow::Error| format!("`{door}.listen`: {it:#}; nothing was changed");
        let open = self.open();
        let gateway =
            new_place(open.gateway.as_ref(), wanted.gateway.as_ref()).map_err(|it| refused("gateway", it))?;
        let admin =
            new_place(open.admin.as_ref(), wanted.admin.as_ref()).map_err(|it| refused("admin", it))?;
        drop(open);
        let (doors, wanted) = (Arc::clone(self), wanted.clone());
        Ok(Box::new(move || doors.change(wanted, gateway, admin)))
    }

    fn change(&self, wanted: Wanted, gateway_at: Option<Place>, admin_at: Option<Place>) {
        let mut open = self.open();
        let Some((outbox, counters)) = self.behind.get() else { return };
        if open.is_stopping {
            return;
        }
        let router = |it: &gateway::Config| gateway::router(it, outbox.clone(), Arc::clone(counters));
        let left = self.follow(&mut open.gateway, wanted.gateway, gateway_at, router);
        self.end(left, GATEWAY_END);
        if let Some((_, config)) = &wanted.admin {
            self.admin.configure(config);
        }
        let left = self.follow(&mut open.admin, wanted.admin, admin_at, |_| self.admin.router());
        self.end(left, ADMIN_END);
    }

    /// The door becomes as wanted. The server that is not needed any more, if any.
    fn follow<C: PartialEq>(
        &self,
        door: &mut Option<Door<C>>,
        wanted: Option<(String, C)>,
        place: Option<Place>,
        router: impl Fn(&C) -> Router,
    ) -> Option<Server> {
        let Some((listen, config)) = wanted else { return door.take().map(|it| it.server) };
        let Some(place) = place else {
            // Where no door stands there is a place for the one that is wanted.
            if let Some(door) = door.as_mut().filter(|it| it.config != config) {
                door.server.serve(router(&config));
                door.config = config;
            }
            return None;
        };
        match serve(&self.runtime, place, router(&config)) {
            Ok(server) => {
                tracing::info!(address = %server.address, "a door has moved");
                door.replace(Door { listen, config, server }).map(|it| it.server)
            }
            Err(error) => {
                tracing::error!(%error, listen, "a door cannot move: it stays where it is");
                None
            }
        }
    }

    fn end(&self, server: Option<Server>, wait: Duration) {
        if let Some(server) = server {
            self.runtime.spawn(server.stop(wait));
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bound where a door is wanted and none stands.
fn new_place<C>(now: Option<&Door<C>>, wanted: Option<&(String, C)>) -> anyhow::Result<Option<Place>> {
    match wanted {
        Some((listen, _)) if now.is_none_or(|it| it.listen != *listen) => listen_at(listen).map(Some),
        Some(_) | None => Ok(None),
    }
}

fn listen_at(listen: &str) -> anyhow::Result<Place> {
    let bound = Place::bind(listen).and_then(|it| it.set_nonblocking(true).map(|()| it));
    bound.with_context(|| format!("listening on {listen}"))
}

fn serve(runtime: &Handle, place: Place, router: Router) -> std::io::Result<Server> {
    let _runtime = runtime.enter();
    Server::start(runtime, tokio::net::TcpListener::from_std(place)?, router, web::Config::default())
}

/// The roof as one reading of the files wants it.
pub struct Plan {
    /// Those that are open, as soon as they are.
    pub doors: Arc<OnceLock<Arc<Doors>>>,
    pub wanted: Wanted,
    /// Which log lines are kept.
    pub log: String,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.wanted.fmt(f)
    }
}

impl RoofPlan for Plan {
    fn prepare(&self) -> Result<RoofChange, String> {
        let doors = self.doors.get().map(|it| it.prepare(&self.wanted)).transpose()?;
        let log = self.log.clone();
        Ok(Box::new(move || {
            telemetry::follow(&log);
            if let Some(change) = doors {
                change();
            }
        }))
    }
}
