// Checks the broker with the clients of Go that are in use: franz-go, and sarama for a second opinion.
// Prints a line for each check, and ends with 1 at the first that fails. Usage: clients HOST:PORT
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	broker string
	ctx    context.Context
	admin  *kadm.Client
	run    = fmt.Sprint(time.Now().UnixNano())
)

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func same[T comparable](what string, got, want T) {
	if got != want {
		panic(fmt.Sprintf("%s: got %v, want %v", what, got, want))
	}
}

func client(opts ...kgo.Opt) *kgo.Client {
	return must(kgo.NewClient(append(opts, kgo.SeedBrokers(broker))...))
}

func text(s string) *string { return &s }

// topic makes one of its own for a check.
func topic(name string, partitions int32, settings map[string]*string) string {
	name = name + "-" + run
	check(must(admin.CreateTopics(ctx, partitions, 1, settings, name)).Error())
	return name
}

// read gives back the values of a topic's first n records.
func read(topic string, n int, opts ...kgo.Opt) []string {
	consumer := client(append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	defer consumer.Close()
	var values []string
	for len(values) < n {
		fetches := consumer.PollFetches(ctx)
		check(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func produceWithEveryCodec() {
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for nth, codec := range codecs {
		name := topic(fmt.Sprintf("go-codec-%d", nth), 1, nil)
		producer := client(kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(name))
		for i := range 100 {
			producer.Produce(ctx, kgo.StringRecord(fmt.Sprint("a value that packs well ", i)), nil)
		}
		check(producer.Flush(ctx))
		producer.Close()
		values := read(name, 100)
		same("the last value", values[99], "a value that packs well 99")
	}
}

func transactions() {
	name := topic("go-txn", 1, nil)
	id := kgo.TransactionalID("go-" + run)
	first := client(id, kgo.DefaultProduceTopic(name))
	defer first.Close()
	end := func(c *kgo.Client, value string, commit kgo.TransactionEndTry) error {
		check(c.BeginTransaction())
		if err := c.ProduceSync(ctx, kgo.StringRecord(value)).FirstErr(); err != nil {
			return err
		}
		return c.EndTransaction(ctx, commit)
	}
	check(end(first, "aborted", kgo.TryAbort))
	check(end(first, "committed", kgo.TryCommit))
	second := client(id, kgo.DefaultProduceTopic(name))
	defer second.Close()
	check(end(second, "of the second", kgo.TryCommit))
	err := end(first, "of a zombie", kgo.TryCommit)
	if !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerIDMapping) {
		panic(fmt.Sprint("the first producer is not fenced: ", err))
	}
	values := read(name, 2, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	same("committed values", fmt.Sprint(values), "[committed of the second]")
	same("all values", len(read(name, 3)), 3)
}

// cooperative: a second member comes, gets its half, goes; nothing is lost.
func cooperative() {
	name := topic("go-group", 4, nil)
	group := "go-group-" + run
	var mutex sync.Mutex
	seen, owned := map[string]int{}, map[int]int{}
	member := func(nth int, stop context.Context, done *sync.WaitGroup) {
		defer done.Done()
		change := func(by int) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
				mutex.Lock()
				owned[nth] += by * len(partitions[name])
				mutex.Unlock()
			}
		}
		consumer := client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(name), kgo.Balancers(kgo.CooperativeStickyBalancer()),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(100*time.Millisecond),
			kgo.OnPartitionsAssigned(change(1)), kgo.OnPartitionsRevoked(change(-1)))
		defer consumer.Close()
		for stop.Err() == nil {
			consumer.PollFetches(stop).EachRecord(func(r *kgo.Record) {
				mutex.Lock()
				seen[string(r.Value)]++
				mutex.Unlock()
			})
		}
		check(consumer.CommitUncommittedOffsets(ctx))
	}
	await := func(what string, ready func() bool) {
		for {
			mutex.Lock()
			is := ready()
			mutex.Unlock()
			if is {
				return
			}
			check(ctx.Err())
			time.Sleep(10 * time.Millisecond)
		}
	}
	var done [2]sync.WaitGroup
	var stops [2]context.CancelFunc
	start := func(nth int) {
		stop, cancel := context.WithCancel(ctx)
		stops[nth] = cancel
		done[nth].Add(1)
		go member(nth, stop, &done[nth])
	}
	start(0)
	await("one owns all", func() bool { return owned[0] == 4 })
	start(1)
	await("two share", func() bool { return owned[0] == 2 && owned[1] == 2 })
	producer := client(kgo.DefaultProduceTopic(name))
	defer producer.Close()
	for i := range 200 {
		check(producer.ProduceSync(ctx, &kgo.Record{Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)}).FirstErr())
	}
	await("all seen", func() bool { return len(seen) == 200 })
	stops[1]()
	done[1].Wait()
	await("one owns all again", func() bool { return owned[0] == 4 })
	stops[0]()
	done[0].Wait()
	lag := must(admin.Lag(ctx, group))
	same("lag", lag[group].Lag.Total(), 0)
}

func commitsWithMetadata() {
	name := topic("go-commit", 1, nil)
	group := "go-commit-" + run
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: name, Partition: 0, At: 7, LeaderEpoch: -1, Metadata: "a note"})
	check(admin.CommitAllOffsets(ctx, group, offsets))
	got, _ := must(admin.FetchOffsets(ctx, group)).Lookup(name, 0)
	same("offset", got.At, 7)
	same("metadata", got.Metadata, "a note")
	check(must(admin.DeleteGroups(ctx, group))[group].Err)
}

func adminCalls() {
	name := topic("go-admin", 1, map[string]*string{"retention.ms": text("3600000")})
	check(must(admin.CreatePartitions(ctx, 2, name)).Error())
	same("partitions", len(must(admin.ListTopics(ctx, name))[name].Partitions), 3)
	refused := must(admin.CreateTopics(ctx, 1, 1, map[string]*string{"retention.ms": text("soon")}, name+"-bad"))
	if err := refused[name+"-bad"].Err; !errors.Is(err, kerr.InvalidConfig) {
		panic(fmt.Sprint("a bad setting was taken: ", err))
	}
	refused = must(admin.CreateTopics(ctx, 1, 3, nil, name+"-bad"))
	if err := refused[name+"-bad"].Err; !errors.Is(err, kerr.InvalidReplicationFactor) {
		panic(fmt.Sprint("three replicas were promised: ", err))
	}
	set := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: text("7200000")}}
	for _, one := range must(admin.AlterTopicConfigs(ctx, set, name)) {
		check(one.Err)
	}
	for _, setting := range must(admin.DescribeTopicConfigs(ctx, name))[0].Configs {
		if setting.Key == "retention.ms" {
			same("retention.ms", *setting.Value, "7200000")
		}
	}
	check(must(admin.DeleteTopics(ctx, name)).Error())
	same("deleted", must(admin.ListTopics(ctx)).Has(name), false)
}

func offsetsByTime() {
	name := topic("go-time", 1, nil)
	producer := client(kgo.DefaultProduceTopic(name))
	defer producer.Close()
	for _, at := range []int64{1000, 2000, 3000} {
		check(producer.ProduceSync(ctx, &kgo.Record{Value: []byte("v"), Timestamp: time.UnixMilli(at)}).FirstErr())
	}
	at := func(ms int64) int64 {
		offset, _ := must(admin.ListOffsetsAfterMilli(ctx, ms, name)).Lookup(name, 0)
		return offset.Offset
	}
	same("before all", at(0), 0)
	same("exactly", at(2000), 1)
	same("in between", at(2001), 2)
	same("after all", at(3001), 3)
}

func compaction() {
	name := topic("go-compact", 1, map[string]*string{"cleanup.policy": text("compact"), "segment.ms": text("50"),
		"min.cleanable.dirty.ratio": text("0.01"), "delete.retention.ms": text("50")})
	producer := client(kgo.DefaultProduceTopic(name))
	defer producer.Close()
	for i := range 100 {
		record := &kgo.Record{Key: fmt.Append(nil, "key-", i%5), Value: fmt.Append(nil, i)}
		check(producer.ProduceSync(ctx, record).FirstErr())
	}
	check(producer.ProduceSync(ctx, &kgo.Record{Key: []byte("key-0")}).FirstErr())
	for {
		check(ctx.Err())
		// a marker at the end, so that the reader knows where to stop
		check(producer.ProduceSync(ctx, &kgo.Record{Key: []byte("end"), Value: []byte("end")}).FirstErr())
		end, _ := must(admin.ListEndOffsets(ctx, name)).Lookup(name, 0)
		kept := map[string]string{}
		consumer := client(kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		count := 0
		for last := int64(-1); last < end.Offset-1; {
			fetches := consumer.PollFetches(ctx)
			check(fetches.Err())
			fetches.EachRecord(func(r *kgo.Record) {
				last = r.Offset
				if string(r.Key) != "end" {
					kept[string(r.Key)] = string(r.Value)
					count++
				}
			})
		}
		consumer.Close()
		if count == 4 && kept["key-4"] == "99" && kept["key-1"] == "96" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func deletedRecords() {
	name := topic("go-delete", 1, nil)
	producer := client(kgo.DefaultProduceTopic(name))
	defer producer.Close()
	for range 10 {
		check(producer.ProduceSync(ctx, kgo.StringRecord("v")).FirstErr())
	}
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: name, Partition: 0, At: 4})
	check(must(admin.DeleteRecords(ctx, offsets)).Error())
	same("left", len(read(name, 6)), 6)
}

func withSarama() {
	name := topic("sarama", 2, nil)
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Return.Successes = true
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	producer := must(sarama.NewSyncProducer([]string{broker}, config))
	for i := range 50 {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: name, Value: sarama.StringEncoder(fmt.Sprint(i))})
		check(err)
	}
	check(producer.Close())
	group := must(sarama.NewConsumerGroup([]string{broker}, "sarama-"+run, config))
	counted := &counter{want: 50, done: make(chan struct{})}
	stop, cancel := context.WithCancel(ctx)
	go func() {
		<-counted.done
		cancel()
	}()
	for stop.Err() == nil {
		if err := group.Consume(stop, []string{name}, counted); err != nil && stop.Err() == nil {
			panic(err)
		}
	}
	check(ctx.Err())
	check(group.Close())
}

// withOldSarama speaks the oldest versions that the broker offers.
func withOldSarama() {
	name := topic("sarama-old", 1, nil)
	config := sarama.NewConfig()
	config.Version = sarama.V1_0_0_0
	config.Producer.Return.Successes = true
	producer := must(sarama.NewSyncProducer([]string{broker}, config))
	_, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: name, Value: sarama.StringEncoder("old")})
	check(err)
	same("offset", offset, 0)
	check(producer.Close())
	consumer := must(sarama.NewConsumer([]string{broker}, config))
	partition := must(consumer.ConsumePartition(name, 0, sarama.OffsetOldest))
	same("value", string((<-partition.Messages()).Value), "old")
	check(consumer.Close())
}

type counter struct {
	mutex sync.Mutex
	seen  int
	want  int
	done  chan struct{}
}

func (*counter) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*counter) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (c *counter) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			session.MarkMessage(message, "")
			c.mutex.Lock()
			if c.seen++; c.seen == c.want {
				close(c.done)
			}
			c.mutex.Unlock()
		case <-session.Context().Done():
			return nil
		}
	}
}

func main() {
	broker = os.Args[1]
	checks := []struct {
		what string
		run  func()
	}{
		{"every codec, idempotent", produceWithEveryCodec},
		{"transactions: commit, abort, fencing", transactions},
		{"a group of two, cooperative", cooperative},
		{"commits with metadata", commitsWithMetadata},
		{"topics: create, grow, alter, refuse, delete", adminCalls},
		{"offsets by time", offsetsByTime},
		{"records deleted", deletedRecords},
		{"compaction", compaction},
		{"sarama: idempotent producer, group", withSarama},
		{"sarama as of Kafka 1.0", withOldSarama},
	}
	for _, one := range checks {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.Background(), 60*time.Second)
		admin = kadm.NewClient(client())
		func() {
			defer func() {
				if failure := recover(); failure != nil {
					fmt.Println("FAILED go:", one.what, failure)
					os.Exit(1)
				}
			}()
			one.run()
		}()
		admin.Close()
		cancel()
		fmt.Println("ok go:", one.what)
	}
}
