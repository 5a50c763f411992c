//! What belongs to one instance of a plugin: its limits, its settings, and the call under way.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::ResourceLimiter;

use crate::clock;
use crate::domain::message::Message;
use crate::metrics::PluginMetrics;

/// What a plugin may use up. Each is enforced; see `tests/guests` for the plugins that try to get past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All linear memories of an instance together.
    pub memory_bytes: usize,
    /// For one call, on the shard.
    pub call_ms: u32,
    /// For starting an instance, `init` included.
    pub start_ms: u32,
    /// What a guest may move to the host in one piece, and a message's value to the guest.
    pub hostcall_bytes: usize,
    /// Log lines of one call; further ones are dropped and counted.
    pub log_lines: u32,
    /// Of one log line; the rest is cut.
    pub log_line_bytes: usize,
    pub emitted_records: usize,
    pub emitted_bytes: usize,
    /// Calls after which an instance is made anew: memory never shrinks.
    pub calls: u64,
}

impl Limits {
    pub const HANDLER: Self = Self {
        memory_bytes: 64 << 20,
        call_ms: 10,
        start_ms: 1_000,
        hostcall_bytes: 24 << 20,
        log_lines: 64,
        log_line_bytes: 4 << 10,
        emitted_records: 256,
        emitted_bytes: 4 << 20,
        calls: 100_000,
    };

    pub const SELECTOR: Self = Self {
        memory_bytes: 16 << 20,
        call_ms: 1,
        hostcall_bytes: 1 << 20,
        emitted_records: 0,
        emitted_bytes: 0,
        calls: u64::MAX,
        ..Self::HANDLER
    };
}

/// A record that a handler wants written with the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    pub topic: String,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Header block.
    pub headers: Vec<u8>,
    pub partition: Option<u32>,
}

/// How busy a server is, for selectors.
pub use drover_guest::selection::Load;

/// What a call in progress is about. Cheap to set: shared pointers only.
#[derive(Clone, Default)]
pub struct Call {
    pub message: Option<Rc<Message>>,
    /// From 1.
    pub attempt: u32,
    /// Uri of the server chosen for this attempt, where the plugin asks for it beforehand.
    pub server: Option<Arc<str>>,
    /// What is left of the attempt's time when the call begins, in ms.
    pub remaining_ms: u32,
    /// For a selector: the servers of its last update, as they are now.
    pub loads: Option<Rc<dyn Fn(u32) -> Load>>,
    pub servers: u32,
}

impl Call {
    /// How busy a server is now; nothing where there is none.
    pub fn load(&self, server: u32) -> Load {
        self.loads.as_ref().map_or(Load::default(), |it| it(server))
    }
}

/// A store's data.
pub struct Guest {
    pub plugin: Arc<str>,
    pub config: Arc<BTreeMap<String, String>>,
    pub limits: Limits,
    pub memory: MemoryLimit,
    /// Of the call under way, in ms of processor time.
    pub limit_ms: u32,
    /// Whether this call has got time for a copy of its message's value.
    value_allowed_for: bool,
    /// Processor time of this thread when the call's deadline passed for the first time.
    overran_at: Option<Duration>,
    pub call: Call,
    pub emitted: Vec<Emitted>,
    pub emitted_bytes: usize,
    pub log_lines: u32,
    pub log_dropped: u64,
    /// What the guest writes to its stdout and stderr, until the line is whole.
    pub output: Vec<u8>,
    pub metrics: Arc<PluginMetrics>,
}

impl Guest {
    pub fn new(
        plugin: Arc<str>,
        config: Arc<BTreeMap<String, String>>,
        limits: &Limits,
        metrics: Arc<PluginMetrics>,
    ) -> Self {
        Self {
            metrics,
            plugin,
            config,
            memory: MemoryLimit { most: limits.memory_bytes, used: 0, refused: false },
            limits: limits.clone(),
            limit_ms: limits.start_ms,
            value_allowed_for: false,
            overran_at: None,
            call: Call::default(),
            emitted: Vec::new(),
            emitted_bytes: 0,
            log_lines: 0,
            log_dropped: 0,
            output: Vec::new(),
        }
    }

    /// Before a call: what the last one left is gone.
    pub fn begin(&mut self, call: Call, limit_ms: u32) {
        self.call = call;
        self.limit_ms = limit_ms;
        self.value_allowed_for = false;
        self.overran_at = None;
        self.emitted.clear();
        self.emitted_bytes = 0;
        self.log_lines = 0;
    }

    /// Asked when the deadline passes, which counts real time. A thread that had to wait for its core is not
    /// the guest's fault: from the first time on it is processor time that counts, and asking for that on
    /// every call would cost more than most calls do.
    pub fn has_overrun(&mut self) -> bool {
        let now = clock::thread_cpu_time();
        match self.overran_at {
            None => {
                self.overran_at = Some(now);
                false
            }
            // A tick is never exact.
            Some(since) => (now - since) * 5 >= Duration::from_millis(u64::from(self.limit_ms)) * 4,
        }
    }

    /// A copy of the value of the message that the call is about.
    ///
    /// 20 MB (S22) take longer than a call may, and a guest cannot copy less than all, so the call gets time for it.
    /// Nothing stops a guest while the host copies; what has passed shows in its next loop or function, one of
    /// which is the guest's own allocation, in the middle of the copy. `has_overrun` lets the first time pass and
    /// measures by `limit_ms` from there: so that is where the time is added, and the deadline in the store may stay.
    /// Once for a call: who asks again and again does so on its own time.
    pub fn copy_value(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        let Some(value) = self.call.message.as_ref().and_then(|it| it.value.as_ref()) else {
            return Ok(None);
        };
        let most = self.limits.hostcall_bytes;
        if value.len() > most {
            let length = value.len();
            return Err(wasmtime::Error::msg(format!(
                "the value has {length} bytes, a plugin may read {most}"
            )));
        }
        if !std::mem::replace(&mut self.value_allowed_for, true) {
            self.limit_ms += (value.len() >> COPIED_IN_A_MS) as u32;
        }
        Ok(Some(value.to_vec()))
    }

    /// One line of the guest's, into our log, within its limits.
    pub fn write_log(&mut self, level: tracing::Level, text: &str, fields: &[(String, String)]) {
        self.log_lines += 1;
        if self.log_lines > self.limits.log_lines {
            self.log_dropped += 1;
            return;
        }
        let mut end = text.len().min(self.limits.log_line_bytes);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        let plugin = &*self.plugin;
        let log_id = self.call.message.as_ref().map_or("", |it| &*it.log_id);
        let fields = Fields(fields);
        match level {
            tracing::Level::ERROR => tracing::error!(target: "plugin", plugin, log_id, %fields, "{text}"),
            tracing::Level::WARN => tracing::warn!(target: "plugin", plugin, log_id, %fields, "{text}"),
            tracing::Level::INFO => tracing::info!(target: "plugin", plugin, log_id, %fields, "{text}"),
            tracing::Level::DEBUG => tracing::debug!(target: "plugin", plugin, log_id, %fields, "{text}"),
            _ => tracing::trace!(target: "plugin", plugin, log_id, %fields, "{text}"),
        }
    }

    /// Bytes that the guest wrote to stdout or stderr: whole lines go to the log.
    pub fn write_output(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|it| *it == b'\n') {
            self.output.extend_from_slice(part);
            if part.ends_with(b"\n") || self.output.len() > self.limits.log_line_bytes {
                let line = std::mem::take(&mut self.output);
                let line = String::from_utf8_lossy(&line);
                self.write_log(tracing::Level::INFO, line.trim_end(), &[]);
            }
        }
    }

    pub fn take_emitted(&mut self) -> Vec<Emitted> {
        std::mem::take(&mut self.emitted)
    }
}

/// Log2 of the bytes of a value for which a call gets a ms more: 64 KiB. An optimised host copies ten times as much,
/// one that is built for its tests twice as much.
const COPIED_IN_A_MS: u32 = 16;

struct Fields<'a>(&'a [(String, String)]);

impl std::fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (name, value)) in self.0.iter().take(16).enumerate() {
            let gap = if at == 0 { "" } else { " " };
            write!(f, "{gap}{}={}", name.escape_debug(), value.escape_debug())?;
        }
        Ok(())
    }
}

/// Sums all memories of an instance; wasmtime's own limit is for each.
pub struct MemoryLimit {
    pub most: usize,
    pub used: usize,
    /// Whether the guest was refused memory: then that is what its trap is about.
    pub refused: bool,
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.used - current.min(self.used) + desired;
        if wanted > self.most {
            self.refused = true;
            return Ok(false);
        }
        self.used = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= 20_000)
    }
}

/// The body of a request, made from what the guest answered.
pub fn body_of(message: &Message, replaced: Option<Vec<u8>>) -> Bytes {
    match replaced {
        Some(bytes) => bytes.into(),
        None => message.value.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Record;
    use crate::wire;

    fn call_of(value: Option<&[u8]>) -> Call {
        let record = Record::new(("orders".into(), 0, 7), None, None, value, &[]);
        let message = wire::decode(wire::Format::Raw, record).unwrap_or_else(|it| panic!("{}", it.1.detail));
        Call { message: Some(Rc::new(message)), attempt: 1, ..Call::default() }
    }

    fn guest() -> Guest {
        Guest::new("p".into(), Arc::default(), &Limits::HANDLER, Arc::default())
    }

    /// S22: a call has time for one copy of its value, and no more however often it asks.
    #[test]
    fn a_copy_of_the_value_is_not_on_the_calls_time() {
        let (mut guest, value) = (guest(), vec![b'x'; 20 << 20]);
        for _ in 0..2 {
            guest.begin(call_of(Some(&value)), 10);
            assert_eq!(guest.limit_ms, 10);
            for _ in 0..3 {
                assert_eq!(guest.copy_value().unwrap().as_deref(), Some(&value[..]));
                assert_eq!(guest.limit_ms, 10 + 320);
            }
        }
    }

    #[test]
    fn a_value_may_be_missing_or_too_long() {
        let mut guest = guest();
        assert_eq!(guest.copy_value().unwrap(), None, "while it starts");
        guest.begin(call_of(None), 10);
        assert_eq!(guest.copy_value().unwrap(), None);
        guest.limits.hostcall_bytes = 3;
        guest.begin(call_of(Some(b"four")), 10);
        assert_eq!(guest.copy_value().unwrap_err().to_string(), "the value has 4 bytes, a plugin may read 3");
    }
}
