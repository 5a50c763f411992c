// Checks the broker with kafkajs. Usage: node check.mjs HOST:PORT
import assert from 'node:assert'
import kafkajs from 'kafkajs'

const run = Date.now().toString(36)
const kafka = new kafkajs.Kafka({ brokers: [process.argv[2]], logLevel: kafkajs.logLevel.ERROR })
const admin = kafka.admin()
await admin.connect()
const topic = `js-${run}`
await admin.createTopics({ topics: [{ topic, numPartitions: 2 }] })

const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
await producer.connect()
for (const compression of [kafkajs.CompressionTypes.None, kafkajs.CompressionTypes.GZIP])
  await producer.send({ topic, compression, messages: [{ key: 'a', value: '1' }, { key: 'b', value: '2' }] })
await producer.disconnect()

const transactional = kafka.producer({ transactionalId: topic, idempotent: true, maxInFlightRequests: 1 })
await transactional.connect()
for (const end of ['abort', 'commit']) {
  const transaction = await transactional.transaction()
  await transaction.send({ topic, messages: [{ value: end }] })
  await transaction[end]()
}
await transactional.disconnect()

const consumer = kafka.consumer({ groupId: topic })
await consumer.connect()
await consumer.subscribe({ topic, fromBeginning: true })
const values = []
await new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error(`only ${values}`)), 30000).unref()
  consumer.run({
    eachMessage: async ({ message }) => {
      values.push(message.value.toString())
      if (values.length === 5) resolve()
    },
  })
})
assert.deepEqual(values.sort(), ['1', '1', '2', '2', 'commit'])
await consumer.disconnect()
await admin.deleteGroups([topic])
await admin.deleteTopics({ topics: [topic] })
await admin.disconnect()
console.log('ok kafkajs: idempotent, transactions, group, admin')
