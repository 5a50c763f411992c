//! What happened in a storm, as values: what was produced, tried, committed and broken, and when.
//!
//! All times are µs since the storm began, by one clock that does not go back. A history says what was seen from
//! outside: of what an engine thinks of itself nothing is in it.

/// µs since the storm began.
pub type Micros = u64;

/// Unique among all messages of a storm.
pub type Id = u64;

/// Where a record lies. `topic` counts the storm's topics from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    pub topic: u16,
    pub partition: i32,
}

/// How an attempt ended, as the service saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx was given: the message is delivered, whether or not anybody heard it.
    Delivered,
    /// Another status was given.
    Refused(u16),
    /// The service reset the connection, or closed it.
    Broken,
    /// The client went before it had its answer.
    Gone,
}

/// One request for a message at a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: Id,
    pub key: u32,
    pub seq: u32,
    /// The host that sent it.
    pub host: u16,
    /// The whole request had come.
    pub began: Micros,
    /// Just before the answer was written, or when the service gave it up.
    pub ended: Micros,
    pub answer: Answer,
}

/// A record that the brokers acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    pub lane: Lane,
    pub offset: i64,
    pub key: u32,
    /// Counts the messages of its key, in the order in which they lie in Kafka.
    pub seq: u32,
    pub id: Id,
    pub at: Micros,
}

/// What can be broken. In the order of [`FaultKind::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    HostKill,
    HostStop,
    BrokerKill,
    BrokerStop,
    /// Between a host and all brokers.
    KafkaCut,
    KafkaDelay,
    /// Between a host and its services.
    ServiceCut,
    ServiceDelay,
    /// A further host comes, and goes again.
    Rebalance,
    Reload,
    PluginSwap,
    DeadTopicGone,
    DeadTopicReadOnly,
    ServiceFails,
    ServiceHangs,
    ServiceSlow,
    ServiceResets,
}

impl FaultKind {
    pub const ALL: [Self; 17] = [
        Self::HostKill,
        Self::HostStop,
        Self::BrokerKill,
        Self::BrokerStop,
        Self::KafkaCut,
        Self::KafkaDelay,
        Self::ServiceCut,
        Self::ServiceDelay,
        Self::Rebalance,
        Self::Reload,
        Self::PluginSwap,
        Self::DeadTopicGone,
        Self::DeadTopicReadOnly,
        Self::ServiceFails,
        Self::ServiceHangs,
        Self::ServiceSlow,
        Self::ServiceResets,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::HostKill => "host-kill",
            Self::HostStop => "host-stop",
            Self::BrokerKill => "broker-kill",
            Self::BrokerStop => "broker-stop",
            Self::KafkaCut => "kafka-cut",
            Self::KafkaDelay => "kafka-delay",
            Self::ServiceCut => "service-cut",
            Self::ServiceDelay => "service-delay",
            Self::Rebalance => "rebalance",
            Self::Reload => "reload",
            Self::PluginSwap => "plugin-swap",
            Self::DeadTopicGone => "dead-topic-gone",
            Self::DeadTopicReadOnly => "dead-topic-read-only",
            Self::ServiceFails => "service-fails",
            Self::ServiceHangs => "service-hangs",
            Self::ServiceSlow => "service-slow",
            Self::ServiceResets => "service-resets",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// What a fault was done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// By its number in [`Attempt::host`].
    Host(u16),
    Broker(u16),
    /// All services, or all hosts, or a topic that all write to.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub target: Target,
    pub from: Micros,
    /// It was mended.
    pub until: Micros,
    /// Messages that waited for their outcome when it hit. Without any it proves nothing and does not count.
    pub in_flight: u64,
}

impl Fault {
    pub fn counts(&self) -> bool {
        self.in_flight > 0
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Produced(Produced),
    /// The producer gave it up; Kafka may have it all the same.
    Unacknowledged(Id),
    Attempted(Attempt),
    /// Its dead letter stands in the topic of dead letters since then.
    DeadLettered {
        id: Id,
        at: Micros,
    },
    /// It stands in a topic where it waits for a later attempt: a commit may pass it, an outcome it is not.
    Parked {
        id: Id,
        at: Micros,
    },
    /// The group was found to have committed this. The commit itself was then or earlier.
    Committed {
        lane: Lane,
        offset: i64,
        at: Micros,
    },
    Fault(Fault),
}

/// All that happened, in no particular order.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub events: Vec<Event>,
    /// It was waited until all had an outcome, or nothing moved any more. Only then can a message be overdue.
    pub settled: bool,
}

impl History {
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }
}
