"""Checks the broker with the clients of Python: confluent-kafka (librdkafka), kafka-python, aiokafka.

Usage: check.py HOST:PORT. A line for each check; the first that fails ends it with an exception.
"""
import asyncio
import sys
import time
import uuid

BROKER = sys.argv[1]
RUN = uuid.uuid4().hex[:8]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def confluent():
    from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

    base = {"bootstrap.servers": BROKER}
    admin = AdminClient(base)

    def create(name, partitions=1, **settings):
        config = {key.replace("_", "."): value for key, value in settings.items()}
        for done in admin.create_topics([NewTopic(name, partitions, 1, config=config)]).values():
            done.result(10)
        return name

    def read(topic, count, group=None, **more):
        settings = base | {"group.id": group or f"{topic}-read", "auto.offset.reset": "earliest"} | more
        consumer = Consumer(settings)
        consumer.subscribe([topic])
        out, deadline = [], time.time() + 20
        while len(out) < count:
            assert time.time() < deadline, f"{len(out)} of {count}"
            message = consumer.poll(0.2)
            if message is not None:
                assert message.error() is None, message.error()
                out.append(message)
        consumer.close()
        return out

    for codec in CODECS:
        topic = create(f"py-{codec}-{RUN}")
        producer = Producer(base | {"compression.type": codec, "enable.idempotence": True})
        for n in range(100):
            producer.produce(topic, key=str(n), value="a value that packs well", headers=[("h", b"1"), ("h", None)])
        assert producer.flush(10) == 0
        messages = read(topic, 100)
        assert messages[99].key() == b"99" and messages[0].headers() == [("h", b"1"), ("h", None)]
    print("ok confluent-kafka: every codec, idempotent, headers")

    topic = create(f"py-txn-{RUN}")
    source = create(f"py-source-{RUN}")
    first = Producer(base | {"transactional.id": f"py-{RUN}"})
    first.init_transactions(10)
    first.begin_transaction()
    first.produce(topic, "aborted")
    first.flush(10)
    first.abort_transaction(10)
    consumer = Consumer(base | {"group.id": f"py-txn-{RUN}"})
    first.begin_transaction()
    first.produce(topic, "committed")
    first.send_offsets_to_transaction([TopicPartition(source, 0, 5, "note")], consumer.consumer_group_metadata(), 10)
    first.commit_transaction(10)
    assert consumer.committed([TopicPartition(source, 0)], 10)[0].offset == 5
    second = Producer(base | {"transactional.id": f"py-{RUN}"})
    second.init_transactions(10)
    try:
        first.begin_transaction()
        first.produce(topic, "of a zombie")
        first.commit_transaction(10)
        raise AssertionError("the zombie is not fenced")
    except KafkaException as refused:
        assert refused.args[0].fatal() or "FENCED" in refused.args[0].name(), refused
    got = read(topic, 1, **{"isolation.level": "read_committed"})
    assert [m.value() for m in got] == [b"committed"]
    consumer.close()
    print("ok confluent-kafka: transactions, offsets in them, fencing")

    topic = create(f"py-admin-{RUN}", retention_ms="3600000")
    for done in admin.create_partitions([NewPartitions(topic, 3)]).values():
        done.result(10)
    described = list(admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values())[0].result(10)
    assert described["retention.ms"].value == "3600000"
    assert len(admin.list_topics(topic, 10).topics[topic].partitions) == 3
    for bad in [NewTopic(f"{topic}-b", 1, 1, config={"retention.ms": "soon"}), NewTopic(f"{topic}-b", 1, 3)]:
        try:
            list(admin.create_topics([bad]).values())[0].result(10)
            raise AssertionError("taken")
        except KafkaException:
            pass
    for done in admin.delete_topics([topic]).values():
        done.result(10)
    print("ok confluent-kafka: admin")

    for strategy in ["cooperative-sticky", "range"]:
        topic = create(f"py-group-{strategy}-{RUN}", 4)
        settings = base | {"group.id": topic, "auto.offset.reset": "earliest", "partition.assignment.strategy": strategy,
                           "topic.metadata.refresh.interval.ms": 500, "heartbeat.interval.ms": 300}
        members = [Consumer(settings) for _ in range(2)]
        owned = [0, 0]
        deadline = time.time() + 30
        members[0].subscribe([topic])
        while owned != [2, 2]:
            assert time.time() < deadline, owned
            if owned[0] == 4:
                members[1].subscribe([topic])
            for nth, member in enumerate(members):
                if owned[0] >= 4 or nth == 0 or owned[1] or owned[0] < 4:
                    member.poll(0.05)
                owned[nth] = len(member.assignment())
        for member in members:
            member.close()
    print("ok confluent-kafka: two members, cooperative and eager")


def kafka_python():
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.structs import OffsetAndMetadata

    topic = f"kp-{RUN}"
    for nth, codec in enumerate(CODECS):
        producer = KafkaProducer(bootstrap_servers=BROKER, compression_type=None if codec == "none" else codec, acks="all")
        futures = [producer.send(topic, b"v%d" % n, timestamp_ms=1000 + n) for n in range(20)]
        assert futures[-1].get(10).offset == nth * 20 + 19
        producer.close()
    consumer = KafkaConsumer(topic, bootstrap_servers=BROKER, group_id=topic, auto_offset_reset="earliest", consumer_timeout_ms=10000)
    got = 0
    for _ in consumer:
        got += 1
        if got == 100:
            break
    partition = TopicPartition(topic, 0)
    try:
        consumer.commit({partition: OffsetAndMetadata(7, "note", -1)})
    except TypeError:
        consumer.commit({partition: OffsetAndMetadata(7, "note")})
    assert consumer.committed(partition, metadata=True).metadata == "note"
    assert consumer.offsets_for_times({partition: 1005})[partition].offset == 5
    consumer.close()
    print("ok kafka-python: every codec, group, commit with metadata, offsets by time")


async def aio():
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    topic = f"aio-{RUN}"
    async with AIOKafkaProducer(bootstrap_servers=BROKER, enable_idempotence=True) as producer:
        for n in range(50):
            await producer.send_and_wait(topic, b"%d" % n)
    async with AIOKafkaProducer(bootstrap_servers=BROKER, transactional_id=f"aio-{RUN}") as producer:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"last")
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=BROKER, group_id=topic, auto_offset_reset="earliest", isolation_level="read_committed")
    async with consumer:
        got = [await asyncio.wait_for(consumer.getone(), 10) for _ in range(51)]
        assert got[-1].value == b"last"
        await consumer.commit()
    print("ok aiokafka: idempotent, transaction, group")


confluent()
kafka_python()
asyncio.run(aio())
