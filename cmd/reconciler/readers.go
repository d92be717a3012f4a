package main

import (
	"context"
	"log/slog"

	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/follow"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/kafka"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/objects"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/receive"
)

// add makes the reader of one input.
func (in *inputs) add(p *prepared, l *config.Log, tally *proxylog.TallyOptions) error {
	log := in.service.app.log
	switch l.Kind() {
	case config.InputFile:
		format, err := proxylog.ParseFormat(string(l.File.Format))
		if err != nil {
			return err
		}
		from := follow.Beginning
		if l.File.From == config.FromEnd {
			from = follow.End
		}
		p.readers[l.Name] = follow.New(follow.Options{Input: l.Name, Host: hostOf(l), Patterns: []string{string(l.File.Path)}, Format: format, From: from,
			Tally: tally, Counter: in.counter, Log: log})
	case config.InputPush:
		format, err := proxylog.ParseFormat(string(l.Push.Format))
		if err != nil {
			return err
		}
		p.push = receive.New(receive.Options{Input: l.Name, Format: format, Tally: tally, Counter: in.counter, Log: log})
		p.readers[l.Name] = p.push
	case config.InputKafka:
		r, err := in.topic(l, tally, log)
		if err != nil {
			return err
		}
		p.readers[l.Name] = r
	case config.InputSQS:
		format, err := proxylog.ParseFormat(string(l.SQS.Format))
		if err != nil {
			return err
		}
		p.readers[l.Name] = &queue{account: objects.Account{Region: l.SQS.Region, RoleARN: l.SQS.RoleARN, Endpoint: l.SQS.Endpoint.Reveal()},
			options: objects.Options{Input: l.Name, Queue: l.SQS.Queue.Reveal(), Format: format, Tally: tally, Counter: in.counter, Log: log}}
	}
	return nil
}

// topic makes the reader of a Kafka topic.
func (in *inputs) topic(l *config.Log, tally *proxylog.TallyOptions, log *slog.Logger) (reader, error) {
	format, err := proxylog.ParseFormat(string(l.Kafka.Format))
	if err != nil {
		return nil, err
	}
	brokers := make([]string, len(l.Kafka.Brokers))
	for i, b := range l.Kafka.Brokers {
		brokers[i] = string(b)
	}
	from := kafka.Beginning
	if l.Kafka.From == config.FromEnd {
		from = kafka.End
	}
	return kafka.New(kafka.Options{Input: l.Name, Brokers: brokers, Topic: l.Kafka.Topic, Group: l.Kafka.Group, Format: format, From: from,
		TLS: l.Kafka.TLS, User: l.Kafka.User, Password: l.Kafka.Password.Reveal, Tally: tally, Counter: in.counter, Log: log}), nil
}

// queue reads objects that a queue tells of. It connects when it begins, so that
// credentials that are not there keep no other input from reading.
type queue struct {
	account objects.Account
	options objects.Options
}

// Run implements reader.
func (q *queue) Run(ctx context.Context) error {
	clients, err := objects.Connect(ctx, q.account)
	if err != nil {
		return err
	}
	o := q.options
	o.SQS, o.S3 = clients.SQS, clients.S3
	return objects.New(o).Run(ctx)
}
