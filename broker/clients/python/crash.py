"""Kills the broker with SIGKILL again and again while clients write, and compares what was acknowledged with what is there.

Usage: crash.py SERVE-PROGRAM DIRECTORY. Writers: confluent-kafka (idempotent, and transactional), kafka-python, aiokafka.
"""
import asyncio
import socket
import subprocess
import sys
import threading
import time

from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaProducer

SERVE, DIRECTORY = sys.argv[1:3]
KILLS, PARTITIONS = 6, 3
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    BROKER = f"127.0.0.1:{free.getsockname()[1]}"
acknowledged = {name: {} for name in ["idempotent", "transactional", "kafka-python", "aiokafka"]}
stop = threading.Event()


def start():
    broker = subprocess.Popen([SERVE, BROKER, DIRECTORY], stdout=subprocess.PIPE, text=True)
    assert broker.stdout.readline().startswith("listening on")
    return broker


def idempotent():
    took = acknowledged["idempotent"]
    producer = Producer({"bootstrap.servers": BROKER, "enable.idempotence": True, "linger.ms": 2, "compression.type": "lz4"})

    def delivered(error, message):
        if error is None:
            took[message.value().decode()] = (message.partition(), message.offset())

    n = 0
    while not stop.is_set():
        producer.produce("idempotent", str(n), partition=n % PARTITIONS, on_delivery=delivered)
        n += 1
        producer.poll(0.001)
    assert producer.flush(30) == 0


def transactional():
    took = acknowledged["transactional"]
    producer, n = None, 0
    while not stop.is_set():
        try:
            if producer is None:
                producer = Producer({"bootstrap.servers": BROKER, "transactional.id": "crash", "linger.ms": 0})
                producer.init_transactions(30)
            producer.begin_transaction()
            values = [f"{n}-{m}" for m in range(10)]
            n += 1
            for value in values:
                producer.produce("transactional", value, partition=n % PARTITIONS)
            if n % 5 == 0:
                producer.abort_transaction(30)
                continue
            producer.commit_transaction(30)
            took.update({value: None for value in values})
        except KafkaException as failure:
            if failure.args[0].txn_requires_abort():
                producer.abort_transaction(30)
            elif not failure.args[0].retriable():
                producer = None


def kafka_python():
    took = acknowledged["kafka-python"]
    producer = KafkaProducer(bootstrap_servers=BROKER, acks="all", retries=20, reconnect_backoff_max_ms=200)
    n, waiting = 0, []
    while not stop.is_set():
        waiting.append((str(n), producer.send("kafka-python", str(n).encode(), partition=n % PARTITIONS)))
        n += 1
        time.sleep(0.001)
    for value, future in waiting:
        try:
            sent = future.get(30)
            took[value] = (sent.partition, sent.offset)
        except Exception:  # not acknowledged, so nothing is promised
            pass
    producer.close(10)


async def aiokafka():
    took = acknowledged["aiokafka"]
    async with AIOKafkaProducer(bootstrap_servers=BROKER, enable_idempotence=True) as producer:
        n = 0
        while not stop.is_set():
            try:
                sent = await asyncio.wait_for(producer.send_and_wait("aiokafka", str(n).encode(), partition=n % PARTITIONS), 20)
                took[str(n)] = (sent.partition, sent.offset)
            except Exception:
                pass
            n += 1


def read(topic):
    consumer = Consumer({"bootstrap.servers": BROKER, "group.id": "reader", "enable.partition.eof": True,
                         "isolation.level": "read_committed", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found, ended = {}, set()
    while len(ended) < PARTITIONS:
        message = consumer.poll(10)
        if message is None or message.error():
            assert message is not None, f"{topic}: no answer"
            ended.add(message.partition())
        else:
            found.setdefault(message.value().decode(), []).append((message.partition(), message.offset()))
    consumer.close()
    return found


broker = start()
admin = AdminClient({"bootstrap.servers": BROKER})
for done in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in acknowledged]).values():
    done.result(10)
writers = [idempotent, transactional, kafka_python, lambda: asyncio.run(aiokafka())]
writers = [threading.Thread(target=writer) for writer in writers]
for writer in writers:
    writer.start()
for _ in range(KILLS):
    time.sleep(1.5)
    broker.kill()
    broker.wait()
    broker = start()
time.sleep(1)
stop.set()
for writer in writers:
    writer.join()
for topic, took in acknowledged.items():
    found = read(topic)
    lost = [v for v, at in took.items() if v not in found or at is not None and at not in found[v]]
    twice = sum(len(at) - 1 for at in found.values())
    print(f"crash {topic}: {len(took)} acknowledged, {len(lost)} lost, {twice} twice")
    assert took and not lost, lost[:5]
    assert twice == 0 or topic == "kafka-python", "an idempotent producer wrote something twice"
broker.kill()
print("ok crash: nothing that was acknowledged is lost")
