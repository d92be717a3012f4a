// Package kafka reads the proxy's log lines from a Kafka topic: the replicas
// are one consumer group, each reads the partitions that the group gives it.
//
// It promises that every line is counted once. Where a partition was read to is
// stored with the counts, in the Counter's transaction, and never believed from
// Kafka: offsets are committed there only for people's tools. A batch says where
// the partition must stand, so a member that still holds lines of a partition
// which the group has given to another one (it was frozen, cut off, slow) is
// refused; it drops them and reads anew from where the partition stands. Which
// member Kafka believes to own a partition therefore decides who works, never
// what is counted, and rebalances are cooperative: who keeps a partition reads on.
//
// It also promises that no gap is silent. Where the topic's retention, a loss of
// its own or its deletion has taken messages away, reading goes on with what
// there is, and it is told.
//
// It needs, where the cluster has ACLs: Describe and Read on the topic, Read on
// the group.
package kafka
