//! Which anomaly is the price of which fault. What no fault near it explains is a bug.

use crate::checker::{Anomaly, Class};
use crate::history::{Fault, FaultKind, Micros, Target};

/// How far a fault's effects reach beyond it, in µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slack {
    /// What was delivered shortly before and is not committed yet: the time between two commits, and the longest
    /// a message may wait for one below it.
    pub before: Micros,
    /// Until a host is missed, its partitions are given to others and these have gone through what was open.
    pub after: Micros,
}

impl Default for Slack {
    fn default() -> Self {
        Self { before: 3_000_000, after: 15_000_000 }
    }
}

/// What the kinds of faults explain. Nothing explains the other classes.
///
/// - A host that dies, stops or loses Kafka cannot commit what it has delivered: the next owner repeats it, and a
///   request of the old one may still be open then. So does a coordinator that goes.
/// - A service that cannot be heard has delivered what its client must try again.
/// - A dead letter whose acknowledgement does not come in time is written again; a delivery is not. Where the topic
///   has too few replicas, that is because a broker was made to go, which may be the coordinator.
/// - A service that hangs sees its client go a little later than the client does.
/// - Hand-overs, reloads, plugins and delays shorter than every deadline cost nothing.
const TABLE: &[(FaultKind, &[Class])] = &[
    (FaultKind::HostKill, &[Class::Duplicate, Class::Rewound, Class::Overlapping]),
    (FaultKind::HostStop, &[Class::Duplicate, Class::Rewound, Class::Overlapping]),
    (FaultKind::BrokerKill, &[Class::Duplicate, Class::Rewound, Class::Overlapping]),
    (FaultKind::BrokerStop, &[Class::Duplicate, Class::Rewound, Class::Overlapping]),
    (FaultKind::KafkaCut, &[Class::Duplicate, Class::Rewound, Class::Overlapping]),
    (FaultKind::ServiceCut, &[Class::Duplicate, Class::Rewound, Class::Overlapping]),
    (FaultKind::ServiceHangs, &[Class::Overlapping]),
    (FaultKind::DeadTopicGone, &[Class::Duplicate]),
    (FaultKind::DeadTopicReadOnly, &[Class::Duplicate, Class::Rewound, Class::Overlapping]),
];

pub fn may_explain(kind: FaultKind, class: Class) -> bool {
    TABLE.iter().any(|(it, classes)| *it == kind && classes.contains(&class))
}

/// A topic of dead letters that is away has only letters written twice.
fn fits(kind: FaultKind, anomaly: &Anomaly) -> bool {
    match anomaly {
        Anomaly::Duplicate { before, again, .. } if kind == FaultKind::DeadTopicGone => {
            before.host.is_none() && again.host.is_none()
        }
        _ => true,
    }
}

/// Whether the fault is near the anomaly in time, and was done to one of the hosts that took part.
pub fn is_near(fault: &Fault, anomaly: &Anomaly, slack: Slack) -> bool {
    let (from, until) = (fault.from.saturating_sub(slack.before), fault.until.saturating_add(slack.after));
    let (times, hosts) = moments(anomaly);
    let in_time = times.into_iter().flatten().any(|it| from <= it && it <= until);
    let concerned = match fault.target {
        // A dead letter does not tell who wrote it.
        Target::Host(host) => hosts.contains(&Some(host)) || hosts.contains(&None),
        Target::Broker(_) | Target::All => true,
    };
    in_time && concerned
}

/// Those near the anomaly that explain it.
pub fn explained_by(anomaly: &Anomaly, faults: &[Fault], slack: Slack) -> Vec<FaultKind> {
    let class = anomaly.class();
    let able = faults.iter().filter(|it| may_explain(it.kind, class) && fits(it.kind, anomaly));
    let mut kinds: Vec<_> = able.filter(|it| is_near(it, anomaly, slack)).map(|it| it.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

type Times = [Option<Micros>; 3];
/// None: any of them.
type Hosts = [Option<u16>; 3];

const UNKNOWN: Hosts = [None; 3];

/// When it happened, and who took part.
fn moments(anomaly: &Anomaly) -> (Times, Hosts) {
    match anomaly {
        Anomaly::Lost { at, .. } | Anomaly::Unseen { at, .. } | Anomaly::CommitBeyond { at, .. } => {
            ([Some(*at), None, None], UNKNOWN)
        }
        Anomaly::Phantom { .. } => ([None; 3], UNKNOWN),
        Anomaly::Overtaken { by, .. } => ([Some(by.began), None, None], [Some(by.host); 3]),
        Anomaly::Rewound { first, by, again, parked, .. } => (
            [Some(first.at), Some(by.began), Some(again.began)],
            hosts([first.host, Some(by.host), Some(again.host)], *parked),
        ),
        Anomaly::Overlapping { earlier, later } => (
            [Some(earlier.began), Some(later.began), None],
            [Some(earlier.host), Some(later.host), Some(later.host)],
        ),
        Anomaly::Duplicate { before, again, parked, .. } => {
            ([Some(before.at), Some(again.at), None], hosts([before.host, again.host, again.host], *parked))
        }
    }
}

/// Of a message that was parked any host may have made the second copy.
fn hosts(all: Hosts, parked: bool) -> Hosts {
    if parked { UNKNOWN } else { all }
}
