//! Bytes that no client sends: the broker closes the connection and goes on serving the others.
use crate::client::{Client, frame};
use crate::kit::*;
use bytes::{BufMut, BytesMut};
use drover_broker::{ApiKey, Broker, Config, Limits, ResponseError};
use kafka_protocol::messages::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A small random number generator; the seed is in every failure's message.
pub struct Random(pub u64);
impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn serves(broker: &Broker) {
    let mut client = Client::new(broker.addr());
    assert_eq!(client.call(1, &MetadataRequest::default().with_topics(None)).brokers.len(), 1);
}

/// Sends bytes, says that it was all, and reads until the broker has closed or answered.
fn throw(broker: &Broker, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(broker.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // the broker may close while we still write
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    if let Err(failure) = stream.read_to_end(&mut answer) {
        assert_ne!(
            failure.kind(),
            std::io::ErrorKind::WouldBlock,
            "neither closed nor answered: {bytes:02x?}"
        );
    }
    answer
}

fn framed(body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u32(body.len() as u32);
    out.put_slice(body);
    out
}

#[test]
fn lengths_that_lie_cost_nothing() {
    let (broker, _) = broker();
    for len in [0u32, 1, 7, 0x7fff_ffff, 0x8000_0000, u32::MAX, 100 << 20] {
        assert_eq!(throw(&broker, &len.to_be_bytes()), b"");
    }
    // arrays of 2^31 - 1 elements, in plain and in compact versions of every API
    for api in 0..80i16 {
        for version in 0..18i16 {
            let mut body = BytesMut::new();
            body.put_i16(api);
            body.put_i16(version);
            body.put_i32(1);
            body.put_i16(-1);
            body.put_slice(&[0x7f, 0xff, 0xff, 0xff]);
            body.put_slice(&[0xff, 0xff, 0xff, 0xff, 0x07]);
            throw(&broker, &framed(&body));
        }
    }
    serves(&broker);
}

#[test]
fn an_unknown_version_is_refused_in_the_protocols_words() {
    let (broker, _) = broker();
    // a version of ApiVersions from the future: answered in version 0, with all that is offered
    let mut body = BytesMut::new();
    body.put_i16(ApiKey::ApiVersions as i16);
    body.put_i16(99);
    body.put_i32(7);
    let answer = throw(&broker, &framed(&body));
    assert_eq!(&answer[4..10], &[0, 0, 0, 7, 0, ResponseError::UnsupportedVersion.code() as u8]);
    assert!(answer.len() > 100);
    // an API that is not offered, but whose answer has a place for the error
    let mut client = Client::new(broker.addr());
    let request = ConsumerGroupHeartbeatRequest::default().with_group_id(GroupId(text("g")));
    assert_eq!(client.call(0, &request).error_code, ResponseError::UnsupportedVersion.code());
    // and the others: a clean close
    for (api, version) in [(0, 99), (3, 99), (999, 0), (-1, -1), (7, 0)] {
        let mut body = BytesMut::new();
        body.put_i16(api);
        body.put_i16(version);
        body.put_i32(7);
        assert_eq!(throw(&broker, &framed(&body)), b"");
    }
    serves(&broker);
}

#[test]
fn garbage_and_mutated_frames_break_nothing() {
    let (broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    produce(&mut client, "t", &Batch::of(&["kept"]));
    let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(name("t")));
    let models = [
        frame(9, 1, &produce_request("t", Batch::of(&["a", "b"]).bytes(), None)),
        frame(3, 1, &produce_request("t", Batch::of(&["a", "b"]).bytes(), None)),
        frame(12, 1, &MetadataRequest::default().with_topics(Some(vec![topic.clone()]))),
        frame(1, 1, &MetadataRequest::default().with_topics(Some(vec![topic]))),
        frame(
            9,
            1,
            &JoinGroupRequest::default().with_group_id(GroupId(text("g"))).with_session_timeout_ms(1000),
        ),
        frame(4, 1, &InitProducerIdRequest::default().with_transaction_timeout_ms(1000)),
        frame(3, 1, &ApiVersionsRequest::default()),
    ];
    for seed in 1..=400u64 {
        let mut random = Random(seed);
        let mut bytes = models[random.below(models.len())].to_vec();
        match random.below(4) {
            0 => bytes = (0..random.below(300)).map(|_| random.next() as u8).collect(),
            1 => bytes.truncate(random.below(bytes.len())),
            _ => {
                for _ in 0..=random.below(4) {
                    // not the frame's length: that is another test
                    let at = 4 + random.below(bytes.len() - 4);
                    bytes[at] = random.next() as u8;
                }
            }
        }
        throw(&broker, &bytes);
    }
    serves(&broker);
    let all = values(&read_all(&mut client, "t", 0, false));
    assert_eq!(all[0], "kept");
}

#[test]
fn batches_that_are_not_whole_are_refused() {
    let (_broker, mut client) = broker();
    create(&mut client, "t", 1, &[]);
    create(&mut client, "compacted", 1, &[("cleanup.policy", "compact")]);
    let good = Batch::of(&["one", "two"]).bytes();
    let mut ask = |topic: &str, bytes: &[u8]| {
        let request = produce_request(topic, bytes.to_vec().into(), None);
        client.call(9, &request).responses[0].partition_responses[0].error_code
    };
    for at in 16..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x20;
        let error = ask("t", &bytes);
        assert_ne!(error, 0, "byte {at}");
    }
    for len in 0..good.len() {
        assert_ne!(ask("t", &good[..len]), 0, "{len} bytes");
    }
    assert_eq!(ask("compacted", &good), ResponseError::InvalidRecord.code());
    // right checksums, wrong contents
    let sealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        let sum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&sum.to_be_bytes());
        bytes
    };
    let count = sealed(&|bytes| bytes[60] = 3);
    assert_eq!(ask("t", &count), ResponseError::InvalidRecord.code());
    let control = sealed(&|bytes| bytes[22] |= 0x20);
    assert_eq!(ask("t", &control), ResponseError::InvalidRecord.code());
    for codec in 1..8 {
        let packed = sealed(&|bytes| bytes[22] |= codec);
        assert_ne!(ask("t", &packed), 0, "codec {codec}");
    }
    assert_eq!(ask("t", &good), 0);
    assert_eq!(values(&read_all(&mut client, "t", 0, false)), ["one", "two"]);
}

#[test]
fn slow_connections_hold_up_nobody() {
    let limits = Limits { frame_time: Duration::from_millis(200), connections: 50, ..Limits::default() };
    let broker = Broker::start(Config { limits, ..quick(None) }).unwrap();
    let half = frame(9, 1, &MetadataRequest::default().with_topics(None));
    let mut slow: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(broker.addr()).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(&half[..half.len() - 1]).unwrap();
    }
    serves(&broker);
    // and they are closed in the end
    for stream in &mut slow {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or_default(), 0);
    }
    // more connections than there may be
    let many: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(broker.addr()).unwrap()).collect();
    drop(many);
    eventually("room again", || {
        let mut client = TcpStream::connect(broker.addr()).ok()?;
        client.write_all(&half).ok()?;
        client.read_exact(&mut [0; 4]).ok()
    });
}
